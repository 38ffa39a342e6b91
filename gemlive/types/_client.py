"""What a client sends: one of these, as the only key of a JSON object named after its class (docs/protocol.md 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import attrs

from gemlive.types._base import Wire, keys_only
from gemlive.types._content import Blob, Content, FunctionResponse
from gemlive.types._setup import Setup
from gemlive.types._tools import Tool


@attrs.frozen(kw_only=True, repr=False)
class ClientContent(Wire):
    """Content that is appended to the conversation, in order; interrupts a response that is under way.

    Attributes:
        turns: what to append; None or empty appends nothing.
        turn_complete: True: answer now. False or None: wait for more.
    """

    turns: tuple[Content, ...] | None = None
    turn_complete: bool | None = None


@attrs.frozen(kw_only=True, repr=False)
class ActivityStart(Wire):
    """The user began to speak; only with automatic detection disabled."""


@attrs.frozen(kw_only=True, repr=False)
class ActivityEnd(Wire):
    """The user stopped speaking; only with automatic detection disabled."""


@attrs.frozen(kw_only=True, repr=False)
class RealtimeInput(Wire):
    """Input as it happens; the service promises no order between audio, video and text. One member in each message.

    Attributes:
        audio: PCM, s16le mono, at the rate that its MIME type names (16 kHz is native); 20 to 100 ms of it.
        video: one frame, JPEG or PNG; one a second at most.
        text: what the user wrote; counts as activity.
        activity_start: the user began to speak.
        activity_end: the user stopped speaking.
        audio_stream_end: True: no audio for now (the microphone is off); the next audio reopens the stream. Only with
            automatic detection.
        media_chunks: deprecated; only the first counts.
    """

    audio: Blob | None = None
    video: Blob | None = None
    text: str | None = None
    activity_start: ActivityStart | None = None
    activity_end: ActivityEnd | None = None
    audio_stream_end: bool | None = None
    media_chunks: tuple[Blob, ...] | None = None


@attrs.frozen(kw_only=True, repr=False)
class ToolResponse(Wire):
    """The answers to function calls.

    Attributes:
        function_responses: one for each call that is answered.
    """

    function_responses: tuple[FunctionResponse, ...] | None = None


@attrs.frozen(kw_only=True, repr=False)
class ContextTools(Wire):
    """The tools from now on.

    Attributes:
        tools: replaces those of the setup; empty takes all away.
    """

    tools: tuple[Tool, ...] | None = None


@attrs.frozen(kw_only=True, repr=False)
class ContextUpdate(Wire):
    """Replaces parts of the setup in mid-session; what is None stays. 3.8 on Vertex AI.

    Attributes:
        system_instruction: the new instruction.
        tools: the new tools.
    """

    system_instruction: Content | None = None
    tools: ContextTools | None = None


@attrs.frozen
class RawClientMessage:
    """A client message that this version does not know, or that is none of the others for another reason.

    Attributes:
        raw: the whole JSON object; written as it is. May hold secrets, so ``repr`` shows its keys only.
    """

    raw: Mapping[str, object] = attrs.field(repr=keys_only)


ClientMessage: TypeAlias = Setup | ClientContent | RealtimeInput | ToolResponse | ContextUpdate | RawClientMessage
"""Everything a client sends."""

CLIENT_MESSAGES: Mapping[str, type[Wire]] = {
    "setup": Setup,
    "client_content": ClientContent,
    "realtime_input": RealtimeInput,
    "tool_response": ToolResponse,
    "context_update": ContextUpdate,
}
"""The class of each client message by its key on the wire, in snake_case."""
