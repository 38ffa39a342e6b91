"""Frames in, messages and events out, and back; on small cases of our own and on whatever Hypothesis makes up."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemlive import codec
from gemlive.errors import CodecError
from gemlive.types import (
    EMPTY,
    Blob,
    ClientContent,
    ClientMessage,
    Content,
    FunctionCall,
    FunctionDeclaration,
    FunctionResponse,
    GenerationConfig,
    Modality,
    Part,
    RawClientMessage,
    RealtimeInput,
    ServerContent,
    ServerGoAway,
    ServerMessage,
    ServerToolCall,
    SessionResumptionUpdate,
    Setup,
    Stamp,
    ThinkingConfig,
    Tool,
    ToolResponse,
    Wire,
)
from tests.types.strategies import JSON, TEXT, client_messages, instances, server_messages, wire_classes

DATA = Path(__file__).parent / "data"


def _cases(name: str) -> pytest.MarkDecorator:
    lines = [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    return pytest.mark.parametrize("case", lines, ids=[line["says"] for line in lines])


def _frame(value: object) -> bytes:
    return json.dumps(value).encode()


def _shown(value: object) -> object:
    """Returns a value of an event as the data files write it."""
    if isinstance(value, Wire):
        return codec.unstructure(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple):
        return [_shown(member) for member in value]
    return value


def _told(message: ServerMessage) -> list[object]:
    """Returns the events of a message as the data files write them: what is not as by default."""
    return [
        [
            type(event).__name__,
            {
                field.name: _shown(getattr(event, field.name))
                for field in attrs.fields(type(event))
                if field.name != "at" and getattr(event, field.name) != field.default
            },
        ]
        for event in codec.events(message)
    ]


# --- small cases -----------------------------------------------------------------------------------------------------


@_cases("server_messages")
def test_a_server_message_gives_these_events(case: Mapping[str, Any]) -> None:
    message = codec.decode(_frame(case["wire"]))
    assert _told(message) == case["events"]
    assert list(message.problems) == case.get("problems", [])


@_cases("server_messages")
def test_a_server_message_is_written_so(case: Mapping[str, Any]) -> None:
    message = codec.decode(_frame(case["wire"]))
    assert json.loads(codec.encode_server(message)) == case.get("written", case["wire"])


@_cases("client_messages")
def test_a_client_message_is_read_and_written_so(case: Mapping[str, Any]) -> None:
    message = codec.decode_client(_frame(case["wire"]))
    assert type(message).__name__ == case["kind"]
    assert json.loads(codec.encode(message)) == case.get("written", case["wire"])


@_cases("client_messages")
def test_strict_reading_takes_the_same(case: Mapping[str, Any]) -> None:
    assert codec.decode_client(_frame(case["wire"]), strict=True) == codec.decode_client(_frame(case["wire"]))


@_cases("refused_client_messages")
def test_strict_reading_refuses_in_the_words_of_the_service(case: Mapping[str, Any]) -> None:
    with pytest.raises(CodecError) as caught:
        codec.decode_client(_frame(case["wire"]), strict=True)
    assert (str(caught.value), caught.value.path) == (case["error"], case["path"])


@_cases("refused_client_messages")
def test_lenient_reading_loses_nothing_of_what_strict_reading_refuses(case: Mapping[str, Any]) -> None:
    message = codec.decode_client(_frame(case["wire"]))
    written = json.loads(codec.encode(message))
    assert {key.lower(): value for key, value in written.items()} == {
        key.lower(): {name: member for name, member in value.items() if member is not None}
        if isinstance(value, dict)
        else value
        for key, value in case["wire"].items()
    }


@pytest.mark.parametrize(
    "raw", [{}, {"setup": {"model": "m"}, "bogus": 1}, {"setup": {}, "clientContent": {}}, {"x": 1}, {"x": None}]
)
def test_a_client_message_without_one_known_key_is_kept_whole(raw: dict[str, object]) -> None:
    assert codec.decode_client(_frame(raw)) == RawClientMessage(raw)


def test_a_known_field_of_the_wrong_shape_stays_beside_the_others() -> None:
    message = codec.decode_client('{"setup": {"model": "m", "tools": "all", "generation_config": {"topK": "x"}}}')
    assert message == Setup(model="m", generation_config=GenerationConfig(extra={"topK": "x"}), extra={"tools": "all"})


# --- frames ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", ["", b"", b" \n", "{}", b"{}\n"])
def test_an_empty_frame_is_an_empty_message(frame: str | bytes) -> None:
    assert codec.decode(frame) == ServerMessage()


def test_text_and_bytes_read_the_same() -> None:
    frame = '{"serverContent": {"modelTurn": {"parts": [{"text": "schön \U0001f600"}]}}}'
    assert codec.decode(frame) == codec.decode(frame.encode())


@pytest.mark.parametrize(
    "frame",
    [
        b"null",
        b"[]",
        b'"secret"',
        b"5",
        b"true",
        b"{",
        b'{"secret": ',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{} {"secret": 1}',
        b'{"secret": "\xff"}',
        b'{"secret": "\\ud800"}',
        '{"secret": "\ud800"}',
        b"\xef\xbb\xbf",
        b'{"secret": ' + b"[" * 5000,
    ],
)
def test_what_is_no_json_object_is_refused_without_quoting_it(frame: str | bytes) -> None:
    with pytest.raises(CodecError) as caught:
        codec.decode(frame)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None  # orjson's own error holds the frame
    assert caught.value.path == ""


def _nested(levels: int) -> bytes:
    """Returns a frame that is nested this deep, itself counted."""
    inner = levels - 1
    return b'{"x": ' + b"[" * inner + b"]" * inner + b"}"


def test_a_frame_may_be_nested_as_deep_as_the_limit() -> None:
    message = codec.decode(_nested(codec.MAX_DEPTH))
    assert codec.decode(codec.encode_server(message)) == message


def test_a_deep_frame_may_be_wide_as_well() -> None:
    frame = _nested(codec.MAX_DEPTH)[:-1] + b', "y": [' + b"{}," * 100 + b"{}]}"
    message = codec.decode(frame)
    assert codec.decode(codec.encode_server(message)) == message


@pytest.mark.parametrize("levels", [codec.MAX_DEPTH + 1, 1000])
def test_a_frame_nested_deeper_is_refused(levels: int) -> None:
    with pytest.raises(CodecError, match="deeper than 64 levels"):
        codec.decode(_nested(levels))


def test_a_wide_frame_is_no_deep_one() -> None:
    calls = [{"name": f"f{number}"} for number in range(200)]
    assert len(codec.decode(_frame({"toolCall": {"functionCalls": calls}})).tool_call.function_calls) == 200  # type: ignore[union-attr,arg-type]


@pytest.mark.parametrize("wrap", [bytes, lambda frame: frame.decode()], ids=["bytes", "str"])
def test_a_frame_may_be_as_large_as_the_limit_and_no_larger(wrap: Callable[[bytes], Any]) -> None:
    frame = b'{"x": "' + b"a" * (codec.MAX_MESSAGE_BYTES - 9) + b'"}'
    assert len(frame) == codec.MAX_MESSAGE_BYTES
    codec.decode(wrap(frame))
    with pytest.raises(CodecError, match=f"{codec.MAX_MESSAGE_BYTES + 1} bytes"):
        codec.decode(wrap(frame + b" "))


def test_the_limit_counts_bytes_and_not_characters() -> None:
    with pytest.raises(CodecError, match="the limit is"):
        codec.decode('{"x": "' + "ä" * (codec.MAX_MESSAGE_BYTES // 2) + '"}')


def test_a_million_broken_members_cost_a_handful_of_sentences() -> None:
    frame = b'{"serverContent": {"modelTurn": {"parts": [' + b"5," * 100_000 + b"5]}}}"
    message = codec.decode(frame)
    assert len(message.problems) == 33
    assert message.problems[-1] == "further problems are not listed"
    assert json.loads(codec.encode_server(message)) == json.loads(frame)


def test_all_problems_are_listed_up_to_the_limit() -> None:
    message = codec.decode(b'{"toolCallCancellation": {"ids": [' + b"5," * 31 + b"5]}}")
    assert [problem.partition(":")[0] for problem in message.problems] == [
        f"tool_call_cancellation.ids[{index}]" for index in range(32)
    ]


def test_pretty_frames_look_like_the_real_service_s() -> None:
    message = codec.decode('{"setupComplete": {}}')
    assert codec.encode_server(message, pretty=True) == '{\n  "setupComplete": {}\n}\n'
    assert codec.encode_server(message) == '{"setupComplete":{}}'


def test_problems_are_about_a_message_and_not_in_it() -> None:
    assert codec.encode_server(ServerMessage(problems=("x: y",))) == "{}"


def test_threads_may_decode_at_the_same_time() -> None:
    frames = [_frame({"toolCall": {"functionCalls": [{"id": str(n)}, n]}}) for n in range(200)]
    expected = [codec.decode(frame) for frame in frames]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(codec.decode, frames)) == expected


# --- writing ---------------------------------------------------------------------------------------------------------


def _answer(response: object) -> ToolResponse:
    return ToolResponse(function_responses=(FunctionResponse(id="1", response={"result": response}),))


def _loop() -> object:
    loop: list[object] = []
    loop.append(loop)
    return loop


def _deep(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (_answer(float("nan")), "tool_response.function_responses[0].response.result: must be finite, not nan"),
        (_answer([1, float("inf")]), "tool_response.function_responses[0].response.result[1]: must be finite, not inf"),
        (_answer(2**64), "tool_response.function_responses[0].response.result: must fit into 64 bits"),
        (_answer({1: 2}), "tool_response.function_responses[0].response.result: has a key that is no string but int"),
        (_answer({"s": {1}}), "response.result.s: must be JSON"),
        (_answer(b"bytes"), "response.result: must be JSON"),
        (_answer(object()), "response.result: must be JSON"),
        (_answer("\ud800"), "toolResponse.functionResponses[0].response.result: holds half of a surrogate pair"),
        (_answer({"\ud800": 1}), "functionResponses[0].response.result: holds half of a surrogate pair"),
        (_answer({"\ud800": float("nan")}), "response.result.?: must be finite"),
        (_answer(_loop()), "is nested deeper than 64 levels"),
        (_answer(_deep(10_000)), "is nested deeper than 64 levels"),
        (_answer(_deep(60)), "nested deeper than 64 levels; flatten it"),
        (Setup(model="m", extra={"x": float("nan")}), "setup.x: must be finite, not nan"),
        (Setup(model=5), "setup.model: must be a string, not int"),  # type: ignore[arg-type]
        (Setup(tools="all"), "setup.tools: must be a tuple, not str"),  # type: ignore[arg-type]
        (Setup(tools=({},)), "setup.tools[0]: must be a Tool, not dict"),  # type: ignore[arg-type]
        (Setup(labels={"a": 1}), "setup.labels: must map strings to strings"),  # type: ignore[dict-item]
        (Setup(generation_config=GenerationConfig(seed=True)), "setup.generation_config.seed: must be an int"),
        (Setup(generation_config=GenerationConfig(seed=2**63)), "seed: must fit into 64 bits"),
        (Setup(generation_config=GenerationConfig(top_k=float("nan"))), "top_k: must be finite"),
        (RealtimeInput(audio=Blob(data="AAAA")), "realtime_input.audio.data: must be bytes, not str"),  # type: ignore[arg-type]
        (RawClientMessage({"x": {"y": float("nan")}}), "x.y: must be finite"),
        (RawClientMessage(5), "must be a mapping"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(message: ClientMessage, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        codec.encode(message)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 1e12, True, "2s"])
def test_a_duration_that_is_none_is_refused_by_name(seconds: Any) -> None:
    with pytest.raises(ValueError, match=r"^go_away\.time_left: must be "):
        codec.encode_server(ServerMessage(go_away=ServerGoAway(time_left_s=seconds)))


def test_each_direction_refuses_the_other_s_messages() -> None:
    with pytest.raises(TypeError, match="encode_server"):
        codec.encode(ServerMessage())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="encode takes the client's"):
        codec.encode_server(Setup())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0s"),
        (-0.0, "0s"),
        (50, "50s"),
        (2.2, "2.200s"),
        (0.1 + 0.2, "0.300s"),
        (1e-6, "0.000001s"),
        (1e-9, "0.000000001s"),
        (1 / 3, "0.333333333s"),
    ],
)
def test_durations_have_no_three_six_or_nine_digits(seconds: float, written: str) -> None:
    frame = codec.encode_server(ServerMessage(go_away=ServerGoAway(time_left_s=seconds)))
    assert json.loads(frame) == {"goAway": {"timeLeft": written}}


def test_bytes_are_written_as_standard_base64_with_padding() -> None:
    frame = codec.encode(RealtimeInput(audio=Blob(data=b"\xfb\xff", mime_type="audio/pcm")))
    assert json.loads(frame) == {"realtimeInput": {"audio": {"data": "+/8=", "mimeType": "audio/pcm"}}}


def test_an_enum_member_is_written_as_its_string() -> None:
    config = GenerationConfig(response_modalities=(Modality.AUDIO,), response_json_schema={"enum": [Modality.TEXT]})
    assert json.loads(codec.encode(Setup(generation_config=config))) == {
        "setup": {"generationConfig": {"responseModalities": ["AUDIO"], "responseJsonSchema": {"enum": ["TEXT"]}}}
    }


def test_free_form_data_may_be_any_mapping_and_any_sequence() -> None:
    assert codec.unstructure(FunctionCall(args={"a": EMPTY, "b": (1, 2)})) == {"args": {"a": {}, "b": [1, 2]}}


def test_empty_arguments_differ_from_none_on_the_wire_and_nowhere_else() -> None:
    absent, empty = FunctionCall(name="f"), FunctionCall(name="f", args={})
    assert codec.unstructure(absent) == {"name": "f"}
    assert codec.unstructure(empty) == {"name": "f", "args": {}}
    assert absent == empty


def test_extra_wins_over_the_field_it_names_in_whatever_spelling() -> None:
    content = ServerContent(turn_complete=True, interrupted=True, extra={"turn_complete": "perhaps", "new": None})
    assert codec.unstructure(content) == {"interrupted": True, "turn_complete": "perhaps"}


# --- plain data ------------------------------------------------------------------------------------------------------


def test_plain_data_becomes_a_wire_class_in_either_casing() -> None:
    raw = {"function_declarations": [{"name": "f", "parametersJsonSchema": {"type": "object"}}], "googleSearch": {}}
    tool = codec.structure(Tool, raw)
    assert tool.function_declarations == (FunctionDeclaration(name="f", parameters_json_schema={"type": "object"}),)
    assert codec.structure(Tool, codec.unstructure(tool)) == tool


def test_plain_data_may_hold_bytes_and_wire_classes() -> None:
    raw = {"parts": [{"inline_data": {"data": b"\x00", "mime_type": "image/png"}}, Part(text="hi")]}
    assert codec.structure(Content, raw) == Content(
        parts=(Part(inline_data=Blob(data=b"\x00", mime_type="image/png")), Part(text="hi"))
    )


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({"thinkingBudgets": 1}, "thinking_budgets"),
        ({"thinkingBudget": "x"}, "thinking_budget"),
        ({"thinkingBudget": {1}}, "thinkingBudget"),
        (5, ""),
        (None, ""),
    ],
)
def test_wrong_plain_data_is_refused_by_name(raw: object, path: str) -> None:
    with pytest.raises(CodecError) as caught:
        codec.structure(ThinkingConfig, raw)
    assert caught.value.path == path


def test_wrong_plain_data_can_be_kept_instead() -> None:
    raw = {"thinkingBudget": "x", "new": 1}
    assert codec.structure(ThinkingConfig, raw, strict=False) == ThinkingConfig(extra=raw)


# --- events ----------------------------------------------------------------------------------------------------------


def test_every_event_carries_the_stamp_it_was_given() -> None:
    stamp = Stamp(connection=2, turn=3, response=4)
    message = codec.decode(
        '{"setupComplete": {}, "serverContent": {"interrupted": true, "turnComplete": true}, "x": 1}'
    )
    assert [event.at for event in codec.events(message, stamp)] == [stamp] * 4


def test_a_call_without_arguments_has_an_empty_mapping() -> None:
    message = ServerMessage(tool_call=ServerToolCall(function_calls=(FunctionCall(name="f"),)))
    (event,) = codec.events(message)
    assert event.calls[0].args == {}  # type: ignore[union-attr]


def test_a_handle_does_not_show_in_message_or_event() -> None:
    message = ServerMessage(session_resumption_update=SessionResumptionUpdate(new_handle="canary"))
    assert "canary" not in repr(message)
    assert "canary" not in repr(codec.events(message))


# --- what the world sends --------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(client_messages())
def test_a_client_message_is_read_as_it_was_written(message: ClientMessage) -> None:
    assert codec.decode_client(codec.encode(message)) == message


@settings(max_examples=300)
@given(server_messages(), st.booleans())
def test_a_server_message_is_read_as_it_was_written(message: ServerMessage, pretty: bool) -> None:
    assert codec.decode(codec.encode_server(message, pretty=pretty)) == message


@pytest.mark.parametrize("cls", wire_classes(), ids=lambda cls: cls.__name__)
@settings(max_examples=15)
@given(data=st.data())
def test_every_wire_class_is_read_as_it_was_written(cls: type[Wire], data: st.DataObject) -> None:
    value = data.draw(instances(cls))
    assert codec.structure(cls, codec.unstructure(value), strict=False) == value


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_frame_is_a_message_or_a_codec_error(frame: str | bytes) -> None:
    for decode in (codec.decode, codec.decode_client, _strictly):
        try:
            decode(frame)
        except CodecError:
            continue


def _strictly(frame: str | bytes) -> ClientMessage:
    return codec.decode_client(frame, strict=True)


@st.composite
def _mutated(draw: st.DrawFn, messages: st.SearchStrategy[dict[str, Any]]) -> Any:
    """Draws a sound message in which a few values were replaced, dropped, or their keys respelled."""
    message: Any = draw(messages)
    for _ in range(draw(st.integers(1, 3))):
        places = [message]
        for place in places:
            places += [value for value in _members(place) if isinstance(value, dict | list) and value]
        place = draw(st.sampled_from(places))
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            continue
        key = draw(st.sampled_from(keys))
        if isinstance(place, dict) and draw(st.booleans()):
            respelled = draw(st.sampled_from([str.upper, str.title, str.swapcase, lambda text: f"{text}_"]))(key)
            place[respelled] = place[key] if draw(st.booleans()) else draw(JSON)
        else:
            place[key] = draw(JSON | st.just("!!!!") | st.just([None, {}, [[]]]))
    return message


def _members(place: Any) -> list[Any]:
    return list(place.values()) if isinstance(place, dict) else list(place)


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value))


@settings(max_examples=300)
@given(_mutated(server_messages().map(codec.unstructure).map(_copied)) | st.dictionaries(TEXT, JSON, max_size=4))
def test_a_broken_server_message_loses_nothing_and_still_gives_events(raw: dict[str, Any]) -> None:
    message = codec.decode(_frame(raw))
    codec.events(message)
    again = codec.decode(codec.encode_server(message))
    assert attrs.evolve(again, problems=()) == attrs.evolve(message, problems=())
    assert sorted(again.problems) == sorted(message.problems)


@settings(max_examples=200)
@given(_mutated(client_messages().map(codec.encode).map(json.loads)) | JSON)
def test_a_broken_client_message_loses_nothing(raw: Any) -> None:
    try:
        message = codec.decode_client(_frame(raw))
    except CodecError:
        assert not isinstance(raw, dict)
        return
    assert codec.decode_client(codec.encode(message)) == message


@settings(max_examples=100)
@given(_mutated(client_messages().map(codec.encode).map(json.loads)))
def test_strict_reading_gives_the_same_message_or_refuses(raw: dict[str, Any]) -> None:
    try:
        message = _strictly(_frame(raw))
    except CodecError:
        return
    assert message == codec.decode_client(_frame(raw))
    assert not isinstance(message, RawClientMessage)


def test_a_turn_is_built_from_the_classes() -> None:
    message = ClientContent(turns=(Content(role="user", parts=(Part(text="hi"),)),), turn_complete=True)
    assert (
        codec.encode(message)
        == '{"clientContent":{"turns":[{"parts":[{"text":"hi"}],"role":"user"}],"turnComplete":true}}'
    )
