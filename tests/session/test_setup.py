"""From the flat configuration to the setup message, and what is refused before any network."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gemlive import codec
from gemlive.errors import ConfigError
from gemlive.families import family_for
from gemlive.session import setup_message
from gemlive.transport import GoogleAI, VertexAI
from gemlive.types import FunctionDeclaration, SessionConfig, SpeechConfig

GOOGLE = GoogleAI("key")
VERTEX = VertexAI("p", "us-central1", token="token")


def wire(config: SessionConfig, endpoint: GoogleAI | VertexAI = GOOGLE) -> dict[str, Any]:
    setup = setup_message(config, endpoint, family_for(config.model))
    message = orjson.loads(codec.encode(setup))["setup"]
    assert isinstance(message, dict)
    return message


def test_the_least_that_is_said() -> None:
    assert wire(SessionConfig(model="m")) == {"model": "models/m", "sessionResumption": {}}


def test_vertex_takes_the_full_model_name_and_is_told_the_modality() -> None:
    assert wire(SessionConfig(model="m"), VERTEX) == {
        "model": "projects/p/locations/us-central1/publishers/google/models/m",
        "generationConfig": {"responseModalities": ["AUDIO"]},
        "sessionResumption": {},
    }


def test_the_modality_that_vertex_is_told_is_one_that_the_model_has() -> None:
    message = wire(SessionConfig(model="gemini-3.5-transcribe-live-preview"), VERTEX)
    assert message["generationConfig"] == {"responseModalities": ["TEXT"]}


def test_everything_that_can_be_said_lands_in_its_place() -> None:
    config = SessionConfig(
        model="m",
        voice="Kore",
        language_code="de-DE",
        response_modalities=("AUDIO",),
        system_instruction="Be brief.",
        tools=({"googleSearch": {}}, FunctionDeclaration(name="f")),
        vad="manual",
        activity_handling="NO_INTERRUPTION",
        turn_coverage="TURN_INCLUDES_ALL_INPUT",
        interim_transcript_timestamps=True,
        transcription=True,
        output_audio_transcription={"language_codes": ["de-DE"]},
        resumption_handle="h",
        transparent_resumption=True,
        compression=True,
        thinking="low",
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        max_output_tokens=100,
        seed=7,
        candidate_count=1,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        media_resolution="MEDIA_RESOLUTION_LOW",
        affective_dialog=True,
        proactivity=True,
        explicit_vad_signal=True,
        history=True,
        avatar={"avatarName": "a"},
        translation={"targetLanguageCode": "fr"},
        safety_settings=({"category": "c", "threshold": "t"},),
        labels={"team": "x"},
    )
    assert wire(config, VERTEX) == {
        "model": "projects/p/locations/us-central1/publishers/google/models/m",
        "generationConfig": {
            "responseModalities": ["AUDIO"],
            "temperature": 0.5,
            "topP": 0.9,
            "topK": 40,
            "maxOutputTokens": 100,
            "seed": 7,
            "candidateCount": 1,
            "presencePenalty": 0.1,
            "frequencyPenalty": 0.2,
            "mediaResolution": "MEDIA_RESOLUTION_LOW",
            "speechConfig": {
                "voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}},
                "languageCode": "de-DE",
            },
            "thinkingConfig": {"thinkingLevel": "LOW"},
            "enableAffectiveDialog": True,
            "translationConfig": {"targetLanguageCode": "fr"},
        },
        "systemInstruction": {"role": "user", "parts": [{"text": "Be brief."}]},
        "tools": [{"googleSearch": {}}, {"functionDeclarations": [{"name": "f"}]}],
        "realtimeInputConfig": {
            "automaticActivityDetection": {"disabled": True},
            "activityHandling": "NO_INTERRUPTION",
            "turnCoverage": "TURN_INCLUDES_ALL_INPUT",
            "interimTranscriptTimestampEnabled": True,
        },
        "sessionResumption": {"handle": "h", "transparent": True},
        "contextWindowCompression": {"slidingWindow": {}},
        "inputAudioTranscription": {},
        "outputAudioTranscription": {"languageCodes": ["de-DE"]},
        "proactivity": {"proactiveAudio": True},
        "explicitVadSignal": True,
        "historyConfig": {"initialHistoryInClientContent": True},
        "avatarConfig": {"avatarName": "a"},
        "safetySettings": [{"category": "c", "threshold": "t"}],
        "labels": {"team": "x"},
    }


def test_no_handles_are_asked_for_without_resumption() -> None:
    assert "sessionResumption" not in wire(SessionConfig(model="m", resumption=False))


def test_an_empty_mapping_is_presence() -> None:
    assert wire(SessionConfig(model="m", input_audio_transcription={}))["inputAudioTranscription"] == {}


def test_one_direction_can_be_excluded_from_transcription() -> None:
    message = wire(SessionConfig(model="m", transcription=True, input_audio_transcription=False))
    assert ("inputAudioTranscription" in message, "outputAudioTranscription" in message) == (False, True)


def test_bare_functions_become_one_tool_of_their_own() -> None:
    config = SessionConfig(model="m", tools=({"name": "a"}, {"google_search": {}}, FunctionDeclaration(name="b")))
    assert wire(config)["tools"] == [{"googleSearch": {}}, {"functionDeclarations": [{"name": "a"}, {"name": "b"}]}]


def test_extra_setup_is_merged_last_and_recursively() -> None:
    config = SessionConfig(
        model="m",
        temperature=0.5,
        extra_setup={"generation_config": {"newSetting": 1}, "brandNew": {"a": [1]}, "labels": None},
    )
    message = wire(config)
    assert message["generationConfig"] == {"temperature": 0.5, "newSetting": 1}
    assert message["brandNew"] == {"a": [1]}


@pytest.mark.parametrize(
    ("field", "model", "settings"),
    [
        ("response_modalities", "gemini-2.5-flash-native-audio-latest", {"response_modalities": "TEXT"}),
        ("thinking", "gemini-2.5-flash-native-audio-latest", {"thinking": "low"}),
        ("thinking", "gemini-3.1-flash-live-preview", {"thinking": 1024}),
        ("thinking", "gemini-3.1-flash-live-preview", {"thinking": "EXTREME"}),
        ("thinking", "gemini-3.8-live", {"thinking": "low"}),
        ("thinking", "m", {"thinking": True}),
        ("affective_dialog", "gemini-3.1-flash-live-preview", {"affective_dialog": True}),
        ("proactivity", "gemini-3.8-live", {"proactivity": False}),
        ("proactivity", "gemini-3.1-flash-live-preview", {"proactivity": True}),
        ("history", "gemini-2.5-flash-native-audio-latest", {"history": True}),
        ("transparent_resumption", "m", {"transparent_resumption": True}),
        ("explicit_vad_signal", "m", {"explicit_vad_signal": True}),
        ("tools[0].code_execution", "gemini-3.8-live", {"tools": [{"code_execution": {}}]}),
        (
            "tools[0].function_declarations[0].behavior",
            "gemini-3.1-flash-live-preview",
            {"tools": [{"name": "f", "behavior": "NON_BLOCKING"}]},
        ),
        (
            "tools[0].function_declarations[0].behavior",
            "gemini-3.8-live-extended-thinking",
            {"tools": [{"name": "f", "behavior": "BLOCKING"}]},
        ),
        ("tools[0].function_declarations[0].name", "m", {"tools": [FunctionDeclaration(description="d")]}),
        ("model", "a?b", {}),
    ],
)
def test_what_is_known_to_fail_names_the_field(field: str, model: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        wire(SessionConfig(model=model, **settings))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("speech", {"speech": {"voiceConfig": {"prebuiltVoice": "Kore"}}}),
        ("vad", {"vad": {"silence": 3}}),
        ("system_instruction", {"system_instruction": {"txt": "a"}}),
        ("tools[0]", {"tools": [{"gogleSearch": {}}]}),
        ("safety_settings[0]", {"safety_settings": [{"kategory": "c"}]}),
        ("compression", {"compression": 3}),
    ],
)
def test_wrong_plain_data_names_the_field(field: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        wire(SessionConfig(model="m", **settings))
    assert caught.value.field == field


def test_a_wire_class_is_taken_as_it_is() -> None:
    speech = SpeechConfig(language_code="fr-FR")
    assert wire(SessionConfig(model="m", speech=speech))["generationConfig"]["speechConfig"] == {
        "languageCode": "fr-FR"
    }


def test_an_unknown_model_is_refused_nothing() -> None:
    config = SessionConfig(model="gemini-9", response_modalities="TEXT", thinking="XHIGH", affective_dialog=True)
    assert wire(config)["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "XHIGH"}
