"""Where credentials are unwrapped: a task whose frames no exception carries away.

An exception holds the frames it passed through, and whoever prints it with its locals (error trackers do) prints what
they hold. That includes :class:`trio.Cancelled`, which passes through every frame on its way to the cancelled scope.
So whatever puts a credential into a local variable, ours or a callee's, runs here: in a task of its own, shielded, and
ended by its own scope, so that not even a cancellation leaves it. The same goes for what a server answers to a
credential, which it may repeat. Failures come back as values.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from gemlive.transport._nursery import open_plain_nursery

T = TypeVar("T")


async def run_secluded(function: Callable[[], Awaitable[T]]) -> T:
    """Runs an async function in a task of its own and returns what it returns.

    Cancellation: the function is cancelled too, this waits until it has ended, and what it returned is lost.

    Args:
        function: returns its failures instead of raising them; an exception out of it is a bug and leaves with all
            its frames.
    """
    results: list[T] = []
    scope = trio.CancelScope(shield=True)
    done = trio.Event()

    async def secluded() -> None:
        try:
            with scope:
                results.append(await function())
        finally:
            done.set()

    async with open_plain_nursery() as nursery:
        nursery.start_soon(secluded)
        try:
            await done.wait()
        finally:
            scope.cancel()
    return results[0]


def broken(error: trio.BrokenResourceError | trio.ClosedResourceError) -> str:
    """Says in words why a stream broke, from the operating system's error if there is one."""
    cause = error.__cause__
    if isinstance(cause, ssl.SSLError):
        return tls_reason(cause) or "the TLS connection broke"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return "the stream was closed" if isinstance(error, trio.ClosedResourceError) else "the stream broke"


def tls_reason(error: ssl.SSLError) -> str:
    """Returns OpenSSL's name for an error, empty when it was not OpenSSL that made it."""
    return getattr(error, "reason", None) or ""
