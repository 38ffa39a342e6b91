"""From the flat configuration that people write to the wire's ``Setup``, checked before any network is touched.

The service answers a wrong setup by closing with a code that stands for ten different causes, or not at all
(docs/protocol.md 8); what can be known beforehand is said here, by the field's own name and with the remedy. What is
known comes from the model's family; with an unknown model nothing is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import attrs

from gemlive import codec
from gemlive.errors import CodecError, ConfigError
from gemlive.families import Family
from gemlive.transport import Endpoint
from gemlive.types import (
    AudioTranscriptionConfig,
    AutomaticActivityDetection,
    AvatarConfig,
    Content,
    ContextWindowCompressionConfig,
    FunctionDeclaration,
    GenerationConfig,
    HistoryConfig,
    Part,
    PrebuiltVoiceConfig,
    ProactivityConfig,
    RealtimeInputConfig,
    SafetySetting,
    SessionConfig,
    SessionResumptionConfig,
    Setup,
    SlidingWindow,
    SpeechConfig,
    ThinkingConfig,
    Tool,
    TranslationConfig,
    VoiceConfig,
    Wire,
    camel,
)

T = TypeVar("T", bound=Wire)


def setup_message(config: SessionConfig, endpoint: Endpoint, family: Family) -> Setup:
    """Returns the setup message of a connection. Pure.

    Args:
        config: what the program wants. Its ``resumption_handle`` is the one that the connection presents.
        endpoint: the server, for the form of the model's name and for what only one backend takes.
        family: facts about the model.

    Raises:
        ConfigError: a setting cannot work with this model or backend; names the field and the remedy.
    """
    setup = _wire(config, endpoint, family)
    _check(config, setup, endpoint, family)
    if not config.extra_setup:
        return setup
    merged = _merge(codec.unstructure(setup), config.extra_setup)
    try:
        # Lenient reading: what this version does not know is the very purpose of the field.
        return codec.structure(Setup, merged, strict=False)
    except CodecError as error:
        problem = str(error)
    raise ConfigError("extra_setup", f"is no part of a setup message: {problem}")


def content_of(value: str | Content | Mapping[str, object], *, field: str, role: str = "user") -> Content:
    """Returns the content that a text, a content or plain data stands for; ``field`` is for the error."""
    if isinstance(value, str):
        return Content(role=role, parts=(Part(text=value),))
    if isinstance(value, Content):
        return value
    return _read(value, Content, field=field)


def tools_of(values: Sequence[Tool | FunctionDeclaration | Mapping[str, object]], *, field: str) -> tuple[Tool, ...]:
    """Returns tools as the wire wants them: bare function declarations become one last tool."""
    tools: list[Tool] = []
    declarations: list[FunctionDeclaration] = []
    for index, value in enumerate(values):
        where = f"{field}[{index}]"
        if isinstance(value, Tool):
            tools.append(value)
        elif isinstance(value, FunctionDeclaration):
            declarations.append(value)
        elif "name" in value:
            declarations.append(_read(value, FunctionDeclaration, field=where))
        else:
            tools.append(_read(value, Tool, field=where))
    if declarations:
        tools.append(Tool(function_declarations=tuple(declarations)))
    return tuple(tools)


# --- from flat to deep -----------------------------------------------------------------------------------------------


def _wire(config: SessionConfig, endpoint: Endpoint, family: Family) -> Setup:
    instruction = config.system_instruction
    transcribe = config.transcription
    return Setup(
        model=endpoint.model_name(config.model),
        generation_config=_generation(config, endpoint, family),
        system_instruction=None if instruction is None else content_of(instruction, field="system_instruction"),
        tools=tools_of(config.tools, field="tools") if config.tools else None,
        realtime_input_config=_realtime_input(config),
        session_resumption=_resumption(config),
        context_window_compression=_compression(config),
        input_audio_transcription=_transcription(
            "input_audio_transcription", config.input_audio_transcription, transcribe
        ),
        output_audio_transcription=_transcription(
            "output_audio_transcription", config.output_audio_transcription, transcribe
        ),
        proactivity=_proactivity(config),
        explicit_vad_signal=config.explicit_vad_signal,
        history_config=_history(config),
        avatar_config=None if config.avatar is None else _given(config.avatar, AvatarConfig, field="avatar"),
        safety_settings=None
        if config.safety_settings is None
        else tuple(
            _given(setting, SafetySetting, field=f"safety_settings[{index}]")
            for index, setting in enumerate(config.safety_settings)
        ),
        labels=None if config.labels is None else dict(config.labels),
    )


def _modalities(config: SessionConfig, endpoint: Endpoint, family: Family) -> tuple[str, ...] | None:
    default = endpoint.default_response_modalities
    if config.response_modalities is not None or default is None or not family.response_modalities:
        return config.response_modalities or default
    # The backend's default is for models that speak; it must not fail one that only transcribes.
    return default if default[0] in family.response_modalities else family.response_modalities[:1]


def _generation(config: SessionConfig, endpoint: Endpoint, family: Family) -> GenerationConfig | None:
    generation = GenerationConfig(
        response_modalities=_modalities(config, endpoint, family),
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
        max_output_tokens=config.max_output_tokens,
        seed=config.seed,
        candidate_count=config.candidate_count,
        presence_penalty=config.presence_penalty,
        frequency_penalty=config.frequency_penalty,
        media_resolution=config.media_resolution,
        speech_config=_speech(config),
        thinking_config=_thinking(config),
        enable_affective_dialog=config.affective_dialog,
        translation_config=None
        if config.translation is None
        else _given(config.translation, TranslationConfig, field="translation"),
    )
    return None if generation == GenerationConfig() else generation


def _speech(config: SessionConfig) -> SpeechConfig | None:
    if config.speech is not None:
        return _given(config.speech, SpeechConfig, field="speech")
    if config.voice is None and config.language_code is None:
        return None
    voice = None
    if config.voice is not None:
        voice = VoiceConfig(prebuilt_voice_config=PrebuiltVoiceConfig(voice_name=config.voice))
    return SpeechConfig(voice_config=voice, language_code=config.language_code)


def _thinking(config: SessionConfig) -> ThinkingConfig | None:
    match config.thinking:
        case None:
            return None
        case bool():
            raise ConfigError("thinking", "must be a budget (int), a level (str) or settings; use 0 to switch it off")
        case int(budget):
            return ThinkingConfig(thinking_budget=budget)
        case str(level):
            return ThinkingConfig(thinking_level=level.upper())
        case given:
            return _given(given, ThinkingConfig, field="thinking")


def _realtime_input(config: SessionConfig) -> RealtimeInputConfig | None:
    match config.vad:
        case None | "server":
            detection = None
        case "manual":
            detection = AutomaticActivityDetection(disabled=True)
        case given:
            detection = _given(
                given,
                AutomaticActivityDetection,
                field="vad",
            )
    realtime = RealtimeInputConfig(
        automatic_activity_detection=detection,
        activity_handling=config.activity_handling,
        turn_coverage=config.turn_coverage,
        interim_transcript_timestamp_enabled=config.interim_transcript_timestamps,
    )
    return None if realtime == RealtimeInputConfig() else realtime


def _resumption(config: SessionConfig) -> SessionResumptionConfig | None:
    if not config.resumption:
        return None
    return SessionResumptionConfig(handle=config.resumption_handle, transparent=config.transparent_resumption)


def _compression(config: SessionConfig) -> ContextWindowCompressionConfig | None:
    match config.compression:
        case None | False:
            return None
        case True:
            # Without the sliding window the service accepts the setting and does nothing (docs/protocol.md 3.1).
            return ContextWindowCompressionConfig(sliding_window=SlidingWindow())
        case given:
            return _given(given, ContextWindowCompressionConfig, field="compression")


def _transcription(
    field: str, value: bool | AudioTranscriptionConfig | Mapping[str, object] | None, both: bool | None
) -> AudioTranscriptionConfig | None:
    if value is None:
        value = both
    if value is None or value is False:
        return None
    if value is True:
        return AudioTranscriptionConfig()
    return _given(value, AudioTranscriptionConfig, field=field)


def _proactivity(config: SessionConfig) -> ProactivityConfig | None:
    if config.proactivity is None:
        return None
    if isinstance(config.proactivity, bool):
        return ProactivityConfig(proactive_audio=config.proactivity)
    return _given(config.proactivity, ProactivityConfig, field="proactivity")


def _history(config: SessionConfig) -> HistoryConfig | None:
    if config.history is None or config.history is False:
        return None
    if config.history is True:
        return HistoryConfig(initial_history_in_client_content=True)
    return _given(config.history, HistoryConfig, field="history")


# --- plain data ------------------------------------------------------------------------------------------------------


def _given(value: T | Mapping[str, object], kind: type[T], *, field: str) -> T:
    return value if isinstance(value, kind) else _read(value, kind, field=field)


def _read(value: object, kind: type[T], *, field: str) -> T:
    """Reads plain data as the part of a setup message that it is, as strictly as the service does."""
    try:
        return codec.structure(kind, value)
    except CodecError as error:
        problem = str(error)
    raise ConfigError(field, problem)


def _merge(base: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    merged = dict(base)
    for written, value in over.items():
        if value is None:
            continue
        # In either casing: two spellings of one key in a message would be two keys to the server.
        key = camel(written) if camel(written) in merged else written
        known = merged.get(key)
        merged[key] = _merge(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return merged


# --- what is known to fail -------------------------------------------------------------------------------------------


def _check(config: SessionConfig, setup: Setup, endpoint: Endpoint, family: Family) -> None:
    """Raises :class:`ConfigError` for what is known to be refused; an unknown family refuses nothing."""
    _check_backend(config, endpoint)
    generation = setup.generation_config or GenerationConfig()
    for modality in generation.response_modalities or ():
        if family.response_modalities and modality not in family.response_modalities:
            allowed = " or ".join(repr(one) for one in family.response_modalities)
            raise ConfigError("response_modalities", f"{config.model} does not answer with {modality!r}; use {allowed}")
    _check_thinking(generation.thinking_config, family, config.model)
    if config.affective_dialog is not None and family.affective_dialog == "no":
        raise ConfigError("affective_dialog", f"was removed before {config.model}; leave it out")
    proactive = setup.proactivity.proactive_audio if setup.proactivity is not None else None
    if proactive is False and family.proactive_audio == "always":
        raise ConfigError("proactivity", f"is always on with {config.model} and False is refused; leave it out")
    if proactive and family.proactive_audio == "no":
        raise ConfigError("proactivity", f"is not offered by {config.model}; leave it out")
    if setup.history_config is not None and not family.history_config and family.is_known:
        raise ConfigError("history", f"is not offered by {config.model}; send the history with send_client_content")
    if setup.system_instruction is not None and not family.system_instruction:
        raise ConfigError("system_instruction", f"is not taken by {config.model}; leave it out")
    _check_tools(setup.tools or (), family, config.model)


def _check_backend(config: SessionConfig, endpoint: Endpoint) -> None:
    if endpoint.backend == "vertex":
        return
    for field, value in (
        ("transparent_resumption", config.transparent_resumption),
        ("explicit_vad_signal", config.explicit_vad_signal),
    ):
        if value is not None:
            raise ConfigError(field, "is known to Vertex AI only, and Google AI closes with 1007 on it; leave it out")


def _check_thinking(thinking: ThinkingConfig | None, family: Family, model: str) -> None:
    if thinking is None:
        return
    if family.thinking == "none":
        raise ConfigError("thinking", f"is not a setting of {model}; leave it out")
    if family.thinking == "budget" and thinking.thinking_level is not None:
        raise ConfigError("thinking", f"{model} takes a budget of tokens, not a level; use a number, -1 for automatic")
    if family.thinking == "level" and thinking.thinking_budget is not None:
        levels = ", ".join(family.thinking_levels)
        raise ConfigError("thinking", f"{model} takes a level, not a budget of tokens; use one of {levels}")
    level = thinking.thinking_level
    if level is not None and family.thinking_levels and level.upper() not in family.thinking_levels:
        levels = ", ".join(family.thinking_levels)
        raise ConfigError("thinking", f"{level!r} is not a level of {model}; use one of {levels}")


def _check_tools(tools: Sequence[Tool], family: Family, model: str) -> None:
    for index, tool in enumerate(tools):
        for kind in attrs.fields(Tool):
            if kind.name == "extra" or getattr(tool, kind.name) is None or family.tools is None:
                continue
            if kind.name not in family.tools:
                allowed = ", ".join(family.tools) or "none"
                raise ConfigError(f"tools[{index}].{kind.name}", f"is not offered by {model}; it offers {allowed}")
        for number, function in enumerate(tool.function_declarations or ()):
            where = f"tools[{index}].function_declarations[{number}]"
            if not function.name:
                raise ConfigError(f"{where}.name", "is missing; the model calls a function by its name")
            if function.behavior == "NON_BLOCKING" and not family.non_blocking:
                raise ConfigError(f"{where}.behavior", f"{model} has no non-blocking functions; leave it out")
            if function.behavior == "BLOCKING" and not family.blocking:
                raise ConfigError(f"{where}.behavior", f"{model} has only non-blocking functions; leave it out")
