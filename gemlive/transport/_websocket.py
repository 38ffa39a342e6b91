"""A connection over trio-websocket, and the context manager that makes one.

trio-websocket frames and unframes; everything that waits is ours. One service task holds, in a scope that nothing but
us cancels, the writer, trio-websocket's reader and the liveness check. None of them raises: how the connection ended
is noted once, and told to whoever sends or receives.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress

import trio
import trio_websocket

from gemlive.errors import ConfigError, ConnectError, ConnectionLost
from gemlive.transport._credentials import Grant
from gemlive.transport._dial import dial
from gemlive.transport._endpoints import Endpoint, Route
from gemlive.transport._frame import close_frame, cut_reason, ping_frame
from gemlive.transport._interface import CloseInfo, Transport
from gemlive.transport._keepalive import wait_for_silence
from gemlive.transport._nursery import open_plain_nursery
from gemlive.transport._outgoing import Outgoing
from gemlive.transport._seclusion import run_secluded
from gemlive.transport._timeouts import Timeouts
from gemlive.transport._upgrade import upgrade
from gemlive.transport._wire import NO_CLOSE_FRAME, Wire

logger = logging.getLogger("gemlive.transport")

MAX_MESSAGE_BYTES = 16 * 2**20
"""The largest message by default. One that is larger ends the connection, so this is far above what was ever seen; the
1 MiB of trio-websocket and of google-genai's WebSocket library did end connections (docs/protocol.md)."""

_LARGEST_MESSAGE_BYTES = 64 * 2**20
_READ_BYTES = 64 * 1024  # measured twice as fast on receive as trio-websocket's 4 KiB
# Messages that fit into one read never wait for their consumer, so that a batch is what came; memory is bounded by
# bytes (Wire.max_unread_bytes) and not by this.
_QUEUE_MESSAGES = 2**16
# A small limit for messages is no reason to hold up pings and small talk.
_LEAST_UNREAD_BYTES = 2**20
# How long an ended connection is given to write its last frame, or to tell why it broke.
_LAST_WORDS_S = 1.0
_SENDABLE_CODES = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})


@asynccontextmanager
async def open_transport(
    endpoint: Endpoint, *, timeouts: Timeouts | None = None, max_message_bytes: int = MAX_MESSAGE_BYTES
) -> AsyncIterator[Transport]:
    """Connects to an endpoint and closes the connection when the block is left.

    The credential is refreshed, then host name, TCP, proxy, TLS and upgrade follow, each within its deadline. The
    block is not cancelled when the connection ends: whoever sends or receives is told. An exception of the block comes
    out unchanged.

    Cancellation: while connecting, nothing stays open; in the block, the connection is closed as on leaving.

    Args:
        endpoint: where, as whom, and over what.
        timeouts: the deadlines of the steps; None means the defaults. Leaving takes at most ``close_s``.
        max_message_bytes: the largest message received, up to 64 MiB; a larger one ends the connection with 1009.

    Raises:
        ConfigError: ``max_message_bytes`` is out of range, or the endpoint's credentials do not exist.
        ConnectError: a step failed; its kinds ``ConnectTimeout``, ``TlsError``, ``UpgradeRejected`` and
            ``CredentialsError`` say how.
    """
    timeouts = Timeouts() if timeouts is None else timeouts
    if not 1 <= max_message_bytes <= _LARGEST_MESSAGE_BYTES:
        raise ConfigError(
            "max_message_bytes", f"must be from 1 to {_LARGEST_MESSAGE_BYTES} (64 MiB), not {max_message_bytes}"
        )
    grant = await endpoint._credentials.grant()
    if not isinstance(grant, Grant):
        raise grant
    stream = await dial(endpoint._route, timeouts)
    transport = _WebSocketTransport(stream, grant, timeouts, max_message_bytes)
    error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.serve, endpoint._route)
        try:
            await transport.open(grant)
            logger.debug("connected to %s", endpoint.url)
            yield transport
        except BaseException as exc:
            # Kept while the connection is closed, and raised outside of the nursery, which would wrap it.
            error = exc
        await transport.leave()
    if error is not None:
        try:
            raise error
        finally:
            del error  # its traceback holds this frame
    # Closing is shielded where it has a deadline; a cancellation that came meanwhile is delivered here.
    await trio.lowlevel.checkpoint_if_cancelled()


class _WebSocketTransport(Transport):
    def __init__(self, stream: trio.abc.Stream, grant: Grant, timeouts: Timeouts, max_message_bytes: int) -> None:
        self._stream = stream
        self._secrets = grant.secrets
        self._timeouts = timeouts
        self._max_message_bytes = max_message_bytes
        self._outgoing = Outgoing()
        # One message that is being put together, and as much again that nobody has taken.
        max_unread_bytes = max(2 * max_message_bytes, _LEAST_UNREAD_BYTES)
        self._wire = Wire(stream, self._outgoing, max_unread_bytes=max_unread_bytes, on_end=self._settle)
        self._scope = trio.CancelScope(shield=True)
        self._shaken = trio.Event()
        self._websocket: trio_websocket.WebSocketConnection | None = None
        self._take: Callable[[], str | bytes] | None = None
        self._send_lock = trio.StrictFIFOLock()
        self._data_mark = 0
        self._is_receiving = False
        self._close_info: CloseInfo | None = None
        self._over = trio.Event()
        self._is_closed = False
        self._gone = trio.Event()

    # The interface

    async def send(self, frames: Sequence[str]) -> None:
        async with self._send_lock:
            # At most one batch waits in the buffer; this is where the next one does.
            await self._outgoing.wait_written(self._data_mark, self._is_over)
            if self._is_closed or self._is_over() or self._outgoing.has_ended:
                raise await self._ending()
            with trio.CancelScope(shield=True):
                # Short: nothing in here waits for the network. Half a batch is never handed over.
                was_taken = await self._hand_over(frames)
            mark = self._data_mark = self._outgoing.appended
        if was_taken:
            await self._outgoing.wait_written(mark, self._is_over)
        if not was_taken or not self._outgoing.was_written(mark):
            raise await self._ending()

    async def receive(self) -> Sequence[str | bytes]:
        if self._is_receiving:
            await trio.lowlevel.checkpoint()
            raise trio.BusyResourceError("another task is receiving from this transport")
        assert self._websocket is not None
        self._is_receiving = True
        self._wire.want()
        try:
            with suppress(trio_websocket.ConnectionClosed):
                return [await self._websocket.get_message(), *self._taken()]
        finally:
            self._is_receiving = False
            self._wire.took()
        raise await self._ending()

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        if code not in _SENDABLE_CODES:
            await trio.lowlevel.checkpoint()
            raise ValueError(f"close code {code} may not be sent; use 1000, or 3000-4999 for a meaning of your own")
        if self._is_closed:
            await self._gone.wait()
            return
        self._is_closed = True
        reason = cut_reason(reason)
        timeout_s = self._timeouts.close_s if self.close_info is None else min(self._timeouts.close_s, _LAST_WORDS_S)
        self._settle(CloseInfo(code, reason, "local"))
        self._wire.want()  # what still comes is read and thrown away until the peer's Close
        try:
            with trio.move_on_after(timeout_s):
                await self._say_goodbye(code, reason)
        finally:
            self._give_up()
            self._scope.cancel()
            self._gone.set()
            # Last, because it raises Cancelled when this is cancelled.
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await trio.aclose_forcefully(self._stream)

    @property
    def close_info(self) -> CloseInfo | None:
        return self._close_info or self._reported()

    @property
    def last_inbound(self) -> float:
        return self._wire.last_inbound

    # Its life

    async def serve(self, route: Route) -> None:
        """Runs what the connection consists of, until :meth:`aclose` cancels it."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                nursery.start_soon(self._run_websocket, route)
                nursery.start_soon(self._watch)

    async def open(self, grant: Grant) -> None:
        """Performs the upgrade."""
        request = await self._wire.request()
        if not request:
            raise ConnectError("trio-websocket did not compose the upgrade request", step="upgrade", retryable=False)
        upgraded = await run_secluded(lambda: upgrade(self._stream, request, grant, timeout_s=self._timeouts.upgrade_s))
        if isinstance(upgraded, ConnectError):
            raise upgraded
        self._wire.open(upgraded.head, upgraded.rest)
        await self._shaken.wait()
        if self._websocket is None:
            raise ConnectError("trio-websocket did not understand an accepted upgrade", step="upgrade", retryable=False)

    async def leave(self) -> None:
        """Closes the connection and ends the service, within ``close_s`` even when cancelled."""
        try:
            # Without a deadline nothing may be shielded.
            with trio.CancelScope(shield=math.isfinite(self._timeouts.close_s)):
                await self.aclose()
        except trio.Cancelled:
            pass  # delivered again at the end of open_transport
        finally:
            self._scope.cancel()

    async def _write(self) -> None:
        broke = await self._outgoing.drain(self._stream)
        if broke is None:
            return
        self._outgoing.end()
        # The server may have told why before it stopped reading; that is worth more than our failure.
        with trio.move_on_after(_LAST_WORDS_S):
            await self._over.wait()
        self._settle(CloseInfo(NO_CLOSE_FRAME, f"the network connection broke ({broke})", "network"))
        self._give_up()

    async def _run_websocket(self, route: Route) -> None:
        how = "the stream ended without a Close frame"
        try:
            async with open_plain_nursery() as nursery:
                self._websocket = await trio_websocket.wrap_client_stream(
                    nursery,
                    self._wire,  # type: ignore[arg-type] # any trio.abc.Stream will do
                    route.base.authority,
                    route.path,
                    max_message_size=self._max_message_bytes,
                    receive_buffer_size=_READ_BYTES,
                    message_queue_size=_QUEUE_MESSAGES,
                )
                self._take = _private_take(self._websocket)
                self._shaken.set()
        except Exception as exc:
            # Some inputs make wsproto or h11 raise what trio-websocket does not expect. The connection is lost then,
            # and the exception is not ours to raise.
            how = f"the server broke the WebSocket protocol ({type(exc).__name__})"
            logger.warning("trio-websocket failed: %s", type(exc).__name__)
            self._wire.abort()
        self._settle(CloseInfo(NO_CLOSE_FRAME, how, "network"))
        self._shaken.set()

    async def _watch(self) -> None:
        await self._shaken.wait()
        silence_s = await wait_for_silence(
            self._wire,
            lambda: self._outgoing.append(ping_frame()),
            ping_interval_s=self._timeouts.ping_interval_s,
            pong_s=self._timeouts.pong_s,
        )
        self._settle(CloseInfo(NO_CLOSE_FRAME, f"no byte from the server for {silence_s:.0f} s", "keepalive"))
        self._give_up()

    # How it ended

    def _is_over(self) -> bool:
        return self._close_info is not None

    def _settle(self, fallback: CloseInfo) -> None:
        """Notes how the connection ended, by what trio-websocket knows or else the fallback; the first time counts."""
        if self._close_info is not None:
            return
        reported = self._reported()
        self._close_info = reported or fallback
        if reported is not None and reported.origin == "local" and not self._wire.has_sent_close:
            self._outgoing.append(close_frame(reported.code, reported.reason))
            self._wire.has_sent_close = True
        logger.debug("connection ended: %s", self._close_info)
        self._over.set()
        self._outgoing.poke()

    def _reported(self) -> CloseInfo | None:
        """Returns how the connection ended as far as trio-websocket knows, None when it does not."""
        closed = None if self._websocket is None else self._websocket.closed
        if closed is None or closed.code == NO_CLOSE_FRAME:
            return None
        code, reason = int(closed.code), closed.reason or ""
        if code == 1009 and reason == f"Exceeded maximum message size: {self._max_message_bytes} bytes":
            return CloseInfo(code, f"a message exceeds max_message_bytes={self._max_message_bytes}", "local")
        if not (self._wire.has_sent_close or _peer_has_closed(self._websocket)):
            # A Close of the peer is always answered; without an answer this is our verdict on a frame of the peer.
            return CloseInfo(code, f"the server broke the WebSocket protocol: {reason}", "local")
        for secret in self._secrets:
            reason = secret.redact(reason)
        return CloseInfo(code, reason, "peer")

    def _give_up(self) -> None:
        """Stops reading and writing as if the network had broken."""
        self._outgoing.end()
        self._wire.abort()

    async def _ending(self) -> ConnectionLost | trio.ClosedResourceError:
        """Returns what tells a sender or receiver that the connection has ended; a checkpoint."""
        if self._is_closed:
            await trio.lowlevel.checkpoint()
            return trio.ClosedResourceError("this side closed the transport")
        if self._reported() is not None:
            self._settle(CloseInfo(NO_CLOSE_FRAME, "", "network"))
        # Whoever found the end settles it, at the latest after the last words.
        await self._over.wait()
        assert self._close_info is not None
        return ConnectionLost(self._close_info.code, self._close_info.reason, origin=self._close_info.origin)

    # The two directions

    async def _hand_over(self, frames: Sequence[str]) -> bool:
        assert self._websocket is not None
        try:
            for frame in frames:
                await self._websocket.send_message(frame)
        except trio_websocket.ConnectionClosed:
            return False
        return True

    def _taken(self) -> Iterator[str | bytes]:
        """Yields the messages that are there already, without waiting."""
        with suppress(trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
            while self._take is not None:
                yield self._take()

    async def _say_goodbye(self, code: int, reason: str) -> None:
        if self._websocket is not None:
            await self._websocket.aclose(code, reason)
        await self._outgoing.wait_written(self._outgoing.appended)
        await self._stream.aclose()


def _peer_has_closed(websocket: trio_websocket.WebSocketConnection | None) -> bool:
    """Tells whether a Close of the peer came whose answer may not have left yet; a test says so when the name goes."""
    event = getattr(websocket, "_for_testing_peer_closed_connection", None)
    return event is not None and bool(event.is_set())


def _private_take(websocket: trio_websocket.WebSocketConnection) -> Callable[[], str | bytes] | None:
    """Returns what takes a message without waiting, None if trio-websocket does not have it any more.

    The public interface hands out one message at a time, and only by waiting. A test says so when the name goes; then
    batches hold one message, and everything else stays as it is.
    """
    channel = getattr(websocket, "_recv_channel", None)
    return getattr(channel, "receive_nowait", None)
