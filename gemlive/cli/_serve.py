"""``gemlive serve``: a local server that plays the model's part, for programs in any language."""

from __future__ import annotations

import errno
import time
from typing import NoReturn

import trio

from gemlive import emulator
from gemlive.cli._exit import Failure, Misuse
from gemlive.cli._journal import Journal
from gemlive.cli._output import Line, Output

_LOOK_S = 0.1  # how stale the log may be; a person sees no difference


async def serve(output: Output, *, host: str, port: int, pace: bool) -> NoReturn:
    """Serves, and says what is heard and said, until it is cancelled.

    Raises:
        Misuse: the port is none.
        Failure: the address cannot be listened on.
    """
    if not 0 <= port <= 65_535:
        raise Misuse(f"--port is {port}; give a number from 0 (any that is free) to 65535")
    try:
        async with emulator.serve(host=host, port=port, pace=pace) as server:
            output.report("listening", f"listening on {server.url}", url=server.url)
            await _log(server, output)
    except OSError as error:
        raise Failure(_why_not(error, host, port)) from None
    raise AssertionError("the log ends by being cancelled")


async def _log(server: emulator.Server, output: Output) -> NoReturn:
    journal = Journal()
    while True:
        for news in journal.news(server.conversations, server.connections):
            label = f"{time.strftime('%H:%M:%S')} #{news.conversation or '-'}"
            output.report(news.event, Line(label, news.text), conversation=news.conversation, **news.values)
        await trio.sleep(_LOOK_S)


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is already in use; choose another with --port, or --port 0 for any that is free"
    if error.errno == errno.EACCES:
        return f"port {port} of {host} may not be used by this user; choose one above 1023 with --port"
    return f"{host}:{port} cannot be listened on ({error.strerror or error}); check --host and --port"


__all__ = ["serve"]
