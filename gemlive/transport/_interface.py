"""What the session needs of one connection, and nothing about how it is made.

``Transport`` stands between the wire and the codec: text frames go down, text or binary frames come up, and the end is
told in plain values. It knows no JSON. The WebSocket is one implementation; recording and replaying are others, and
all of them pass the same conformance check (``tests/transport/conformance.py``).
"""

from __future__ import annotations

import abc
from collections.abc import Sequence

import attrs

from gemlive.errors import Origin


@attrs.frozen
class CloseInfo:
    """How a connection ended, as plain values.

    Attributes:
        code: the WebSocket close code; 1006 when the connection ended without a Close frame, 1005 when the peer's
            Close frame had no code.
        reason: the peer's reason as it wrote it, at most 123 bytes, possibly empty; when we ended the connection or
            the network did, one clause in our words.
        origin: who ended it.
    """

    code: int
    reason: str
    origin: Origin


class Transport(abc.ABC):
    """One connection: whole frames in both directions, in order, until it ends.

    One task may be in :meth:`receive` while others are in :meth:`send` or :meth:`aclose`. What *you* closed raises
    :class:`trio.ClosedResourceError`; what somebody else ended raises :class:`~gemlive.errors.ConnectionLost`. Nothing
    is raised anywhere else: a connection that ends cancels nobody.
    """

    @abc.abstractmethod
    async def send(self, frames: Sequence[str]) -> None:
        """Sends whole text frames, in order, and returns when the last byte is *written*.

        Written means that the operating system (or the in-memory peer) has taken it; whether it arrived is not known.
        Several tasks may call this at once: batches go out whole, in the order of the calls.

        Cancellation: before the frames are handed over nothing was sent, and after it all of them will be, whole,
        while the caller no longer waits. There is no state between, and the connection stays usable.

        Args:
            frames: the frames; an empty sequence sends nothing and is still a checkpoint.

        Raises:
            ConnectionLost: the connection ended before all frames were written; how many arrived is not known.
            trio.ClosedResourceError: this side closed the transport.
        """

    @abc.abstractmethod
    async def receive(self) -> Sequence[str | bytes]:
        """Returns at least one message, and with it all others that are already there, in order.

        Text messages are ``str``, binary messages ``bytes``. What came before the end of the connection is delivered
        first. Call it promptly: what nobody takes is held, up to twice the message limit, and then the peer is made
        to wait.

        Cancellation: no message is lost.

        Raises:
            ConnectionLost: the connection ended and everything received was delivered.
            trio.ClosedResourceError: this side closed the transport; what was not yet received is gone.
            trio.BusyResourceError: another task is receiving.
        """

    @abc.abstractmethod
    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Says goodbye and closes, within ``Timeouts.close_s`` whatever the peer does.

        May be called at any time, from any task, any number of times; closing what has ended is a checkpoint and no
        error. Cancelled, it closes at once without goodbye.

        Args:
            code: the close code to send, one that may stand in a Close frame (1000-1003, 1007-1014, 3000-4999).
            reason: the reason to send; cut at 123 bytes, between two characters.

        Raises:
            ValueError: the code may not be sent.
        """

    @property
    @abc.abstractmethod
    def close_info(self) -> CloseInfo | None:
        """How the connection ended, None while it has not; messages may still be waiting in :meth:`receive`."""

    @property
    @abc.abstractmethod
    def last_inbound(self) -> float:
        """When the last inbound byte came, in seconds of trio's clock; when the connection opened, before any."""
