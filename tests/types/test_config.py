"""The flat configuration: what it refuses, and how it reads google-genai's dictionaries."""

from __future__ import annotations

from typing import Any

import pytest

from gemlive.errors import ConfigError
from gemlive.types import FunctionDeclaration, SessionConfig, Tool


@pytest.mark.parametrize("value", ["", "   ", None, 3])
def test_a_model_is_a_name(value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        SessionConfig(model=value)
    assert caught.value.field == "model"


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("voice", {"voice": ""}),
        ("voice", {"voice": 7}),
        ("vad", {"vad": "sometimes"}),
        ("speech", {"speech": {}, "voice": "Kore"}),
        ("resumption_handle", {"resumption": False, "resumption_handle": "h"}),
        ("temperature", {"temperature": "hot"}),
        ("seed", {"seed": True}),
        ("tools[1]", {"tools": [Tool(), print]}),
        ("extra_setup", {"extra_setup": ["a"]}),
        ("labels", {"labels": "team"}),
    ],
)
def test_an_impossible_setting_names_itself(field: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        SessionConfig(model="m", **settings)
    assert caught.value.field == field


def test_one_modality_may_stand_for_a_list_of_one() -> None:
    assert SessionConfig(model="m", response_modalities="audio").response_modalities == ("AUDIO",)


def test_one_tool_may_stand_for_a_list_of_one() -> None:
    function = FunctionDeclaration(name="f")
    assert SessionConfig(model="m", tools=function).tools == (function,)


def test_the_resumption_handle_is_not_shown() -> None:
    assert "s3cret" not in repr(SessionConfig(model="m", resumption_handle="s3cret"))


SNAKE = {
    "response_modalities": ["AUDIO"],
    "system_instruction": "Be brief.",
    "speech_config": {"voice_config": {"prebuilt_voice_config": {"voice_name": "Kore"}}},
    "realtime_input_config": {
        "automatic_activity_detection": {"disabled": True},
        "turn_coverage": "TURN_INCLUDES_ALL_INPUT",
    },
    "session_resumption": {"handle": "h", "transparent": None},
    "context_window_compression": {"sliding_window": {}},
    "input_audio_transcription": {},
    "generation_config": {"temperature": 0.5, "thinking_config": {"thinking_budget": 0}},
    "tools": [{"google_search": {}}],
}
CAMEL = {
    "responseModalities": ["AUDIO"],
    "systemInstruction": "Be brief.",
    "speechConfig": {"voice_config": {"prebuilt_voice_config": {"voice_name": "Kore"}}},
    "realtimeInputConfig": {
        "automaticActivityDetection": {"disabled": True},
        "turnCoverage": "TURN_INCLUDES_ALL_INPUT",
    },
    "sessionResumption": {"handle": "h"},
    "contextWindowCompression": {"sliding_window": {}},
    "inputAudioTranscription": {},
    "temperature": 0.5,
    "thinkingConfig": {"thinking_budget": 0},
    "tools": [{"google_search": {}}],
}


@pytest.mark.parametrize("given", [SNAKE, CAMEL], ids=["snake_case", "camelCase"])
def test_a_google_genai_dictionary_is_read_in_either_casing(given: dict[str, Any]) -> None:
    assert SessionConfig.from_dict(given, model="m") == SessionConfig(
        model="m",
        response_modalities=("AUDIO",),
        system_instruction="Be brief.",
        speech={"voice_config": {"prebuilt_voice_config": {"voice_name": "Kore"}}},
        vad={"disabled": True},
        turn_coverage="TURN_INCLUDES_ALL_INPUT",
        resumption_handle="h",
        compression={"sliding_window": {}},
        input_audio_transcription={},
        temperature=0.5,
        thinking={"thinking_budget": 0},
        tools=({"google_search": {}},),
    )


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "model"),
        ({"model": "m", "respons_modalities": []}, "respons_modalities"),
        ({"model": "m", "http_options": {"api_version": "v1"}}, "http_options"),
        ({"model": "m", "temperature": 1, "generation_config": {"temperature": 2}}, "temperature"),
        ({"model": "m", "generation_config": 3}, "generation_config"),
        ({"model": "m", "realtime_input_config": {"silence": 1}}, "realtime_input_config.silence"),
        ({"model": "m", 4: 5}, "4"),
    ],
)
def test_a_wrong_key_names_itself(given: dict[Any, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SessionConfig.from_dict(given)
    assert caught.value.field == field


def test_a_misspelt_key_is_told_its_nearest_neighbour() -> None:
    with pytest.raises(ConfigError, match="did you mean response_modalities"):
        SessionConfig.from_dict({"model": "m", "respons_modalities": []})
