"""How the program ends, for everything that can end it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Awaitable, Callable

import pytest
import trio

from gemlive.cli._exit import DONE, FAILED, INTERRUPTED, MISUSE, Failure, Misuse, conclude, run
from gemlive.cli._json_lines import JsonLines
from gemlive.cli._output import Output, OutputClosed
from gemlive.cli._screen import Screen
from gemlive.cli._terminal import Terminal
from gemlive.errors import (
    ConfigError,
    ConnectError,
    ConnectTimeout,
    GemliveError,
    SessionLost,
    SetupError,
    TlsError,
    UpgradeRejected,
)

HEAD = "error: "


def said(capsys: pytest.CaptureFixture[str]) -> str:
    stderr = capsys.readouterr().err
    assert stderr.startswith(HEAD)
    assert stderr.count("\n") == 1
    return stderr.removeprefix(HEAD).rstrip("\n")


def failing(error: BaseException) -> Callable[[], Awaitable[None]]:
    async def command() -> None:
        await trio.lowlevel.checkpoint()
        raise error

    return command


@pytest.fixture
def output() -> Output:
    return Screen(Terminal())


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (Misuse("no such file"), MISUSE, "no such file"),
        (ConfigError("voice", "is odd"), MISUSE, "voice: is odd"),
        (Failure("no answer"), FAILED, "no answer"),
        (GemliveError("plain"), FAILED, "plain"),
        (OSError(28, "No space left on device", "a.wav"), FAILED, "a.wav: No space left on device"),
        (OSError("bare"), FAILED, "bare"),
        (TlsError("the certificate is not trusted"), FAILED, "the certificate is not trusted"),
        (
            ConnectError("refused", step="tcp"),
            FAILED,
            "refused; a local server is started with: gemlive serve",
        ),
        (ConnectError("busy", step="upgrade"), FAILED, "busy; try again later"),
        (
            UpgradeRejected(401, [], b""),
            FAILED,
            "the server refused the WebSocket upgrade with HTTP 401; check the API key, and that it may use this model",
        ),
        (UpgradeRejected(404, [], b""), FAILED, "the server refused the WebSocket upgrade with HTTP 404; check --url"),
        (SetupError("no such model"), FAILED, "no such model; check --model"),
        (SessionLost("gone", causes=["the key expired: make another"]), FAILED, "gone; the key expired: make another"),
        (SessionLost("gone: it slept", causes=["it slept"]), FAILED, "gone: it slept"),
        (SessionLost("gone"), FAILED, "gone"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_failure_is_one_sentence_and_a_code(
    error: Exception, code: int, sentence: str, output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(failing(error), output) == code
    assert said(capsys) == sentence


def test_a_timeout_says_what_to_do(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(failing(ConnectTimeout(step="tls", timeout_s=10, waiting_for="TLS")), output) == FAILED
    assert "try again later" in said(capsys)


def test_a_bug_is_a_sentence_too(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(failing(ZeroDivisionError("by zero")), output) == FAILED
    assert "ZeroDivisionError: by zero" in said(capsys)


def test_server_text_in_an_error_is_harmless(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(failing(SessionLost("closed: \x1b[2J\nerror: fake")), output) == FAILED
    assert said(capsys) == r"closed: \x1b[2J\x0aerror: fake"


def test_what_failed_inside_groups_is_found(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    inner = ExceptionGroup("", [Misuse("deep")])
    assert run(failing(ExceptionGroup("", [inner])), output) == MISUSE
    assert said(capsys) == "deep"


def test_a_command_that_returns_is_done(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(trio.lowlevel.checkpoint, output) == DONE
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        BaseExceptionGroup("", [KeyboardInterrupt()]),
        BaseExceptionGroup("", [ValueError("in a cleanup"), BaseExceptionGroup("", [KeyboardInterrupt()])]),
    ],
)
def test_ctrl_c_is_130_and_silent_however_it_is_wrapped(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    assert conclude(error) == INTERRUPTED == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [OutputClosed(), SystemExit(1), ExceptionGroup("", [OutputClosed(), OutputClosed()])])
def test_a_reader_that_left_ends_the_program_quietly(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    assert conclude(error) == FAILED
    assert capsys.readouterr().err == ""


def test_a_full_disk_behind_stdout_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert conclude(OutputClosed("stdout cannot be written: No space left on device")) == FAILED
    assert said(capsys) == "stdout cannot be written: No space left on device"


def test_without_stderr_nothing_strays_to_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr", None)
    assert conclude(Misuse("no such file")) == MISUSE
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_the_command_and_lets_it_clean_up(number: signal.Signals, code: int, output: Output) -> None:
    cleaned: list[str] = []

    async def command() -> None:
        try:
            os.kill(os.getpid(), number)
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            cleaned.append("up")

    assert run(command, output) == code
    assert cleaned == ["up"]


def test_what_fails_while_ctrl_c_cleans_up_does_not_hide_it(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    async def command() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await trio.sleep_forever()
        finally:
            raise SessionLost("while closing")

    assert run(command, output) == INTERRUPTED
    assert capsys.readouterr().err == ""


def test_the_handlers_of_before_are_back_afterwards(output: Output) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run(trio.lowlevel.checkpoint, output)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_program_is_told_of_the_failure_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(failing(Misuse("no such file")), JsonLines()) == MISUSE
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"event": "error", "message": "no such file", "exit_code": 2}
    assert captured.err == "error: no such file\n"
