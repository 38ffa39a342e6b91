"""A chat with a server that somebody runs: from a pipe, and on a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cli import program

pytestmark = pytest.mark.socket


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with program.serving("--no-pace") as url:
        yield url


def answer(text: str) -> str:
    return f'gemlive emulator: I heard "{text}".'


def test_each_line_of_a_pipe_is_answered_in_order(url: str) -> None:
    ran = program.run("chat", "--url", url, stdin="one\ntwo\n\nthree")
    assert (ran.returncode, ran.stderr) == (0, "")
    said = [line[12:] for line in ran.stdout.splitlines() if line.startswith("model ")]
    assert said == [answer("one"), answer("two"), answer("three")]


def test_the_lines_of_a_pipe_are_told_before_their_answers(url: str) -> None:
    asked = [f"line {number}" for number in range(10)]
    ran = program.run("chat", "--url", url, stdin="\n".join(asked))
    told = [line for line in ran.stdout.splitlines() if line.startswith(("you ", "model "))]
    assert told == [line for text in asked for line in (f"you         {text}", f"model       {answer(text)}")]


def test_in_json_each_line_is_answered_in_order(url: str) -> None:
    ran = program.run("chat", "--url", url, "--json", stdin="one\ntwo\n")
    assert (ran.returncode, ran.stderr) == (0, "")
    records = program.records(ran.stdout)
    assert [record["event"] for record in records].count("turn_complete") == 2
    said = "".join(record["text"] for record in records if record["event"] == "output_transcript")
    assert said == answer("one") + answer("two")


def test_an_empty_pipe_is_a_short_chat(url: str) -> None:
    assert program.run("chat", "--url", url).returncode == 0


def test_quit_ends_the_chat_with_lines_left(url: str) -> None:
    ran = program.run("chat", "--url", url, stdin="one\n/quit\ntwo\n")
    assert ran.returncode == 0
    assert "two" not in ran.stdout


def test_two_slashes_send_one(url: str) -> None:
    assert answer("/quit") in program.run("chat", "--url", url, stdin="//quit\n").stdout


def test_a_path_is_text(url: str) -> None:
    assert answer("/etc/hosts") in program.run("chat", "--url", url, stdin="/etc/hosts\n").stdout


def test_a_command_that_does_not_exist_is_misuse_in_a_pipe(url: str) -> None:
    ran = program.run("chat", "--url", url, stdin="/quti\n")
    assert ran.returncode == 2
    assert "there is no command /quti; /quit" in ran.stderr


def test_written_answers_can_be_asked_for_where_the_model_writes(url: str) -> None:
    ran = program.run("chat", "--url", url, "--text", "--model", "gemini-live-2.5-flash", "--json", stdin="one\n")
    records = program.records(ran.stdout)
    assert "".join(record["text"] for record in records if record["event"] == "model_text") == answer("one")


def test_what_the_model_repeats_is_harmless_on_the_way_back(url: str) -> None:
    ran = program.run("chat", "--url", url, stdin="\x1b[2Jx\n")
    assert "\x1b" not in ran.stdout
    assert r"\x1b[2Jx" in ran.stdout


def test_what_the_terminals_encoding_lacks_is_written_out(url: str) -> None:
    ran = program.run("chat", "--url", url, "--model", "grün", PYTHONIOENCODING="ascii")
    assert (ran.returncode, ran.stdout) == (0, f"connected   to {url}, gr\\xfcn\n")


def test_a_model_that_does_not_answer_in_time_is_a_failure() -> None:
    with program.serving() as paced:
        ran = program.run("chat", "--url", paced, "--timeout", "0.01", stdin="one\n")
    assert ran.returncode == 1
    assert "said nothing for 0.01 s" in ran.stderr


class Typist:
    """Somebody at a terminal in front of the program."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self._master = master
        self.process = process
        self.seen = ""

    def types(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def waits_for(self, text: str, *, after: int = 0) -> None:
        while text not in self.seen[after:]:
            try:
                self.seen += os.read(self._master, 65536).decode()
            except OSError:
                pytest.fail(f"the program ended without saying {text!r}; it said {self.seen!r}")

    def leaves(self) -> int:
        return self.process.wait(program.PATIENCE_S)


@contextmanager
def typist(*argv: str) -> Iterator[Typist]:
    master, slave = os.openpty()
    process = subprocess.Popen(
        program.command(argv), stdin=slave, stdout=slave, stderr=slave, env=program.bare_environment(NO_COLOR="1")
    )
    os.close(slave)
    try:
        with program.bounded(process):
            yield Typist(master, process)
    finally:
        os.close(master)


terminal = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are a matter of Unix")


@terminal
def test_on_a_terminal_one_is_prompted_again_after_the_answer(url: str) -> None:
    with typist("chat", "--url", url) as person:
        person.waits_for("you         ")
        person.types("hello\n")
        person.waits_for(answer("hello"))
        person.waits_for("you         ", after=person.seen.index(answer("hello")))
        person.types("/quit\n")
        assert person.leaves() == 0


@terminal
def test_on_a_terminal_the_end_of_input_ends_the_chat(url: str) -> None:
    with typist("chat", "--url", url) as person:
        person.waits_for("you         ")
        person.types("\x04")
        assert person.leaves() == 0


@terminal
def test_on_a_terminal_ctrl_c_ends_the_chat_while_it_waits_for_a_line(url: str) -> None:
    with typist("chat", "--url", url) as person:
        person.waits_for("you         ")
        person.process.send_signal(signal.SIGINT)
        assert person.leaves() == 130
        assert "Traceback" not in person.seen


@terminal
def test_on_a_terminal_a_command_that_does_not_exist_is_told_and_nothing_else(url: str) -> None:
    with typist("chat", "--url", url) as person:
        person.waits_for("you         ")
        person.types("/quti\n")
        person.waits_for("there is no command /quti")
        person.types("/help\n")
        person.waits_for("you         ", after=person.seen.rindex("there is no command"))
        person.types("/exit\n")
        assert person.leaves() == 0


@terminal
def test_on_a_terminal_one_may_type_into_an_answer() -> None:
    with program.serving() as paced, typist("chat", "--url", paced) as person:
        person.waits_for("you         ")
        person.types("tell me something that takes a while\n")
        person.waits_for("emulator")
        person.types("stop\n")
        person.waits_for('"stop"')
        assert "you  " not in person.seen[person.seen.index("interrupted") :]
        person.types("/quit\n")
        assert person.leaves() == 0


@terminal
def test_on_a_terminal_the_end_of_the_server_ends_the_chat() -> None:
    with program.started("serve", "--port", "0", "--json") as server:
        assert server.stdout is not None
        paced = program.records(server.stdout.readline())[0]["url"]
        with typist("chat", "--url", paced) as person:
            person.waits_for("you         ")
            server.send_signal(signal.SIGINT)
            server.wait(program.PATIENCE_S)
            person.waits_for("\r\n", after=len(person.seen))
            assert "Traceback" not in person.seen
