"""What a person is told of each kind of event."""

from __future__ import annotations

import typing
from typing import Any

import attrs
import pytest

from gemlive.cli._narrate import Narrator
from gemlive.cli._output import Line, Piece
from gemlive.types import (
    CodeResult,
    Connected,
    Event,
    ExecutableCode,
    FunctionCall,
    GenerationComplete,
    GoAway,
    Grounding,
    GroundingMetadata,
    InputDropped,
    InputTranscript,
    InterimInputTranscript,
    Interrupted,
    Lagged,
    ModelAudio,
    ModelMedia,
    ModelText,
    ModelThought,
    OrphanedToolResult,
    OutputTranscript,
    Reconnected,
    Reconnecting,
    ResumptionUpdate,
    ServerMessageError,
    SessionClosed,
    SetupComplete,
    ToolCall,
    ToolCallCancellation,
    TurnComplete,
    UnknownMessage,
    UrlContext,
    UrlContextMetadata,
    UrlMetadata,
    Usage,
    UsageMetadata,
    VoiceActivity,
)

TOLD: list[tuple[Event, list[Piece | Line]]] = [
    (ModelText("Hi"), [Piece("model", "Hi")]),
    (ModelText(""), []),
    (ModelThought("Hm"), [Piece("thought", "Hm")]),
    (OutputTranscript("Hello"), [Piece("model", "Hello")]),
    (InputTranscript("Hey"), [Piece("you", "Hey")]),
    (InputTranscript("", finished=True), []),
    (InterimInputTranscript("He"), []),
    (ModelMedia(b"abc", "image/png"), [Line("media", "image/png, 3 bytes")]),
    (ModelMedia(b"", file_uri="gs://b/o"), [Line("media", "gs://b/o")]),
    (VoiceActivity("ACTIVITY_START", 1.25), [Line("hears you", "speech begins at 1.2 s")]),
    (VoiceActivity("VAD_SIGNAL_TYPE_EOS"), [Line("hears you", "speech ends")]),
    (VoiceActivity("NEW_KIND"), [Line("hears you", "NEW_KIND")]),
    (
        ToolCall((FunctionCall(name="f", args={"a": "ü"}), FunctionCall())),
        [Line("tool call", 'f({"a": "ü"})'), Line("tool call", "(no name)({})")],
    ),
    (ToolCallCancellation(("1", "2")), [Line("cancelled", "tool calls 1, 2")]),
    (ExecutableCode("print(1)"), [Line("runs code", "print(1)")]),
    (CodeResult("OUTCOME_OK", "1\n"), [Line("code gave", "1\n")]),
    (CodeResult("OUTCOME_FAILED"), [Line("code gave", "OUTCOME_FAILED")]),
    (
        Usage(UsageMetadata(prompt_token_count=3, candidates_token_count=4, total_token_count=7)),
        [Line("tokens", "7 (prompt 3, answer 4)")],
    ),
    (Usage(UsageMetadata(response_token_count=0)), [Line("tokens", "answer 0")]),
    (Usage(UsageMetadata()), [Line("tokens", "not counted")]),
    (Grounding(GroundingMetadata(web_search_queries=("q",))), [Line("searched", "q")]),
    (UrlContext(UrlContextMetadata(url_metadata=(UrlMetadata(retrieved_url="u"),))), [Line("read", "u")]),
    (GoAway(50.0), [Line("go away", "in 50 s")]),
    (GoAway(), [Line("go away", "the server ends this connection soon")]),
    (Reconnecting(1, 2, 0.25, 1011, "oops"), [Line("reconnect", "attempt 2 in 0.2 s (1011: oops)")]),
    (Reconnecting(1, 1, 0.0), [Line("reconnect", "attempt 1 in 0.0 s")]),
    (Reconnected(2, resumed=True), [Line("connected", "the conversation goes on")]),
    (
        Reconnected(2, resumed=False, dropped_audio_ms=1500),
        [Line("connected", "the model remembers nothing of before; 1.5 s of audio were too old")],
    ),
    (InputDropped(500, reason="it waited 2 s"), [Line("dropped", "0.5 s of audio not sent: it waited 2 s")]),
    (OrphanedToolResult("7", "f"), [Line("orphaned", "the answer of f came too late")]),
    (Lagged(3), [Line("lagged", "3 events were lost here")]),
    (ServerMessageError(("a: bad", "b: bad")), [Line("malformed", "a: bad; b: bad")]),
    (UnknownMessage({"new": 1}), [Line("unknown", "a message with new")]),
    (SessionClosed(1011, "gone", lost=True), [Line("lost", "1011: gone")]),
    (SessionClosed(1000), []),
    (Connected(1), []),
    (SetupComplete(), []),
    (ResumptionUpdate("h", resumable=True), []),
    (GenerationComplete(), []),
    (TurnComplete(), [Line("turn over")]),
    (TurnComplete("SAFETY"), [Line("turn over", "SAFETY")]),
    (TurnComplete(waiting_for_input=True), [Line("turn over", "the model expects you to go on")]),
    (TurnComplete(interaction_status="IN_PROGRESS"), [Line("turn over", "the model goes on by itself")]),
    (Interrupted(), [Line("interrupted", "the model stops, since you spoke")]),
    (Interrupted("connection"), [Line("interrupted", "the connection ended in the middle of the answer")]),
]


@pytest.mark.parametrize(("event", "words"), TOLD, ids=lambda value: type(value).__name__)
def test_an_event_is_told_in_these_words(event: Event, words: list[Piece | Line]) -> None:
    assert list(Narrator().tell(event)) == words


def test_every_kind_of_event_is_tried_here() -> None:
    assert set(typing.get_args(Event)) == {type(event) for event, _ in TOLD} | {ModelAudio}


@pytest.mark.parametrize("kind", typing.get_args(Event), ids=lambda kind: kind.__name__)
def test_an_event_with_only_what_it_must_have_is_told_without_failing(kind: Any) -> None:
    required = {
        field.name: _plausible(str(field.type)) for field in attrs.fields(kind) if field.default is attrs.NOTHING
    }
    list(Narrator().tell(kind(**required)))


def _plausible(annotation: str) -> object:
    examples: dict[str, object] = {
        "str": "",
        "bytes": b"",
        "int": 1,
        "float": 1.0,
        "bool": False,
        "str | None": None,
        "UsageMetadata": UsageMetadata(),
        "GroundingMetadata": GroundingMetadata(),
        "UrlContextMetadata": UrlContextMetadata(),
        "Mapping[str, object]": {},
    }
    return examples.get(annotation, ())


def test_speech_is_summed_up_at_the_end_of_its_turn() -> None:
    narrator = Narrator()
    assert list(narrator.tell(ModelAudio(bytes(48000)))) == []
    assert list(narrator.tell(ModelAudio(bytes(24000)))) == []
    assert list(narrator.tell(TurnComplete())) == [Line("audio", "1.5 s of speech received"), Line("turn over")]


def test_the_next_turn_begins_at_zero() -> None:
    narrator = Narrator()
    list(narrator.tell(ModelAudio(bytes(48000))))
    list(narrator.tell(TurnComplete()))
    assert list(narrator.tell(TurnComplete())) == [Line("turn over")]


def test_what_was_interrupted_is_not_summed_up() -> None:
    narrator = Narrator()
    list(narrator.tell(ModelAudio(bytes(48000))))
    list(narrator.tell(Interrupted()))
    assert list(narrator.tell(TurnComplete())) == [Line("turn over")]
