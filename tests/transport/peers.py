"""Servers to connect to, written down to the byte where it matters, in memory where it does not."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import trio
import trio.testing
import trio_websocket

from gemlive.transport import GoogleAI

Handler = Callable[[trio.abc.Stream], Awaitable[None]]
Pair = tuple[trio.abc.Stream, trio.abc.Stream]

CANARY = "canary" + "-1f0c9a7e"
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


class BoundedPipe(trio.abc.SendStream, trio.abc.ReceiveStream):
    """One direction of a connection, with a buffer that fills up as the kernel's does."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.data = bytearray()
        self.is_closed = False
        self.changed = trio.Condition()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        left = bytearray(data)
        async with self.changed:
            while left:
                while len(self.data) >= self.capacity and not self.is_closed:
                    await self.changed.wait()
                if self.is_closed:
                    raise trio.BrokenResourceError("closed")
                room = self.capacity - len(self.data)
                self.data += left[:room]
                del left[:room]
                self.changed.notify_all()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        async with self.changed:
            while not self.data and not self.is_closed:
                await self.changed.wait()
            taken = bytes(self.data[: max_bytes or len(self.data)])
            del self.data[: len(taken)]
            self.changed.notify_all()
            return taken

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True):
            async with self.changed:
                self.is_closed = True
                self.changed.notify_all()


def bounded_pair(capacity: int = 4096) -> Pair:
    there, back = BoundedPipe(capacity), BoundedPipe(capacity)
    return trio.StapledStream(there, back), trio.StapledStream(back, there)


class Breakable(trio.abc.Stream):
    """A stream whose writes fail from some moment on, while it can still be read."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.is_broken = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.is_broken:
            await trio.lowlevel.checkpoint()
            raise trio.BrokenResourceError
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.stream.aclose()


@asynccontextmanager
async def serving(
    handler: Handler, *, pair: Callable[[], Pair] = trio.testing.memory_stream_pair, **settings: object
) -> AsyncIterator[GoogleAI]:
    """Gives an endpoint; each dial through it runs the handler on the other end of a new stream pair."""
    async with trio.open_nursery() as nursery:

        async def connect(host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            ours, theirs = pair()
            nursery.start_soon(handler, theirs)
            return ours

        connect.is_loopback = True  # type: ignore[attr-defined]
        yield GoogleAI(CANARY, base_url=str(settings.pop("base_url", "ws://localhost")), connect=connect, **settings)  # type: ignore[arg-type]
        nursery.cancel_scope.cancel()


def websocket(talk: Callable[[trio_websocket.WebSocketConnection], Awaitable[None]]) -> Handler:
    """A server on trio-websocket that accepts and then talks."""

    async def handler(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            with suppress(trio_websocket.ConnectionClosed):
                await talk(await request.accept())
            nursery.cancel_scope.cancel()

    return handler


async def echo(connection: trio_websocket.WebSocketConnection) -> None:
    with suppress(trio_websocket.ConnectionClosed):
        while True:
            await connection.send_message(await connection.get_message())


async def read_request(stream: trio.abc.ReceiveStream) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request:
        chunk = await stream.receive_some()
        if not chunk:
            break
        request += chunk
    return request


def accepting(request: bytes, *headers: str, accept: str | None = None) -> bytes:
    """The head that accepts a request."""
    key = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)
    assert key is not None
    digest = hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept or base64.b64encode(digest).decode()}",
        *headers,
    ]
    return "\r\n".join((*lines, "", "")).encode()


def raw(talk: Callable[[trio.abc.Stream], Awaitable[None]]) -> Handler:
    """A server that accepts the upgrade and then talks in bytes."""

    async def handler(stream: trio.abc.Stream) -> None:
        await stream.send_all(accepting(await read_request(stream)))
        await talk(stream)

    return handler


def answering(answer: bytes, *, then_close: bool = True) -> Handler:
    """A server that answers any upgrade with these bytes."""

    async def handler(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        await stream.send_all(answer)
        if then_close:
            await stream.aclose()
        else:
            await trio.sleep_forever()

    return handler


async def silent(stream: trio.abc.Stream) -> None:
    """A server that never reads and never writes."""
    await trio.sleep_forever()


async def deaf(stream: trio.abc.Stream) -> None:
    """After an upgrade: neither reads nor writes, and leaves the connection open."""
    await trio.sleep_forever()


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, first_bits: int = 0, mask: bool = False) -> bytes:
    """A frame as a server sends it."""
    if len(payload) < 126:
        length = bytes([len(payload) | (0x80 if mask else 0)])
    elif len(payload) < 2**16:
        length = bytes([126]) + len(payload).to_bytes(2, "big")
    else:
        length = bytes([127]) + len(payload).to_bytes(8, "big")
    return bytes([(0x80 if fin else 0) | first_bits | opcode]) + length + (b"\0\0\0\0" if mask else b"") + payload


def close(code: int, reason: str = "") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason.encode())


class Frames:
    """Reads the frames of a client from a stream."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self.stream = stream
        self.data = bytearray()

    async def take(self, count: int) -> bytes:
        while len(self.data) < count:
            chunk = await self.stream.receive_some()
            if not chunk:
                raise EOFError
            self.data += chunk
        taken = bytes(self.data[:count])
        del self.data[:count]
        return taken

    async def next(self) -> tuple[int, bytes]:
        """Returns opcode and payload of the next frame; asserts that it is whole and masked, as clients must."""
        first, second = await self.take(2)
        assert first & 0x70 == 0
        assert second & 0x80
        length = second & 0x7F
        if length > 125:
            length = int.from_bytes(await self.take(2 if length == 126 else 8), "big")
        key = await self.take(4)
        masked = await self.take(length)
        payload = (int.from_bytes(masked, "big") ^ int.from_bytes((key * (length // 4 + 1))[:length], "big")).to_bytes(
            length, "big"
        )
        return first & 0x0F, payload
