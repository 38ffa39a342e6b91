"""The order of events is that of docs/protocol.md 5, family by family and backend by backend."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gemlive.codec import encode_server
from gemlive.emulator import Turn, serve_in_memory
from gemlive.emulator._dialect import Dialect
from gemlive.emulator._usage import Tally
from gemlive.families import family_for
from gemlive.types import GenerationConfig, ServerMessage, Setup
from tests.emulator.raw_client import GOOGLE_AI, VERTEX, VERTEX_MODEL, Json, RawClient, audio, kinds, open_client, words

NATIVE_2_5 = "gemini-2.5-flash-native-audio-latest"
VERTEX_2_5 = "gemini-live-2.5-flash-native-audio"
HALF_CASCADE = "gemini-live-2.5-flash"
TRANSCRIPTS: Json = {"inputAudioTranscription": {}, "outputAudioTranscription": {}}
WEATHER = [{"functionDeclarations": [{"name": "get_weather"}]}]


async def a_turn(model: str, *, vertex: bool = False, text: str = "Say a short greeting.", **setup: Any) -> list[Json]:
    path, prefix = (VERTEX, VERTEX_MODEL) if vertex else (GOOGLE_AI, "models/")
    async with serve_in_memory() as server, open_client(server, path) as client:
        await client.setup(prefix + model, **setup)
        await client.say(text)
        return await _whole_turn(client)


async def a_tool_round(model: str, *, vertex: bool = False, **setup: Any) -> list[Json]:
    path, prefix = (VERTEX, VERTEX_MODEL) if vertex else (GOOGLE_AI, "models/")
    async with serve_in_memory() as server, open_client(server, path) as client:
        await client.setup(prefix + model, tools=WEATHER, **setup)
        await client.say("call get_weather")
        messages = [await client.receive()]
        while "toolCall" not in messages[-1]:
            messages.append(await client.receive())
        if vertex:
            messages += await client.turn()
        messages.append({"answer": {}})
        call = next(message["toolCall"]["functionCalls"][0] for message in messages if "toolCall" in message)
        response = {"id": call["id"], "name": call["name"], "response": {"output": "fog"}}
        await client.send({"toolResponse": {"functionResponses": [response]}})
        return messages + await _whole_turn(client)


async def _whole_turn(client: RawClient) -> list[Json]:
    """Returns a turn and the resumption update after it, where the server sends any."""
    messages = await client.turn()
    if any("sessionResumptionUpdate" in message for message in messages):
        messages.append(await client.receive())
    return messages


def collapsed(messages: list[Json]) -> list[str]:
    """Returns the kinds in order, with ``speech`` for any run of audio and its words."""
    found: list[str] = []
    for kind in kinds(messages):
        name = "speech" if kind in ("audio", "words", "audio+words") else kind or "answer"
        if not found or found[-1] != name:
            found.append(name)
    return found


async def test_2_5_on_google_ai() -> None:
    turn = await a_turn(NATIVE_2_5, **TRANSCRIPTS)
    assert collapsed(turn) == ["thought", "speech", "generated", "complete+usage"]
    assert "audio+words" not in kinds(turn)


async def test_3_1_on_google_ai() -> None:
    turn = await a_turn("gemini-3.1-flash-live-preview")
    assert collapsed(turn) == ["empty", "update", "speech", "generated", "complete+usage", "update"]
    assert "audio+words" in kinds(turn)
    assert "words" not in kinds(turn)


async def test_2_5_on_vertex() -> None:
    turn = await a_turn(VERTEX_2_5, vertex=True, **TRANSCRIPTS)
    assert collapsed(turn) == ["speech", "generated", "complete+usage"]
    # The words end before the audio does.
    assert turn[-4]["serverContent"] == {"outputTranscription": {"finished": True}}
    assert "modelTurn" in turn[-3]["serverContent"]
    assert turn[-1]["serverContent"] == {"turnComplete": True, "groundingMetadata": {}}


async def test_half_cascade_on_vertex_writes_before_it_speaks() -> None:
    turn = await a_turn(HALF_CASCADE, vertex=True, **TRANSCRIPTS)
    assert kinds(turn) == ["words", "audio", "generated", "complete+usage"]
    marks = [m["serverContent"]["outputTranscription"] for m in turn if "outputTranscription" in m["serverContent"]]
    assert (marks[0], marks[-1]) == ({}, {"finished": True})


async def test_a_tool_round_of_2_5_is_one_turn() -> None:
    messages = await a_tool_round(NATIVE_2_5)
    assert collapsed(messages) == ["thought", "call", "answer", "speech", "generated", "complete+usage"]
    # The call is in the total, and in none of the details.
    usage = messages[-1]["usageMetadata"]
    (details,) = usage["responseTokensDetails"]
    assert details["modality"] == "AUDIO"
    assert details["tokenCount"] < usage["responseTokenCount"]


async def test_a_tool_round_of_3_1_is_one_turn_with_two_openings() -> None:
    messages = await a_tool_round("gemini-3.1-flash-live-preview")
    assert collapsed(messages) == [
        *("empty", "update", "call", "answer"),
        *("update", "empty", "speech", "generated", "complete+usage", "update"),
    ]


async def test_a_tool_round_on_vertex_is_two_turns() -> None:
    messages = await a_tool_round(VERTEX_2_5, vertex=True)
    assert collapsed(messages) == [
        *("call", "generated", "complete+usage", "answer"),
        *("speech", "generated", "complete+usage"),
    ]


async def test_half_cascade_on_vertex_opens_and_finishes_the_words_of_a_call_too() -> None:
    messages = await a_tool_round(HALF_CASCADE, vertex=True, **TRANSCRIPTS)
    until = next(index for index, message in enumerate(messages) if "answer" in message)
    assert kinds(messages[:until]) == ["words", "code", "call", "words", "generated", "complete+usage"]
    assert messages[0]["serverContent"] == {"outputTranscription": {}}


async def test_extended_thinking_says_a_filler_and_is_idle_only_at_the_end() -> None:
    async with serve_in_memory() as server, open_client(server) as client:
        await client.setup("models/gemini-3.8-live-extended-thinking", tools=WEATHER, outputAudioTranscription={})
        await client.say("call get_weather")
        filler = await client.turn()
        call = (await client.receive())["toolCall"]["functionCalls"][0]
        response = {"id": call["id"], "name": call["name"], "response": {}}
        await client.send({"toolResponse": {"functionResponses": [response]}})
        answer = await client.turn()
    assert words(answer).endswith("get_weather returned {}.")
    assert filler[-1]["serverContent"] == {"turnComplete": True, "interactionStatus": "IN_PROGRESS"}
    assert answer[-1]["serverContent"] == {"turnComplete": True, "interactionStatus": "IDLE"}


async def test_a_transcript_comes_where_it_is_asked_for_and_from_3_1_always() -> None:
    assert words(await a_turn(NATIVE_2_5)) == ""
    assert words(await a_turn("gemini-3.1-flash-live-preview")) != ""


@pytest.mark.parametrize(
    ("vertex", "role", "mime_type"), [(False, None, "audio/pcm;rate=24000"), (True, "model", "audio/pcm")]
)
async def test_role_and_mime_type_are_those_of_the_service(vertex: bool, role: str | None, mime_type: str) -> None:
    turn = await a_turn(VERTEX_2_5, vertex=vertex)
    spoken = [m["serverContent"]["modelTurn"] for m in turn if "modelTurn" in m["serverContent"]]
    parts = [content["parts"][0] for content in spoken]
    assert {content.get("role") for content in spoken} == {role}
    assert {part["inlineData"]["mimeType"] for part in parts if "inlineData" in part} == {mime_type}


@pytest.mark.parametrize(("vertex", "name"), [(False, "responseTokenCount"), (True, "candidatesTokenCount")])
async def test_usage_has_the_names_of_the_service(vertex: bool, name: str) -> None:
    usage = (await a_turn(VERTEX_2_5, vertex=vertex))[-1]["usageMetadata"]
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage[name]


async def test_3_1_begins_with_a_chunk_of_two_bytes() -> None:
    turn = await a_turn("gemini-3.1-flash-live-preview")
    sizes = [len(chunk) for chunk in (audio([message]) for message in turn) if chunk]
    assert (sizes[0], max(sizes)) == (2, 9600)


def dialect(model: str, backend: Any = "google_ai", **setup: Any) -> Dialect:
    return Dialect(backend, family_for(model), Setup(model=model, **setup))


def plain(messages: list[ServerMessage]) -> list[Json]:
    return [json.loads(encode_server(message)) for message in messages]


def test_what_was_spoken_is_told_in_pieces_by_2_5_and_whole_by_the_others() -> None:
    pieces = plain(dialect(NATIVE_2_5).heard("How are you?"))
    assert [m["serverContent"]["inputTranscription"] for m in pieces] == [
        *({"text": "How"}, {"text": " are"}, {"text": " you?"}),
    ]
    (whole,) = plain(dialect("gemini-3.1-flash-live-preview").heard("How are you?"))
    assert whole["serverContent"]["inputTranscription"] == {"text": "How are you?"}
    (finished,) = plain(dialect(VERTEX_2_5, "vertex").heard("How are you?"))
    assert finished["serverContent"]["inputTranscription"] == {"text": "How are you?", "finished": True}


@pytest.mark.parametrize("text", ["a", "one two", "  leading and trailing  ", "line\nbreaks\n\nkept\n", "x" * 500, " "])
def test_text_in_pieces_is_the_text(text: str) -> None:
    assert words(plain(dialect(HALF_CASCADE).text(text))) == text


def test_an_answer_without_audio_is_a_transcript_alone() -> None:
    spoken = [u.message for u in dialect("gemini-3.1-flash-live-preview").speech(b"", "No sound.") if u.message]
    assert words(plain(spoken)) == "No sound."


@pytest.mark.parametrize(
    ("modalities", "model", "modality"),
    [
        (None, NATIVE_2_5, "AUDIO"),
        (("TEXT",), HALF_CASCADE, "TEXT"),
        (("text",), "anything", "TEXT"),
        (None, "anything", "AUDIO"),
        (None, "gemini-3.5-transcribe-live", "TEXT"),
    ],
)
def test_answers_come_in_the_modality_that_was_asked_for(
    modalities: tuple[str, ...] | None, model: str, modality: str
) -> None:
    assert dialect(model, generation_config=GenerationConfig(response_modalities=modalities)).modality == modality


def test_an_answer_of_no_tokens_has_no_count_on_google_ai() -> None:
    usage = plain([ServerMessage(usage_metadata=dialect("x").usage(Tally(prompt_text=9)))])[0]["usageMetadata"]
    assert usage == {
        "promptTokenCount": 9,
        "totalTokenCount": 9,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 9}],
    }


# --- against what was recorded ---------------------------------------------------------------------------------------

CORPUS = os.environ.get("GEMLIVE_WIRE_CORPUS")
WHOLE_SESSIONS = [  # those that were recorded to the end of a turn, and in which the client spoke by text
    "kotlin-genai__LiveTest.testFunctionCalling.mldev",
    "pydantic-ai__test_gateway_gemini_text_in_audio_out",
    "pydantic-ai__test_history_seeding_parity-google-current",
    "pydantic-ai__test_message_history_seeding",
    "pydantic-ai__test_text_in_audio_out_turn",
    "pydantic-ai__test_text_tool_round_parity-google-current",
    "pydantic-ai__test_text_tool_round_parity-google-previous",
]


@pytest.mark.skipif(CORPUS is None, reason="GEMLIVE_WIRE_CORPUS names no folder of recordings")
@pytest.mark.parametrize("name", WHOLE_SESSIONS)
async def test_a_recorded_conversation_goes_as_it_went(name: str) -> None:
    """The client's messages are those recorded; the model calls what was called and thinks where it thought."""
    lines = (Path(CORPUS or "") / "recordings" / "sessions" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    recorded = [entry["msg"] for entry in entries if entry["dir"] == "in"]
    sent = [entry["msg"] for entry in entries if entry["dir"] == "out"]

    async def model(turn: Turn) -> None:
        if turn.thinks_first:
            await turn.think("thinking")
        if any("toolCall" in message for message in recorded):
            await turn.call(next(iter(turn.functions)), {})
        if audio(recorded):
            await turn.speak("This is what I say to that.")
        else:
            await turn.speak(b"", transcript="This is what I say to that.")

    path = VERTEX if "publishers" in sent[0]["setup"]["model"] else GOOGLE_AI
    async with serve_in_memory(model) as server, open_client(server, path) as client:
        replayed = [await _sent_and_answered(client, sent[0])]
        for message in sent[1:]:
            for response in message.get("toolResponse", message.get("tool_response", {})).get("functionResponses", ()):
                call = next(m["toolCall"]["functionCalls"][0] for m in replayed if "toolCall" in m)
                response["id"] = call["id"]
            await client.send(message)
            if "toolCall" in str(recorded) and message is sent[1]:
                while "toolCall" not in replayed[-1]:
                    replayed.append(await client.receive())
        replayed += await client.turn()
    until = max(index for index, m in enumerate(recorded) if m.get("serverContent", {}).get("turnComplete"))
    assert _without_updates(collapsed(replayed)) == _without_updates(collapsed(recorded[: until + 1]))
    assert _key_paths(replayed) - _key_paths(recorded) <= {
        "sessionResumptionUpdate.newHandle",
        "sessionResumptionUpdate.resumable",
    }


async def _sent_and_answered(client: RawClient, message: Json) -> Json:
    await client.send(message)
    return await client.receive()


def _without_updates(found: list[str]) -> list[str]:
    """Updates of 3.1 come by a clock of their own: not every one was in every recording."""
    return [kind for kind in found if kind != "update"]


def _key_paths(messages: list[Json]) -> set[str]:
    found: set[str] = set()

    def walk(value: object, path: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{path}.{key}" if path else key)
        elif isinstance(value, list):
            for inner in value:
                walk(inner, path)
        else:
            found.add(path)

    for message in messages:
        walk(message, "")
    return found
