"""The local server as a program: its first line, its log, its end."""

from __future__ import annotations

import re
import signal
import socket
from typing import Any

import pytest

from tests.cli import program

pytestmark = pytest.mark.socket


def test_its_first_line_says_where_it_listens() -> None:
    with program.started("serve", "--port", "0") as process:
        assert process.stdout is not None
        assert re.fullmatch(r"listening on ws://127\.0\.0\.1:\d+\n", process.stdout.readline())
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=program.PATIENCE_S)
    assert (process.returncode, rest, errors) == (130, "", "")


def test_its_first_record_says_where_it_listens() -> None:
    with program.serving() as url:
        assert re.fullmatch(r"ws://127\.0\.0\.1:\d+", url)


def test_the_port_is_the_one_asked_for() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with program.started("serve", "--port", str(port)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"listening on ws://127.0.0.1:{port}\n"


def test_a_port_in_use_is_one_sentence_and_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = program.run("serve", "--port", str(port))
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr.startswith(f"error: port {port} of 127.0.0.1 is already in use; choose another with --port")
    assert ran.stderr.count("\n") == 1


def test_a_host_that_is_not_here_is_one_sentence_and_1() -> None:
    ran = program.run("serve", "--host", "192.0.2.1", "--port", "0")
    assert ran.returncode == 1
    assert "cannot be listened on" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_it_logs_the_conversations_it_holds() -> None:
    with program.started("serve", "--port", "0", "--no-pace", "--json") as process:
        assert process.stdout is not None
        url = program.records(process.stdout.readline())[0]["url"]
        assert program.run("chat", "--url", url, stdin="hello\n").returncode == 0
        told: list[dict[str, Any]] = []
        while "connection_closed" not in [record["event"] for record in told]:
            told += program.records(process.stdout.readline())
    assert [record["event"] for record in told] == ["conversation_opened", "heard", "said", "connection_closed"]
    assert told[1]["text"] == "hello"
    assert told[3]["code"] == 1000


def test_a_client_that_is_turned_away_is_logged_too() -> None:
    with program.started("serve", "--port", "0", "--json") as process:
        assert process.stdout is not None
        url = program.records(process.stdout.readline())[0]["url"]
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))):
            pass
        told = program.records(process.stdout.readline())[0]
    assert (told["event"], told["conversation"]) == ("turned_away", None)


def test_a_second_ctrl_c_changes_nothing() -> None:
    with program.started("serve", "--port", "0") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=program.PATIENCE_S)
    assert (process.returncode, errors) == (130, "")


def test_sigterm_ends_it_cleanly_as_containers_do() -> None:
    with program.started("serve", "--port", "0") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        _, errors = process.communicate(timeout=program.PATIENCE_S)
    assert (process.returncode, errors) == (143, "")
