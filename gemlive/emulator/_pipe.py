"""A duplex stream pair in memory that behaves like a TCP connection, so that the whole stack runs without a socket.

``trio.testing.memory_stream_pair`` is unbounded, which hides every deadlock that back-pressure causes. Here each
direction holds at most ``capacity`` bytes: a sender whose peer does not read waits, as it would on a socket.
"""

from __future__ import annotations

import operator

import trio
import trio.abc
import trio.lowlevel

CAPACITY_BYTES = 64 * 1024
"""What each direction holds. About what a loopback socket takes before ``send`` blocks; small enough to feel."""


class _Lane:
    """One direction: bytes that were sent and not yet received."""

    def __init__(self, capacity_bytes: int) -> None:
        self.waiting = bytearray()
        self.capacity_bytes = capacity_bytes
        self.ended = False  # the sender sent EOF; what waits is still delivered
        self.abandoned = False  # the receiver closed; nothing sent from now on can arrive
        self.broken = False  # cut without EOF; what waited is lost
        self.changed = trio.lowlevel.ParkingLot()

    @property
    def room(self) -> int:
        return self.capacity_bytes - len(self.waiting)

    def wake(self) -> None:
        self.changed.unpark_all()


class PipeEnd(trio.abc.HalfCloseableStream):
    """One end of an in-memory connection; make pairs with :func:`pipe`.

    Follows trio's stream rules: one task may send while another receives, a second of either kind gets
    ``trio.BusyResourceError``. A cancelled :meth:`send_all` may have sent any part of its data; a cancelled
    :meth:`receive_some` has taken nothing.
    """

    def __init__(self, outgoing: _Lane, incoming: _Lane) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self._closed = False
        self._sending = False
        self._receiving = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends all of ``data``, waiting while the peer has ``capacity_bytes`` unread.

        Raises:
            trio.BusyResourceError: another task is sending.
            trio.ClosedResourceError: this end is closed, or EOF was sent.
            trio.BrokenResourceError: the peer closed or cut the connection.
        """
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            lane, rest = self._outgoing, memoryview(data)
            self._check_sendable()
            while rest:
                if lane.room <= 0:
                    await lane.changed.park()
                    self._check_sendable()
                    continue
                taken = rest[: lane.room]
                lane.waiting += taken
                rest = rest[len(taken) :]
                lane.wake()
            await trio.lowlevel.cancel_shielded_checkpoint()
        finally:
            self._sending = False

    def _check_sendable(self) -> None:
        if self._closed or self._outgoing.ended:
            raise trio.ClosedResourceError("this end of the connection is closed for sending")
        if self._outgoing.abandoned or self._outgoing.broken:
            raise trio.BrokenResourceError("the peer closed the connection")

    async def wait_send_all_might_not_block(self) -> None:
        """Returns once there is room for at least one byte, or the connection is broken.

        Raises:
            trio.BusyResourceError: another task is sending.
            trio.ClosedResourceError: this end is closed.
        """
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await trio.lowlevel.checkpoint()
            self._check_sendable()
            while self._outgoing.room <= 0:
                await self._outgoing.changed.park()
                self._check_sendable()
        finally:
            self._sending = False

    async def send_eof(self) -> None:
        """Ends this direction: the peer reads what waits and then ``b""``. Idempotent.

        Raises:
            trio.BusyResourceError: another task is sending.
            trio.ClosedResourceError: this end is closed.
            trio.BrokenResourceError: the peer cut the connection.
        """
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        await trio.lowlevel.checkpoint()
        if self._outgoing.ended and not self._closed:
            return
        self._check_sendable()
        self._outgoing.ended = True
        self._outgoing.wake()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Returns at least one byte and at most ``max_bytes`` (None: all that waits); ``b""`` after EOF.

        Raises:
            TypeError: ``max_bytes`` is not an integer.
            ValueError: ``max_bytes`` is less than 1.
            trio.BusyResourceError: another task is receiving.
            trio.ClosedResourceError: this end is closed.
            trio.BrokenResourceError: the peer cut the connection.
        """
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes}")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint()
            lane = self._incoming
            while True:
                if self._closed:
                    raise trio.ClosedResourceError("this end of the connection is closed")
                if lane.broken:
                    raise trio.BrokenResourceError("the peer cut the connection")
                if lane.waiting or lane.ended:
                    break
                await lane.changed.park()
            data = bytes(lane.waiting[:max_bytes])
            del lane.waiting[: len(data)]
            lane.wake()
            return data
        finally:
            self._receiving = False

    async def aclose(self) -> None:
        """Closes both directions: the peer reads what waits, then EOF; its sends fail. Never blocks, idempotent."""
        self._close(broken=False)
        await trio.lowlevel.checkpoint()

    def abort(self) -> None:
        """Cuts the connection as a TCP reset does: what waits is lost and the peer gets BrokenResourceError."""
        self._close(broken=True)

    def _close(self, *, broken: bool) -> None:
        if self._closed:
            return
        self._closed = True
        self._outgoing.ended = True
        self._outgoing.broken = self._outgoing.broken or broken
        self._incoming.abandoned = True
        self._incoming.waiting.clear()
        self._outgoing.wake()
        self._incoming.wake()


def pipe(*, capacity_bytes: int = CAPACITY_BYTES) -> tuple[PipeEnd, PipeEnd]:
    """Returns the two ends of a new connection that holds at most ``capacity_bytes`` in each direction."""
    there, back = _Lane(capacity_bytes), _Lane(capacity_bytes)
    return PipeEnd(there, back), PipeEnd(back, there)
