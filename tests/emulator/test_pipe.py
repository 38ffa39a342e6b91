from __future__ import annotations

import pytest
import trio
import trio.testing

from gemlive.emulator._pipe import PipeEnd, pipe


async def _make() -> tuple[PipeEnd, PipeEnd]:
    return pipe()


async def _make_clogged() -> tuple[PipeEnd, PipeEnd]:
    left, right = pipe(capacity_bytes=16)
    with trio.move_on_after(0):
        await left.send_all(bytes(16))
    for end in (left, right):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(end.send_all, bytes(17))
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
    return left, right


async def test_a_pipe_is_a_stream_as_trio_defines_one() -> None:
    await trio.testing.check_half_closeable_stream(_make, _make_clogged)


async def test_a_sender_waits_while_the_peer_has_not_read(autojump_clock: trio.testing.MockClock) -> None:
    left, right = pipe(capacity_bytes=8)
    with trio.move_on_after(60) as scope:
        await left.send_all(bytes(9))
    assert scope.cancelled_caught
    assert await right.receive_some() == bytes(8)


async def test_all_bytes_arrive_in_order_through_a_small_pipe() -> None:
    left, right = pipe(capacity_bytes=7)
    sent = bytes(range(256)) * 5
    received = bytearray()

    async def send() -> None:
        await left.send_all(sent)
        await left.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        async for data in right:
            received += data
    assert bytes(received) == sent


async def test_after_aclose_the_peer_reads_the_rest_and_then_eof() -> None:
    left, right = pipe()
    await left.send_all(b"last words")
    await left.aclose()
    assert await right.receive_some() == b"last words"
    assert await right.receive_some() == b""


async def test_after_abort_the_peer_reads_nothing_more() -> None:
    left, right = pipe()
    await left.send_all(b"lost")
    left.abort()
    with pytest.raises(trio.BrokenResourceError):
        await right.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await right.send_all(b"x")


async def test_abort_wakes_a_sender_that_waits_for_room(autojump_clock: trio.testing.MockClock) -> None:
    left, right = pipe(capacity_bytes=1)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await left.send_all(b"two")

        await trio.testing.wait_all_tasks_blocked()
        right.abort()
