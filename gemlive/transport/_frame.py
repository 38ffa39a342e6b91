"""The two frames we write ourselves, and the bytes by which a written frame is told (RFC 6455 section 5.2).

trio-websocket writes the messages, Pongs and its own Closes. A Ping it writes only together with waiting for its Pong,
and a waiter that is cancelled leaves an entry behind; a peer that breaks the protocol it does not tell. Both frames are
a few bytes.
"""

from __future__ import annotations

import os
import struct

_CLOSE = 0x8
_PING = 0x9
_FIN = 0x80
_MASKED = 0x80

MAX_REASON_BYTES = 123
"""A control frame carries at most 125 bytes, and the close code takes two."""


def ping_frame() -> bytes:
    """Returns a Ping without payload, as a client sends it."""
    return _control_frame(_PING, b"")


def close_frame(code: int, reason: str) -> bytes:
    """Returns a Close with a code and a reason, as a client sends it; the reason is cut to fit."""
    return _control_frame(_CLOSE, struct.pack("!H", code) + cut_reason(reason).encode())


def is_close(frame: bytes | bytearray | memoryview) -> bool:
    """Whether a frame is a Close."""
    return frame[0] & 0x0F == _CLOSE


def cut_reason(reason: str) -> str:
    """Returns the reason cut to 123 bytes of UTF-8, between two characters."""
    return reason.encode("utf-8", "replace")[:MAX_REASON_BYTES].decode("utf-8", "ignore")


def _control_frame(opcode: int, payload: bytes) -> bytes:
    key = os.urandom(4)
    masked = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    return bytes((_FIN | opcode, _MASKED | len(payload))) + key + masked
