"""The networks that misbehave, and the parser of what went over them: both decide what other tests can see."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from tests.faults.streams import CLOSE, Cut, Frame, Network, parse

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
KEY = b"\x01\x02\x03\x04"


def masked(payload: bytes, opcode: int = 1) -> bytes:
    """Returns a frame of a client."""
    n = len(payload)
    length = bytes([0x80 | n]) if n < 126 else b"\xfe" + n.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + KEY + bytes(byte ^ KEY[place % 4] for place, byte in enumerate(payload))


def plain(payload: bytes, opcode: int = 2) -> bytes:
    """Returns a frame of a server."""
    return bytes([0x80 | opcode, len(payload)]) + payload


# --- reading ---


def test_whole_frames_are_read() -> None:
    said = parse(HEAD + masked(b'{"a":1}') + masked(b'{"b":"%s"}' % (b"x" * 300)) + masked(b"\x03\xe8", 8), masked=True)
    assert (said.is_whole, said.problem, said.rest) == (True, "", b"")
    assert [frame.opcode for frame in said.frames] == [1, 1, CLOSE]
    assert said.frames[0] == Frame(1, b'{"a":1}')
    assert said.frames[0].message == {"a": 1}


@pytest.mark.parametrize("kept", range(1, 14))
def test_half_a_frame_is_told(kept: int) -> None:
    torn = masked(b'{"b":22}')[:kept]
    said = parse(HEAD + masked(b'{"a":1}') + torn, masked=True)
    assert (len(said.frames), said.rest, said.is_whole) == (1, torn, False)


@pytest.mark.parametrize("kept", range(1, 13))
def test_half_a_frame_with_another_behind_it_is_told(kept: int) -> None:
    torn = masked(b'{"a":1}')[:kept]
    said = parse(HEAD + torn + 3 * masked(b'{"b":22222222}'), masked=True)
    assert said.problem or said.rest


@pytest.mark.parametrize(
    ("frames", "masks", "problem"),
    [
        (b"\xc1" + masked(b"{}")[1:], True, "reserved bits"),
        (masked(b"{}", 3), True, "opcode 3"),
        (b"\x01" + masked(b"{}")[1:], True, "fragments"),
        (plain(b"{}"), True, "mask bit is missing"),
        (masked(b"{}"), False, "mask bit is set"),
        (masked(b"x" * 126, 9), True, "control frame"),
        (masked(b"{}", 2), True, "binary"),
        (masked(b"{"), True, "no JSON"),
        (masked(b"\xff"), True, "no JSON"),
        (masked(b"[]"), True, "no JSON object"),
        (masked(b"\x03\xe8", 8) + masked(b"{}"), True, "after the Close"),
    ],
)
def test_what_is_no_frame_is_told(frames: bytes, masks: bool, problem: str) -> None:
    assert problem in parse(HEAD + frames, masked=masks).problem


def test_an_unfinished_head_is_no_head() -> None:
    assert parse(HEAD[:-1], masked=True).head == b""
    assert not parse(HEAD[:-1], masked=True).is_whole


# --- misbehaving ---


def network(cut: Cut | None = None, *, piece_bytes: int = 1000) -> tuple[Network, list[trio.abc.Stream]]:
    """Returns a network and the far ends of its connections."""
    far_ends: list[trio.abc.Stream] = []

    async def connect(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        near, far = memory_stream_pair()
        far_ends.append(far)
        return near

    return Network(connect, cut=cut, piece_bytes=piece_bytes), far_ends


async def everything(stream: trio.abc.ReceiveStream) -> bytes:
    received = b""
    while data := await stream.receive_some():
        received += data
    return received


@pytest.mark.parametrize("after", [1, 4, 9])
async def test_a_cut_upwards_falls_after_the_byte(after: int) -> None:
    net, far = network(Cut("up", after))
    near = await net("host", 1)
    with pytest.raises(trio.BrokenResourceError):
        await near.send_all(b"0123456789")
    assert await everything(far[0]) == b"0123456789"[:after]
    assert await near.receive_some() == b""
    assert net.wires[0].up == b"0123456789"[:after]


async def test_a_write_that_ends_where_the_cut_falls_has_passed() -> None:
    net, far = network(Cut("up", 10))
    near = await net("host", 1)
    await near.send_all(b"0123456789")
    assert net.wires[0].is_cut
    assert await everything(far[0]) == b"0123456789"


async def test_a_cut_downwards_falls_after_the_byte() -> None:
    net, far = network(Cut("down", 4))
    near = await net("host", 1)
    await far[0].send_all(b"0123456789")
    assert await everything(near) == b"0123"
    with pytest.raises(trio.BrokenResourceError):
        await near.send_all(b"more")


async def test_a_reset_breaks_the_clients_side() -> None:
    net, far = network(Cut("down", 4, "reset"))
    near = await net("host", 1)
    await far[0].send_all(b"0123456789")
    assert await near.receive_some() == b"0123"
    with pytest.raises(trio.BrokenResourceError):
        await near.receive_some()


async def test_the_bytes_are_counted_over_all_connections_and_the_cut_comes_once() -> None:
    net, far = network(Cut("up", 6))
    first, second, third = [await net("host", 1) for _ in range(3)]
    await first.send_all(b"0123")
    with pytest.raises(trio.BrokenResourceError):
        await second.send_all(b"0123")
    await third.send_all(b"0123456789")
    assert [wire.is_cut for wire in net.wires] == [False, True, False]
    assert await everything(far[1]) == b"01"


async def test_a_trickle_can_be_cancelled_between_two_pieces() -> None:
    net, far = network(piece_bytes=3)
    near = await net("host", 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.send_all, b"0123456789")
        while not net.wires[0].up:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert len(net.wires[0].up) in (3, 6)
    await far[0].send_all(b"0123456789")
    assert [await near.receive_some() for _ in range(4)] == [b"012", b"345", b"678", b"9"]


async def test_a_stall_lets_nothing_pass_until_it_is_released(autojump_clock: MockClock) -> None:
    net, far = network()
    near = await net("host", 1)
    net.up.stall()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.send_all, b"0123")
        await wait_all_tasks_blocked()
        assert net.wires[0].up == b""
        net.up.release()
    assert await far[0].receive_some() == b"0123"


async def test_a_stalled_write_ends_when_the_connection_is_cut(autojump_clock: MockClock) -> None:
    net, _ = network()
    near = await net("host", 1)
    net.up.stall()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await near.send_all(b"0123")

        await wait_all_tasks_blocked()
        await net.wires[0].cut()


async def test_receiving_that_is_cancelled_loses_nothing(autojump_clock: MockClock) -> None:
    net, far = network()
    near = await net("host", 1)
    net.down.stall()
    await far[0].send_all(b"0123")
    with trio.move_on_after(1):
        await near.receive_some()
    net.down.release()
    assert await near.receive_some() == b"0123"
