"""Whether a setup is accepted, decided as the service decides it: values in, a refusal or nothing out.

The codes and texts are those of docs/protocol.md 8. Roughly, unknown and bad values close with 1007, missing things
with 1008. Unknown *fields* were refused before, by the codec's strict reading.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import attrs

from gemlive.emulator import _close
from gemlive.emulator._close import Close
from gemlive.emulator._route import Credential, Route
from gemlive.families import Family
from gemlive.types import FunctionDeclaration, Setup

_VOICE_NAMES = """
Achernar Achird Algenib Algieba Alnilam Aoede Autonoe Callirrhoe Charon Despina Enceladus Erinome Fenrir Gacrux Iapetus
Kore Laomedeia Leda Orus Puck Pulcherrima Rasalgethi Sadachbia Sadaltager Schedar Sulafat Umbriel Vindemiatrix Zephyr
Zubenelgenubi
"""

VOICES = frozenset(_VOICE_NAMES.split())
"""The 30 prebuilt voices (docs/protocol.md 3.2)."""

MAX_FUNCTIONS = 512

# Which service knows which kinds of tools (docs/protocol.md 3.4); the other kinds are known to both.
_ELSEWHERE = {
    "google_ai": ("retrieval", "enterprise_web_search", "parallel_ai_search", "exa_ai_search"),
    "vertex": ("file_search", "mcp_servers"),
}
_PREVIEW_VERSION = "v1alpha"


@attrs.frozen(kw_only=True)
class House:
    """What this server accepts, beyond what the families say.

    Attributes:
        api_keys: the API keys and tokens that are valid; None: all that are not empty.
        models: the bare model names that exist; None: all.
    """

    api_keys: Collection[str] | None = attrs.field(default=None, repr=False)
    models: Collection[str] | None = None


def refusal(setup: Setup, route: Route, credential: Credential | None, family: Family, house: House) -> Close | None:
    """Returns how the service closes a connection with this setup, None where it accepts."""
    checks: tuple[Callable[[], Close | None], ...] = (
        lambda: _credential(credential, house),
        lambda: _wrong_backend(setup, route),
        lambda: _model(setup, route, house),
        lambda: _modalities(setup, family),
        lambda: _voice(setup),
        lambda: _thinking(setup, family),
        lambda: _previews(setup, route, family),
        lambda: _tools(setup, route, family),
        lambda: None if family.system_instruction or setup.system_instruction is None else _close.INVALID_ARGUMENT,
    )
    return next((close for check in checks if (close := check()) is not None), None)


def _credential(credential: Credential | None, house: House) -> Close | None:
    # The upgrade succeeds whatever is presented; the answer comes after the setup (docs/protocol.md 1.2).
    if credential is None:
        return _close.NO_CREDENTIAL
    return None if house.api_keys is None or credential.value in house.api_keys else _close.BAD_KEY


def _wrong_backend(setup: Setup, route: Route) -> Close | None:
    if route.backend == "vertex":
        return None
    if setup.session_resumption is not None and setup.session_resumption.transparent is not None:
        return _close.unknown_name("transparent", "setup.session_resumption")
    return None if setup.explicit_vad_signal is None else _close.unknown_name("explicitVadSignal", "setup")


def _model(setup: Setup, route: Route, house: House) -> Close | None:
    model = setup.model or ""
    is_foreign = route.backend == "google_ai" and model.startswith(("projects/", "publishers/"))
    is_known = house.models is None or model.rpartition("/")[2] in house.models
    if model and is_known and not is_foreign:
        return None
    if route.backend == "vertex":
        return _close.publisher_model_not_found(model)
    return _close.model_not_found(model, route.version)


def _modalities(setup: Setup, family: Family) -> Close | None:
    asked = setup.generation_config.response_modalities if setup.generation_config is not None else None
    wanted = tuple(modality.upper() for modality in asked or ())
    known = family.response_modalities
    if len(wanted) > 1:
        return _close.modalities_not_supported(wanted)
    if not wanted or not known or wanted[0] in known:
        return None
    # 2.5 has words of its own for this (docs/protocol.md 3.2).
    if wanted == ("TEXT",) and family.thinking == "budget":
        return _close.NATIVE_AUDIO_ONLY
    return _close.modalities_not_supported(wanted)


def _voice(setup: Setup) -> Close | None:
    speech = setup.generation_config.speech_config if setup.generation_config is not None else None
    voice = speech.voice_config if speech is not None else None
    prebuilt = voice.prebuilt_voice_config if voice is not None else None
    name = prebuilt.voice_name if prebuilt is not None else None
    return None if not name or name.capitalize() in VOICES else _close.voice_not_found(name)


def _thinking(setup: Setup, family: Family) -> Close | None:
    thinking = setup.generation_config.thinking_config if setup.generation_config is not None else None
    if thinking is None or family.thinking == "any":
        return None
    level = thinking.thinking_level
    fits = {
        "none": False,
        "budget": level is None,
        "level": thinking.thinking_budget is None
        and (level is None or not family.thinking_levels or level.upper() in family.thinking_levels),
    }
    return None if fits[family.thinking] else _close.INVALID_ARGUMENT


def _previews(setup: Setup, route: Route, family: Family) -> Close | None:
    """Returns the refusal of proactivity and affective dialog where they do not exist (docs/protocol.md 3.1, 3.2)."""
    is_early = route.backend == "google_ai" and family.is_known and route.version != _PREVIEW_VERSION
    affective = setup.generation_config.enable_affective_dialog if setup.generation_config is not None else None
    if affective is not None and (family.affective_dialog == "no" or is_early):
        return _close.unknown_name("enableAffectiveDialog", "setup.generation_config")
    if setup.proactivity is None:
        return None
    wanted = setup.proactivity.proactive_audio
    if family.proactive_audio == "always":
        return _close.INVALID_ARGUMENT if wanted is False else None
    if family.proactive_audio == "no":
        return _close.INVALID_ARGUMENT if wanted else None
    return _close.unknown_name("proactivity", "setup") if is_early else None


def _tools(setup: Setup, route: Route, family: Family) -> Close | None:
    for kind in _tool_kinds(setup):
        if kind in _ELSEWHERE[route.backend] or (family.tools is not None and kind not in family.tools):
            return _close.NOT_IMPLEMENTED
    declarations = tuple(functions_of(setup))
    names = [declaration.name for declaration in declarations]
    if len(names) > MAX_FUNCTIONS or len(set(names)) < len(names) or not all(names):
        return _close.INVALID_ARGUMENT
    behaviours = {declaration.behavior for declaration in declarations}
    if ("BLOCKING" in behaviours and not family.blocking) or ("NON_BLOCKING" in behaviours and not family.non_blocking):
        return _close.INVALID_ARGUMENT
    return None


def _tool_kinds(setup: Setup) -> Iterator[str]:
    for tool in setup.tools or ():
        for attribute in attrs.fields(type(tool)):
            if attribute.name != "extra" and getattr(tool, attribute.name) is not None:
                yield attribute.name


def functions_of(setup: Setup) -> Iterator[FunctionDeclaration]:
    """Yields the functions that a setup declares."""
    for tool in setup.tools or ():
        yield from tool.function_declarations or ()
