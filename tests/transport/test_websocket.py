"""One connection over trio-websocket: what it promises, and what a peer cannot do to it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import attrs
import pytest
import trio
import trio.testing
import trio_websocket
from trio.testing import MockClock

from gemlive.errors import ConfigError, ConnectError, ConnectionLost
from gemlive.transport import CloseInfo, GoogleAI, Timeouts, Transport, open_transport
from tests.transport.conformance import Peer, check_transport
from tests.transport.peers import (
    BINARY,
    CANARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Breakable,
    Frames,
    Pair,
    accepting,
    bounded_pair,
    close,
    deaf,
    echo,
    frame,
    raw,
    read_request,
    serving,
    silent,
    websocket,
)

QUIET = Timeouts(ping_interval_s=math.inf)


@attrs.define
class WebSocketPeer:
    """The server's end of a connection over trio-websocket."""

    connection: trio_websocket.WebSocketConnection
    stream: trio.abc.Stream

    async def send(self, message: str | bytes) -> None:
        await self.connection.send_message(message)

    async def receive(self) -> str | bytes:
        return await self.connection.get_message()

    async def aclose(self, code: int, reason: str) -> None:
        await self.connection.aclose(code, reason)

    async def vanish(self) -> None:
        await self.stream.aclose()


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Transport, Peer]]:
    peers: list[Peer] = []

    async def handler(stream: trio.abc.Stream) -> None:
        async def talk(connection: trio_websocket.WebSocketConnection) -> None:
            peers.append(WebSocketPeer(connection, stream))
            await trio.sleep_forever()

        await websocket(talk)(stream)

    async with serving(handler) as endpoint, open_transport(endpoint, timeouts=QUIET) as transport:
        await trio.testing.wait_all_tasks_blocked()
        yield transport, peers[0]


@asynccontextmanager
async def talking_to(
    talk: Callable[[trio.abc.Stream], Awaitable[None]],
    *,
    pair: Callable[[], Pair] = trio.testing.memory_stream_pair,
    timeouts: Timeouts = QUIET,
    max_message_bytes: int = 16 * 2**20,
) -> AsyncIterator[Transport]:
    """Opens a connection to a server that talks in bytes after the upgrade."""
    async with (
        serving(raw(talk), pair=pair) as endpoint,
        open_transport(endpoint, timeouts=timeouts, max_message_bytes=max_message_bytes) as transport,
    ):
        yield transport


def sending(*chunks: bytes) -> Callable[[trio.abc.Stream], Awaitable[None]]:
    """A server that sends chunks after the upgrade and then only waits."""

    async def talk(stream: trio.abc.Stream) -> None:
        for chunk in chunks:
            await stream.send_all(chunk)
        await trio.sleep_forever()

    return talk


async def everything_from(transport: Transport) -> tuple[list[str | bytes], ConnectionLost]:
    """Receives until the connection has ended; returns the messages, and the end."""
    messages: list[str | bytes] = []
    try:
        while True:
            messages.extend(await transport.receive())
    except ConnectionLost as lost:
        return messages, lost


async def test_it_is_a_transport(autojump_clock: MockClock) -> None:
    await check_transport(connected)


# How the peer may end it


@pytest.mark.parametrize("code", [1000, 1001, 1007, 1008, 1011, 4000])
async def test_a_close_of_the_peer_is_told_with_code_and_reason(autojump_clock: MockClock, code: int) -> None:
    async with talking_to(sending(frame(TEXT, b"one"), close(code, "because"))) as transport:
        messages, lost = await everything_from(transport)
    assert messages == ["one"]
    assert (lost.code, lost.reason, lost.origin) == (code, "because", "peer")


async def test_a_close_without_a_code_is_1005(autojump_clock: MockClock) -> None:
    async with talking_to(sending(frame(CLOSE))) as transport:
        _, lost = await everything_from(transport)
    assert (lost.code, lost.reason, lost.origin) == (1005, "", "peer")


async def test_a_close_of_the_peer_is_the_peers_from_the_first_moment_on(autojump_clock: MockClock) -> None:
    async def close_later(stream: trio.abc.Stream) -> None:
        await trio.sleep(1)
        await stream.send_all(close(1001, "going away"))
        await trio.sleep_forever()

    async with talking_to(close_later) as transport:
        await trio.sleep(1)
        while transport.close_info is None:  # at every step, also before the answer to it has left
            await trio.lowlevel.checkpoint()
        assert transport.close_info == CloseInfo(1001, "going away", "peer")


async def test_a_close_is_known_before_anybody_receives(autojump_clock: MockClock) -> None:
    async with talking_to(sending(frame(TEXT, b"one"), close(1011, "because"))) as transport:
        await trio.testing.wait_all_tasks_blocked()
        assert transport.close_info == CloseInfo(1011, "because", "peer")
        assert list(await transport.receive()) == ["one"]


async def test_a_reason_that_repeats_our_credential_is_blotted(autojump_clock: MockClock) -> None:
    async with talking_to(sending(close(1007, f"bad key {CANARY}"))) as transport:
        _, lost = await everything_from(transport)
    assert lost.reason == "bad key ***"


@pytest.mark.parametrize(
    ("bytes_", "code"),
    [
        (frame(TEXT, b"\xff\xfe"), 1007),
        (frame(TEXT, "é".encode()[:1], fin=False) + frame(0, b"x"), 1007),
        (frame(0x3, b""), 1002),
        (frame(0xB, b""), 1002),
        (frame(TEXT, b"x", first_bits=0x40), 1002),
        (frame(TEXT, b"x", mask=True), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(PING, b"x", fin=False), 1002),
        (frame(0, b"nothing to continue"), 1002),
        (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
        (frame(CLOSE, b"\x03"), 1002),
        (frame(CLOSE, b"\x03\xe8\xff"), 1007),
        (close(1006), 1002),
    ],
)
async def test_a_peer_that_breaks_the_protocol_is_left_and_told(
    autojump_clock: MockClock, bytes_: bytes, code: int
) -> None:
    told: list[tuple[int, bytes]] = []

    async def talk(stream: trio.abc.Stream) -> None:
        await stream.send_all(frame(TEXT, b"one") + bytes_)
        told.append(await Frames(stream).next())

    async with talking_to(talk) as transport:
        messages, lost = await everything_from(transport)
    assert messages == ["one"]
    assert (lost.code, lost.origin) == (code, "local")
    assert lost.reason.startswith("the server broke the WebSocket protocol")
    assert told[0][0] == CLOSE
    assert told[0][1][:2] == code.to_bytes(2, "big")


async def test_a_sender_is_told_of_a_broken_protocol_as_well(autojump_clock: MockClock) -> None:
    async with talking_to(sending(frame(0x3))) as transport:
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ConnectionLost) as caught:
            await transport.send(["x"])
    assert (caught.value.code, caught.value.origin) == (1002, "local")


async def test_a_frame_that_is_cut_off_is_a_lost_connection(autojump_clock: MockClock) -> None:
    async def talk(stream: trio.abc.Stream) -> None:
        await stream.send_all(frame(TEXT, b"one") + frame(TEXT, b"x" * 100)[:50])
        await stream.aclose()

    async with talking_to(talk) as transport:
        messages, lost = await everything_from(transport)
    assert messages == ["one"]
    assert (lost.code, lost.origin) == (1006, "network")


async def test_a_message_over_the_limit_ends_the_connection(autojump_clock: MockClock) -> None:
    async with talking_to(sending(frame(BINARY, b"x" * 101)), max_message_bytes=100) as transport:
        _, lost = await everything_from(transport)
    assert (lost.code, lost.reason, lost.origin) == (1009, "a message exceeds max_message_bytes=100", "local")


async def test_a_message_at_the_limit_arrives(autojump_clock: MockClock) -> None:
    async with talking_to(sending(frame(BINARY, b"x" * 100)), max_message_bytes=100) as transport:
        assert list(await transport.receive()) == [b"x" * 100]


async def test_the_largest_message_by_default_arrives(autojump_clock: MockClock) -> None:
    message = b"x" * 16 * 2**20
    async with talking_to(sending(frame(BINARY, message))) as transport:
        assert list(await transport.receive()) == [message]


@pytest.mark.parametrize("size", [0, -1, 65 * 2**20])
async def test_a_limit_out_of_range_is_refused_before_any_network(size: int) -> None:
    with pytest.raises(ConfigError) as caught:
        async with open_transport(GoogleAI("x", base_url="ws://127.0.0.1:9"), max_message_bytes=size):
            pass
    assert caught.value.field == "max_message_bytes"


async def test_frames_that_come_with_the_accepted_upgrade_are_not_lost(autojump_clock: MockClock) -> None:
    async def handler(stream: trio.abc.Stream) -> None:
        await stream.send_all(accepting(await read_request(stream)) + frame(TEXT, b"at once"))
        await trio.sleep_forever()

    async with serving(handler) as endpoint, open_transport(endpoint) as transport:
        assert list(await transport.receive()) == ["at once"]


async def test_fragments_are_joined_and_a_ping_between_them_is_answered(autojump_clock: MockClock) -> None:
    answers: list[tuple[int, bytes]] = []
    e = "é".encode()

    async def talk(stream: trio.abc.Stream) -> None:
        await stream.send_all(frame(TEXT, b"a" + e[:1], fin=False) + frame(PING, b"hi") + frame(0, e[1:] + b"b"))
        answers.append(await Frames(stream).next())
        await trio.sleep_forever()

    async with talking_to(talk) as transport:
        assert list(await transport.receive()) == ["aéb"]
        await trio.testing.wait_all_tasks_blocked()
    assert answers == [(PONG, b"hi")]


async def test_a_write_that_fails_leaves_time_to_read_why(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    half = Breakable(ours)

    async def talk(stream: trio.abc.Stream) -> None:
        await trio.sleep(0.5)
        await stream.send_all(close(1008, "why"))
        await trio.sleep_forever()

    async with talking_to(talk, pair=lambda: (half, theirs)) as transport:
        half.is_broken = True
        with pytest.raises(ConnectionLost) as caught:
            await transport.send(["x"])
        assert (caught.value.code, caught.value.reason) == (1008, "why")


async def test_a_write_that_fails_without_a_word_is_a_lost_connection(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    half = Breakable(ours)
    async with talking_to(deaf, pair=lambda: (half, theirs)) as transport:
        half.is_broken = True
        with pytest.raises(ConnectionLost) as caught:
            await transport.send(["x"])
        assert (caught.value.code, caught.value.origin) == (1006, "network")
        with pytest.raises(ConnectionLost):
            await transport.receive()


# What a peer cannot do


async def test_a_ping_during_a_blocked_send_does_not_stop_both(autojump_clock: MockClock) -> None:
    """The peer writes before it reads, as we do; trio-websocket alone waits for ever here."""
    seen: list[int] = []

    async def talk(stream: trio.abc.Stream) -> None:
        await stream.send_all(frame(PING) + frame(BINARY, b"y" * 100_000))
        frames = Frames(stream)
        seen.extend([(await frames.next())[0], (await frames.next())[0]])
        await trio.sleep_forever()

    async with talking_to(talk, pair=bounded_pair) as transport, trio.open_nursery() as nursery:
        nursery.start_soon(transport.send, ["x" * 100_000])
        await trio.testing.wait_all_tasks_blocked()
        assert list(await transport.receive()) == [b"y" * 100_000]
    assert sorted(seen) == [TEXT, PONG]


async def test_a_peer_that_pings_and_does_not_read_is_left(autojump_clock: MockClock) -> None:
    async def talk(stream: trio.abc.Stream) -> None:
        with suppress(trio.BrokenResourceError):
            while True:
                await stream.send_all(frame(PING, b"x" * 125) * 100)

    async with talking_to(talk, pair=partial(bounded_pair, 65536)) as transport:
        _, lost = await everything_from(transport)
    assert (lost.code, lost.origin) == (1006, "local")
    assert lost.reason == "the server sent pings and did not read the pongs"


async def test_a_burst_of_pings_from_a_peer_that_reads_is_answered(autojump_clock: MockClock) -> None:
    async def talk(stream: trio.abc.Stream) -> None:
        await stream.send_all(frame(PING, b"x" * 125) * 10_000)
        frames = Frames(stream)
        for _ in range(10_000):
            assert await frames.next() == (PONG, b"x" * 125)
        await stream.send_all(frame(TEXT, b"all answered"))
        await trio.sleep_forever()

    async with talking_to(talk) as transport:
        assert list(await transport.receive()) == ["all answered"]


async def test_messages_that_nobody_takes_are_held_up_to_a_bound_and_the_connection_lives(
    autojump_clock: MockClock,
) -> None:
    sent = 0

    async def talk(stream: trio.abc.Stream) -> None:
        nonlocal sent
        while sent < 100:
            await stream.send_all(frame(BINARY, bytes([sent]) * 100_000))
            sent += 1
        await trio.sleep_forever()

    pair = partial(bounded_pair, 65536)
    async with talking_to(talk, pair=pair, timeouts=Timeouts(), max_message_bytes=1_000_000) as transport:
        await trio.sleep(1000)
        assert 18 < sent < 25, "two megabytes and what is under way"
        assert transport.close_info is None
        messages: list[str | bytes] = []
        while len(messages) < 100:
            messages.extend(await transport.receive())
        assert messages == [bytes([number]) * 100_000 for number in range(100)]


async def test_a_small_limit_for_messages_does_not_hold_up_pings(autojump_clock: MockClock) -> None:
    chatter = frame(PING, b"x" * 100) * 50
    async with talking_to(sending(chatter, chatter, frame(TEXT, b"at last")), max_message_bytes=100) as transport:
        assert list(await transport.receive()) == ["at last"]


async def test_a_peer_that_sends_bytes_without_end_and_no_message_is_left(autojump_clock: MockClock) -> None:
    async def talk(stream: trio.abc.Stream) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(frame(TEXT, b"begin", fin=False))
            while True:
                await stream.send_all(frame(0, b"", fin=False) * 10_000)

    pair = partial(bounded_pair, 65536)
    async with talking_to(talk, pair=pair, max_message_bytes=1000) as transport:
        _, lost = await everything_from(transport)
    assert (lost.code, lost.origin) == (1006, "local")
    assert lost.reason.endswith("bytes without completing a message")


# Liveness


async def test_a_silent_peer_is_found_after_65_seconds(autojump_clock: MockClock) -> None:
    async with talking_to(deaf, timeouts=Timeouts()) as transport:
        _, lost = await everything_from(transport)
        assert trio.current_time() == 65
        assert (lost.code, lost.reason, lost.origin) == (1006, "no byte from the server for 65 s", "keepalive")
        with pytest.raises(ConnectionLost):
            await transport.send(["x"])


async def test_a_silent_peer_is_found_while_a_send_is_blocked(autojump_clock: MockClock) -> None:
    async with talking_to(deaf, pair=bounded_pair, timeouts=Timeouts()) as transport:
        with pytest.raises(ConnectionLost) as caught:
            await transport.send(["x" * 100_000])
        assert (trio.current_time(), caught.value.origin) == (65, "keepalive")


async def test_a_peer_is_asked_after_20_seconds_of_silence_and_lives_if_it_answers_late(
    autojump_clock: MockClock,
) -> None:
    asked: list[float] = []

    async def talk(stream: trio.abc.Stream) -> None:
        frames = Frames(stream)
        for _ in range(5):
            opcode, payload = await frames.next()
            assert opcode == PING
            asked.append(trio.current_time())
            await trio.sleep(30)
            await stream.send_all(frame(PONG, payload))
        await stream.send_all(frame(TEXT, b"done"))
        await trio.sleep_forever()

    async with talking_to(talk, timeouts=Timeouts()) as transport:
        assert list(await transport.receive()) == ["done"]
        assert asked == [20, 70, 120, 170, 220]


async def test_any_byte_is_life_even_if_no_ping_is_ever_answered(autojump_clock: MockClock) -> None:
    async def talk(stream: trio.abc.Stream) -> None:
        for byte in frame(TEXT, b"x" * 20):
            await trio.sleep(44)
            await stream.send_all(bytes([byte]))
        await trio.sleep_forever()

    async with talking_to(talk, timeouts=Timeouts()) as transport:
        assert list(await transport.receive()) == ["x" * 20]


async def test_a_peer_that_talks_is_not_asked(autojump_clock: MockClock) -> None:
    async def talk(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                opcode, _ = await Frames(stream).next()
                pytest.fail(f"opcode {opcode} was sent")

            for _number in range(50):
                await trio.sleep(19)
                await stream.send_all(frame(TEXT, b"x"))
            nursery.cancel_scope.cancel()
        await stream.send_all(close(1000))
        await trio.sleep_forever()

    async with talking_to(talk, timeouts=Timeouts()) as transport:
        _, lost = await everything_from(transport)
    assert lost.code == 1000


async def test_infinity_switches_the_liveness_check_off(autojump_clock: MockClock) -> None:
    async with talking_to(deaf, timeouts=Timeouts(pong_s=math.inf)) as transport:
        with trio.move_on_after(100_000) as scope:
            await transport.receive()
        assert scope.cancelled_caught


async def test_the_accepted_upgrade_is_the_first_sign_of_life(autojump_clock: MockClock) -> None:
    async def handler(stream: trio.abc.Stream) -> None:
        request = await read_request(stream)
        await trio.sleep(7)
        await stream.send_all(accepting(request))
        await trio.sleep_forever()

    async with serving(handler) as endpoint, open_transport(endpoint, timeouts=Timeouts()) as transport:
        assert transport.last_inbound == trio.current_time() == 7
        await everything_from(transport)
        assert trio.current_time() == 7 + 65


# Leaving


async def never_answers(stream: trio.abc.Stream) -> None:
    while await stream.receive_some():
        pass


@pytest.mark.parametrize("blocked_bytes", [0, 100_000])
@pytest.mark.parametrize("server", [deaf, never_answers])
async def test_leaving_takes_at_most_close_s(
    autojump_clock: MockClock, server: Callable[[trio.abc.Stream], Awaitable[None]], blocked_bytes: int
) -> None:
    async with talking_to(server, pair=bounded_pair) as transport:
        if blocked_bytes:
            with trio.move_on_after(0):
                await transport.send(["x" * blocked_bytes])
        start = trio.current_time()
    assert trio.current_time() - start == 5


async def test_leaving_after_the_peers_close_does_not_wait_for_it_to_close_the_stream(
    autojump_clock: MockClock,
) -> None:
    async with talking_to(sending(close(1000))) as transport:
        await everything_from(transport)
    assert trio.current_time() == 0


async def test_leaving_an_ended_connection_waits_one_second_for_the_last_frame_and_not_close_s(
    autojump_clock: MockClock,
) -> None:
    async def talk(stream: trio.abc.Stream) -> None:
        await trio.sleep(1)
        await stream.send_all(close(1011))
        await trio.sleep_forever()

    async with talking_to(talk, pair=bounded_pair) as transport:
        with pytest.raises(ConnectionLost):
            await transport.send(["x" * 100_000])
            await transport.receive()
        start = trio.current_time()
    assert trio.current_time() - start == 1


async def test_a_dead_connection_is_left_at_once(autojump_clock: MockClock) -> None:
    async with talking_to(deaf, pair=bounded_pair, timeouts=Timeouts()) as transport:
        await everything_from(transport)
        start = trio.current_time()
    assert trio.current_time() == start


async def test_the_peer_is_told_code_and_reason(autojump_clock: MockClock) -> None:
    frames: list[tuple[int, bytes]] = []

    async def talk(stream: trio.abc.Stream) -> None:
        frames.append(await Frames(stream).next())
        await stream.send_all(close(1000))
        assert await stream.receive_some() == b""

    async with talking_to(talk) as transport:
        await transport.aclose(3001, "bye")
    assert frames == [(CLOSE, (3001).to_bytes(2, "big") + b"bye")]


async def test_what_was_sent_arrives_before_the_close(autojump_clock: MockClock) -> None:
    frames: list[tuple[int, bytes]] = []

    async def talk(stream: trio.abc.Stream) -> None:
        await trio.sleep(1)
        reader = Frames(stream)
        frames.extend([await reader.next(), await reader.next()])
        await stream.send_all(close(1000))

    async with talking_to(talk, pair=bounded_pair) as transport:
        with trio.move_on_after(0.5):
            await transport.send(["x" * 100_000])
    assert [opcode for opcode, _ in frames] == [TEXT, CLOSE]
    assert trio.current_time() == 1


async def test_leaving_closes_the_stream(autojump_clock: MockClock) -> None:
    ended = trio.Event()

    async def talk(stream: trio.abc.Stream) -> None:
        while await stream.receive_some():
            pass
        ended.set()

    async with serving(raw(talk)) as endpoint:
        async with open_transport(endpoint):
            pass
        await ended.wait()


@pytest.mark.parametrize("server", [echo, None])
async def test_an_exception_of_the_block_comes_out_unchanged(
    autojump_clock: MockClock, server: Callable[[trio_websocket.WebSocketConnection], Awaitable[None]] | None
) -> None:
    error = KeyError("mine")
    async with serving(websocket(server) if server is not None else raw(deaf)) as endpoint:
        with pytest.raises(KeyError) as caught:
            async with open_transport(endpoint):
                raise error
    assert caught.value is error
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


async def test_an_exception_of_the_block_wins_over_the_end_of_the_connection(autojump_clock: MockClock) -> None:
    async with serving(raw(sending(close(1011)))) as endpoint:
        with pytest.raises(KeyError):
            async with open_transport(endpoint) as transport:
                await everything_from(transport)
                raise KeyError


async def test_a_cancellation_comes_out_plain_after_the_goodbye(autojump_clock: MockClock) -> None:
    async with serving(raw(deaf)) as endpoint:
        with trio.move_on_after(10) as scope:
            with pytest.raises(trio.Cancelled):
                async with open_transport(endpoint):
                    await trio.sleep_forever()
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert trio.current_time() == 15


async def test_a_cancellation_that_comes_while_leaving_is_delivered(autojump_clock: MockClock) -> None:
    async with serving(raw(deaf)) as endpoint:
        with trio.move_on_after(2) as scope, pytest.raises(trio.Cancelled):
            async with open_transport(endpoint):
                pass
        assert trio.current_time() == 5
    assert scope.cancel_called


async def test_closing_without_a_deadline_waits_for_the_peer_until_cancelled(autojump_clock: MockClock) -> None:
    async with serving(raw(deaf)) as endpoint:
        with trio.move_on_after(1000) as scope:
            async with open_transport(endpoint, timeouts=Timeouts(close_s=math.inf, ping_interval_s=math.inf)):
                pass
        assert scope.cancelled_caught
        assert trio.current_time() == 1000


async def test_a_cancelled_close_is_a_closed_transport(autojump_clock: MockClock) -> None:
    async with talking_to(deaf) as transport:
        with trio.move_on_after(1) as scope:
            await transport.aclose()
        assert scope.cancelled_caught
        with pytest.raises(trio.ClosedResourceError):
            await transport.send(["x"])
        start = trio.current_time()
    assert trio.current_time() == start


async def test_the_end_of_the_connection_cancels_nobody(autojump_clock: MockClock) -> None:
    async with talking_to(sending(close(1011))) as transport:
        await trio.sleep(100)
        assert transport.close_info is not None


# Cancelling a send


class CancelAt(trio.abc.Instrument):
    """Cancels a scope before the given step of one task."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self.scope, self.left = scope, step
        self.task: trio.lowlevel.Task | None = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()


@pytest.mark.parametrize("pair", [trio.testing.memory_stream_pair, lambda: bounded_pair(16)])
async def test_a_send_cancelled_at_any_step_is_sent_whole_or_not_at_all(
    autojump_clock: MockClock, pair: Callable[[], Pair]
) -> None:
    outcomes = set()
    for step in range(60):
        arrived: list[bytes] = []

        async def talk(stream: trio.abc.Stream, arrived: list[bytes] = arrived) -> None:
            frames = Frames(stream)
            while True:
                opcode, payload = await frames.next()
                if opcode == CLOSE:
                    await stream.send_all(close(1000))
                    return
                arrived.append(payload)

        async with talking_to(talk, pair=pair) as transport:
            scope = trio.CancelScope()
            instrument = CancelAt(scope, step)
            if step == 0:
                scope.cancel()
            with scope:
                instrument.task = trio.lowlevel.current_task()
                trio.lowlevel.add_instrument(instrument)
                await transport.send(["a" * 300, "b" * 300])
            trio.lowlevel.remove_instrument(instrument)
            await transport.send(["next"])
        assert arrived in ([b"a" * 300, b"b" * 300, b"next"], [b"next"])
        outcomes.add((scope.cancelled_caught, len(arrived)))
    # Cancelled and not sent, cancelled and sent all the same, and not cancelled any more: all of them were seen.
    assert outcomes == {(True, 1), (True, 3), (False, 3)}


async def test_a_send_waits_outside_while_a_batch_is_unwritten(autojump_clock: MockClock) -> None:
    arrived: list[bytes] = []

    async def talk(stream: trio.abc.Stream) -> None:
        await trio.sleep(10)
        frames = Frames(stream)
        while len(arrived) < 2:
            arrived.append((await frames.next())[1])

    async with talking_to(talk, pair=partial(bounded_pair, 100)) as transport:
        for text in ("first", "second"):
            with trio.move_on_after(1) as scope:
                await transport.send([text * 100])
            assert scope.cancelled_caught
        await transport.send(["third"])
    assert arrived == [b"first" * 100, b"third"]


async def test_batches_of_several_tasks_leave_whole_and_in_order(autojump_clock: MockClock) -> None:
    arrived: list[bytes] = []

    async def talk(stream: trio.abc.Stream) -> None:
        frames = Frames(stream)
        while len(arrived) < 300:
            arrived.append((await frames.next())[1])
        await stream.send_all(close(1000))
        await trio.sleep_forever()

    async with talking_to(talk, pair=lambda: bounded_pair(100)) as transport:
        async with trio.open_nursery() as nursery:
            for sender in range(10):
                nursery.start_soon(transport.send, [f"{sender} {number}" for number in range(30)])
        await everything_from(transport)
    runs = [[text.split()[1] for text in arrived[start : start + 30]] for start in range(0, 300, 30)]
    assert runs == [[str(number).encode() for number in range(30)]] * 10


async def test_a_send_returns_when_the_stream_has_taken_the_last_byte(autojump_clock: MockClock) -> None:
    async def talk(stream: trio.abc.Stream) -> None:
        await trio.sleep(7)
        await Frames(stream).next()
        await trio.sleep_forever()

    async with talking_to(talk, pair=lambda: bounded_pair(1000)) as transport:
        await transport.send(["x" * 500])
        assert trio.current_time() == 0
        await transport.send(["x" * 1000])
        assert trio.current_time() == 7


# Behaviour of trio-websocket that is relied upon


async def test_trio_websocket_still_has_the_private_name_that_makes_batches() -> None:
    from gemlive.transport._websocket import _private_take

    async with trio.open_nursery() as nursery:
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(websocket(echo), theirs)
        connection = await trio_websocket.wrap_client_stream(nursery, ours, "localhost", "/")  # type: ignore[arg-type]
        assert _private_take(connection) is not None
        nursery.cancel_scope.cancel()


async def test_trio_websocket_still_has_the_private_name_that_tells_whose_close_it_is() -> None:
    from gemlive.transport._websocket import _peer_has_closed

    async with trio.open_nursery() as nursery:
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(websocket(echo), theirs)
        connection = await trio_websocket.wrap_client_stream(nursery, ours, "localhost", "/")  # type: ignore[arg-type]
        assert hasattr(connection, "_for_testing_peer_closed_connection")
        assert not _peer_has_closed(connection)
        nursery.cancel_scope.cancel()


async def test_without_that_name_messages_come_one_by_one(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gemlive.transport._websocket._private_take", lambda websocket: None)
    async with talking_to(sending(frame(TEXT, b"one") + frame(TEXT, b"two"))) as transport:
        await trio.testing.wait_all_tasks_blocked()
        assert list(await transport.receive()) == ["one"]
        assert list(await transport.receive()) == ["two"]


async def test_a_failure_of_trio_websocket_before_the_upgrade_is_a_connect_error(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: object) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("a bug of theirs")

    monkeypatch.setattr(trio_websocket.WebSocketConnection, "_reader_task", fail)
    async with serving(silent) as endpoint:
        with pytest.raises(ConnectError) as caught:
            async with open_transport(endpoint):
                pass
    assert caught.value.step == "upgrade"


async def test_a_failure_inside_trio_websocket_is_a_lost_connection(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: object, event: object) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("a bug of theirs")

    monkeypatch.setattr(trio_websocket.WebSocketConnection, "_handle_ping_event", fail)
    async with talking_to(sending(frame(TEXT, b"one") + frame(PING))) as transport:
        messages, lost = await everything_from(transport)
        with pytest.raises(ConnectionLost):
            await transport.send(["x"])
    assert messages == ["one"]
    assert lost.reason == "the server broke the WebSocket protocol (RuntimeError)"
