"""The race over a host's addresses: one attempt after the other, each given a head start, the first to connect wins.

RFC 8305 ("Happy Eyeballs") with its recommended 250 ms: a host whose IPv6 address leads nowhere costs a quarter of a
second and not a timeout.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio

from gemlive.transport._nursery import open_plain_nursery

HEAD_START_S = 0.25
"""RFC 8305 section 5, and what trio and browsers use."""

A = TypeVar("A")
R = TypeVar("R", bound=trio.abc.AsyncResource)


async def race(addresses: Sequence[A], connect: Callable[[A], Awaitable[R]]) -> R | list[OSError]:
    """Returns the first connection made to any of the addresses, or the errors of all when none could be.

    Each attempt starts when the one before has failed or had its head start. Connections that come second are closed.

    Cancellation: nothing stays open.
    """
    won: list[R] = []
    errors: list[OSError] = []

    async def attempt(address: A, failed: trio.Event) -> None:
        try:
            connection = await connect(address)
        except OSError as exc:
            errors.append(exc)
            failed.set()
            return
        if won:
            await trio.aclose_forcefully(connection)
        else:
            won.append(connection)
            nursery.cancel_scope.cancel()

    try:
        async with open_plain_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(attempt, address, failed)
                with trio.move_on_after(HEAD_START_S):
                    await failed.wait()
    except BaseException:
        for connection in won:
            await trio.aclose_forcefully(connection)
        raise
    return won[0] if won else errors


def interleave(addresses: Sequence[A], family: Callable[[A], object]) -> list[A]:
    """Returns the addresses with the first one of another family in second place, as RFC 8305 section 4 has it."""
    ordered = list(addresses)
    for index, address in enumerate(ordered):
        if family(address) != family(ordered[0]):
            ordered.insert(1, ordered.pop(index))
            break
    return ordered
