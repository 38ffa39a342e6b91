"""What a program says about a session before it opens one.

The wire's ``setup`` message is deep and its parts depend on the backend; this is the flat form that people write.
``session.setup_message`` turns it into the wire class and checks it against the model's family. Here only what can be
judged without knowing model and endpoint is checked: the shapes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, TypeAlias

import attrs

from gemlive.errors import ConfigError
from gemlive.families import Family
from gemlive.types._content import Content
from gemlive.types._setup import (
    AudioTranscriptionConfig,
    AutomaticActivityDetection,
    AvatarConfig,
    ContextWindowCompressionConfig,
    HistoryConfig,
    ProactivityConfig,
    SafetySetting,
    SpeechConfig,
    ThinkingConfig,
    TranslationConfig,
)
from gemlive.types._tools import FunctionDeclaration, Tool

Raw: TypeAlias = Mapping[str, object]
"""A part of the setup as plain data, in camelCase or snake_case; read strictly, so an unknown key is an error."""


def _modalities(value: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    values = (value,) if isinstance(value, str) else tuple(value)
    return tuple(str(v).upper() for v in values)


def _tuple(value: object) -> object:
    if value is None or isinstance(value, tuple):
        return value
    if isinstance(value, (list, set, frozenset)):
        return tuple(value)
    return (value,)


@attrs.frozen(kw_only=True)
class SessionConfig:
    """The configuration of a session.

    Every field but ``model`` is optional, and None means that nothing is said and the server's default holds. Where a
    wire class is taken, the same as plain data (a mapping in camelCase or snake_case) is taken too.

    Attributes:
        model: bare (``"gemini-3.8-live"``), with ``models/``, or a full Vertex AI resource name.
        voice: name of a prebuilt voice, such as ``"Kore"``.
        language_code: BCP-47 code of the speech to produce; ignored or refused by native-audio models.
        speech: the whole speech configuration, for what ``voice`` and ``language_code`` cannot say; excludes them.
        response_modalities: ``"AUDIO"``, ``"TEXT"``, ... or a sequence of them; any case. One in practice.
        system_instruction: what the model is told before anything else.
        tools: tools and bare function declarations.
        vad: ``"server"`` (default: the server hears when speech begins and ends), ``"manual"`` (the program says so
            with ``activity_start`` and ``activity_end``), or the detection's settings.
        activity_handling: ``START_OF_ACTIVITY_INTERRUPTS`` or ``NO_INTERRUPTION``.
        turn_coverage: which input a turn covers, a ``TurnCoverage``.
        interim_transcript_timestamps: ask for offsets in interim transcripts.
        transcription: True asks for transcripts of both directions, False for neither; the next two win.
        input_audio_transcription: True, False, or settings for the transcript of what the user says.
        output_audio_transcription: True, False, or settings for the transcript of what the model says.
        resumption: whether the session asks for resumption handles, without which a reconnect starts afresh.
        resumption_handle: a handle from an earlier session to go on from. Secret.
        transparent_resumption: Vertex AI only: the server tells which messages a handle covers.
        compression: True for the server's defaults of context window compression, or its settings; without it an
            audio session ends after 15 minutes (docs/protocol.md 6).
        thinking: a token budget (int; 0 is off, -1 automatic), a level (str), or settings.
        temperature: sampling temperature.
        top_p: nucleus sampling.
        top_k: the number of candidates for each token.
        max_output_tokens: limit of one response.
        seed: for repeatable sampling.
        candidate_count: number of answers.
        presence_penalty: penalty for words already used.
        frequency_penalty: penalty for words used often.
        media_resolution: a ``MediaResolution``: how many tokens an image costs.
        affective_dialog: ask for a voice that reacts to the user's; removed in the 3.x families.
        proactivity: True for proactive audio, or its settings.
        explicit_vad_signal: Vertex AI only: ask for ``VoiceActivity`` events.
        history: whether the first client content is history, fed in without an answer; or its settings.
        avatar: settings of a video avatar.
        translation: settings of live translation.
        safety_settings: harm categories and their thresholds.
        labels: Cloud labels for billing.
        extra_setup: merged into the setup JSON as it is, last and recursively, for what this version does not know.
        family: facts about the model, where those the library has are wrong or missing; None looks them up.
    """

    model: str
    voice: str | None = None
    language_code: str | None = None
    speech: SpeechConfig | Raw | None = None
    response_modalities: tuple[str, ...] | None = attrs.field(default=None, converter=_modalities)
    system_instruction: str | Content | Raw | None = None
    tools: tuple[Tool | FunctionDeclaration | Raw, ...] | None = attrs.field(default=None, converter=_tuple)
    vad: Literal["server", "manual"] | AutomaticActivityDetection | Raw | None = None
    activity_handling: str | None = None
    turn_coverage: str | None = None
    interim_transcript_timestamps: bool | None = None
    transcription: bool | None = None
    input_audio_transcription: bool | AudioTranscriptionConfig | Raw | None = None
    output_audio_transcription: bool | AudioTranscriptionConfig | Raw | None = None
    resumption: bool = True
    resumption_handle: str | None = attrs.field(default=None, repr=lambda v: "None" if v is None else "'***'")
    transparent_resumption: bool | None = None
    compression: bool | ContextWindowCompressionConfig | Raw | None = None
    thinking: int | str | ThinkingConfig | Raw | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    max_output_tokens: int | None = None
    seed: int | None = None
    candidate_count: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    media_resolution: str | None = None
    affective_dialog: bool | None = None
    proactivity: bool | ProactivityConfig | Raw | None = None
    explicit_vad_signal: bool | None = None
    history: bool | HistoryConfig | Raw | None = None
    avatar: AvatarConfig | Raw | None = None
    translation: TranslationConfig | Raw | None = None
    safety_settings: tuple[SafetySetting | Raw, ...] | None = attrs.field(default=None, converter=_tuple)
    labels: Mapping[str, str] | None = None
    extra_setup: Raw | None = None
    family: Family | None = None

    def __attrs_post_init__(self) -> None:
        """Raises :class:`ConfigError`, naming the field, for a shape that can never be right."""
        model: object = self.model
        if not isinstance(model, str) or not model.strip():
            raise ConfigError("model", f"must be a model name such as 'gemini-3.8-live', not {model!r}")
        for name in ("voice", "language_code", "activity_handling", "turn_coverage", "media_resolution"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value):
                raise ConfigError(name, f"must be a non-empty string or None, not {value!r}")
        if self.speech is not None and (self.voice is not None or self.language_code is not None):
            raise ConfigError("speech", "excludes voice and language_code; put them into the speech settings")
        if isinstance(self.vad, str) and self.vad not in ("server", "manual"):
            raise ConfigError("vad", f"must be 'server', 'manual' or detection settings, not {self.vad!r}")
        if self.resumption_handle is not None and not self.resumption:
            raise ConfigError("resumption_handle", "cannot be used with resumption=False; drop one of the two")
        for name in _NUMBERS:
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
                raise ConfigError(name, f"must be a number or None, not {value!r}")
        for name in ("extra_setup", "labels"):
            mapping: object = getattr(self, name)
            if mapping is not None and not isinstance(mapping, Mapping):
                raise ConfigError(name, f"must be a mapping or None, not {type(mapping).__name__}")
        for index, tool in enumerate(self.tools or ()):
            if not isinstance(tool, (Tool, FunctionDeclaration, Mapping)):
                raise ConfigError(
                    f"tools[{index}]", f"must be a Tool, a FunctionDeclaration or plain data, not {tool!r}"
                )

    @classmethod
    def from_dict(cls, config: Mapping[str, Any], *, model: str | None = None) -> Self:
        """Returns the configuration that google-genai's ``LiveConnectConfig`` dict describes.

        Args:
            config: keys in camelCase or snake_case; a nested ``generation_config`` is flattened, as that SDK does.
            model: the model, which google-genai takes beside the dict; a ``model`` key in the dict works too.

        Raises:
            ConfigError: a key is unknown (the nearest known one is named), given twice, or of an impossible shape.
        """
        fields: dict[str, Any] = {} if model is None else {"model": model}
        flat = {_snake(key): value for key, value in config.items()}
        nested = flat.pop("generation_config", None) or {}
        if not isinstance(nested, Mapping):
            raise ConfigError("generation_config", f"must be a mapping, not {type(nested).__name__}")
        for key, value in [*flat.items(), *((_snake(key), value) for key, value in nested.items())]:
            if value is None:
                continue
            for name, converted in _from_genai(key, value):
                if name in fields:
                    raise ConfigError(name, "is given twice; keep one of the two")
                fields[name] = converted
        if "model" not in fields:
            raise ConfigError("model", "is missing; pass model='gemini-3.8-live' beside the dict")
        return cls(**fields)


_NUMBERS = (
    "temperature",
    "top_p",
    "top_k",
    "max_output_tokens",
    "seed",
    "candidate_count",
    "presence_penalty",
    "frequency_penalty",
)

# google-genai's name on the left, ours on the right, where they differ only in name.
_RENAMED = {
    "speech_config": "speech",
    "context_window_compression": "compression",
    "thinking_config": "thinking",
    "enable_affective_dialog": "affective_dialog",
    "history_config": "history",
    "avatar_config": "avatar",
    "translation_config": "translation",
}

_REALTIME_INPUT = {
    "automatic_activity_detection": "vad",
    "activity_handling": "activity_handling",
    "turn_coverage": "turn_coverage",
    "interim_transcript_timestamp_enabled": "interim_transcript_timestamps",
}


def _snake(key: object) -> str:
    if not isinstance(key, str):
        raise ConfigError(repr(key), "is not a string; the keys of a configuration are names")
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", key).lower()


def _from_genai(key: str, value: Any) -> list[tuple[str, Any]]:
    """Returns the fields of ``SessionConfig`` that one key of google-genai's dict sets."""
    if key in ("realtime_input_config", "session_resumption"):
        if not isinstance(value, Mapping):
            raise ConfigError(key, f"must be a mapping, not {type(value).__name__}")
        table = _REALTIME_INPUT if key == "realtime_input_config" else _RESUMPTION
        # That SDK asks for no handles unless the key is there; so its absence is not `resumption=False` here either.
        found: list[tuple[str, Any]] = []
        for inner, inner_value in value.items():
            name = table.get(_snake(inner))
            if name is None:
                raise ConfigError(f"{key}.{_snake(inner)}", f"is not known; known are {', '.join(table)}")
            if inner_value is not None:
                found.append((name, inner_value))
        return found
    if key == "http_options":
        raise ConfigError(key, "belongs to the endpoint: pass GoogleAI(api_version=..., base_url=...) instead")
    name = _RENAMED.get(key, key)
    if name not in _FIELDS:
        near = difflib.get_close_matches(key, [*_FIELDS, *_RENAMED], n=1)
        raise ConfigError(
            key,
            (f"is not known; did you mean {near[0]}?" if near else "is not known")
            + " What the library does not know yet goes into extra_setup.",
        )
    return [(name, value)]


_RESUMPTION = {"handle": "resumption_handle", "transparent": "transparent_resumption"}
_FIELDS = frozenset(field.name for field in attrs.fields(SessionConfig))
