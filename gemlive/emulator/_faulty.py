"""A stream that passes everything on, until it is told to misbehave: the place where network faults are made.

It stands between trio-websocket and the real stream, so that what a client sees is what a broken network or a hung
server would show it, byte for byte, and no code above has to pretend.
"""

from __future__ import annotations

import math
import socket
import struct

import trio
import trio.abc

from gemlive.emulator._pipe import PipeEnd

_CLOSE_OPCODE = 0x88  # FIN and opcode 8: the first byte of a server's Close frame, which is never masked


class FaultyStream(trio.abc.Stream):
    """A stream with switches for its faults; passes data on unchanged while none is set.

    Attributes:
        is_mute: nothing that is sent leaves, and nobody is told.
        withholds_close: WebSocket Close frames do not leave, and closing keeps the connection open.
        resets: it ends as by a TCP reset, by which the peer loses what it has not read yet.
        bytes_left: how many more bytes leave before the connection is cut.
        ended: set once nothing more will be received, by whoever's doing.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.is_mute = False
        self.withholds_close = False
        self.resets = False
        self.bytes_left: float = math.inf
        self.ended = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends, or loses, or cuts, as the switches say. Otherwise as the stream beneath."""
        if self.is_mute or (self.withholds_close and data[:1] == bytes([_CLOSE_OPCODE])):
            await trio.lowlevel.checkpoint()
            return
        if len(data) > self.bytes_left:
            data = data[: int(self.bytes_left)]
            await self._stream.send_all(data)
            await self.cut()
            raise trio.BrokenResourceError("cut after the number of bytes that was asked for")
        self.bytes_left -= len(data)
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Waits as the stream beneath."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receives as the stream beneath, and notes the end."""
        try:
            data = await self._stream.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.ended.set()
            raise
        if not data:
            self.ended.set()
        return data

    async def aclose(self) -> None:
        """Closes the stream beneath, unless Close frames are withheld: then only :meth:`cut` does."""
        if self.withholds_close and not self.ended.is_set():
            await trio.lowlevel.checkpoint()
            return
        self.ended.set()
        await self._stream.aclose()

    async def drain(self) -> None:
        """Reads and forgets until the peer ends the connection."""
        while not self.ended.is_set():
            try:
                await self.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    async def cut(self) -> None:
        """Ends the connection without a word, whatever state it is in. Does not block."""
        self.ended.set()
        self.bytes_left = 0
        if self.resets:
            _reset(self._stream)
        await trio.aclose_forcefully(self._stream)


def _reset(stream: trio.abc.Stream) -> None:
    """Makes the close that follows a reset."""
    if isinstance(stream, trio.SSLStream):
        _reset(stream.transport_stream)
    elif isinstance(stream, PipeEnd):
        stream.abort()
    elif isinstance(stream, trio.SocketStream):
        # Linger on, for zero seconds: the kernel then sends RST in place of FIN.
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
