"""Every message of the corpus survives the codec, with nothing lost and nothing of ours unread.

The corpus is real traffic and messages that cover every field; it lies outside the repository (see
docs/contributing.md). What is tested here on it, ``tests/test_codec.py`` tests on small cases of our own.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gemlive import codec
from gemlive.types import (
    InputTranscript,
    InterimInputTranscript,
    ModelAudio,
    ModelMedia,
    ModelText,
    ModelThought,
    OutputTranscript,
    RawClientMessage,
    ServerMessage,
    ServerMessageError,
    ToolCall,
    ToolCallCancellation,
    Wire,
)
from tests.corpus.corpus import (
    CANONICAL,
    CLIENT,
    IN,
    OTHER,
    OUT,
    SERVER,
    SESSION_FILES,
    SESSION_LINES,
    SESSIONS,
    Line,
    count,
    folder,
    read,
)
from tests.corpus.normaliser import camel, decoded, normalised
from tests.types.strategies import sent_fields, wire_classes, wire_name

FROM_SERVER = pytest.mark.parametrize("source", [*SERVER, IN])
FROM_CLIENT = pytest.mark.parametrize("source", [*CLIENT, OUT])
PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"


# --- the corpus is whole ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "lines"), (SERVER | CLIENT | OTHER).items())
def test_a_file_has_the_lines_that_its_readme_counts(name: str, lines: int) -> None:
    assert count(folder() / name) == lines


def test_the_sessions_are_all_there() -> None:
    lines = [count(file) for file in (folder() / SESSIONS).glob("*.jsonl")]
    assert (len(lines), sum(lines)) == (SESSION_FILES, SESSION_LINES)


# --- nothing is lost -------------------------------------------------------------------------------------------------


@FROM_SERVER
def test_a_server_message_is_written_as_it_was_read(source: str) -> None:
    for line in read(source):
        written = codec.encode_server(codec.decode(line.frame))
        assert normalised(json.loads(written)) == normalised(line.message), line.where


@FROM_CLIENT
def test_a_client_message_is_written_as_it_was_read(source: str) -> None:
    for line in read(source):
        written = codec.encode(codec.decode_client(line.frame))
        assert normalised(json.loads(written)) == normalised(line.message), line.where


@pytest.mark.parametrize("source", CANONICAL)
def test_a_message_in_our_own_form_is_written_without_any_difference(source: str) -> None:
    for line in read(source):
        assert json.loads(codec.encode(codec.decode_client(line.frame))) == line.message, line.where


@FROM_SERVER
def test_reading_what_was_written_gives_the_same_message(source: str) -> None:
    for line in read(source):
        message = codec.decode(line.frame)
        assert codec.decode(codec.encode_server(message, pretty=True)) == message, line.where


@FROM_CLIENT
def test_what_real_clients_send_passes_the_strict_reading(source: str) -> None:
    for line in read(source):
        message = codec.decode_client(line.frame, strict=True)
        assert message == codec.decode_client(line.frame), line.where
        assert not isinstance(message, RawClientMessage), line.where


# --- nothing of ours is unread ---------------------------------------------------------------------------------------


def _known_keys() -> set[str]:
    """Returns every key that our classes declare or our page names."""
    declared = {str(wire_name(field)) for cls in wire_classes() for field in sent_fields(cls)}
    return declared | set(re.findall(r"`([a-z][A-Za-z_]*)`", PAGE.read_text(encoding="utf-8")))


def _snake(key: str) -> str:
    return re.sub(r"([A-Z])", r"_\1", key).lower()


def _extras(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yields the path of every level of a message and each key that its ``extra`` holds."""
    if isinstance(value, Wire):
        for key in value.extra:
            yield path, camel(key)
        for field in sent_fields(type(value)):
            label = _snake(str(wire_name(field)))
            yield from _extras(getattr(value, field.name), f"{path}.{label}" if path else label)
    elif isinstance(value, tuple):
        for index, member in enumerate(value):
            yield from _extras(member, f"{path}[{index}]")


@FROM_SERVER
def test_no_key_that_our_page_names_is_left_unread_without_a_word(source: str) -> None:
    known = _known_keys()
    for line in read(source):
        message = codec.decode(line.frame)
        for path, key in _extras(message):
            told = any(problem.startswith(f"{path}.{_snake(key)}".lstrip(".")) for problem in message.problems)
            assert key not in known or told, f"{line.where}: {key} at {path or 'the top'}"


def test_the_unknown_keys_of_the_corpus_are_those_that_it_made_up() -> None:
    unknown = {key for source in [*SERVER, IN] for line in read(source) for _, key in _extras(codec.decode(line.frame))}
    unreadable = {"timeLeft", "ids", "id", "parts", "data", "setupComplete"}  # the probes, told in `problems`
    assert unknown - unreadable == {"somethingBrandNew", "futureField", "somethingNew", "x"}


@FROM_CLIENT
def test_no_key_of_a_client_is_left_unread(source: str) -> None:
    for line in read(source):
        assert list(_extras(codec.decode_client(line.frame))) == [], line.where


def test_only_the_probes_have_problems() -> None:
    wrong = {line.where for source in [*SERVER, IN] for line in read(source) if codec.decode(line.frame).problems}
    # docs/protocol.md names none of them: an object as duration, numbers as ids, null and a number as parts, no base64,
    # true as setupComplete. google-genai 3.3.0 raises for the same six.
    assert wrong == {f"tolerance_probes.jsonl:{number}" for number in (6, 8, 9, 14, 15, 20)}


# --- events tell what the JSON says ----------------------------------------------------------------------------------


def _counted(line: Line) -> Counter[str]:
    """Counts what a message holds, from the JSON alone."""
    message = normalised(line.message)
    content = message.get("serverContent") or {}
    found: Counter[str] = Counter()
    for part in (content.get("modelTurn") or {}).get("parts") or []:
        if not isinstance(part, dict):
            continue
        if part.get("text"):
            found["thoughts" if part.get("thought") else "text"] += len(part["text"])
        blob = part.get("inlineData") or {}
        data = decoded(blob["data"]) if "data" in blob else None
        if data:
            found["audio" if str(blob.get("mimeType")).startswith("audio/pcm") else "media"] += len(data)
    for key in ("inputTranscription", "interimInputTranscription", "outputTranscription"):
        found[key] += len((content.get(key) or {}).get("text") or "")
    found["calls"] += len((message.get("toolCall") or {}).get("functionCalls") or [])
    ids = (message.get("toolCallCancellation") or {}).get("ids") or []
    found["cancellations"] += sum(isinstance(id_, str) for id_ in ids)
    return +found


def _told(message: ServerMessage) -> Counter[str]:
    """Counts the same in the events."""
    found: Counter[str] = Counter()
    for event in codec.events(message):
        match event:
            case ModelThought(text=text):
                found["thoughts"] += len(text)
            case ModelText(text=text):
                found["text"] += len(text)
            case ModelAudio(data=data, rate_hz=rate_hz):
                assert rate_hz == 24000
                found["audio"] += len(data)
            case ModelMedia(data=data):
                found["media"] += len(data)
            case InputTranscript(text=text):
                found["inputTranscription"] += len(text)
            case InterimInputTranscript(text=text):
                found["interimInputTranscription"] += len(text)
            case OutputTranscript(text=text):
                found["outputTranscription"] += len(text)
            case ToolCall(calls=calls):
                found["calls"] += len(calls)
            case ToolCallCancellation(ids=ids):
                found["cancellations"] += len(ids)
            case _:
                pass
    return +found


@FROM_SERVER
def test_events_hold_the_bytes_and_the_text_of_the_message(source: str) -> None:
    for line in read(source):
        assert _told(codec.decode(line.frame)) == _counted(line), line.where


MARKS = {
    "generationComplete": "GenerationComplete",
    "interrupted": "Interrupted",
    "turnComplete": "TurnComplete",
}
OBJECTS = {"setupComplete": "SetupComplete", "goAway": "GoAway", "sessionResumptionUpdate": "ResumptionUpdate"}


@FROM_SERVER
def test_a_mark_gives_one_event_in_every_message_that_bears_it(source: str) -> None:
    for line in read(source):
        message: dict[str, Any] = normalised(line.message)
        content = message.get("serverContent") or {}
        borne = [name for key, name in OBJECTS.items() if isinstance(message.get(key), dict)]
        borne += [name for key, name in MARKS.items() if content.get(key)]
        names = [type(event).__name__ for event in codec.events(codec.decode(line.frame))]
        told = [name for name in names if name in {*OBJECTS.values(), *MARKS.values()}]
        assert sorted(told) == sorted(borne), line.where


@FROM_SERVER
def test_problems_are_told_by_the_last_event_and_only_by_it(source: str) -> None:
    for line in read(source):
        message = codec.decode(line.frame)
        found = codec.events(message)
        assert (found[-1:] == (ServerMessageError(message.problems),)) == bool(message.problems), line.where
        assert not any(isinstance(event, ServerMessageError) for event in found[:-1]), line.where
