"""What runs in seclusion leaves no frame in any exception."""

from __future__ import annotations

import traceback

import pytest
import trio

from gemlive.transport._seclusion import run_secluded, send_secluded
from gemlive.transport._secret import Secret

CANARY = Secret("canary-" + "8f3a")


async def test_the_result_comes_back() -> None:
    async def function() -> int:
        await trio.lowlevel.checkpoint()
        return 7

    assert await run_secluded(function) == 7


async def test_a_cancellation_ends_the_function_and_shows_no_frame_of_it() -> None:
    ended = []

    async def function() -> None:
        raw = CANARY.reveal()
        try:
            await trio.sleep_forever()
        finally:
            ended.append(len(raw))

    with trio.CancelScope() as scope:
        scope.cancel()
        with pytest.raises(trio.Cancelled) as caught:
            await run_secluded(function)
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert ended == [11]
    assert CANARY.reveal() not in shown


async def test_a_deadline_ends_the_function(autojump_clock: trio.testing.MockClock) -> None:
    with trio.move_on_after(5) as scope:
        await run_secluded(trio.sleep_forever)
    assert scope.cancelled_caught
    assert trio.current_time() == 5


async def test_a_broken_stream_is_told_in_words() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.aclose()
    assert await send_secluded(ours, lambda: b"GET") == "the stream broke"


async def test_what_is_composed_is_sent() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    assert await send_secluded(ours, lambda: CANARY.reveal().encode()) is None
    assert await theirs.receive_some() == CANARY.reveal().encode()
