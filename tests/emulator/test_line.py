"""Faults that a script puts on a connection, as a client sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
import trio_websocket

from gemlive.emulator import Behaviour, Close, Script, Server, Turn, serve_in_memory
from gemlive.emulator._line import CLOSE_S
from gemlive.types import ServerMessage
from tests.emulator.raw_client import RawClient, open_client

Clock = trio.testing.MockClock


@asynccontextmanager
async def one_connection(behaviour: Behaviour) -> AsyncIterator[tuple[Server, RawClient]]:
    async with serve_in_memory(Script(connections=[behaviour])) as server, open_client(server) as client:
        yield server, client


@pytest.mark.parametrize("step", ["tcp", "upgrade"])
async def test_a_server_that_is_silent_from_the_start_never_upgrades(step: str, autojump_clock: Clock) -> None:
    behaviour = Behaviour(silent_at="tcp" if step == "tcp" else "upgrade")
    with trio.move_on_after(1000) as scope:
        async with one_connection(behaviour):
            pytest.fail("it answered")
    assert scope.cancelled_caught


async def test_a_server_that_is_silent_at_the_setup_still_answers_pings(autojump_clock: Clock) -> None:
    async with one_connection(Behaviour(silent_at="setup")) as (_, client):
        await client.send({"setup": {"model": "m"}})
        await client.socket.ping()
        with trio.move_on_after(1000) as scope:
            await client.receive()
    assert scope.cancelled_caught


async def test_a_server_that_is_silent_once_open_does_not_even_answer_pings(autojump_clock: Clock) -> None:
    async with one_connection(Behaviour(silent_at="open")) as (server, client):
        await client.setup()
        await client.say("anybody?")
        with trio.move_on_after(100) as scope:
            await client.socket.ping()
        assert scope.cancelled_caught
        assert server.conversations[0].heard[0].text == "anybody?"


async def test_a_server_that_is_silent_at_the_close_works_and_never_answers_it(autojump_clock: Clock) -> None:
    async with one_connection(Behaviour(silent_at="close")) as (server, client):
        await client.setup()
        await client.say("hello")
        await client.turn()
        with trio.move_on_after(1000) as scope:
            await client.socket.aclose()
        assert scope.cancelled_caught
        assert server.connections[0].close == Close(1000)


async def test_the_stream_is_cut_after_a_number_of_messages() -> None:
    async with one_connection(Behaviour(drop_after_messages=3)) as (_, client):
        await client.setup()
        await client.say("hello")
        messages, code, _ = await client.until_closed()
    assert (len(messages), code) == (2, 1006)


@pytest.mark.parametrize("size", [0, 1, 100, 128])
async def test_the_stream_is_cut_within_the_upgrade(size: int) -> None:
    async with serve_in_memory(Script(connections=[Behaviour(drop_after_bytes=size)])) as server:
        assert server.connect is not None
        stream = await server.connect("localhost", 80)
        await stream.send_all(_UPGRADE)
        assert len(b"".join([chunk async for chunk in stream])) == size


@pytest.mark.parametrize("size", [130, 140, 200, 1000, 20_000])
async def test_the_stream_is_cut_within_a_message(size: int) -> None:
    async with serve_in_memory(Script(connections=[Behaviour(drop_after_bytes=size)])) as server:
        assert server.connect is not None
        stream = await server.connect("localhost", 80)
        await stream.send_all(_UPGRADE)
        received = bytearray(await stream.receive_some())
        for payload in (b'{"setup": {"model": "m"}}', b'{"realtimeInput": {"text": "hello"}}'):
            await stream.send_all(_masked(payload))
        async for chunk in stream:
            received += chunk
    assert len(received) == size


async def _upgraded(server: Server) -> trio.abc.Stream:
    assert server.connect is not None
    stream = await server.connect("localhost", 80)
    await stream.send_all(_UPGRADE)
    assert (await stream.receive_some()).startswith(b"HTTP/1.1 101")
    return stream


def _masked(payload: bytes) -> bytes:
    # With a mask of zeros a client's frame is as easily written as a server's.
    return bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload


_UPGRADE = (
    b"GET /ws/google.ai.generativelanguage.v1.GenerativeService.BidiGenerateContent HTTP/1.1\r\nHost: h\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nX-Goog-Api-Key: k\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def test_the_stream_is_cut_after_a_time(autojump_clock: Clock) -> None:
    async with one_connection(Behaviour(drop_after_s=30)) as (_, client):
        await client.setup()
        began = trio.current_time()
        assert await client.until_closed() == ([], 1006, "")
        assert trio.current_time() - began == 30


async def test_the_connection_is_closed_after_a_time(autojump_clock: Clock) -> None:
    behaviour = Behaviour(close_after_s=30, close_with=Close(1011, "The service is currently unavailable."))
    async with one_connection(behaviour) as (server, client):
        await client.setup()
        assert await client.until_closed() == ([], 1011, "The service is currently unavailable.")
        assert (server.connections[0].close, server.connections[0].closed_by) == (behaviour.close_with, "server")


async def test_the_connection_is_closed_right_after_the_setup() -> None:
    async with one_connection(Behaviour(close_after_setup=Close(1000))) as (_, client):
        await client.setup()
        assert await client.until_closed() == ([], 1000, "")


async def test_the_setup_is_refused() -> None:
    async with one_connection(Behaviour(refuse_setup=Close(1008, "no"))) as (_, client):
        await client.send({"setup": {"model": "m"}})
        assert await client.until_closed() == ([], 1008, "no")


@pytest.mark.parametrize("first", [{"goAway": {}}, b'{"goAway": {}}', ServerMessage(extra={"goAway": {}})])
async def test_the_first_message_is_another(first: dict[str, object] | bytes | ServerMessage) -> None:
    async with one_connection(Behaviour(first_message=first)) as (_, client):
        assert await client.setup() == {"goAway": {}}


async def test_a_connection_is_refused_before_it_is_one() -> None:
    async with serve_in_memory(Script(connections=[Behaviour(refuse_connection=True), Behaviour()])) as server:
        assert server.connect is not None
        with pytest.raises(ConnectionRefusedError):
            await server.connect("localhost", 80)
        async with open_client(server) as client:
            await client.setup()
    assert [connection.closed_by for connection in server.connections] == ["server", "network"]


async def test_steps_take_as_long_as_the_script_says(autojump_clock: Clock) -> None:
    began = trio.current_time()
    async with one_connection(Behaviour(upgrade_after_s=3, setup_after_s=4)) as (_, client):
        assert trio.current_time() - began == 3
        await client.setup()
        assert trio.current_time() - began == 7


async def test_a_server_that_stops_reading_brings_a_sender_to_a_halt(autojump_clock: Clock) -> None:
    async with one_connection(Behaviour(stops_reading_after=1)) as (server, client):
        await client.setup()
        with trio.move_on_after(100) as scope:
            while True:
                await client.play(bytes(32000))
        assert scope.cancelled_caught
        assert len(server.conversations[0].messages) == 1


async def test_a_message_that_is_being_written_is_finished_before_the_close(autojump_clock: Clock) -> None:
    """A frame cut in two would be a protocol error to the client, in place of the code that the script chose."""

    async def model(turn: Turn) -> None:
        await turn.raw({"serverContent": {"big": "x" * 200_000}})
        await turn.close(1011, "on purpose")

    async with serve_in_memory(model) as server, open_client(server) as client:
        await client.setup()
        await client.say("go")
        await trio.testing.wait_all_tasks_blocked()
        (message,), code, reason = await client.until_closed()
    assert len(message["serverContent"]["big"]) == 200_000
    assert (code, reason) == (1011, "on purpose")


async def test_nothing_follows_a_message_that_had_to_be_torn(autojump_clock: Clock) -> None:
    """A Close frame in the middle of another frame would be data."""

    async def model(turn: Turn) -> None:
        await turn.raw({"serverContent": {"big": "x" * 200_000}})
        await turn.close(1011)

    async with serve_in_memory(model) as server:
        stream = await _upgraded(server)
        for payload in (b'{"setup": {"model": "m"}}', b'{"realtimeInput": {"text": "go"}}'):
            await stream.send_all(_masked(payload))
        await trio.sleep(CLOSE_S + 1)
        received = b"".join([chunk async for chunk in stream])
    assert received.endswith(b"xxxx")


async def test_the_end_is_written_down_with_its_author() -> None:
    async with serve_in_memory() as server:
        async with open_client(server) as client:
            await client.setup()
            await client.socket.aclose(4000, "enough")
        async with open_client(server) as client:
            await client.setup()
        await trio.testing.wait_all_tasks_blocked()
        ends = [(connection.close, connection.closed_by) for connection in server.connections]
    assert ends == [(Close(4000, "enough"), "client"), (Close(1006), "network")]


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\x00\x01\x02",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /ws HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_a_client_that_speaks_something_else_harms_nobody(junk: bytes) -> None:
    async with serve_in_memory() as server:
        assert server.connect is not None
        stream = await server.connect("localhost", 80)
        await stream.send_all(junk)
        await stream.aclose()
        async with open_client(server) as client:
            await client.setup()


async def test_a_client_that_breaks_the_websocket_protocol_harms_nobody() -> None:
    async with serve_in_memory() as server:
        async with open_client(server) as client:
            await client.setup()
            await client.stream.send_all(b"\xff\xff\xff\xff")
            with pytest.raises(trio_websocket.ConnectionClosed):
                await client.receive()
        async with open_client(server) as client:
            await client.setup()


async def test_a_client_that_never_sends_its_request_is_sent_away(autojump_clock: Clock) -> None:
    async with serve_in_memory() as server:
        assert server.connect is not None
        stream = await server.connect("localhost", 80)
        assert await stream.receive_some() == b""
        assert trio.current_time() >= 10
