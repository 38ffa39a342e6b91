"""What the server makes of what it hears: turns, interruptions, tools, activity, history."""

from __future__ import annotations

import base64
import re
from typing import Any

import numpy as np
import pytest
import trio
import trio.lowlevel
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gemlive.codec import encode
from gemlive.emulator import Close, Turn, serve_in_memory
from gemlive.types import ClientMessage, ToolResponse
from tests.emulator.raw_client import (
    GOOGLE_AI,
    VERTEX,
    VERTEX_MODEL,
    Json,
    RawClient,
    audio,
    kind,
    kinds,
    open_client,
    words,
)
from tests.types.strategies import client_messages

Clock = trio.testing.MockClock
NATIVE_2_5 = "models/gemini-2.5-flash-native-audio-latest"
FLASH_3_1 = "models/gemini-3.1-flash-live-preview"
LIVE_3_8 = "models/gemini-3.8-live"
TRANSCRIBE = "models/gemini-3.5-transcribe-live"
TEXT_MODEL = "models/gemini-live-2.5-flash-preview"
IN_TEXT: Json = {"generationConfig": {"responseModalities": ["TEXT"]}}
MANUAL: Json = {"realtimeInputConfig": {"automaticActivityDetection": {"disabled": True}}}
WEATHER: Json = {"tools": [{"functionDeclarations": [{"name": "get_weather"}]}]}
SPEECH = (np.sin(np.arange(32000) / 9) * 6000).astype("<i2").tobytes()  # 2.0 s
PAUSE = bytes(32000)  # 1.0 s
REPLY = "gemlive emulator: "


def content(*texts: str, complete: bool | None = None, role: str | None = "user") -> Json:
    turns = [{"role": role, "parts": [{"text": text}]} for text in texts]
    message: Json = {"turns": turns} if turns else {}
    if complete is not None:
        message["turnComplete"] = complete
    return {"clientContent": message}


def answer_to(call: Json, **response: Any) -> Json:
    found = {"id": call["id"], "name": call["name"], "response": {"output": "fog"}, **response}
    return {"toolResponse": {"functionResponses": [found]}}


async def called(client: RawClient) -> tuple[list[Json], Json]:
    """Returns the messages up to a tool call, and the first of its calls."""
    messages = [await client.receive()]
    while "toolCall" not in messages[-1]:
        messages.append(await client.receive())
    return messages, messages[-1]["toolCall"]["functionCalls"][0]


# --- turns -----------------------------------------------------------------------------------------------------------


async def test_everything_since_the_last_answer_is_one_turn() -> None:
    """As one client in the field has it: the text without, then a full stop with ``turnComplete``."""
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(TEXT_MODEL, **IN_TEXT)
        await client.send(content("How are you?", complete=False))
        await client.send(content(".", complete=True))
        assert words(await client.turn()) == REPLY + 'I heard "How are you? .".'


async def test_words_of_the_model_in_a_seeded_history_are_not_heard() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(TEXT_MODEL, **IN_TEXT)
        await client.send(
            {
                "clientContent": {
                    "turns": [
                        {"role": "user", "parts": [{"text": "My name is Alice."}]},
                        {"role": "model", "parts": [{"text": "Hello Alice."}]},
                    ],
                    "turnComplete": False,
                }
            }
        )
        await client.send(content("What is my name?", complete=True))
        assert words(await client.turn()) == REPLY + 'I heard "What is my name?".'


async def test_content_with_nothing_in_it_is_answered_all_the_same() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(TEXT_MODEL, **IN_TEXT)
        await client.send(content(complete=True))
        assert words(await client.turn()) == REPLY + "I heard nothing."


async def test_turns_that_were_asked_for_are_answered_one_after_the_other() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(TEXT_MODEL, **IN_TEXT)
        for text in ("one", "two", "three"):
            await client.say(text)
            assert words(await client.turn()) == REPLY + f'I heard "{text}".'


async def test_initial_history_is_learnt_without_an_answer_where_the_family_knows_it() -> None:
    config: Json = {"historyConfig": {"initialHistoryInClientContent": True}}
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(FLASH_3_1, **config)
        await client.send(content("My name is Alice.", complete=True))
        await client.say("hello")
        assert words(await client.turn()) == REPLY + 'I heard "hello".'


async def test_where_the_family_does_not_know_initial_history_it_is_answered() -> None:
    config: Json = {"historyConfig": {"initialHistoryInClientContent": True}, "outputAudioTranscription": {}}
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(NATIVE_2_5, **config)
        await client.send(content("hello", complete=True))
        assert words(await client.turn()) == REPLY + 'I heard "hello".'


async def test_3_1_takes_content_until_realtime_input_has_begun() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(FLASH_3_1)
        await client.send(content("hello", complete=True))
        await client.turn()
        await client.say("hello")
        await client.turn()
        await client.send(content("again", complete=True))
        _, code, reason = await client.until_closed()
    assert (code, reason) == (1007, "Request contains an invalid argument.")


async def test_video_is_counted_and_mentioned() -> None:
    frame = {"realtimeInput": {"video": {"data": base64.b64encode(b"jpeg").decode(), "mimeType": "image/jpeg"}}}
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(TEXT_MODEL, **IN_TEXT)
        await client.send(frame)
        await client.send(frame)
        await client.say("What is this?")
        assert words(await client.turn()) == REPLY + 'I heard "What is this?" and saw 2 video frames.'


async def test_the_history_is_counted_again_in_each_turn() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(TEXT_MODEL, **IN_TEXT)
        counts = []
        for _ in range(3):
            await client.say("hello")
            counts.append((await client.turn())[-1]["usageMetadata"]["promptTokenCount"])
    assert counts == sorted(set(counts))


# --- speech ----------------------------------------------------------------------------------------------------------


async def test_speech_is_transcribed_as_what_it_is_and_played_back() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(NATIVE_2_5, inputAudioTranscription={}, outputAudioTranscription={})
        await client.play(PAUSE + SPEECH + PAUSE)
        turn = await client.turn()
    heard = "".join(m["serverContent"].get("inputTranscription", {}).get("text", "") for m in turn)
    assert heard == "[speech, 2.0 s]"
    assert words(turn) == REPLY + 'I heard "[speech, 2.0 s]".'
    assert len(audio(turn)) / 48000 == pytest.approx(2.0, abs=0.12)
    assert kinds(turn)[:2] == ["heard", "thought"]


async def test_speech_that_the_end_of_the_stream_ends() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(NATIVE_2_5)
        await client.play(SPEECH)
        await client.send({"realtimeInput": {"audioStreamEnd": True}})
        await client.turn()
        assert server.conversations[0].heard[0].audio_s == 2.0


async def test_audio_of_another_rate_is_heard_as_long_as_it_is() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(NATIVE_2_5)
        await client.play(SPEECH + PAUSE, rate_hz=8000)
        await client.turn()
        assert server.conversations[0].heard[0].audio_s == pytest.approx(4.0, abs=0.1)


async def test_the_deprecated_media_chunks_are_taken_by_2_5_and_refused_by_3_1() -> None:
    chunk = {"data": base64.b64encode(SPEECH + PAUSE).decode(), "mimeType": "audio/pcm;rate=16000"}
    async with serve_in_memory() as server:
        async with open_client(server) as client:
            await client.setup(NATIVE_2_5)
            await client.send({"realtime_input": {"media_chunks": [chunk]}})
            await client.turn()
        async with open_client(server) as client:
            await client.setup(FLASH_3_1)
            await client.send({"realtime_input": {"media_chunks": [chunk]}})
            assert (await client.until_closed())[1] == 1007


async def test_silence_in_the_setup_decides_when_speech_ends() -> None:
    detection = {"automaticActivityDetection": {"silenceDurationMs": 2000}}
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(NATIVE_2_5, realtimeInputConfig=detection)
        await client.play(SPEECH + PAUSE + SPEECH + PAUSE * 3)
        await client.turn()
        assert server.conversations[0].heard[0].audio_s == 5.0


async def test_text_while_somebody_speaks_waits_for_the_end_of_the_speech() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(NATIVE_2_5)
        await client.play(SPEECH)
        await client.say("hello")
        await client.play(PAUSE)
        await client.turn()
        assert [heard.text for heard in server.conversations[0].heard] == ["hello [speech, 2.0 s]"]


# --- manual activity -------------------------------------------------------------------------------------------------


async def test_an_activity_is_a_turn() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(NATIVE_2_5, **MANUAL)
        await client.play(SPEECH)  # outside of an activity: ignored
        await client.send({"realtimeInput": {"activityStart": {}}})
        await client.send({"realtimeInput": {"activityStart": {}}})  # nested: ignored
        await client.play(PAUSE)
        await client.send({"realtimeInput": {"activityEnd": {}}})
        await client.turn()
        assert [heard.text for heard in server.conversations[0].heard] == ["[speech, 1.0 s]"]


async def test_an_empty_activity_ends_the_connection_as_it_does_at_the_service() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(NATIVE_2_5, **MANUAL)
        await client.send({"realtimeInput": {"activityStart": {}}})
        await client.send({"realtimeInput": {"activityEnd": {}}})
        assert await client.until_closed() == (
            [{"serverContent": {"turnComplete": True}, "usageMetadata": {}}],
            1007,
            "Precondition check failed.",
        )


async def test_activity_marks_are_refused_where_the_server_detects_activity_itself() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(NATIVE_2_5)
        await client.send({"realtimeInput": {"activityStart": {}}})
        _, code, reason = await client.until_closed()
    assert (code, reason[:42]) == (1007, "Explicit activity control is not supported")


async def test_a_transcriber_only_transcribes() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(TRANSCRIBE, **MANUAL)
        await client.send(content("ignored", complete=True))
        await client.send({"realtimeInput": {"activityStart": {}}})
        await client.play(SPEECH)
        await client.send({"realtimeInput": {"activityEnd": {}}})
        messages = [await client.receive() for _ in range(5)]
    assert messages == [
        {"serverContent": {}, "voiceActivity": {"type": "ACTIVITY_START", "audioOffset": "0s"}},
        {"serverContent": {"interimInputTranscription": {"text": "[speech, 2.0 s]"}}},
        {"serverContent": {"inputTranscription": {"text": "[speech, 2.0 s]"}}},
        {"serverContent": {"generationComplete": True}},
        {"serverContent": {}, "voiceActivity": {"type": "ACTIVITY_END", "audioOffset": "2s"}},
    ]


async def test_an_activity_without_speech_is_only_its_two_ends_to_a_transcriber() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(TRANSCRIBE, **MANUAL)
        await client.send({"realtimeInput": {"activityStart": {}}})
        await client.send({"realtimeInput": {"activityEnd": {}}})
        found = [(await client.receive())["voiceActivity"]["type"] for _ in range(2)]
    assert found == ["ACTIVITY_START", "ACTIVITY_END"]


async def test_vertex_signals_speech_where_it_was_asked_to() -> None:
    async with serve_in_memory() as server, open_client(server, VERTEX) as client:
        await client.setup(VERTEX_MODEL + "gemini-live-2.5-flash-native-audio", explicitVadSignal=True)
        await client.play(PAUSE + SPEECH + PAUSE)
        turn = await client.turn()
    found = [message["voiceActivity"] for message in turn if "voiceActivity" in message]
    assert found == [
        {"type": "ACTIVITY_START", "audioOffset": "1s"},
        {"type": "ACTIVITY_END", "audioOffset": "3s"},
    ]


# --- interruption ----------------------------------------------------------------------------------------------------


async def talk_for_a_while(turn: Turn) -> None:
    await turn.say("well")
    await trio.sleep(300)


@pytest.mark.parametrize(
    ("setup", "barge_in"),
    [
        ({}, [{"realtimeInput": {"text": "stop"}}]),
        ({}, [content("stop", complete=True)]),
        ({}, [content("stop", complete=False)]),
        (MANUAL, [{"realtimeInput": {"activityStart": {}}}]),
        (
            {},
            [
                {
                    "realtimeInput": {
                        "audio": {"data": base64.b64encode(SPEECH).decode(), "mimeType": "audio/pcm;rate=16000"}
                    }
                }
            ],
        ),
    ],
)
async def test_what_interrupts_the_model_while_it_talks(setup: Json, barge_in: list[Json]) -> None:
    async with serve_in_memory(talk_for_a_while) as server, open_client(server) as client:
        await client.setup(NATIVE_2_5, **setup)
        await client.send(content("talk", complete=True))
        assert kind(await client.receive()) == "audio"
        for message in barge_in:
            await client.send(message)
        found = kinds(await client.turn())
    assert [name for name in found if name != "audio"] == ["interrupted", "complete+usage"]
    assert server.conversations[0].said[0].interrupted


async def test_speech_does_not_interrupt_where_it_was_asked_not_to(autojump_clock: Clock) -> None:
    async with serve_in_memory(talk_for_a_while) as server, open_client(server) as client:
        await client.setup(NATIVE_2_5, realtimeInputConfig={"activityHandling": "NO_INTERRUPTION"})
        await client.say("talk")
        assert kind(await client.receive()) == "audio"
        await client.play(SPEECH + PAUSE)
        assert kinds(await client.turn())[-2:] == ["generated", "complete+usage"]


async def test_content_that_is_not_complete_does_not_interrupt_3_8(autojump_clock: Clock) -> None:
    async with serve_in_memory(talk_for_a_while) as server, open_client(server) as client:
        await client.setup(LIVE_3_8)
        await client.say("talk")
        await client.receive()
        await client.send(content("by the way", complete=False))
        assert kinds(await client.turn())[-2:] == ["generated", "complete+usage"]


async def test_the_turn_after_an_interruption_is_what_interrupted(autojump_clock: Clock) -> None:
    async with serve_in_memory(pace=True) as server, open_client(server) as client:
        await client.setup(NATIVE_2_5, outputAudioTranscription={})
        await client.say("tell me a long story")
        while kind(await client.receive()) != "audio":
            pass
        await client.say("stop")
        assert kinds(await client.turn())[-2:] == ["interrupted", "complete+usage"]
        assert words(await client.turn()) == REPLY + 'I heard "stop".'


async def test_the_history_keeps_what_was_sent_of_an_interrupted_turn(autojump_clock: Clock) -> None:
    histories = []

    async def model(turn: Turn) -> None:
        histories.append([content.parts[0].text for content in turn.history if content.parts])
        await turn.say("one")
        if turn.text == "talk":
            await trio.sleep(300)
            await turn.say("two")

    async with serve_in_memory(model) as server, open_client(server) as client:
        await client.setup(TEXT_MODEL, **IN_TEXT)
        await client.say("talk")
        await client.receive()
        await client.say("stop")
        await client.turn()
        await client.turn()
    assert histories == [[], ["talk", "one"]]


# --- tools -----------------------------------------------------------------------------------------------------------


async def test_an_interruption_cancels_the_calls_that_are_open() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(TEXT_MODEL, **IN_TEXT, **WEATHER)
        await client.say("call get_weather")
        _, call = await called(client)
        await client.say("never mind")
        turn = await client.turn()
        assert kinds(turn) == ["cancel", "interrupted", "complete+usage"]
        assert turn[0] == {"toolCallCancellation": {"ids": [call["id"]]}}
        await client.turn()
        # The answer was on its way already: it is ignored.
        await client.send(answer_to(call))
        await client.say("still there?")
        assert words(await client.turn()) == REPLY + 'I heard "still there?".'


async def test_an_interruption_leaves_calls_open_that_do_not_block() -> None:
    async def model(turn: Turn) -> None:
        if turn.text == "call":
            await turn.begin_calls([("get_weather", {})])
            await trio.sleep_forever()
        await turn.say(" ".join(result.name for result in turn.results) or "no result")

    async with serve_in_memory(model) as server, open_client(server) as client:
        await client.setup(LIVE_3_8, outputAudioTranscription={}, **WEATHER)
        await client.say("call")
        _, call = await called(client)
        await client.say("never mind")
        assert kinds(await client.turn()) == ["interrupted", "complete+usage"]
        assert words(await client.turn()) == "no result"
        await client.send(answer_to(call))
        assert words(await client.turn()) == "get_weather"


async def test_an_interruption_between_the_two_turns_of_vertex_cancels_without_another_mark() -> None:
    async with serve_in_memory() as server, open_client(server, VERTEX) as client:
        await client.setup(VERTEX_MODEL + "m", **WEATHER)
        await client.say("call get_weather")
        await called(client)
        await client.turn()
        await client.say("never mind")
        assert kinds(await client.turn())[0] == "cancel"


async def test_the_answer_of_a_call_that_does_not_block_is_a_turn_of_its_own() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(LIVE_3_8, outputAudioTranscription={}, **WEATHER)
        await client.say("call get_weather")
        _, call = await called(client)
        assert kinds(await client.turn()) == ["generated", "complete+usage"]
        await client.say("hello meanwhile")
        assert words(await client.turn()) == REPLY + 'I heard "hello meanwhile".'
        await client.send(answer_to(call))
        assert words(await client.turn()) == REPLY + 'get_weather returned {"output": "fog"}.'


async def test_an_answer_that_comes_before_the_turn_of_its_call_has_ended_is_not_lost() -> None:
    async def model(turn: Turn) -> None:
        if turn.text:
            await turn.begin_calls([("get_weather", {})])
            while not turn.conversation.received(ToolResponse):
                await trio.lowlevel.checkpoint()
        else:
            await turn.say(f"{turn.results[0].name} answered")

    async with serve_in_memory(model) as server, open_client(server) as client:
        await client.setup(LIVE_3_8, outputAudioTranscription={}, **WEATHER)
        await client.say("call")
        _, call = await called(client)
        await client.send(answer_to(call))
        assert kinds(await client.turn()) == ["generated", "complete+usage"]
        assert words(await client.turn()) == "get_weather answered"


async def test_a_silent_answer_is_only_learnt() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(LIVE_3_8, outputAudioTranscription={}, **WEATHER)
        await client.say("call get_weather")
        _, call = await called(client)
        await client.turn()
        await client.send(answer_to(call, scheduling="SILENT"))
        await client.say("hello")
        assert words(await client.turn()) == REPLY + 'I heard "hello".'


@pytest.mark.parametrize("inside", [False, True])
async def test_an_answer_that_may_interrupt_does(inside: bool) -> None:
    async def model(turn: Turn) -> None:
        if turn.text == "call":
            await turn.begin_calls([("get_weather", {})])
            return
        await turn.say("well")
        if not turn.results:
            await trio.sleep_forever()

    scheduling: Json = {"scheduling": "INTERRUPT"}
    async with serve_in_memory(model) as server, open_client(server) as client:
        await client.setup(LIVE_3_8, **WEATHER)
        await client.say("call")
        _, call = await called(client)
        await client.turn()
        await client.say("talk")
        await client.receive()
        await client.send(answer_to(call, **({"response": scheduling} if inside else scheduling)))
        assert kinds(await client.turn())[-2:] == ["interrupted", "complete+usage"]
        assert kinds(await client.turn())[-2:] == ["generated", "complete+usage"]


async def test_an_answer_without_an_id_is_matched_by_its_name() -> None:
    async with serve_in_memory() as server, open_client(server, VERTEX) as client:
        await client.setup(VERTEX_MODEL + "gemini-live-2.5-flash-native-audio", outputAudioTranscription={}, **WEATHER)
        await client.say("call get_weather")
        _, call = await called(client)
        await client.turn()
        response = {"name": call["name"], "response": {"output": "fog"}}
        await client.send({"toolResponse": {"functionResponses": [response]}})
        assert words(await client.turn()).endswith('get_weather returned {"output": "fog"}.')


async def test_an_answer_that_continues_keeps_the_call_open() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(TEXT_MODEL, **IN_TEXT, **WEATHER)
        await client.say("call get_weather")
        _, call = await called(client)
        await client.send(answer_to(call, willContinue=True, response={"output": "wait"}))
        await client.send(answer_to(call))
        assert words(await client.turn()).endswith('get_weather returned {"output": "fog"}.')


async def test_an_answer_that_nobody_asked_for_is_answered_by_2_5_and_refused_by_3_1() -> None:
    stray = {"id": "nobody's", "name": "get_mood", "response": {"mood": "happy"}}
    async with serve_in_memory() as server:
        async with open_client(server) as client:
            await client.setup(TEXT_MODEL, **IN_TEXT)
            await client.send({"toolResponse": {"functionResponses": [stray]}})
            assert words(await client.turn()) == REPLY + 'get_mood returned {"mood": "happy"}.'
        async with open_client(server) as client:
            await client.setup(FLASH_3_1)
            await client.send({"toolResponse": {"functionResponses": [stray]}})
            assert (await client.until_closed())[1:] == (1008, "Requested entity was not found.")


async def test_several_functions_are_called_in_one_message() -> None:
    tools: Json = {"tools": [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}]}
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(TEXT_MODEL, **IN_TEXT, **tools)
        await client.say("call f and call g")
        messages, _ = await called(client)
        calls = messages[-1]["toolCall"]["functionCalls"]
        assert [call["name"] for call in calls] == ["f", "g"]
        for call in reversed(calls):
            await client.send(answer_to(call, response={"from": call["name"]}))
        assert words(await client.turn()).endswith('f returned {"from": "f"}. g returned {"from": "g"}.')


# --- the rest --------------------------------------------------------------------------------------------------------


async def test_a_context_update_changes_the_tools_where_the_family_takes_it() -> None:
    update: Json = {"contextUpdate": {"tools": WEATHER}}
    async with serve_in_memory() as server:
        async with open_client(server, VERTEX) as client:
            await client.setup(VERTEX_MODEL + "gemini-3.8-live")
            await client.send(update)
            await client.say("call get_weather")
            await called(client)
        async with open_client(server) as client:
            await client.setup(NATIVE_2_5)
            await client.send(update)
            assert (await client.until_closed())[1:] == (
                1007,
                'Invalid JSON payload received. Unknown name "contextUpdate": Cannot find field.',
            )


async def test_a_second_setup_is_refused() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup()
        await client.send({"setup": {"model": NATIVE_2_5}})
        assert (await client.until_closed())[1:] == (1007, "Request contains an invalid argument.")


async def test_an_unknown_field_in_mid_session_is_refused() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup()
        await client.send({"realtimeInput": {"text": "hi", "bogus": 1}})
        assert (await client.until_closed())[1:] == (
            1007,
            "Invalid JSON payload received. Unknown name \"bogus\" at 'realtime_input': Cannot find field.",
        )


async def test_the_connection_ends_when_its_time_is_over(autojump_clock: Clock) -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(NATIVE_2_5)
        began = trio.current_time()
        assert await client.receive() == {"goAway": {"timeLeft": "60s"}}
        assert trio.current_time() - began == 540
        _, code, reason = await client.until_closed()
        assert trio.current_time() - began == 600
    assert code == 1008
    assert reason == (
        "Connection aborted because the client failed to close the connection after receiving a GoAway signal once the "
        "session durat"
    )


async def test_3_8_ends_after_58_minutes_with_a_code_of_its_own(autojump_clock: Clock) -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup(LIVE_3_8)
        began = trio.current_time()
        (go_away,), code, reason = await client.until_closed()
    assert kind(go_away) == "goAway"
    assert trio.current_time() - began == 58 * 60
    assert (code, reason) == (1011, "Deadline expired before operation could complete.")


async def test_the_server_announces_an_end_at_any_time(autojump_clock: Clock) -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup()
        await server.go_away(9.5)
        assert await client.receive() == {"goAway": {"timeLeft": "9.500s"}}
        began = trio.current_time()
        assert (await client.until_closed())[1] == 1008
        assert trio.current_time() - began == 9.5


async def test_the_server_can_drop_close_and_speak_out_of_turn() -> None:
    async with serve_in_memory() as server:
        async with open_client(server) as client:
            await client.setup()
            await server.raw({"somethingNew": {"a": 1}})
            assert await client.receive() == {"somethingNew": {"a": 1}}
            server.close(1011, "Internal error occurred.")
            assert (await client.until_closed())[1:] == (1011, "Internal error occurred.")
        async with open_client(server) as client:
            await client.setup()
            server.drop()
            assert (await client.until_closed())[1] == 1006
    assert server.conversations[0].close == Close(1011, "Internal error occurred.")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(messages=st.lists(client_messages(), max_size=5), model=st.sampled_from([NATIVE_2_5, FLASH_3_1, LIVE_3_8, "m"]))
def test_no_sequence_of_messages_takes_the_server_down(messages: list[ClientMessage], model: str) -> None:
    async def play() -> None:
        async with serve_in_memory() as server:
            async with open_client(server, GOOGLE_AI) as client:
                await client.setup(model, **WEATHER)
                for message in messages:
                    await client.send(encode(message))
                with trio.move_on_after(1):
                    await client.until_closed()
            async with open_client(server) as client:
                assert await client.setup() == {"setupComplete": {}}

    trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))


_DOINGS: dict[str, Json] = {
    "text": {"realtimeInput": {"text": "hello"}},
    "call": {"realtimeInput": {"text": "call get_weather"}},
    "content": content("hello", complete=True),
    "more": content("hello", complete=False),
    "speech": {"realtimeInput": {"audio": {"data": base64.b64encode(SPEECH).decode(), "mimeType": "audio/pcm"}}},
    "pause": {"realtimeInput": {"audio": {"data": base64.b64encode(PAUSE).decode(), "mimeType": "audio/pcm"}}},
    "end": {"realtimeInput": {"audioStreamEnd": True}},
}
_ONE_TURN = r"((empty|update|heard|thought|speech|call|cancel) )*((generated )?interrupted |generated )complete\+usage "


@settings(max_examples=100, deadline=None)
@given(
    doings=st.lists(st.tuples(st.sampled_from([*_DOINGS, "answer"]), st.sampled_from([0, 0.5, 3])), max_size=12),
    model=st.sampled_from([NATIVE_2_5, LIVE_3_8, TEXT_MODEL]),
    paced=st.booleans(),
)
def test_whatever_happens_the_turns_on_the_wire_are_whole(
    doings: list[tuple[str, float]], model: str, paced: bool
) -> None:
    """Content, then ``generationComplete`` or ``interrupted``, then ``turnComplete``, and so on."""
    received: list[Json] = []

    async def listen(client: RawClient) -> None:
        while True:
            received.append(await client.receive())

    async def play() -> None:
        async with serve_in_memory(pace=paced) as server, open_client(server) as client:
            await client.setup(model, **WEATHER, outputAudioTranscription={})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen, client)
                answered = 0
                for what, then_s in [*doings, ("end", 100), *[("answer", 15)] * 24]:
                    calls = [call for m in received if "toolCall" in m for call in m["toolCall"]["functionCalls"]]
                    if what != "answer":
                        await client.send(_DOINGS[what])
                    elif answered < len(calls):
                        await client.send(answer_to(calls[answered]))
                        answered += 1
                    await trio.sleep(then_s)
                nursery.cancel_scope.cancel()

    trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))
    spoken = {"audio": "speech", "words": "speech", "audio+words": "speech", "text": "speech", "code": "speech"}
    sequence = "".join(f"{spoken.get(name, name)} " for name in kinds(received))
    assert re.fullmatch(f"({_ONE_TURN})*", sequence), sequence
