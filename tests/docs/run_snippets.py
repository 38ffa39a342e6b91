"""Runs the Python blocks of one documentation page, in a process of its own.

A file of JSON (``sys.argv[1]``) names them: ``[{"page", "line", "mode", "source"}, ...]``, all in one namespace, in
order. Beside them, in a thread with a trio loop of its own, stands an emulator, and the environment points to it: so a
program that takes its endpoint from the environment, as the quickstart does, runs unchanged and without a network. Any
other host is refused by an audit hook.

``mode`` is ``program`` (run as it stands) or ``session`` (the block may await, and ``server``, ``config`` and
``session`` are there: a session with an emulator in memory).
"""

from __future__ import annotations

import ast
import inspect
import ipaddress
import json
import os
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import TypedDict

import trio


class Block(TypedDict):
    """One block, as written to the file by the test."""

    page: str
    line: int
    mode: str
    source: str


def _compile(block: Block) -> CodeType:
    tree = ast.parse(block["source"], filename=block["page"])
    ast.increment_lineno(tree, block["line"])  # a traceback then names the line of the page
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if block["mode"] == "session" else 0
    code: CodeType = compile(tree, block["page"], "exec", flags=flags, dont_inherit=True)
    return code


def _refuse_other_hosts(event: str, args: tuple[object, ...]) -> None:
    """Lets sockets reach this machine only."""
    if event == "socket.connect":
        host = args[1][0] if isinstance(args[1], tuple) else "localhost"  # AF_UNIX has a path for an address
    elif event == "socket.getaddrinfo":
        host = args[0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name == "localhost" or host is None:
        return
    try:
        is_here = ipaddress.ip_address(name).is_loopback
    except ValueError:
        is_here = False
    if not is_here:
        raise PermissionError(f"the documentation's examples run without a network, and this one asks for {name!r}")


@contextmanager
def _emulator_in_the_environment() -> Iterator[None]:
    """Serves an emulator from a thread while the block runs, and makes it the endpoint of the environment."""
    import gemlive.emulator

    started: queue.Queue[tuple[trio.lowlevel.TrioToken, trio.CancelScope, str] | BaseException] = queue.Queue()

    async def serve() -> None:
        with trio.CancelScope() as scope:
            async with gemlive.emulator.serve() as server:
                started.put((trio.lowlevel.current_trio_token(), scope, server.url))
                await trio.sleep_forever()

    def run() -> None:
        try:
            trio.run(serve)
        except BaseException as error:
            started.put(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    outcome = started.get(timeout=20)
    if isinstance(outcome, BaseException):
        raise outcome
    token, scope, url = outcome
    for name in [name for name in os.environ if name.startswith(("GOOGLE_", "GEMINI_", "GEMLIVE_"))]:
        del os.environ[name]
    os.environ["GEMINI_API_KEY"] = "no-key-is-needed-here"
    os.environ["GOOGLE_GEMINI_BASE_URL"] = url
    try:
        yield
    finally:
        token.run_sync_soon(scope.cancel)
        thread.join(timeout=20)


async def _run_in_session(code: CodeType, namespace: dict[str, object]) -> None:
    import gemlive
    import gemlive.emulator

    config = gemlive.SessionConfig(model="gemini-3.8-live")
    async with (
        gemlive.emulator.serve_in_memory() as server,
        gemlive.open_session(config, endpoint=server.endpoint) as session,
    ):
        namespace.update(gemlive=gemlive, trio=trio, server=server, config=config, session=session)
        waiting = eval(code, namespace)
        if inspect.iscoroutine(waiting):
            await waiting


def main(blocks: list[Block]) -> None:
    """Runs the blocks in one namespace; the first that fails ends it with its traceback."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    sys.addaudithook(_refuse_other_hosts)
    with _emulator_in_the_environment():
        for block in blocks:
            code = _compile(block)
            if block["mode"] == "session":
                trio.run(_run_in_session, code, namespace)
            else:
                exec(code, namespace)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
