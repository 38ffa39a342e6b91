from __future__ import annotations

import pytest
import trio

from gemlive.emulator._faulty import FaultyStream
from gemlive.emulator._pipe import PipeEnd, pipe


def pair() -> tuple[FaultyStream, PipeEnd]:
    near, far = pipe()
    return FaultyStream(near), far


async def test_without_faults_everything_passes() -> None:
    faulty, peer = pair()
    await faulty.send_all(b"there")
    await peer.send_all(b"back")
    assert (await peer.receive_some(), await faulty.receive_some()) == (b"there", b"back")


async def test_a_mute_stream_sends_nothing_and_still_hears() -> None:
    faulty, peer = pair()
    faulty.is_mute = True
    await faulty.send_all(b"lost")
    await faulty.aclose()
    assert await peer.receive_some() == b""


async def test_a_stream_is_cut_within_a_message_after_the_bytes_that_were_left() -> None:
    faulty, peer = pair()
    faulty.bytes_left = 3
    with pytest.raises(trio.BrokenResourceError):
        await faulty.send_all(b"hello")
    assert (await peer.receive_some(), await peer.receive_some()) == (b"hel", b"")


async def test_a_reset_loses_what_was_not_read() -> None:
    faulty, peer = pair()
    await faulty.send_all(b"lost")
    faulty.resets = True
    await faulty.cut()
    with pytest.raises(trio.BrokenResourceError):
        await peer.receive_some()


async def test_withheld_close_frames_do_not_leave_and_closing_keeps_the_line_open() -> None:
    faulty, peer = pair()
    faulty.withholds_close = True
    await faulty.send_all(b"\x88\x02\x03\xe8")
    await faulty.aclose()
    await faulty.send_all(b"data")
    assert await peer.receive_some() == b"data"


async def test_the_end_is_noted_whoever_ends() -> None:
    faulty, peer = pair()
    await peer.aclose()
    assert await faulty.receive_some() == b""
    assert faulty.ended.is_set()
    other, _ = pair()
    await other.aclose()
    assert other.ended.is_set()


@pytest.mark.socket
async def test_a_reset_on_a_socket_is_a_reset() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        peer = await trio.open_tcp_stream(*listener.socket.getsockname())
        faulty = FaultyStream(await listener.accept())
        faulty.resets = True
        await faulty.cut()
        with pytest.raises(trio.BrokenResourceError):
            await peer.receive_some()
        await peer.aclose()
