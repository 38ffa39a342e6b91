"""What runs in seclusion leaves no frame in any exception."""

from __future__ import annotations

import ssl
import traceback

import pytest
import trio
import trio.testing

from gemlive.transport._seclusion import broken, run_secluded
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


@pytest.mark.parametrize(
    ("error", "cause", "words"),
    [
        (trio.BrokenResourceError(), None, "the stream broke"),
        (trio.ClosedResourceError(), None, "the stream was closed"),
        (trio.BrokenResourceError(), ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
    ],
)
def test_a_broken_stream_is_told_in_words(
    error: trio.BrokenResourceError | trio.ClosedResourceError, cause: Exception | None, words: str
) -> None:
    error.__cause__ = cause
    assert broken(error) == words


def test_a_broken_tls_stream_is_told_in_words() -> None:
    error = trio.BrokenResourceError()
    error.__cause__ = ssl.SSLError(1, "x")
    assert broken(error) == "the TLS connection broke"
