"""What consumers of a session see: one union of small frozen classes to ``match`` on.

``codec.events`` turns each server message into the events of the first group; the session adds those of the second.
Every event carries ``at``, a stamp that says on which connection, in which turn and to which response it belongs, so
that stale speech can be told from fresh speech by comparison and never by guessing from time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

if TYPE_CHECKING:
    from gemlive.types._client import ClientMessage
    from gemlive.types._content import FunctionCall
    from gemlive.types._server import GroundingMetadata, UrlContextMetadata, UsageMetadata, WordInfo


@attrs.frozen
class Stamp:
    """Where in a session an event belongs. Shared by all events while nothing changes.

    Attributes:
        connection: the number of the connection, counted from 1; 0 before the first.
        turn: how many turns were complete before this event.
        response: a number that grows whenever a response ends, by completion or by interruption. Audio whose
            ``response`` is lower than that of the latest event is stale and must not be played.
    """

    connection: int = 0
    turn: int = 0
    response: int = 0


NOWHERE = Stamp()
"""The stamp of events that were made outside a session."""


@attrs.frozen
class _Event:
    at: Stamp = attrs.field(default=NOWHERE, kw_only=True)


# --- from the wire ---------------------------------------------------------------------------------------------------


@attrs.frozen
class SetupComplete(_Event):
    """The server accepted the setup of this connection.

    Attributes:
        session_id: the server's name for the session; Vertex AI sends one, Google AI does not (None).
    """

    session_id: str | None = None


@attrs.frozen
class ModelText(_Event):
    """A piece of the model's answer as text; pieces append."""

    text: str


@attrs.frozen
class ModelThought(_Event):
    """A piece of the model's thought summary; never part of the answer, never spoken."""

    text: str


@attrs.frozen
class ModelAudio(_Event):
    """A piece of the model's speech; pieces append.

    Attributes:
        data: s16le mono PCM. Chunks arrive faster than real time and begin at 2 bytes (docs/protocol.md 4.2).
        mime_type: as the server wrote it.
        rate_hz: samples a second, from the MIME type; 24000 where it names none, as on Vertex AI.
    """

    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")
    mime_type: str = "audio/pcm"
    rate_hz: int = 24000

    @property
    def duration_ms(self) -> float:
        """Milliseconds this chunk takes to play."""
        return len(self.data) * 500 / self.rate_hz


@attrs.frozen
class ModelMedia(_Event):
    """A piece of the model's answer that is neither text nor PCM audio: an image, video, a file.

    Attributes:
        data: the bytes, empty when the server sent a reference.
        mime_type: as the server wrote it, empty when it sent none.
        file_uri: where the bytes are, None when they are in ``data``.
    """

    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")
    mime_type: str = ""
    file_uri: str | None = None


@attrs.frozen
class InputTranscript(_Event):
    """A piece of what the user said; pieces append.

    Attributes:
        text: may be empty when only ``finished`` or an offset is told.
        finished: True when the server says that the utterance is complete. Google AI was never seen to say so, so
            do not wait for it (docs/protocol.md 4.2). None when not told.
        language_code: BCP-47, None when not told.
        speaker_label: who spoke, with diarization; None otherwise.
        words: word timings, empty unless asked for.
        start_offset_s: seconds of audio since the stream began; None when not told.
        end_offset_s: likewise.
    """

    text: str
    finished: bool | None = None
    language_code: str | None = None
    speaker_label: str | None = None
    words: tuple[WordInfo, ...] = ()
    start_offset_s: float | None = None
    end_offset_s: float | None = None


@attrs.frozen
class InterimInputTranscript(_Event):
    """An unstable guess at what the user is saying; each one replaces the one before."""

    text: str
    language_code: str | None = None
    start_offset_s: float | None = None
    end_offset_s: float | None = None


@attrs.frozen
class OutputTranscript(_Event):
    """A piece of what the model says aloud; pieces append. Fields as in :class:`InputTranscript`."""

    text: str
    finished: bool | None = None
    language_code: str | None = None
    speaker_label: str | None = None
    words: tuple[WordInfo, ...] = ()
    start_offset_s: float | None = None
    end_offset_s: float | None = None


@attrs.frozen
class ToolCall(_Event):
    """The model asks for functions to be called; answer each with ``Session.send_tool_response``.

    Attributes:
        calls: ``FunctionCall(id, name, args)`` in the server's order; never empty.
    """

    calls: tuple[FunctionCall, ...]


@attrs.frozen
class ToolCallCancellation(_Event):
    """The server no longer wants the answers to these calls."""

    ids: tuple[str, ...]


@attrs.frozen
class Interrupted(_Event):
    """The response was cut short: stop playback and throw away what has not been played.

    Attributes:
        reason: ``"server"`` when the server said so (the user spoke, or new content came), ``"connection"`` when the
            connection ended in the middle of the turn.
    """

    reason: Literal["server", "connection"] = "server"


@attrs.frozen
class GenerationComplete(_Event):
    """The model has produced all of its answer; playing it may take longer."""


@attrs.frozen
class TurnComplete(_Event):
    """The turn is over and the model waits for input.

    Attributes:
        reason: why, one of ``TurnCompleteReason`` or a value unknown to this version; None for an ordinary end.
        interaction_status: ``IN_PROGRESS`` when the model goes on by itself after this turn, ``IDLE`` when it does
            not; None where the server does not tell (docs/protocol.md 5).
        waiting_for_input: True when the model holds back because it expects the user to go on; None when not told.
    """

    reason: str | None = None
    interaction_status: str | None = None
    waiting_for_input: bool | None = None


@attrs.frozen
class VoiceActivity(_Event):
    """The server heard speech begin or end.

    Attributes:
        kind: ``ACTIVITY_START`` or ``ACTIVITY_END``, as on the wire; the older signal gives ``VAD_SIGNAL_TYPE_SOS``
            and ``VAD_SIGNAL_TYPE_EOS``.
        offset_s: seconds of audio sent since the stream began; None when not told.
    """

    kind: str
    offset_s: float | None = None


@attrs.frozen
class ResumptionUpdate(_Event):
    """The server saved the session's state, or says that it cannot be resumed at this moment.

    Attributes:
        handle: opaque and secret (it restores a whole conversation); None when there is none.
        resumable: whether ``handle`` can be used; None when not told.
        last_consumed_index: Vertex AI transparent mode: the index of the last client message in the saved state.
    """

    handle: str | None = attrs.field(default=None, repr=lambda handle: "None" if handle is None else "'***'")
    resumable: bool | None = None
    last_consumed_index: int | None = None


@attrs.frozen
class GoAway(_Event):
    """The server will end this connection soon; the session hands over to a new one by itself.

    Attributes:
        time_left_s: seconds until then; None when not told.
    """

    time_left_s: float | None = None


@attrs.frozen
class Usage(_Event):
    """Token counts, of this turn and not of the session (docs/protocol.md 4.8)."""

    metadata: UsageMetadata


@attrs.frozen
class Grounding(_Event):
    """What the answer rests on: search queries, sources and which part of the answer each supports."""

    metadata: GroundingMetadata


@attrs.frozen
class UrlContext(_Event):
    """Which pages the model read."""

    metadata: UrlContextMetadata


@attrs.frozen
class ExecutableCode(_Event):
    """Code that the model wrote and the server runs."""

    code: str
    language: str | None = None


@attrs.frozen
class CodeResult(_Event):
    """What that code printed.

    Attributes:
        outcome: ``OUTCOME_OK``, ``OUTCOME_FAILED``, ``OUTCOME_DEADLINE_EXCEEDED`` or a value unknown to this version.
        output: standard output, or the error.
    """

    outcome: str | None = None
    output: str = ""


@attrs.frozen
class UnknownMessage(_Event):
    """Something the server sent that this version does not know; nothing is thrown away.

    Attributes:
        raw: the unknown keys and their values, as parsed from JSON.
    """

    raw: Mapping[str, object]


# --- from the session ------------------------------------------------------------------------------------------------


@attrs.frozen
class Connected(_Event):
    """The first connection is ready.

    Attributes:
        connection: its number, always 1.
    """

    connection: int


@attrs.frozen
class Reconnecting(_Event):
    """A connection ended and the session dials again.

    Attributes:
        connection: the number of the connection that ended.
        attempt: which try at replacing it this announces, counted from 1.
        delay_s: seconds until it.
        code: the close code, or None when there was none (a hand-over, a failed dial).
        reason: the close reason, or what failed, in one sentence.
    """

    connection: int
    attempt: int
    delay_s: float
    code: int | None = None
    reason: str = ""


@attrs.frozen
class Reconnected(_Event):
    """A new connection took over; comes before any event of it and says honestly what was restored.

    Attributes:
        connection: the number of the new connection.
        resumed: whether the server went on from a resumption handle. False: the model remembers nothing.
        resumption_handle_age_s: seconds since the server issued the handle; None when ``resumed`` is False.
        uncertain: messages that were written to the old connection and of which nobody can say whether they took
            effect, in the order of sending. What was done about them follows ``ReconnectPolicy.uncertain``.
        dropped_audio_ms: milliseconds of realtime audio that were too old to send.
        aborted_turn: whether a turn of the model was cut short.
    """

    connection: int
    resumed: bool
    resumption_handle_age_s: float | None = None
    uncertain: tuple[ClientMessage, ...] = ()
    dropped_audio_ms: float = 0.0
    aborted_turn: bool = False


@attrs.frozen
class InputDropped(_Event):
    """Realtime media that was accepted and will not be sent, since it waited too long or too much of it waited.

    Attributes:
        audio_ms: milliseconds of audio.
        video_frames: number of video frames.
        reason: one sentence.
    """

    audio_ms: float
    video_frames: int = 0
    reason: str = ""


@attrs.frozen
class OrphanedToolResult(_Event):
    """A tool's answer came after the connection that asked for it, and the resumed model would not know the call.

    Attributes:
        call_id: the id of the call.
        name: the function's name, None when the answer carried none.
        response: the answer.
    """

    call_id: str | None
    name: str | None = None
    response: Mapping[str, object] | None = None


@attrs.frozen
class Lagged(_Event):
    """This consumer was too slow and lost events; the others did not.

    Attributes:
        events: how many since its last ``receive()``, exactly.
        audio_ms: milliseconds of model audio among them.
    """

    events: int
    audio_ms: float = 0.0


@attrs.frozen
class ServerMessageError(_Event):
    """A message from the server was malformed; what was sound in it came as events before this one.

    Attributes:
        problems: one sentence for each value that could not be read, beginning with its snake_case path.
    """

    problems: tuple[str, ...]


@attrs.frozen
class SessionClosed(_Event):
    """The session is over; the last event of every cursor.

    Attributes:
        code: the last close code; None when no connection was open.
        reason: the last close reason, or why the session was lost; empty after a normal end.
        lost: True when the owner gets ``SessionLost``.
    """

    code: int | None = None
    reason: str = ""
    lost: bool = False


Event: TypeAlias = (
    SetupComplete
    | ModelText
    | ModelThought
    | ModelAudio
    | ModelMedia
    | InputTranscript
    | InterimInputTranscript
    | OutputTranscript
    | ToolCall
    | ToolCallCancellation
    | Interrupted
    | GenerationComplete
    | TurnComplete
    | VoiceActivity
    | ResumptionUpdate
    | GoAway
    | Usage
    | Grounding
    | UrlContext
    | ExecutableCode
    | CodeResult
    | UnknownMessage
    | Connected
    | Reconnecting
    | Reconnected
    | InputDropped
    | OrphanedToolResult
    | Lagged
    | ServerMessageError
    | SessionClosed
)
"""Everything a session's cursor yields."""
