"""What a program reads is one JSON object a line, in ASCII, with no media and no secret in it."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gemlive.cli._json_lines import JsonLines, encode, record
from gemlive.cli._output import OutputClosed
from gemlive.types import (
    Event,
    FunctionCall,
    InputTranscript,
    ModelAudio,
    ResumptionUpdate,
    Stamp,
    ToolCall,
    UnknownMessage,
    Usage,
    UsageMetadata,
)

AT = {"connection": 0, "turn": 0, "response": 0}


@given(st.text(st.characters(codec=None)))
@example("\x7f")
def test_a_line_is_printable_ascii_and_says_the_same(text: str) -> None:
    line = encode({"event": "x", "text": text})
    assert all(" " <= character <= "~" for character in line.removesuffix("\n"))
    assert json.loads(line)["text"] == text


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (ModelAudio(bytes(960)), {"event": "model_audio", "duration_ms": 20.0, "data": {"bytes": 960}}),
        (InputTranscript("hi", finished=True), {"event": "input_transcript", "text": "hi", "finished": True}),
        (ResumptionUpdate(handle="secret", resumable=True), {"handle": "***", "resumable": True}),
        (UnknownMessage({"new": [1, {"deep": None}]}), {"raw": {"new": [1, {"deep": None}]}}),
        (Usage(UsageMetadata(total_token_count=7)), {"event": "usage", "metadata": {"total_token_count": 7}}),
        (
            ToolCall((FunctionCall(id="1", name="f", args={"a": 1}),)),
            {"calls": [{"id": "1", "name": "f", "args": {"a": 1}}]},
        ),
        (InputTranscript("", start_offset_s=float("nan")), {"start_offset_s": "nan"}),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, dict) else "",
)
def test_an_event_becomes_its_fields(event: Event, fields: dict[str, object]) -> None:
    found = record(event)
    assert {name: found[name] for name in fields} == fields


def test_what_is_absent_is_left_out() -> None:
    assert record(InputTranscript("hi")) == {"event": "input_transcript", "text": "hi", "words": [], "at": AT}


def test_the_stamp_is_told() -> None:
    assert record(InputTranscript("", at=Stamp(2, 3, 4)))["at"] == {"connection": 2, "turn": 3, "response": 4}


def test_each_report_and_each_event_is_a_line_of_its_own() -> None:
    stream = io.StringIO()
    output = JsonLines(stream)
    output.report("opened", "a sentence for people", url="ws://x")
    output.show(InputTranscript("hi"))
    output.progress("sending", 1, 2)
    output.prompt()
    output.close()
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["opened", "input_transcript"]


def test_a_reader_that_left_is_told_as_such() -> None:
    class Left(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    with pytest.raises(OutputClosed):
        JsonLines(Left()).report("opened")
