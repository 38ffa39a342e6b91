"""The stream that trio-websocket believes to be the network."""

from __future__ import annotations

import pytest
import trio

from gemlive.transport._frame import close_frame
from gemlive.transport._interface import CloseInfo
from gemlive.transport._outgoing import Outgoing
from gemlive.transport._wire import Wire


async def test_nothing_follows_a_close_frame() -> None:
    ours, _ = trio.testing.memory_stream_pair()
    ended: list[CloseInfo] = []
    outgoing = Outgoing()
    wire = Wire(ours, outgoing, max_unread_bytes=1, on_end=ended.append)
    await wire.send_all(b"GET / HTTP/1.1\r\n\r\n")
    await wire.send_all(close_frame(1000, ""))
    appended = outgoing.appended
    with pytest.raises(trio.BrokenResourceError):
        await wire.send_all(b"\x81\x00")
    assert (outgoing.appended, len(ended)) == (appended, 1)
