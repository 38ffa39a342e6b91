"""A nursery out of which one failure comes as itself and not as a group of one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_plain_nursery() -> AsyncIterator[trio.Nursery]:
    """Opens a nursery; a single exception, and a cancellation, come out of it unwrapped.

    Several failures stay a group. A cancellation that came together with one failure gives way to the failure.
    """
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        error = _alone(group)
    if error is not None:
        context = error.__context__
        try:
            raise error
        finally:
            # Raising gave it the body's exception as context, a Cancelled perhaps, which has nothing to do with it.
            error.__context__ = context
            del error, context  # the exception's traceback holds this frame


def _alone(group: BaseExceptionGroup[BaseException]) -> BaseException:
    cancelled, failures = group.split(trio.Cancelled)
    leaves = _leaves(failures or cancelled or group)
    return leaves[0] if failures is None or len(leaves) == 1 else failures


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for member in error.exceptions for leaf in _leaves(member)]
    return [error]
