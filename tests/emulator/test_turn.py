"""What a script's function can do with a turn, and what its client gets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from gemlive.emulator import Turn, serve_in_memory
from gemlive.types import Content, GroundingMetadata, UsageMetadata
from tests.emulator.raw_client import Json, audio, kind, kinds, open_client, words

Clock = trio.testing.MockClock
NATIVE_2_5 = "models/gemini-2.5-flash-native-audio-latest"
FLASH_3_1 = "models/gemini-3.1-flash-live-preview"
TEXT_MODEL = "models/gemini-live-2.5-flash-preview"
IN_TEXT: Json = {"generationConfig": {"responseModalities": ["TEXT"]}}


async def one_turn(
    model: Callable[[Turn], Awaitable[None]], *, name: str = TEXT_MODEL, setup: Json = IN_TEXT, **options: Any
) -> list[Json]:
    async with serve_in_memory(model, **options) as server, open_client(server) as client:
        await client.setup(name, **setup)
        await client.say("go")
        return await client.turn()


async def test_a_model_that_says_nothing_still_ends_its_turn() -> None:
    async def model(turn: Turn) -> None:
        pass

    assert kinds(await one_turn(model)) == ["generated", "complete+usage"]


async def test_say_answers_in_the_modality_of_the_session() -> None:
    async def model(turn: Turn) -> None:
        await turn.say("hello")

    assert kinds(await one_turn(model)) == ["text", "generated", "complete+usage"]
    assert kinds(await one_turn(model, name=NATIVE_2_5, setup={})) == ["audio", "generated", "complete+usage"]


async def test_speak_takes_words_or_audio() -> None:
    pcm = bytes(range(256)) * 100

    async def model(turn: Turn) -> None:
        await turn.speak(pcm)
        await turn.speak(pcm, transcript="two")
        await turn.speak("three")

    turn = await one_turn(model, name=NATIVE_2_5, setup={"outputAudioTranscription": {}})
    assert audio(turn)[: 2 * len(pcm)] == pcm * 2
    assert words(turn) == "twothree"


async def test_what_is_thought_is_marked_as_thought_and_counted_apart() -> None:
    async def model(turn: Turn) -> None:
        await turn.think("hmm, hmm, hmm")
        await turn.say("yes")

    turn = await one_turn(model)
    assert kinds(turn)[:2] == ["thought", "text"]
    assert turn[-1]["usageMetadata"]["thoughtsTokenCount"] == 4
    assert words(turn) == "yes"


async def test_a_call_returns_the_answer() -> None:
    answers = []

    async def model(turn: Turn) -> None:
        answers.append(await turn.call("f", {"x": 1}))

    async with serve_in_memory(model) as server, open_client(server) as client:
        await client.setup(TEXT_MODEL, **IN_TEXT)
        await client.say("go")
        await client.receive()
        (call,) = (await client.receive())["toolCall"]["functionCalls"]
        assert (call["name"], call["args"]) == ("f", {"x": 1})
        await client.send(
            {"toolResponse": {"functionResponses": [{"id": call["id"], "name": "f", "response": {"y": 2}}]}}
        )
        await client.turn()
    assert answers == [{"y": 2}]


async def test_results_can_be_waited_for_in_any_order() -> None:
    answers = []

    async def model(turn: Turn) -> None:
        first, second = await turn.begin_calls([("f", {}), ("g", {})])
        answers.append(await turn.wait_result(second))
        answers.append(await turn.wait_result(first))

    async with serve_in_memory(model) as server, open_client(server) as client:
        await client.setup(NATIVE_2_5)
        await client.say("go")
        calls = (await client.receive())["toolCall"]["functionCalls"]
        for call in calls:
            response = {"id": call["id"], "name": call["name"], "response": {"name": call["name"]}}
            await client.send({"toolResponse": {"functionResponses": [response]}})
        await client.turn()
    assert answers == [{"name": "g"}, {"name": "f"}]


async def test_what_is_said_after_complete_is_another_turn() -> None:
    async def model(turn: Turn) -> None:
        await turn.say("one")
        await turn.complete(reason="RESPONSE_REJECTED", status="IN_PROGRESS")
        await turn.say("two")

    async with serve_in_memory(model) as server, open_client(server) as client:
        await client.setup(TEXT_MODEL, **IN_TEXT)
        await client.say("go")
        first, second = await client.turn(), await client.turn()
        assert first[-1]["serverContent"] == {
            "turnComplete": True,
            "turnCompleteReason": "RESPONSE_REJECTED",
            "interactionStatus": "IN_PROGRESS",
        }
        assert (words(first), words(second)) == ("one", "two")
        assert [said.text for said in server.conversations[0].said] == ["one", "two"]


async def test_usage_and_grounding_can_be_set() -> None:
    async def model(turn: Turn) -> None:
        turn.usage = UsageMetadata(total_token_count=7)
        await turn.ground(GroundingMetadata(web_search_queries=("q",)))
        await turn.say("yes")

    last = (await one_turn(model))[-1]
    assert last["usageMetadata"] == {"totalTokenCount": 7}
    assert last["serverContent"]["groundingMetadata"] == {"webSearchQueries": ["q"]}


async def test_raw_sends_what_it_is_given() -> None:
    async def model(turn: Turn) -> None:
        await turn.raw({"serverContent": {"modelTurn": {"parts": [{"text": "raw"}]}}, "unheardOf": [1]})
        await turn.raw("not json {")
        await turn.raw(b"\xff\x00")

    async with serve_in_memory(model) as server, open_client(server) as client:
        await client.setup(TEXT_MODEL, **IN_TEXT)
        await client.say("go")
        message = await client.receive()
        assert message == {"serverContent": {"modelTurn": {"parts": [{"text": "raw"}]}}, "unheardOf": [1]}
        assert await client.socket.get_message() == "not json {"
        assert await client.socket.get_message() == b"\xff\x00"


async def test_close_closes_with_the_code_and_does_not_return() -> None:
    returned = []

    async def model(turn: Turn) -> None:
        close: Callable[[int, str], Awaitable[object]] = turn.close
        await turn.say("one")
        await close(1011, "Internal error occurred.")
        returned.append(True)

    async with serve_in_memory(model) as server, open_client(server) as client:
        await client.setup(TEXT_MODEL, **IN_TEXT)
        await client.say("go")
        messages, code, reason = await client.until_closed()
    assert (words(messages), code, reason, returned) == ("one", 1011, "Internal error occurred.", [])


@pytest.mark.parametrize("reset", [False, True])
async def test_drop_ends_the_stream_without_a_close_frame(reset: bool) -> None:
    async def model(turn: Turn) -> None:
        await turn.say("one")
        await turn.drop(reset=reset)

    async with serve_in_memory(model) as server, open_client(server) as client:
        await client.setup(TEXT_MODEL, **IN_TEXT)
        await client.say("go")
        assert (await client.until_closed())[1] == 1006
        assert server.conversations[0].said[0].complete is False


async def test_an_end_is_announced_and_comes(autojump_clock: Clock) -> None:
    async def model(turn: Turn) -> None:
        await turn.go_away(5)
        await turn.say("goodbye")

    async with serve_in_memory(model) as server, open_client(server) as client:
        await client.setup(TEXT_MODEL, **IN_TEXT)
        await client.say("go")
        turn = await client.turn()
        assert turn[0] == {"goAway": {"timeLeft": "5s"}}
        assert (await client.until_closed())[1] == 1008


async def test_resumption_updates_can_be_good_bad_or_empty() -> None:
    async def model(turn: Turn) -> None:
        await turn.update_resumption()
        await turn.update_resumption("made up")
        await turn.update_resumption(resumable=False)

    turn = await one_turn(model)
    updates = [message["sessionResumptionUpdate"] for message in turn if "sessionResumptionUpdate" in message]
    assert [update.get("newHandle", "")[:7] for update in updates] != ["", "made up", ""]
    assert updates[1:] == [{"newHandle": "made up", "resumable": True}, {"resumable": False}]


async def test_a_turn_tells_what_was_heard() -> None:
    seen: list[Turn] = []

    async def model(turn: Turn) -> None:
        seen.append(turn)

    async with serve_in_memory(model) as server, open_client(server) as client:
        await client.setup(NATIVE_2_5, tools=[{"functionDeclarations": [{"name": "f", "behavior": "NON_BLOCKING"}]}])
        await client.say("hello")
        await client.turn()
        await client.say("again")
        await client.turn()
        first, second = seen
        assert (first.text, first.audio, first.connection, first.number) == ("hello", b"", 1, 1)
        assert (second.text, second.number) == ("again", 2)
        assert second.history == (*first.history, Content(role="user", parts=second.history[0].parts))
        assert first.conversation is server.conversations[0]
        assert list(first.functions) == ["f"]
        assert (first.blocks("f"), first.blocks("g")) == (False, True)


async def test_an_interrupted_script_is_cancelled_where_it_waits(autojump_clock: Clock) -> None:
    record = []

    async def model(turn: Turn) -> None:
        try:
            await turn.say(turn.text)
            await trio.sleep(100)
        finally:
            record.append((turn.text, turn.interrupted))

    async with serve_in_memory(model) as server, open_client(server) as client:
        await client.setup(TEXT_MODEL, **IN_TEXT)
        await client.say("one")
        await client.receive()
        await client.say("two")
        await client.turn()
        await client.turn()
    assert record == [("one", True), ("two", False)]


async def test_what_was_said_when_the_connection_broke_is_noted(autojump_clock: Clock) -> None:
    async def model(turn: Turn) -> None:
        await turn.say("one")
        await trio.sleep(1000)

    async with serve_in_memory(model) as server, open_client(server) as client:
        await client.setup(TEXT_MODEL, **IN_TEXT)
        await client.say("go")
        while kind(await client.receive()) != "text":
            pass
        await trio.sleep(1)
        server.drop()
        await client.until_closed()
        await trio.sleep(1)
        (said,) = server.conversations[0].said
    assert (said.text, said.complete) == ("one", False)


async def test_every_method_is_a_checkpoint() -> None:
    async def model(turn: Turn) -> None:
        actions: list[Callable[[], Awaitable[None]]] = [
            lambda: turn.say("x"),
            lambda: turn.speak(b""),
            lambda: turn.think("x"),
            lambda: turn.raw({}),
            lambda: turn.ground(GroundingMetadata()),
            lambda: turn.update_resumption(),
            lambda: turn.go_away(50),
            lambda: turn.complete(),
        ]
        for action in actions:
            with trio.testing.assert_checkpoints():
                await action()

    async with serve_in_memory(model) as server, open_client(server) as client:
        await client.setup(FLASH_3_1)
        await client.say("go")
        await client.turn()
