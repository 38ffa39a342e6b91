from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from gemlive.emulator import Behaviour, Close, Script, Server, Turn, serve_in_memory
from tests.emulator.raw_client import GOOGLE_AI, VERTEX, VERTEX_MODEL, Json, open_client

Clock = trio.testing.MockClock
MODEL = "models/gemini-2.5-flash-native-audio-latest"


async def refusal_of(first: str | Json, path: str = GOOGLE_AI, **options: Any) -> tuple[int, str]:
    async with serve_in_memory(**options) as server, open_client(server, path) as client:
        await client.send(first)
        messages, code, reason = await client.until_closed()
    assert messages == []
    return code, reason


@pytest.mark.parametrize(
    ("first", "close"),
    [
        ({"realtimeInput": {"text": "too early"}}, (1007, "Request contains an invalid argument.")),
        ({"setup": {"model": "m"}, "clientContent": {}}, (1007, "Request contains an invalid argument.")),
        ({}, (1007, "Request contains an invalid argument.")),
        (
            {"setup": {"model": "m", "bogusField": 1}},
            (1007, "Invalid JSON payload received. Unknown name \"bogusField\" at 'setup': Cannot find field."),
        ),
        (
            {"setup": {"model": "m", "sessionResumption": {"transparent": True}}},
            (
                1007,
                "Invalid JSON payload received. Unknown name \"transparent\" at 'setup.session_resumption': "
                "Cannot find field.",
            ),
        ),
    ],
)
async def test_a_first_message_that_is_no_good_setup_is_refused(first: Json, close: tuple[int, str]) -> None:
    code, reason = await refusal_of(first)
    assert (code, reason[: len(close[1])]) == close


@pytest.mark.parametrize("frame", ["{", "[]", "null", '"setup"', "{'setup': {}}", "\x00"])
async def test_what_is_not_json_is_refused_as_such(frame: str) -> None:
    code, reason = await refusal_of(frame)
    assert (code, reason[:31]) == (1007, "Invalid JSON payload received. ")


async def test_the_credential_is_judged_after_the_setup_and_not_at_the_upgrade() -> None:
    assert await refusal_of({"setup": {"model": "m"}}, api_keys=["good"]) == (
        1007,
        "API key not valid. Please pass a valid API key.",
    )
    async with serve_in_memory() as server, open_client(server, headers=()) as client:
        await client.send({"setup": {"model": "m"}})
        _, code, reason = await client.until_closed()
    assert (code, reason[:47]) == (1008, "Method doesn't allow unregistered callers (call")


async def test_either_casing_is_taken_at_each_level() -> None:
    setup = {
        "model": MODEL,
        "generation_config": {"responseModalities": ["AUDIO"], "speech_config": {"voiceConfig": {}}},
        "realtimeInputConfig": {"automatic_activity_detection": {"disabled": True}},
        "session_resumption": {},
    }
    async with serve_in_memory() as server, open_client(server) as client:
        await client.send({"setup": setup})
        assert await client.receive() == {"setupComplete": {}}
        assert server.conversations[0].setup.session_resumption is not None


async def test_vertex_names_the_session_and_google_ai_does_not() -> None:
    async with serve_in_memory() as server:
        async with open_client(server, VERTEX) as client:
            assert list((await client.setup(VERTEX_MODEL + "m"))["setupComplete"]) == ["sessionId"]
        async with open_client(server) as client:
            assert (await client.setup())["setupComplete"] == {}


# --- resumption ------------------------------------------------------------------------------------------------------


async def talked(server: Server, text: str, handle: str | None = None, **setup: Any) -> str:
    """Takes one turn on a new connection and returns the handle that comes after it."""
    resumption = {"handle": handle} if handle else {}
    async with open_client(server) as client:
        await client.setup(MODEL, sessionResumption=resumption, **setup)
        await client.say(text)
        await client.turn()
        update: Json = (await client.receive())["sessionResumptionUpdate"]
        await client.socket.aclose()
    assert update["resumable"] is True
    return str(update["newHandle"])


async def test_a_handle_brings_the_conversation_back() -> None:
    histories = []

    async def model(turn: Turn) -> None:
        histories.append([content.parts[0].text for content in turn.history if content.parts])
        await turn.say("yes")

    async with serve_in_memory(model) as server:
        first = await talked(server, "one")
        await talked(server, "two", first)
        (conversation,) = server.conversations
    assert [heard.text for heard in conversation.heard] == ["one", "two"]
    assert [connection.number for connection in conversation.connections] == [1, 2]
    assert histories == [[], ["one", "yes"]]


async def test_an_older_handle_brings_back_less() -> None:
    histories = []

    async def model(turn: Turn) -> None:
        histories.append(len(turn.history))
        await turn.say("yes")

    async with serve_in_memory(model) as server:
        first = await talked(server, "one")
        await talked(server, "two", first)
        await talked(server, "three", first)
    assert histories == [0, 2, 2]


async def test_while_the_model_talks_nothing_can_be_resumed() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(MODEL, sessionResumption={})
        await client.say("hi")
        first = await client.receive()
    assert first == {"sessionResumptionUpdate": {"resumable": False}}


async def test_without_asking_there_are_no_updates() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(MODEL)
        await client.say("hi")
        assert not any("sessionResumptionUpdate" in message for message in await client.turn())


async def test_an_unknown_handle_is_refused() -> None:
    setup = {"setup": {"model": MODEL, "sessionResumption": {"handle": "bogus"}}}
    assert await refusal_of(setup) == (1008, "BidiGenerateContent session not found")


async def test_a_script_refuses_every_handle() -> None:
    script = Script(connections=[Behaviour(refuse_resumption=Close(1007, "Invalid session handle"))])
    async with serve_in_memory(script) as server:
        handle = await talked(server, "one")
        async with open_client(server) as client:
            await client.send({"setup": {"model": MODEL, "sessionResumption": {"handle": handle}}})
            assert (await client.until_closed())[1:] == (1007, "Invalid session handle")


async def test_resuming_while_the_old_socket_is_open_is_refused(autojump_clock: Clock) -> None:
    async with serve_in_memory() as server, open_client(server) as old:
        await old.setup(MODEL, sessionResumption={})
        await old.say("hi")
        await old.turn()
        handle = (await old.receive())["sessionResumptionUpdate"]["newHandle"]
        async with open_client(server) as new:
            await new.send({"setup": {"model": MODEL, "sessionResumption": {"handle": handle}}})
            assert (await new.until_closed())[1] == 1011


async def test_resuming_on_another_model_is_refused() -> None:
    async with serve_in_memory() as server:
        handle = await talked(server, "one")
        async with open_client(server) as client:
            await client.send({"setup": {"model": "models/gemini-3.8-live", "sessionResumption": {"handle": handle}}})
            assert (await client.until_closed())[1] == 1007


async def test_everything_but_the_model_may_change_on_resuming() -> None:
    async with serve_in_memory() as server:
        handle = await talked(server, "one")
        tools = [{"functionDeclarations": [{"name": "f"}]}]
        await talked(server, "two", handle, tools=tools)
        assert server.conversations[0].setup.tools


async def test_transparent_updates_name_the_last_message_they_contain() -> None:
    async with serve_in_memory() as server, open_client(server, VERTEX) as client:
        await client.setup(VERTEX_MODEL + "m", sessionResumption={"transparent": True})
        indices = []
        for text in ("one", "two"):
            await client.say(text)
            await client.turn()
            update = (await client.receive())["sessionResumptionUpdate"]
            indices.append(update["lastConsumedClientMessageIndex"])
    assert indices == ["1", "2"]


async def test_the_end_of_the_old_socket_may_be_noticed_a_moment_later() -> None:
    async with serve_in_memory() as server, open_client(server) as old:
        await old.setup(MODEL, sessionResumption={})
        await old.say("hi")
        await old.turn()
        handle = (await old.receive())["sessionResumptionUpdate"]["newHandle"]
        async with open_client(server) as new:
            await new.send({"setup": {"model": MODEL, "sessionResumption": {"handle": handle}}})
            await trio.testing.wait_all_tasks_blocked()
            await trio.aclose_forcefully(old.stream)
            assert await new.receive() == {"setupComplete": {}}


async def test_a_handle_stands_for_the_moment_it_was_given_at() -> None:
    histories = []

    async def model(turn: Turn) -> None:
        histories.append(len(turn.history))
        await turn.say("yes")

    async with serve_in_memory(model) as server:
        async with open_client(server) as client:
            await client.setup(MODEL, sessionResumption={})
            handles = []
            for text in ("one", "two"):
                await client.say(text)
                await client.turn()
                handles.append((await client.receive())["sessionResumptionUpdate"]["newHandle"])
            await client.socket.aclose()
        await talked(server, "three", handles[0])
    assert histories == [0, 2, 2]
