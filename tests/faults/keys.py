"""What a client's message is known by, read off the wire: from JSON and from the emulator's notes alike.

Every message that the laboratory sends carries a key of its own. Here it is found again, by a reading that shares
nothing with the library's codec, so that a frame that no emulator ever read can still be named.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from gemlive.types import ClientContent, ClientMessage, RealtimeInput, ToolResponse


def key_of(message: ClientMessage) -> str:
    """Returns the key of a message as the emulator has it; the name of its class where it has none."""
    match message:
        case ClientContent():
            return "".join(part.text or "" for content in message.turns or () for part in content.parts or ())
        case RealtimeInput():
            return _realtime(message)
        case ToolResponse():
            return "+".join(str((one.response or {}).get("key")) for one in message.function_responses or ())
        case _:
            return type(message).__name__


def _realtime(message: RealtimeInput) -> str:
    if message.audio is not None:
        return _audio_key(message.audio.data or b"")
    if message.video is not None:
        return (message.video.data or b"").decode()
    if message.text is not None:
        return message.text
    if message.activity_start is not None:
        return "activity_start"
    return "activity_end" if message.activity_end is not None else "audio_stream_end"


def key_in(payload: bytes) -> str:
    """Returns the key of a message as it stands on the wire; ``setup`` for a setup."""
    message: Mapping[str, Any] = json.loads(payload)
    ((name, value),) = message.items()
    match name:
        case "clientContent":
            return "".join(part.get("text", "") for turn in value.get("turns", ()) for part in turn.get("parts", ()))
        case "realtimeInput":
            return _realtime_key(value)
        case "toolResponse":
            return "+".join(str(one.get("response", {}).get("key")) for one in value["functionResponses"])
        case _:
            return str(name)


def _realtime_key(value: Mapping[str, Any]) -> str:
    ((name, inside),) = value.items()
    match name:
        case "audio":
            return _audio_key(base64.b64decode(inside["data"]))
        case "video":
            return base64.b64decode(inside["data"]).decode()
        case "text":
            return str(inside)
        case _:
            return {"activityStart": "activity_start", "activityEnd": "activity_end"}.get(name, "audio_stream_end")


def _audio_key(pcm: bytes) -> str:
    return f"a{int.from_bytes(pcm[:4], 'little')}"


def handle_in(payload: bytes) -> str | None:
    """Returns the resumption handle that a setup presents, None where it presents none."""
    setup = json.loads(payload)["setup"]
    handle = setup.get("sessionResumption", {}).get("handle")
    return None if handle is None else str(handle)
