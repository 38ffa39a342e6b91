"""One WebSocket, from the server's side: whole frames out in one place, an end that comes once and takes bounded time.

A message that is being written when a turn is interrupted goes out whole, since a frame cut in two breaks the
connection for good; only the end of the connection stops a write, and then nothing follows it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import trio
import trio_websocket

from gemlive.codec import encode_server
from gemlive.emulator._close import NORMAL, Close
from gemlive.emulator._faulty import FaultyStream
from gemlive.emulator._record import ConnectionRecord, Party
from gemlive.emulator._script import Behaviour
from gemlive.types import ServerMessage

CLOSE_S = 2.0
"""How long the end of a connection may take: finishing a write, and the peer's answer to our Close."""

Opcode = Literal["binary", "text"]
"""What server messages travel in. The service sends binary frames (docs/protocol.md 1.3)."""


class Line:
    """A connection over which messages go; everything that ends it goes through :meth:`end`.

    Args:
        socket: the WebSocket.
        stream: the stream beneath it.
        record: where the end is noted.
        behaviour: which faults it has.
        opcode: what server messages travel in.
    """

    def __init__(
        self,
        socket: trio_websocket.WebSocketConnection,
        stream: FaultyStream,
        record: ConnectionRecord,
        behaviour: Behaviour,
        opcode: Opcode,
    ) -> None:
        self.record = record
        self._socket = socket
        self._stream = stream
        self._behaviour = behaviour
        self._opcode = opcode
        self._sent = 0
        self._received = 0
        self._is_torn = False
        self._goodbye: Close | None = None
        self._writing = trio.CancelScope()
        # No buffer: what an interruption makes stale must not be waiting here, and a model that talks to a client who
        # does not read has to wait for it.
        self._put, self._take = trio.open_memory_channel[bytes | str](0)

    @property
    def has_ended(self) -> bool:
        """Whether it has."""
        return self.record.ended.is_set()

    async def run(self, converse: Callable[[Line], Awaitable[None]]) -> None:
        """Runs ``converse`` until the line ends, then says goodbye. What ``converse`` raises comes out in a group.

        The stream beneath is still to be cut.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                nursery.start_soon(self._cancel_at_end, nursery.cancel_scope)
                try:
                    await converse(self)
                    self.end(NORMAL, by="server")
                finally:
                    self._hurry()
        finally:
            await self._close()

    async def send(self, message: ServerMessage | bytes | str) -> None:
        """Hands a message to the writer, waiting until it has taken all earlier ones.

        Cancelled, the message is not sent. Once the line has ended this waits to be cancelled, as everything does that
        belongs to it.
        """
        if isinstance(message, ServerMessage):
            frame = encode_server(message, pretty=True)
            message = frame.encode() if self._opcode == "binary" else frame
        try:
            await self._put.send(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.sleep_forever()

    async def receive(self) -> bytes | str | None:
        """Returns the next frame, None once the client or the network has ended the connection."""
        if self._received == self._behaviour.stops_reading_after:
            await trio.sleep_forever()
        try:
            frame = await self._socket.get_message()
            self._received += 1
            return frame
        except trio_websocket.ConnectionClosed as closed:
            reason = closed.reason
        if reason is None or reason.code == 1006:
            self.end(None, by="network")
        else:
            self.end(Close(int(reason.code), reason.reason or ""), by="client")
        return None

    def end(self, close: Close | None, *, by: Party, resets: bool = False) -> None:
        """Ends the line; the first call decides how.

        Args:
            close: what the Close frame says; None for an end without one.
            by: whose doing it is.
            resets: without a Close frame, whether as a TCP reset.
        """
        if self.has_ended:
            return
        self._goodbye = close if by == "server" else None
        self._stream.resets = resets
        self.record.end(close or Close(1006), by=by)
        self._hurry()

    async def _cancel_at_end(self, scope: trio.CancelScope) -> None:
        await self.record.ended.wait()
        scope.cancel()

    def _hurry(self) -> None:
        """Bounds the write that is under way: the line is about to end."""
        self._writing.deadline = min(self._writing.deadline, trio.current_time() + CLOSE_S)

    async def _write(self) -> None:
        """Writes what is sent; a write that has begun is finished before the task can be cancelled."""
        async with self._take:
            async for frame in self._take:
                with trio.CancelScope(shield=True) as self._writing:
                    if self.has_ended:
                        self._hurry()
                    try:
                        await self._socket.send_message(frame)
                    except trio_websocket.ConnectionClosed:
                        return  # the reader learns of the end too, and why; it is the one that tells
                if self._writing.cancelled_caught:
                    self._is_torn = True
                    return
                self._sent += 1
                self._misbehave()
                if self.has_ended:
                    return  # what else is waiting came too late

    def _misbehave(self) -> None:
        if self._sent == 1 and self._behaviour.silent_at == "open":
            self._stream.is_mute = True
        if self._sent == self._behaviour.drop_after_messages:
            self.end(None, by="server")

    async def _close(self) -> None:
        """Says goodbye, if there is one to say. Not to be cancelled, but bounded by ``CLOSE_S``."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S):
            if self._goodbye is not None and not self._is_torn:
                await self._socket.aclose(self._goodbye.code, self._goodbye.reason or None)
