"""A trio library for the Gemini Live API.

Three ways in, each usable alone: :func:`open_session` for one conversation over as many connections as it takes, the
rooms below it (``codec``, ``transport``, ``audio``) for who wants less, and ``gemlive.emulator`` for a server that
speaks the protocol, to test against or to try things with.

The names here are those that the quickstart and a ``match`` over events need; the rest comes from its room.
"""

from __future__ import annotations

import logging

from gemlive import audio, codec, emulator, types
from gemlive.errors import (
    CodecError,
    ConfigError,
    ConnectError,
    ConnectTimeout,
    GemliveError,
    SessionLost,
    SetupError,
    TlsError,
    ToolError,
    UpgradeRejected,
)
from gemlive.session import Receipt, ReconnectPolicy, Reply, Session, Status, Turn, open_session
from gemlive.transport import GoogleAI, Timeouts, VertexAI, endpoint_from_env
from gemlive.types import (
    CodeResult,
    Connected,
    Event,
    ExecutableCode,
    FunctionCall,
    FunctionDeclaration,
    FunctionResponse,
    GenerationComplete,
    GoAway,
    Grounding,
    InputDropped,
    InputTranscript,
    InterimInputTranscript,
    Interrupted,
    Lagged,
    ModelAudio,
    ModelMedia,
    ModelText,
    ModelThought,
    OrphanedToolResult,
    OutputTranscript,
    Reconnected,
    Reconnecting,
    ResumptionUpdate,
    ServerMessageError,
    SessionClosed,
    SessionConfig,
    SetupComplete,
    Stamp,
    Tool,
    ToolCall,
    ToolCallCancellation,
    TurnComplete,
    UnknownMessage,
    UrlContext,
    Usage,
    VoiceActivity,
)

__version__ = "0.1.0"

# A library says nothing unless the program that uses it asks for its log.
logging.getLogger("gemlive").addHandler(logging.NullHandler())

__all__ = [
    "CodeResult",
    "CodecError",
    "ConfigError",
    "ConnectError",
    "ConnectTimeout",
    "Connected",
    "Event",
    "ExecutableCode",
    "FunctionCall",
    "FunctionDeclaration",
    "FunctionResponse",
    "GemliveError",
    "GenerationComplete",
    "GoAway",
    "GoogleAI",
    "Grounding",
    "InputDropped",
    "InputTranscript",
    "InterimInputTranscript",
    "Interrupted",
    "Lagged",
    "ModelAudio",
    "ModelMedia",
    "ModelText",
    "ModelThought",
    "OrphanedToolResult",
    "OutputTranscript",
    "Receipt",
    "ReconnectPolicy",
    "Reconnected",
    "Reconnecting",
    "Reply",
    "ResumptionUpdate",
    "ServerMessageError",
    "Session",
    "SessionClosed",
    "SessionConfig",
    "SessionLost",
    "SetupComplete",
    "SetupError",
    "Stamp",
    "Status",
    "Timeouts",
    "TlsError",
    "Tool",
    "ToolCall",
    "ToolCallCancellation",
    "ToolError",
    "Turn",
    "TurnComplete",
    "UnknownMessage",
    "UpgradeRejected",
    "UrlContext",
    "Usage",
    "VertexAI",
    "VoiceActivity",
    "__version__",
    "audio",
    "codec",
    "emulator",
    "endpoint_from_env",
    "open_session",
    "types",
]
