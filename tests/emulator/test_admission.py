from __future__ import annotations

from typing import Any

import pytest

from gemlive.codec import structure
from gemlive.emulator._admission import House, refusal
from gemlive.emulator._close import Close
from gemlive.emulator._route import Credential, Route
from gemlive.families import family_for
from gemlive.types import Setup

GOOGLE_AI = Route("google_ai", "v1beta")
PREVIEW = Route("google_ai", "v1alpha")
VERTEX = Route("vertex", "v1beta1")
KEY = Credential("key", "k")
NATIVE_2_5 = "models/gemini-2.5-flash-native-audio-latest"
FLASH_3_1 = "models/gemini-3.1-flash-live-preview"
LIVE_3_8 = "models/gemini-3.8-live"
THINKING_3_8 = "models/gemini-3.8-live-extended-thinking"
INVALID = Close(1007, "Request contains an invalid argument.")
NOT_IMPLEMENTED = Close(1008, "Operation is not implemented, or supported, or enabled.")


def refused(
    model: str,
    route: Route = GOOGLE_AI,
    *,
    credential: Credential | None = KEY,
    house: House | None = None,
    **fields: Any,
) -> Close | None:
    setup = structure(Setup, {"model": model, **fields})
    return refusal(setup, route, credential, family_for(model), house or House())


def unknown(name: str, path: str) -> Close:
    return Close(1007, f"Invalid JSON payload received. Unknown name \"{name}\" at '{path}': Cannot find field.")


def function(**fields: str) -> dict[str, Any]:
    return {"tools": [{"functionDeclarations": [{"name": "f", **fields}]}]}


@pytest.mark.parametrize("model", [NATIVE_2_5, FLASH_3_1, LIVE_3_8, THINKING_3_8, "models/anything", "bare-name"])
def test_an_ordinary_setup_is_accepted(model: str) -> None:
    assert refused(model, **function()) is None


def test_without_a_credential_the_refusal_is_cut_where_the_service_cuts_it() -> None:
    close = refused(NATIVE_2_5, credential=None)
    assert close == Close(
        1008,
        "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other "
        "form of API c",
    )


def test_only_valid_keys_are_accepted_where_there_is_a_list() -> None:
    house = House(api_keys=["good"])
    assert refused(NATIVE_2_5, house=house) == Close(1007, "API key not valid. Please pass a valid API key.")
    assert refused(NATIVE_2_5, house=house, credential=Credential("key", "good")) is None


def test_a_model_that_does_not_exist_is_refused_in_the_words_of_each_service() -> None:
    house = House(models=["gemini-2.5-flash-native-audio-latest"])
    assert refused(NATIVE_2_5, house=house) is None
    google_ai = refused("models/gemini-nope-live", house=house)
    assert google_ai == Close(
        1008,
        "models/gemini-nope-live is not found for API version v1beta, or is not supported for bidiGenerateContent. "
        "Call ModelService",
    )
    vertex = refused("projects/p/locations/l/publishers/google/models/nope", VERTEX, house=house)
    assert vertex is not None
    assert (vertex.code, vertex.reason[:26]) == (1008, "Publisher Model projects/p")


@pytest.mark.parametrize(
    ("model", "fields", "close"),
    [
        # Fields of the other service (docs/protocol.md 3.1).
        (
            NATIVE_2_5,
            {"sessionResumption": {"transparent": True}},
            unknown("transparent", "setup.session_resumption"),
        ),
        (NATIVE_2_5, {"explicitVadSignal": True}, unknown("explicitVadSignal", "setup")),
        ("projects/p/locations/l/publishers/google/models/m", {}, None),
        ("", {}, None),
        # Modalities and voices (docs/protocol.md 3.2).
        (
            NATIVE_2_5,
            {"generationConfig": {"responseModalities": ["TEXT"]}},
            Close(1007, "Text output is not supported for native audio output model."),
        ),
        (
            FLASH_3_1,
            {"generationConfig": {"responseModalities": ["TEXT"]}},
            Close(1007, "The requested combination of response modalities (TEXT) is not supported by the model"),
        ),
        (
            "models/x",
            {"generationConfig": {"responseModalities": ["TEXT", "AUDIO"]}},
            Close(1007, "The requested combination of response modalities (TEXT, AUDIO) is not supported by the model"),
        ),
        (
            NATIVE_2_5,
            {"generationConfig": {"speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "alloy"}}}}},
            Close(1007, "No matching speaker voice found for name: alloy"),
        ),
        # Thinking (docs/protocol.md 3.2).
        (NATIVE_2_5, {"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}}, INVALID),
        (FLASH_3_1, {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}, INVALID),
        (LIVE_3_8, {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}}, INVALID),
        (THINKING_3_8, {"generationConfig": {"thinkingConfig": {"thinkingLevel": "MINIMAL"}}}, INVALID),
        # What 3.x dropped (docs/protocol.md 3.1, 3.2).
        (
            FLASH_3_1,
            {"generationConfig": {"enableAffectiveDialog": True}},
            unknown("enableAffectiveDialog", "setup.generation_config"),
        ),
        (FLASH_3_1, {"proactivity": {"proactiveAudio": True}}, INVALID),
        (LIVE_3_8, {"proactivity": {"proactiveAudio": False}}, INVALID),
        (NATIVE_2_5, {"proactivity": {"proactiveAudio": True}}, unknown("proactivity", "setup")),
        # Tools (docs/protocol.md 3.4).
        (LIVE_3_8, {"tools": [{"codeExecution": {}}]}, NOT_IMPLEMENTED),
        (NATIVE_2_5, {"tools": [{"enterpriseWebSearch": {}}]}, NOT_IMPLEMENTED),
        (FLASH_3_1, function(behavior="NON_BLOCKING"), INVALID),
        (THINKING_3_8, function(behavior="BLOCKING"), INVALID),
        (NATIVE_2_5, {"tools": [{"functionDeclarations": [{"name": "f"}, {"name": "f"}]}]}, INVALID),
        (NATIVE_2_5, {"tools": [{"functionDeclarations": [{"description": "nameless"}]}]}, INVALID),
    ],
)
def test_what_the_service_refuses_is_refused_in_its_words(
    model: str, fields: dict[str, Any], close: Close | None
) -> None:
    found = refused(model, **fields)
    if close is None:
        assert found is not None
        assert found.code == 1008
    else:
        assert found == close


@pytest.mark.parametrize(
    ("model", "route", "fields"),
    [
        ("models/x", VERTEX, {"sessionResumption": {"transparent": True}, "explicitVadSignal": True}),
        ("models/gemini-live-2.5-flash-preview", GOOGLE_AI, {"generationConfig": {"responseModalities": ["TEXT"]}}),
        (NATIVE_2_5, PREVIEW, {"proactivity": {"proactiveAudio": True}}),
        (NATIVE_2_5, PREVIEW, {"generationConfig": {"enableAffectiveDialog": True}}),
        (NATIVE_2_5, GOOGLE_AI, {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}),
        (FLASH_3_1, GOOGLE_AI, {"generationConfig": {"thinkingConfig": {"thinkingLevel": "low"}}}),
        (NATIVE_2_5, GOOGLE_AI, function(behavior="NON_BLOCKING")),
        (LIVE_3_8, GOOGLE_AI, {"tools": [{"googleSearch": {}}]}),
        (NATIVE_2_5, VERTEX, {"tools": [{"enterpriseWebSearch": {}}]}),
        (NATIVE_2_5, GOOGLE_AI, {"historyConfig": {"initialHistoryInClientContent": True}}),
        (
            NATIVE_2_5,
            GOOGLE_AI,
            {"generationConfig": {"speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}}},
        ),
    ],
)
def test_what_the_service_takes_is_taken(model: str, route: Route, fields: dict[str, Any]) -> None:
    assert refused(model, route, **fields) is None


def test_the_house_shows_no_key() -> None:
    assert "canary" not in repr(House(api_keys=["canary"]))
