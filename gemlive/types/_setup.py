"""The ``setup`` message, the first of every connection, and everything that it configures."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from gemlive.types._base import Wire, hidden, sized
from gemlive.types._content import Content
from gemlive.types._tools import Tool


@attrs.frozen(kw_only=True, repr=False)
class PrebuiltVoiceConfig(Wire):
    """One of the service's own voices.

    Attributes:
        voice_name: its name, such as ``"Kore"``.
    """

    voice_name: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class VoiceConsentSignature(Wire):
    """Proof that somebody agreed to have their voice imitated. Google AI only.

    Attributes:
        signature: opaque; the server issues it in ``setupComplete`` and takes it instead of ``consent_audio``.
    """

    signature: str | None = attrs.field(default=None, repr=hidden)


@attrs.frozen(kw_only=True, repr=False)
class ReplicatedVoiceConfig(Wire):
    """A voice made after a sample.

    Attributes:
        mime_type: what the sample is: ``audio/wav``, 24 kHz, s16le.
        voice_sample_audio: the sample.
        consent_audio: the speaker saying that they agree. Google AI only.
        voice_consent_signature: proof of an earlier consent. Google AI only.
    """

    mime_type: str | None = None
    voice_sample_audio: bytes | None = attrs.field(default=None, repr=sized)
    consent_audio: bytes | None = attrs.field(default=None, repr=sized)
    voice_consent_signature: VoiceConsentSignature | None = None


@attrs.frozen(kw_only=True, repr=False)
class VoiceConfig(Wire):
    """Which voice speaks; one member is set.

    Attributes:
        prebuilt_voice_config: one of the service's own.
        replicated_voice_config: one made after a sample.
        voice: the name of a voice of another kind.
    """

    prebuilt_voice_config: PrebuiltVoiceConfig | None = None
    replicated_voice_config: ReplicatedVoiceConfig | None = None
    voice: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class SpeakerVoiceConfig(Wire):
    """The voice of one of several speakers.

    Attributes:
        speaker: the speaker's name.
        voice_config: the voice.
    """

    speaker: str | None = None
    voice_config: VoiceConfig | None = None


@attrs.frozen(kw_only=True, repr=False)
class MultiSpeakerVoiceConfig(Wire):
    """Several voices. google-genai refuses it in a live session.

    Attributes:
        speaker_voice_configs: one for each speaker.
    """

    speaker_voice_configs: tuple[SpeakerVoiceConfig, ...] | None = None


@attrs.frozen(kw_only=True, repr=False)
class SpeechConfig(Wire):
    """How the model speaks.

    Attributes:
        voice_config: with which voice.
        language_code: BCP-47 code; ignored or refused by native-audio models.
        multi_speaker_voice_config: with several voices.
    """

    voice_config: VoiceConfig | None = None
    language_code: str | None = None
    multi_speaker_voice_config: MultiSpeakerVoiceConfig | None = None


@attrs.frozen(kw_only=True, repr=False)
class ThinkingConfig(Wire):
    """How much the model thinks.

    Attributes:
        include_thoughts: whether to send thought summaries.
        thinking_budget: tokens to spend: 0 for none, -1 for as many as the model likes. The 2.5 family.
        thinking_level: a ``ThinkingLevel``, any case. The 3.1 family; 3.8 takes none (docs/protocol.md 3.2).
    """

    include_thoughts: bool | None = None
    thinking_budget: int | None = None
    thinking_level: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class TranslationConfig(Wire):
    """Live translation.

    Attributes:
        target_language_code: BCP-47 code of the language to speak.
        echo_target_language: whether speech that is already in that language is repeated.
    """

    target_language_code: str | None = None
    echo_target_language: bool | None = None


@attrs.frozen(kw_only=True, repr=False)
class LanguageAuto(Wire):
    """The language is found out; has no settings. Deprecated."""


@attrs.frozen(kw_only=True, repr=False)
class LanguageHints(Wire):
    """Languages to expect. Deprecated in favour of ``AudioTranscriptionConfig.language_codes``.

    Attributes:
        language_codes: BCP-47 codes.
    """

    language_codes: tuple[str, ...] | None = None


@attrs.frozen(kw_only=True, repr=False)
class AudioTranscriptionConfig(Wire):
    """Transcripts of one direction; its presence switches them on.

    Attributes:
        language_codes: BCP-47 codes of languages to expect; empty or None finds out.
        custom_vocabulary: words to expect.
        word_timestamp: whether to send the times of each word.
        diarization: whether to tell speakers apart.
        mode: a ``TranscriptionMode``.
        source_text: the text to edit, in the mode ``SMART``.
        language_auto: deprecated.
        language_hints: deprecated.
        adaptation_phrases: deprecated.
    """

    language_codes: tuple[str, ...] | None = None
    custom_vocabulary: tuple[str, ...] | None = None
    word_timestamp: bool | None = None
    diarization: bool | None = None
    mode: str | None = None
    source_text: str | None = None
    language_auto: LanguageAuto | None = None
    language_hints: LanguageHints | None = None
    adaptation_phrases: tuple[str, ...] | None = None


@attrs.frozen(kw_only=True, repr=False)
class GenerationConfig(Wire):
    """How answers are made.

    Attributes:
        response_modalities: ``Modality`` names; one in practice. Native-audio models refuse ``TEXT``.
        temperature: sampling temperature.
        top_p: nucleus sampling, 0 to 1.
        top_k: the number of candidates for each token.
        max_output_tokens: limit of one response, in tokens.
        seed: for repeatable sampling.
        candidate_count: number of answers.
        presence_penalty: penalty for tokens already used.
        frequency_penalty: penalty that grows with use.
        media_resolution: a ``MediaResolution``.
        speech_config: how the model speaks.
        thinking_config: how much it thinks.
        enable_affective_dialog: a voice that reacts to the user's. The 2.5 family on v1alpha; removed in 3.x.
        translation_config: live translation.
        response_logprobs: not supported in live sessions, like all that follow.
        logprobs: how many alternatives to tell of each token.
        response_mime_type: format of the answer.
        response_schema: its schema, OpenAPI subset.
        response_json_schema: its schema, JSON Schema.
        stop_sequences: texts that end an answer.
        routing_config: which model answers; free-form.
        audio_timestamp: whether audio in the input has timestamps.
        response_format: formats of each modality; free-form. Unverified in live sessions, like the next three.
        audio_transcription_config: transcription settings.
        model_config: preferences for choosing a model; free-form.
        enable_enhanced_civic_answers: better answers about elections.
    """

    response_modalities: tuple[str, ...] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    max_output_tokens: int | None = None
    seed: int | None = None
    candidate_count: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    media_resolution: str | None = None
    speech_config: SpeechConfig | None = None
    thinking_config: ThinkingConfig | None = None
    enable_affective_dialog: bool | None = None
    translation_config: TranslationConfig | None = None
    response_logprobs: bool | None = None
    logprobs: int | None = None
    response_mime_type: str | None = None
    response_schema: Mapping[str, object] | None = None
    response_json_schema: object | None = None
    stop_sequences: tuple[str, ...] | None = None
    routing_config: Mapping[str, object] | None = None
    audio_timestamp: bool | None = None
    response_format: object | None = None
    audio_transcription_config: AudioTranscriptionConfig | None = None
    model_config: Mapping[str, object] | None = None
    enable_enhanced_civic_answers: bool | None = None


@attrs.frozen(kw_only=True, repr=False)
class AutomaticActivityDetection(Wire):
    """How the server hears when the user speaks.

    Attributes:
        disabled: True: it does not, and the program sends ``activityStart`` and ``activityEnd``.
        start_of_speech_sensitivity: a ``StartSensitivity``.
        end_of_speech_sensitivity: an ``EndSensitivity``.
        prefix_padding_ms: milliseconds of speech before its start is taken for real.
        silence_duration_ms: milliseconds of silence before its end is taken for real.
    """

    disabled: bool | None = None
    start_of_speech_sensitivity: str | None = None
    end_of_speech_sensitivity: str | None = None
    prefix_padding_ms: int | None = None
    silence_duration_ms: int | None = None


@attrs.frozen(kw_only=True, repr=False)
class RealtimeInputConfig(Wire):
    """How realtime input is cut into turns.

    Attributes:
        automatic_activity_detection: how the server hears speech; None leaves it on with its defaults.
        activity_handling: an ``ActivityHandling``.
        turn_coverage: a ``TurnCoverage``.
        interim_transcript_timestamp_enabled: whether interim transcripts carry offsets; off by default.
    """

    automatic_activity_detection: AutomaticActivityDetection | None = None
    activity_handling: str | None = None
    turn_coverage: str | None = None
    interim_transcript_timestamp_enabled: bool | None = None


@attrs.frozen(kw_only=True, repr=False)
class SessionResumptionConfig(Wire):
    """Asks for resumption handles; its presence does.

    Attributes:
        handle: the handle to go on from. Secret: it restores a whole conversation.
        transparent: whether updates tell which messages they cover. Vertex AI only; Google AI closes with 1007.
    """

    handle: str | None = attrs.field(default=None, repr=hidden)
    transparent: bool | None = None


@attrs.frozen(kw_only=True, repr=False)
class SlidingWindow(Wire):
    """Forget the oldest turns.

    Attributes:
        target_tokens: tokens to keep; None keeps half of ``trigger_tokens``.
    """

    target_tokens: int | None = None


@attrs.frozen(kw_only=True, repr=False)
class ContextWindowCompressionConfig(Wire):
    """What to do when the context window fills up.

    Attributes:
        sliding_window: forget the oldest turns. Nothing happens without it.
        trigger_tokens: tokens from which on; None is 80 % of the model's limit.
    """

    sliding_window: SlidingWindow | None = None
    trigger_tokens: int | None = None


@attrs.frozen(kw_only=True, repr=False)
class ProactivityConfig(Wire):
    """Whether the model decides for itself when to answer.

    Attributes:
        proactive_audio: it may ignore what was not meant for it.
        proactive_video: it may speak about what it sees; needs ``proactive_audio``.
    """

    proactive_audio: bool | None = None
    proactive_video: bool | None = None


@attrs.frozen(kw_only=True, repr=False)
class HistoryConfig(Wire):
    """How a conversation that took place before is handed over.

    Attributes:
        initial_history_in_client_content: True: client content up to the first ``turn_complete`` is history and is
            not answered. From 3.1 on.
    """

    initial_history_in_client_content: bool | None = None


@attrs.frozen(kw_only=True, repr=False)
class CustomizedAvatar(Wire):
    """An avatar of the program's own.

    Attributes:
        image_mime_type: what the image is.
        image_data: the image, 9:16, at least 704x1280 pixels.
    """

    image_mime_type: str | None = None
    image_data: bytes | None = attrs.field(default=None, repr=sized)


@attrs.frozen(kw_only=True, repr=False)
class AvatarConfig(Wire):
    """A face for the model; needs the response modality ``VIDEO``. 3.8 on Vertex AI; MP4, 24 frames a second.

    Attributes:
        avatar_name: one of the service's own.
        customized_avatar: one of the program's own.
        audio_bitrate_bps: bits a second.
        video_bitrate_bps: bits a second.
    """

    avatar_name: str | None = None
    customized_avatar: CustomizedAvatar | None = None
    audio_bitrate_bps: int | None = None
    video_bitrate_bps: int | None = None


@attrs.frozen(kw_only=True, repr=False)
class SafetySetting(Wire):
    """From where on one kind of harm is blocked.

    Attributes:
        category: a ``HarmCategory``.
        threshold: a ``HarmBlockThreshold``.
        method: a ``HarmBlockMethod``. Vertex AI only.
    """

    category: str | None = None
    threshold: str | None = None
    method: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class Setup(Wire):
    """The first message of a connection, sent once; the server answers with ``setupComplete``.

    Attributes:
        model: the full name that the backend wants (``models/x``, or a Vertex AI resource name).
        generation_config: how answers are made.
        system_instruction: what the model is told first; text parts only, each a paragraph.
        tools: what the model may use.
        realtime_input_config: how realtime input is cut into turns.
        session_resumption: asks for resumption handles.
        context_window_compression: what to do when the context window fills up.
        input_audio_transcription: asks for transcripts of what the user says.
        output_audio_transcription: asks for transcripts of what the model says.
        proactivity: whether the model decides for itself when to answer.
        explicit_vad_signal: asks for ``voiceActivity`` messages. Vertex AI only.
        history_config: how an earlier conversation is handed over. From 3.1 on.
        avatar_config: a face for the model. 3.8 on Vertex AI.
        safety_settings: what is blocked.
        labels: Cloud labels, for billing; at most 63 characters each.
    """

    model: str | None = None
    generation_config: GenerationConfig | None = None
    system_instruction: Content | None = None
    tools: tuple[Tool, ...] | None = None
    realtime_input_config: RealtimeInputConfig | None = None
    session_resumption: SessionResumptionConfig | None = None
    context_window_compression: ContextWindowCompressionConfig | None = None
    input_audio_transcription: AudioTranscriptionConfig | None = None
    output_audio_transcription: AudioTranscriptionConfig | None = None
    proactivity: ProactivityConfig | None = None
    explicit_vad_signal: bool | None = None
    history_config: HistoryConfig | None = None
    avatar_config: AvatarConfig | None = None
    safety_settings: tuple[SafetySetting, ...] | None = None
    labels: Mapping[str, str] | None = None
