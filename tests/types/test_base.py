"""The one rule of names, and what every wire class has in common."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import attrs
import pytest

from gemlive import codec, types
from gemlive.types import (
    EMPTY,
    Blob,
    FunctionCall,
    ServerGoAway,
    ServerMessage,
    SessionResumptionConfig,
    SessionResumptionUpdate,
    Setup,
    Wire,
    camel,
)
from tests.types.strategies import hints, sent_fields, wire_classes, wire_name

BY_CLASS = pytest.mark.parametrize("cls", wire_classes(), ids=lambda cls: cls.__name__)


@pytest.mark.parametrize(
    ("name", "on_the_wire"),
    [
        ("text", "text"),
        ("setup_complete", "setupComplete"),
        ("top_k", "topK"),
        ("last_consumed_client_message_index", "lastConsumedClientMessageIndex"),
        ("initial_history_in_client_content", "initialHistoryInClientContent"),
        ("exa_ai_search", "exaAiSearch"),
        ("audio_bitrate_bps", "audioBitrateBps"),
    ],
)
def test_a_name_on_the_wire_is_the_field_s_name_in_camel_case(name: str, on_the_wire: str) -> None:
    assert camel(name) == on_the_wire


def test_no_field_but_durations_is_an_exception_to_the_rule() -> None:
    exceptions = {
        f"{cls.__name__}.{field.name}": wire_name(field)
        for cls in wire_classes()
        for field in sent_fields(cls)
        if wire_name(field) != camel(field.name)
    }
    assert exceptions == {
        "VideoMetadata.start_offset_s": "startOffset",
        "VideoMetadata.end_offset_s": "endOffset",
        "Transcription.start_offset_s": "startOffset",
        "Transcription.end_offset_s": "endOffset",
        "WordInfo.start_offset_s": "startOffset",
        "WordInfo.end_offset_s": "endOffset",
        "StreamableHttpTransport.timeout_s": "timeout",
        "StreamableHttpTransport.sse_read_timeout_s": "sseReadTimeout",
        "MapsRoute.duration_s": "duration",
        "ServerVoiceActivity.audio_offset_s": "audioOffset",
        "ServerGoAway.time_left_s": "timeLeft",
    }


@BY_CLASS
def test_every_field_is_documented(cls: type[Wire]) -> None:
    documented = re.findall(r"^    (\w+): ", inspect.getdoc(cls) or "", flags=re.MULTILINE)
    assert documented == [field.name for field in attrs.fields(cls) if field.name != "extra"]


@BY_CLASS
def test_a_message_with_nothing_set_says_nothing(cls: type[Wire]) -> None:
    assert codec.unstructure(cls()) == {}
    assert repr(cls()) == f"{cls.__name__}()"


@BY_CLASS
def test_no_two_fields_of_a_class_have_the_same_name_on_the_wire(cls: type[Wire]) -> None:
    names = [str(wire_name(field)).lower() for field in sent_fields(cls)]
    assert len(names) == len(set(names))


@BY_CLASS
def test_seconds_are_called_seconds_and_nothing_else_is(cls: type[Wire]) -> None:
    for field in sent_fields(cls):
        is_duration = field.metadata.get(types.WIRE_FORM) == "duration"
        assert is_duration == (field.name.endswith("_s")), field.name
        assert not is_duration or hints(cls)[field.name] is float


def test_all_wire_classes_are_exported() -> None:
    assert {cls.__name__ for cls in wire_classes()} <= set(types.__all__)


def test_messages_without_free_form_data_can_be_compared_and_kept_in_sets() -> None:
    assert {ServerGoAway(time_left_s=1), ServerGoAway(time_left_s=1)} == {ServerGoAway(time_left_s=1.0)}


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_copy_is_equal_and_as_empty(duplicate: object) -> None:
    call = FunctionCall(id="1", name="f")
    copied = duplicate(call)  # type: ignore[operator]
    assert copied == call
    assert copied.args is copied.extra is EMPTY


def test_the_empty_mapping_is_equal_to_an_empty_dict() -> None:
    assert EMPTY == {}
    assert list(EMPTY) == []
    with pytest.raises(KeyError):
        EMPTY["x"]


@pytest.mark.parametrize(
    "value",
    [
        SessionResumptionConfig(handle="canary"),
        SessionResumptionUpdate(new_handle="canary"),
        ServerMessage(session_resumption_update=SessionResumptionUpdate(new_handle="canary")),
        types.ParallelAiSearch(api_key="canary"),
        types.ExaAiSearch(api_key="canary"),
        types.GoogleMaps(auth_config={"apiKey": "canary"}),
        types.Retrieval(external_api={"apiAuth": "canary"}),
        types.StreamableHttpTransport(headers={"Authorization": "canary"}),
        types.VoiceConsentSignature(signature="canary"),
        types.ResumedSession(handle="canary"),
        types.RawClientMessage({"setup": {"sessionResumption": {"handle": "canary"}}}),
        SessionResumptionUpdate(extra={"handle": "canary"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_secret_shows_in_a_repr(value: object) -> None:
    assert "canary" not in repr(value)


def test_a_repr_shows_what_is_set_and_the_size_of_data() -> None:
    setup = Setup(model="models/m", system_instruction=types.Content(parts=(types.Part(inline_data=Blob(data=b"12")),)))
    assert repr(setup) == (
        "Setup(model='models/m', system_instruction=Content(parts=(Part(inline_data=Blob(data=<2 bytes>)),)))"
    )
