"""What waits to be written, and the one task that writes it.

trio-websocket writes under a lock that its reader needs as well, to answer pings. If a write waits for the network
there, the reader stops, and two peers that both write before they read wait for each other for ever. So its writes only
append here and return at once, and a task of ours drains the buffer with whole writes that nothing cancels half-way:

    send_message / Pong / Close  ->  append  ->  [ frames ]  ->  writer task  ->  stream

The buffer is bounded on both sides of it. *Data*: ``Transport.send`` hands over one batch and waits until it is
written, so there is at most one batch here; the next caller waits outside. *Control frames*: what answers the peer
cannot wait, so a peer that sends pings and reads no pongs fills the buffer; at ``MAX_CONTROL_BYTES`` that is told, and
the connection is given up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from gemlive.transport._seclusion import broken

MAX_CONTROL_BYTES = 2**20
"""One read of 64 KiB holds at most 32,768 pings, whose pongs make 192 KiB. A peer that reads never comes near this."""

_CONTROL = 0x08
"""The bit of the opcode that control frames have (RFC 6455 section 5.5)."""


class Outgoing:
    """Whole frames in the order in which they will be written.

    Everything but :meth:`drain` and :meth:`wait_written` is synchronous.
    """

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._wake = trio.Event()
        self._progress = trio.Event()
        self._control_bytes = 0
        self._appended = 0
        self._written = 0
        self._has_ended = False

    @property
    def appended(self) -> int:
        """How many bytes were ever appended; the mark for :meth:`wait_written`."""
        return self._appended

    @property
    def has_overflowed(self) -> bool:
        """Whether more control frames wait than a peer that reads could have provoked."""
        return self._control_bytes > MAX_CONTROL_BYTES

    @property
    def has_ended(self) -> bool:
        """Whether :meth:`end` was called."""
        return self._has_ended

    def append(self, frame: bytes) -> None:
        """Puts one whole frame behind the others; forgets it if the buffer has ended."""
        if self._has_ended:
            return
        self._frames.append(frame)
        self._appended += len(frame)
        if frame[0] & _CONTROL:
            self._control_bytes += len(frame)
        self._wake.set()

    def end(self) -> None:
        """Writes nothing more and forgets what waits; may be called again."""
        self._has_ended = True
        self._frames.clear()
        self._wake.set()
        self.poke()

    def poke(self) -> None:
        """Makes everybody in :meth:`wait_written` ask again whether to give up."""
        self._progress.set()
        self._progress = trio.Event()

    def was_written(self, mark: int) -> bool:
        """Whether all bytes up to a mark were written."""
        return self._written >= mark

    async def wait_written(self, mark: int, give_up: Callable[[], bool] = lambda: False) -> None:
        """Waits until all bytes up to a mark were written, the buffer has ended, or ``give_up`` says so.

        No checkpoint when there is nothing to wait for.
        """
        while self._written < mark and not self._has_ended and not give_up():
            await self._progress.wait()

    async def drain(self, stream: trio.abc.SendStream) -> str | None:
        """Writes frames as they come; returns in words what broke the stream, None when the buffer has ended.

        Run it in one task, and cancel that only to give up the connection: a write that is cancelled may have sent a
        part of a frame.
        """
        while not self._has_ended:
            await self._wake.wait()
            self._wake = trio.Event()
            if not self._frames:
                continue
            frames = list(self._frames)
            self._frames.clear()
            data = frames[0] if len(frames) == 1 else b"".join(frames)
            try:
                await stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                return broken(exc)
            self._control_bytes -= sum(len(frame) for frame in frames if frame[0] & _CONTROL)
            self._written += len(data)
            self.poke()
        return None
