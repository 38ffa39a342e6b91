"""How the program ends: which exit code, and which sentence on stderr.

0 done, 1 failed, 2 misuse, 130 on Ctrl-C (128 and the signal's number, as shells count). A user's mistake or a broken
network is one sentence with the next step, never a traceback; a bug is one sentence too, and says how to see more.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator

import trio

from gemlive.cli._escape import escape_line
from gemlive.cli._output import Output, OutputClosed
from gemlive.errors import ConfigError, ConnectError, GemliveError, SessionLost, SetupError, UpgradeRejected

DONE = 0
FAILED = 1
MISUSE = 2
INTERRUPTED = 128 + signal.SIGINT

_log = logging.getLogger("gemlive.cli")


class Misuse(Exception):
    """The command line, a file it names or the environment is wrong; the text says how and what to do."""


class Failure(Exception):
    """What the command is for did not come about; the text says why and what to do."""


def run(command: Callable[[], Awaitable[None]], output: Output) -> int:
    """Runs a command in a trio loop of its own; returns the exit code after saying what went wrong, if anything did."""
    ended_by: list[int] = []
    try:
        trio.run(_until_signalled, command, ended_by)
    except BaseException as error:
        if not ended_by:
            return conclude(error, output)
    return 128 + ended_by[0] if ended_by else DONE


async def _until_signalled(command: Callable[[], Awaitable[None]], ended_by: list[int]) -> None:
    """Runs ``command`` until it ends or Ctrl-C cancels it, so that no KeyboardInterrupt strikes in a cleanup.

    A second Ctrl-C meets trio's own handler and raises it nevertheless: whoever insists need not wait.
    """

    async def watch(*, task_status: trio.TaskStatus[None]) -> None:
        # A container stops its program with SIGTERM, and as process 1 that would be ignored if nobody asked for it.
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                ended_by.append(number)
                nursery.cancel_scope.cancel()
                return

    async with trio.open_nursery() as nursery:
        await nursery.start(watch)
        await command()
        nursery.cancel_scope.cancel()


def conclude(error: BaseException, output: Output | None = None) -> int:
    """Returns the exit code for what ended the program, after saying what it was: on stderr, and to ``output``."""
    causes = list(_leaves(error))
    if any(isinstance(cause, KeyboardInterrupt) for cause in causes):
        return INTERRUPTED
    # SystemExit: rich ends the program by itself when nobody reads its help any more.
    closed = next((cause for cause in causes if isinstance(cause, (OutputClosed, SystemExit))), None)
    if closed is not None:
        if isinstance(closed, OutputClosed) and str(closed):
            say(f"error: {closed}")
        return FAILED
    code, sentence = _judge(causes[0])
    if output is not None:
        with contextlib.suppress(OutputClosed):
            output.close()
            output.report("error", message=sentence, exit_code=code)
    say(f"error: {sentence}")
    _log.debug("the traceback of what was said above", exc_info=error)
    return code


def say(sentence: str) -> None:
    """Writes one line to stderr, made harmless; where there is no stderr, nothing."""
    if sys.stderr is None:
        return  # `print` would take stdout instead
    with contextlib.suppress(OSError, ValueError):  # closed: nobody is left who could be told
        print(escape_line(sentence), file=sys.stderr, flush=True)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _judge(error: BaseException) -> tuple[int, str]:
    match error:
        case Misuse() | ConfigError():
            return MISUSE, str(error)
        case Failure():
            return FAILED, str(error)
        case ConnectError():
            return FAILED, _with_next_step(str(error), _connect_step(error))
        case SessionLost():
            told = str(error)
            return FAILED, _with_next_step(told, next((cause for cause in error.causes if cause not in told), ""))
        case GemliveError():
            return FAILED, str(error)
        case OSError():
            what = error.strerror or str(error) or type(error).__name__
            return FAILED, f"{error.filename}: {what}" if error.filename else what
    return FAILED, (
        f"gemlive failed in a way that nobody foresaw ({type(error).__name__}: {error}); "
        "GEMLIVE_LOG=debug shows the traceback, please report it"
    )


def _connect_step(error: ConnectError) -> str:
    match error:
        case UpgradeRejected(status=401 | 403):
            return "check the API key, and that it may use this model"
        case UpgradeRejected(status=404):
            return "check --url"
        case SetupError():
            return "check --model"
    if error.step == "tcp":
        return "a local server is started with: gemlive serve"
    return "try again later" if error.retryable else ""


def _with_next_step(sentence: str, step: str) -> str:
    return f"{sentence}; {step}" if step else sentence


__all__ = ["DONE", "FAILED", "INTERRUPTED", "MISUSE", "Failure", "Misuse", "conclude", "run", "say"]
