"""What a server sends: one object whose keys are read independently of each other (docs/protocol.md 4)."""

from __future__ import annotations

import attrs

from gemlive.types._base import INT64_AS_TEXT, NOT_ON_THE_WIRE, Wire, duration, hidden
from gemlive.types._content import Content, FunctionCall, Transcription
from gemlive.types._content import WordInfo as WordInfo
from gemlive.types._grounding import GroundingMetadata as GroundingMetadata
from gemlive.types._grounding import UrlContextMetadata as UrlContextMetadata
from gemlive.types._setup import VoiceConsentSignature
from gemlive.types._usage import UsageMetadata as UsageMetadata


@attrs.frozen(kw_only=True, repr=False)
class ResumedSession(Wire):
    """What a third-party client expects in ``setupComplete``; never recorded.

    Attributes:
        handle: the handle that was used. Secret.
        resumed: whether the session was resumed.
    """

    handle: str | None = attrs.field(default=None, repr=hidden)
    resumed: bool | None = None


@attrs.frozen(kw_only=True, repr=False)
class ServerSetupComplete(Wire):
    """The server accepted the setup; its first message.

    Attributes:
        session_id: the server's name for the session. Vertex AI; Google AI sends nothing.
        voice_consent_signature: proof of the consent that the setup carried, for later sessions.
        session_resumption: expected by one third-party client; never recorded.
    """

    session_id: str | None = None
    voice_consent_signature: VoiceConsentSignature | None = None
    session_resumption: ResumedSession | None = None


@attrs.frozen(kw_only=True, repr=False)
class ServerVoiceActivity(Wire):
    """Speech began or ended.

    Attributes:
        type: a ``VoiceActivityType``.
        audio_offset_s: seconds of audio sent since the stream began.
    """

    type: str | None = None
    audio_offset_s: float | None = attrs.field(default=None, metadata=duration("audioOffset"))


@attrs.frozen(kw_only=True, repr=False)
class ServerVoiceActivityDetectionSignal(Wire):
    """Speech began or ended, in the older, allow-listed form.

    Attributes:
        vad_signal_type: a ``VadSignalType``.
    """

    vad_signal_type: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class ServerContent(Wire):
    """What the model says, and marks about the turn. ``{}`` is ordinary traffic (docs/protocol.md 4.2).

    Attributes:
        model_turn: a piece of the answer.
        generation_complete: True: the model has produced all of it. Absent after an interruption.
        turn_complete: True: the turn is over. Paced: it comes when the audio would have been played.
        interrupted: True: the response was cut short.
        input_transcription: a piece of what the user said; pieces append.
        interim_input_transcription: a guess at what the user is saying; replaces the one before.
        output_transcription: a piece of what the model says; pieces append.
        grounding_metadata: what the answer rests on; often empty on Vertex AI.
        url_context_metadata: pages that the model read.
        turn_complete_reason: a ``TurnCompleteReason``.
        waiting_for_input: True: the model holds back and expects the user to go on.
        interaction_status: an ``InteractionStatus``.
        voice_activity: belongs beside ``serverContent``; read here too, since some clients' tests show it here.
    """

    model_turn: Content | None = None
    generation_complete: bool | None = None
    turn_complete: bool | None = None
    interrupted: bool | None = None
    input_transcription: Transcription | None = None
    interim_input_transcription: Transcription | None = None
    output_transcription: Transcription | None = None
    grounding_metadata: GroundingMetadata | None = None
    url_context_metadata: UrlContextMetadata | None = None
    turn_complete_reason: str | None = None
    waiting_for_input: bool | None = None
    interaction_status: str | None = None
    voice_activity: ServerVoiceActivity | None = None


@attrs.frozen(kw_only=True, repr=False)
class ServerToolCall(Wire):
    """The model asks for functions to be called.

    Attributes:
        function_calls: the calls, in order.
    """

    function_calls: tuple[FunctionCall, ...] | None = None


@attrs.frozen(kw_only=True, repr=False)
class ServerToolCallCancellation(Wire):
    """The answers to these calls are no longer wanted.

    Attributes:
        ids: the ids of the calls.
        function_ids: another name for the same in one SDK's types; never recorded.
    """

    ids: tuple[str, ...] | None = None
    function_ids: tuple[str, ...] | None = None


@attrs.frozen(kw_only=True, repr=False)
class ServerGoAway(Wire):
    """The server will end the connection.

    Attributes:
        time_left_s: seconds until then; None when not told.
    """

    time_left_s: float | None = attrs.field(default=None, metadata=duration("timeLeft"))


@attrs.frozen(kw_only=True, repr=False)
class SessionResumptionUpdate(Wire):
    """The server saved the session's state; each update replaces the one before.

    Attributes:
        new_handle: opaque. Secret: it restores a whole conversation. Empty or None when not resumable.
        resumable: whether the session can be resumed from this point; absent for False.
        last_consumed_client_message_index: the last client message in the saved state. Vertex AI, transparent mode.
        session_id: seen in a third-party test only.
    """

    new_handle: str | None = attrs.field(default=None, repr=hidden)
    resumable: bool | None = None
    last_consumed_client_message_index: int | None = attrs.field(default=None, metadata=INT64_AS_TEXT)
    session_id: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class ServerError(Wire):
    """An error inside the stream. Never recorded from a real server, which closes instead (docs/protocol.md 4.10).

    Attributes:
        code: HTTP status.
        message: what is wrong.
        status: its canonical name, such as ``INVALID_ARGUMENT``.
    """

    code: int | None = None
    message: str | None = None
    status: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class ServerMessage(Wire):
    """One message of a server. Several keys at once are ordinary.

    Attributes:
        setup_complete: the setup was accepted.
        server_content: what the model says.
        tool_call: functions to call.
        tool_call_cancellation: calls whose answers are no longer wanted.
        go_away: the connection will end.
        session_resumption_update: the session's state was saved.
        usage_metadata: token counts of the turn.
        voice_activity: speech began or ended.
        voice_activity_detection_signal: the same, in its older form.
        interaction_status: an ``InteractionStatus``; documented beside ``toolCall`` and alone.
        error: an error inside the stream; never recorded.
        code: as in ``ServerError``, where a server puts its members at the top level; never recorded.
        message: likewise.
        status: likewise.
        problems: one sentence for each value that could not be read, beginning with its snake_case path. Such a value
            stays in ``extra`` of its level. Empty for a sound message; never written.
    """

    setup_complete: ServerSetupComplete | None = None
    server_content: ServerContent | None = None
    tool_call: ServerToolCall | None = None
    tool_call_cancellation: ServerToolCallCancellation | None = None
    go_away: ServerGoAway | None = None
    session_resumption_update: SessionResumptionUpdate | None = None
    usage_metadata: UsageMetadata | None = None
    voice_activity: ServerVoiceActivity | None = None
    voice_activity_detection_signal: ServerVoiceActivityDetectionSignal | None = None
    interaction_status: str | None = None
    error: ServerError | None = None
    code: int | None = None
    message: str | None = None
    status: str | None = None
    problems: tuple[str, ...] = attrs.field(default=(), metadata=NOT_ON_THE_WIRE)
