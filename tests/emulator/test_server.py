from __future__ import annotations

import contextlib
import ssl

import pytest
import trio
import trio.testing
import trio_websocket
import trustme

from gemlive.emulator import Behaviour, Script, Server, Turn, serve, serve_in_memory
from gemlive.errors import ConnectionLost
from gemlive.transport import open_transport
from tests.emulator.raw_client import GOOGLE_AI, VERTEX, VERTEX_MODEL, audio, kinds, open_client, words

TEXT_MODEL = "models/gemini-live-2.5-flash-preview"
WEATHER = [{"functionDeclarations": [{"name": "get_weather"}]}]


async def test_text_is_answered_with_text_that_names_it() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        assert await client.setup(TEXT_MODEL, generationConfig={"responseModalities": ["TEXT"]}) == {
            "setupComplete": {}
        }
        await client.say("hello")
        turn = await client.turn()
    assert words(turn) == 'gemlive emulator: I heard "hello".'
    assert audio(turn) == b""


async def test_in_the_audio_modality_text_is_answered_with_audio_and_its_transcript() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(outputAudioTranscription={})
        await client.say("hello")
        turn = await client.turn()
    assert words(turn) == 'gemlive emulator: I heard "hello".'
    assert 1.5 < len(audio(turn)) / 48000 < 4


async def test_a_function_that_is_named_is_called_and_its_answer_told() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(TEXT_MODEL, generationConfig={"responseModalities": ["TEXT"]}, tools=WEATHER)
        await client.say('please call get_weather {"city": "Oslo"}')
        assert "executableCode" in str(await client.receive())
        (call,) = (await client.receive())["toolCall"]["functionCalls"]
        assert (call["name"], call["args"]) == ("get_weather", {"city": "Oslo"})
        answer = {"id": call["id"], "name": "get_weather", "response": {"output": "fog"}}
        await client.send({"toolResponse": {"functionResponses": [answer]}})
        assert words(await client.turn()).endswith('get_weather returned {"output": "fog"}.')


async def test_both_services_answer_on_their_paths_with_any_version() -> None:
    async with serve_in_memory() as server:
        for path, model in ((GOOGLE_AI, "models/m"), (VERTEX, VERTEX_MODEL + "m")):
            for target in (path, "/" + path, path.replace("v1beta", "v1"), "/prefix" + path, path + "?x=y"):
                async with open_client(server, target) as client:
                    await client.setup(model)
    assert [conversation.backend for conversation in server.conversations] == ["google_ai"] * 5 + ["vertex"] * 5


async def test_another_path_is_not_found() -> None:
    async with serve_in_memory() as server:
        with pytest.raises(ExceptionGroup) as caught:
            async with open_client(server, "/ws/nothing"):
                pass
    (rejected,) = _leaves(caught.value)
    assert isinstance(rejected, trio_websocket.ConnectionRejected)
    assert (rejected.status_code, b'"code": 404' in (rejected.body or b"")) == (404, True)


async def test_frames_are_binary_and_pretty_printed_as_the_service_sends_them() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup()
        assert client.frames == [b'{\n  "setupComplete": {}\n}\n']


async def test_frames_can_be_text() -> None:
    async with serve_in_memory(frames="text") as server, open_client(server) as client:
        await client.setup()
        assert client.frames == ['{\n  "setupComplete": {}\n}\n']


async def test_an_exception_of_a_script_comes_out_plain_after_the_client_was_closed() -> None:
    async def model(turn: Turn) -> None:
        raise ZeroDivisionError(turn.text)

    closes = []
    with pytest.raises(ZeroDivisionError, match="oops"):
        async with serve_in_memory(model) as server, open_client(server) as client:
            await client.setup()
            await client.say("oops")
            closes.append((await client.until_closed())[1:])
            await trio.sleep_forever()
    assert closes == [(1011, "Internal error encountered.")]


async def test_an_exception_of_a_script_comes_out_before_its_echo_in_the_block() -> None:
    async def model(turn: Turn) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with serve_in_memory(model) as server, open_client(server) as client:
            await client.setup()
            await client.say("oops")
            while server.failure is None:
                await trio.lowlevel.checkpoint()
            raise RuntimeError("what a program says whose session was lost")


async def test_an_exception_of_a_script_comes_out_of_a_block_that_holds_a_nursery() -> None:
    async def model(turn: Turn) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with serve_in_memory(model) as server, trio.open_nursery() as nursery, open_client(server) as client:
            nursery.start_soon(trio.sleep_forever)
            await client.setup()
            await client.say("oops")
            await trio.sleep_forever()


async def test_what_is_asked_of_a_server_whose_clients_are_leaving_comes_too_late() -> None:
    async with serve_in_memory() as server:
        for steps in range(12):
            async with open_client(server) as client:
                await client.setup()
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            await server.go_away(5)
            await server.raw({"goAway": {}})


async def test_an_exception_of_the_block_comes_out_unchanged() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with serve_in_memory():
            raise KeyError("mine")
    group = ExceptionGroup("mine", [KeyError("one")])
    with pytest.raises(ExceptionGroup) as caught:
        async with serve_in_memory():
            raise group
    assert caught.value is group


async def test_leaving_closes_clients_that_are_still_there(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        finished = trio.Event()
        async with serve_in_memory() as server:
            ready = trio.Event()

            @nursery.start_soon
            async def stay() -> None:
                async with open_client(server) as client:
                    await client.setup()
                    ready.set()
                    assert (await client.until_closed())[1] == 1001
                finished.set()

            await ready.wait()
        await finished.wait()


async def test_leaving_takes_bounded_time_though_a_client_neither_reads_nor_closes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def model(turn: Turn) -> None:
        await turn.speak(bytes(48000 * 60))

    async with serve_in_memory(model) as server:
        stream = await _upgraded(server)
        await stream.send_all(_masked(b'{"setup": {"model": "m"}}') + _masked(b'{"realtimeInput": {"text": "talk"}}'))
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
    assert server.conversations[0].said[0].complete is False
    assert trio.current_time() - began <= 5


async def test_being_cancelled_takes_bounded_time_too(autojump_clock: trio.testing.MockClock) -> None:
    async def model(turn: Turn) -> None:
        await turn.speak(bytes(48000 * 60))

    with trio.move_on_after(30) as scope:
        async with serve_in_memory(model) as server:
            stream = await _upgraded(server)
            await stream.send_all(_masked(b'{"setup": {"model": "m"}}') + _masked(b'{"realtimeInput": {"text": "t"}}'))
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() <= scope.deadline + 5


async def _upgraded(server: Server) -> trio.abc.Stream:
    assert server.connect is not None
    stream = await server.connect("localhost", 80)
    await stream.send_all(
        f"GET {GOOGLE_AI} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Goog-Api-Key: k\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    assert (await stream.receive_some()).startswith(b"HTTP/1.1 101")
    return stream


def _masked(payload: bytes) -> bytes:
    return bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload


@pytest.mark.socket
async def test_a_port_that_is_taken_is_an_os_error() -> None:
    async with serve() as server:
        with pytest.raises(OSError, match="in use"):
            async with serve(port=int(server.url.rpartition(":")[2])):
                pass


@pytest.mark.socket
async def test_over_tls_the_endpoints_trust_the_authority_that_was_given() -> None:
    authority = trustme.CA()
    server_context, client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server_context)
    authority.configure_trust(client_context)
    async with serve(ssl_context=server_context, client_ssl_context=client_context) as server:
        assert server.url.startswith("wss://localhost:")
        for endpoint in (server.endpoint, server.vertex_endpoint):
            async with open_transport(endpoint) as transport:
                await transport.send(['{"setup": {"model": "models/x"}}'])
                assert len(await transport.receive()) == 1


@pytest.mark.socket
async def test_over_tls_a_client_that_does_not_speak_it_harms_nobody() -> None:
    authority = trustme.CA()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_context)
    async with (
        serve(ssl_context=server_context) as server,
        await trio.open_tcp_stream("127.0.0.1", int(server.url.rpartition(":")[2])) as stream,
    ):
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                pass
    assert [connection.closed_by for connection in server.connections] == ["network"]


@pytest.mark.socket
async def test_a_script_cuts_and_refuses_connections_on_a_socket_too() -> None:
    async def model(turn: Turn) -> None:
        await turn.drop(reset=True)

    script = Script(model=model, connections=[Behaviour(refuse_connection=True), Behaviour()])
    async with serve(script) as server:
        port = int(server.url.rpartition(":")[2])
        async with await trio.open_tcp_stream("127.0.0.1", port) as refused:
            with pytest.raises(trio.BrokenResourceError):
                await refused.receive_some()
        async with open_transport(server.endpoint) as transport:
            await transport.send(['{"setup": {"model": "models/x"}}', '{"realtimeInput": {"text": "go"}}'])
            with pytest.raises(ConnectionLost) as caught:
                while True:
                    await transport.receive()
    assert caught.value.code == 1006


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
async def test_an_upgrade_can_be_refused(status: int) -> None:
    behaviour = Behaviour(upgrade_status=status, upgrade_headers=[("Retry-After", "7")])
    async with serve_in_memory(Script(connections=[behaviour, Behaviour()])) as server:
        with pytest.raises(ExceptionGroup) as caught:
            async with open_client(server):
                pass
        async with open_client(server) as client:
            await client.setup()
    (rejected,) = _leaves(caught.value)
    assert isinstance(rejected, trio_websocket.ConnectionRejected)
    assert rejected.status_code == status
    assert (b"retry-after", b"7") in (rejected.headers or ())


async def test_the_transport_of_the_library_reaches_it_in_memory() -> None:
    async with serve_in_memory() as server:
        for endpoint in (server.endpoint, server.vertex_endpoint):
            async with open_transport(endpoint) as transport:
                await transport.send(['{"setup": {"model": "models/x"}}'])
                (frame,) = await transport.receive()
                assert b"setupComplete" in bytes(frame if isinstance(frame, bytes) else frame.encode())


@pytest.mark.socket
async def test_the_transport_of_the_library_reaches_it_over_a_socket() -> None:
    async with serve() as server, open_transport(server.endpoint) as transport:
        assert server.url.startswith("ws://127.0.0.1:")
        await transport.send(['{"setup": {"model": "models/x"}}'])
        assert len(await transport.receive()) == 1


async def test_no_record_shows_a_secret() -> None:
    headers = (("x-goog-api-key", "canary"), ("authorization", "Bearer canary"))
    async with (
        serve_in_memory() as server,
        open_client(server, GOOGLE_AI + "?key=canary", headers=headers) as client,
    ):
        await client.setup()
        (conversation,) = server.conversations
    assert conversation.headers["x-goog-api-key"] == "canary"
    assert "canary" not in repr(server.conversations) + repr(server.connections) + repr(vars(server))


def _leaves(group: BaseException) -> list[BaseException]:
    if isinstance(group, BaseExceptionGroup):
        return [leaf for inner in group.exceptions for leaf in _leaves(inner)]
    return [group]


async def test_kinds_of_a_turn_are_in_order() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup("models/gemini-3.1-flash-live-preview")
        await client.say("hi")
        turn = kinds(await client.turn())
    assert (turn[0], turn[-2:]) == ("empty", ["generated", "complete+usage"])
