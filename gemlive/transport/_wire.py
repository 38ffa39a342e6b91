"""The stream that trio-websocket believes to be the network; between the two stand our rules.

    trio-websocket  --send_all-->      Wire  -->  Outgoing  -->  writer task  -->  stream
    trio-websocket  <--receive_some--  Wire  <---------------------------------   stream

What it sends never waits (see ``_outgoing``); its first bytes, the upgrade request, are not sent at all but kept for
``_upgrade``. What it receives begins with the answer that ``_upgrade`` accepted. Every inbound byte is noted as a sign
of life. When messages pile up unread, reading pauses, so that the peer feels it and our memory does not; when somebody
waits and as many bytes bring no message, the peer is sending something else than messages and is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import final

import trio

from gemlive.transport._frame import is_close
from gemlive.transport._interface import CloseInfo
from gemlive.transport._outgoing import Outgoing
from gemlive.transport._seclusion import broken

NO_CLOSE_FRAME = 1006
"""The code for an end without a Close frame (RFC 6455 section 7.1.5); it never stands in one."""


@final
class Wire(trio.abc.Stream):
    """The network as trio-websocket sees it.

    Attributes:
        last_inbound: when the last byte came, in seconds of trio's clock.
        heard: set when a byte comes; whoever wants to wait for one puts a fresh event here.
        is_reading: whether a read from the network is under way; it is not while unread messages hold it up.
        has_sent_close: whether a Close frame was handed to us.
    """

    def __init__(
        self, stream: trio.abc.Stream, outgoing: Outgoing, *, max_unread_bytes: int, on_end: Callable[[CloseInfo], None]
    ) -> None:
        """Wraps a connected stream.

        Args:
            stream: the connection; it is read from here, and neither written nor closed.
            outgoing: where frames to write go.
            max_unread_bytes: how many bytes may come between two calls of :meth:`want`.
            on_end: told when the stream ended or broke, or a Close frame was handed over (then with the code 1006 as
                the fallback for what trio-websocket knows).
        """
        self._stream = stream
        self._outgoing = outgoing
        self._max_unread_bytes = max_unread_bytes
        self._on_end = on_end
        self._request = b""
        self._requested = trio.Event()
        self._opened = trio.Event()
        self._resumed = trio.Event()
        self._received: deque[bytes] = deque()
        self._unread_bytes = 0
        self._is_wanted = False
        self._read_scope: trio.CancelScope | None = None
        self._is_aborted = False
        self.last_inbound = trio.current_time()
        self.heard = trio.Event()
        self.is_reading = False
        self.has_sent_close = False

    async def request(self) -> bytes:
        """Waits for trio-websocket's upgrade request and returns it; empty after :meth:`abort`."""
        await self._requested.wait()
        return self._request

    def open(self, *received: bytes) -> None:
        """Lets trio-websocket read: first these bytes, then the network."""
        self._received.extend(data for data in received if data)
        self.last_inbound = trio.current_time()
        self._opened.set()

    def want(self) -> None:
        """Says that everything received so far is being taken and that more is waited for."""
        self._unread_bytes = 0
        self._is_wanted = True
        self._resumed.set()

    def took(self) -> None:
        """Says that nobody waits any more."""
        self._is_wanted = False

    def abort(self) -> None:
        """Ends both directions as if the network had broken, whatever it is doing; may be called again."""
        self._is_aborted = True
        self._requested.set()
        self._opened.set()
        self._resumed.set()
        if self._read_scope is not None:
            self._read_scope.cancel()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Takes one whole frame; the lock round every call is the checkpoint."""
        if not self._requested.is_set():
            self._request = bytes(data)
            self._requested.set()
            return
        if self._is_aborted:
            raise trio.BrokenResourceError("the connection was given up")
        if self.has_sent_close:
            raise trio.BrokenResourceError("a Close frame was sent")  # after which nothing may follow: RFC 6455, 5.5.1
        self._outgoing.append(bytes(data))
        if is_close(data):
            self.has_sent_close = True
            self._on_end(CloseInfo(NO_CLOSE_FRAME, "", "network"))
        if self._outgoing.has_overflowed:
            self._on_end(CloseInfo(NO_CLOSE_FRAME, "the server sent pings and did not read the pongs", "local"))
            self.abort()
            raise trio.BrokenResourceError("the connection was given up")

    async def wait_send_all_might_not_block(self) -> None:
        """Returns at once: nothing here blocks."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Returns the next bytes of the server."""
        await self._opened.wait()
        if self._received:
            return self._received.popleft()
        while self._unread_bytes >= self._max_unread_bytes and not self._is_aborted:
            await self._pause()
        data = b"" if self._is_aborted else await self._read(max_bytes)
        if self._is_aborted:
            raise trio.BrokenResourceError("the connection was given up")
        return data

    async def aclose(self) -> None:
        """Does nothing: the transport closes the stream, when the last frame has left."""
        await trio.lowlevel.checkpoint()

    async def _pause(self) -> None:
        if self._is_wanted:
            how = f"the server sent {self._unread_bytes} bytes without completing a message"
            self._on_end(CloseInfo(NO_CLOSE_FRAME, how, "local"))
            self.abort()
            return
        self._resumed = trio.Event()
        await self._resumed.wait()

    async def _read(self, max_bytes: int | None) -> bytes | bytearray:
        data: bytes | bytearray = b""
        why = "the stream ended without a Close frame"
        self.is_reading = True
        try:
            with trio.CancelScope() as self._read_scope:
                data = await self._stream.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            why = f"the network connection broke ({broken(exc)})"
        finally:
            self.is_reading = False
            self._read_scope = None
        if data:
            self.last_inbound = trio.current_time()
            self.heard.set()
            self._unread_bytes += len(data)
        else:
            self._on_end(CloseInfo(NO_CLOSE_FRAME, why, "network"))
        return data
