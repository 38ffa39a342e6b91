"""A server that does nothing by itself: the state machine decides about every step of every connection.

The emulator answers as the service does, which is what most tests want. Here the answer itself is the choice to be
explored: a dial waits at each of its steps until it is let through, refused, cut or forgotten, and what the server
says, and when, is said by a rule. Two faults stand between it and the client:

- a *shut gate*: nothing that the client writes leaves, as with a full send buffer; writes wait.
- a *deaf* server: what the client writes leaves, and is read later or never, as with a dead machine behind a live one.

Everything else here is the least that makes a WebSocket server, on the byte helpers of the transport's own tests.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Literal

import trio

from gemlive.emulator._pipe import PipeEnd, pipe
from tests.transport.peers import CLOSE, PING, PONG, TEXT, Frames, accepting, close, frame, read_request

Stage = Literal["tcp", "upgrade", "setup", "open", "over"]
Said = Mapping[str, Any] | str

_CAPACITY_BYTES = 16 * 2**20  # so that only the gate ever makes a write wait


class Gate(trio.abc.Stream):
    """The client's end of a connection: writes wait while it is shut, and fail at once when the connection is cut."""

    def __init__(self, stream: PipeEnd) -> None:
        self._stream = stream
        self._opened = trio.Event()
        self._opened.set()

    @property
    def is_shut(self) -> bool:
        """Whether writes wait."""
        return not self._opened.is_set()

    def shut(self) -> None:
        """Lets nothing more through."""
        self._opened = trio.Event()

    def open(self) -> None:
        """Lets everything through, beginning with what waits."""
        self._opened.set()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends, when the gate is open."""
        await self._opened.wait()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Waits for the gate."""
        await self._opened.wait()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receives; the gate is for what is written."""
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        """Closes, and lets a write that waits find out."""
        await self._stream.aclose()
        self._opened.set()


class Dial:
    """One attempt of the client to connect.

    Attributes:
        stage: the step at which it waits for a decision, ``open`` once there is a conversation.
        handle: the resumption handle of its setup.
        wire: what was received after the setup, in order, as :func:`label_of` writes it.
        gate: the client's end.
    """

    def __init__(self) -> None:
        near, self._stream = pipe(capacity_bytes=_CAPACITY_BYTES)
        self.stage: Stage = "tcp"
        self.handle: str | None = None
        self.wire: list[str] = []
        self.gate = Gate(near)
        self._request = b""
        self._let_in = trio.Event()
        self._is_refused = False
        self._upgraded = trio.Event()
        self._hears = trio.Event()
        self._hears.set()

    # Decisions

    async def accept(self, *more: Said) -> None:
        """Lets the step at which it waits succeed; ``more`` is said in one breath with ``setupComplete``."""
        if self.stage == "tcp":
            self._let_in.set()
        elif self.stage == "upgrade":
            self.stage = "setup"
            await self._stream.send_all(accepting(self._request))
            self._upgraded.set()
        else:
            self.stage = "open"
            await self.say({"setupComplete": {}}, *more)

    async def refuse_connection(self) -> None:
        """Lets TCP fail."""
        self._is_refused = True
        self._let_in.set()
        self.stage = "over"
        await trio.lowlevel.checkpoint()

    async def refuse_upgrade(self, status: int, retry_after_s: int | None) -> None:
        """Answers the upgrade with a status."""
        asks = "" if retry_after_s is None else f"Retry-After: {retry_after_s}\r\n"
        self.stage = "over"
        await self._stream.send_all(f"HTTP/1.1 {status} No\r\n{asks}Content-Length: 0\r\n\r\n".encode())
        await self._stream.aclose()

    async def say(self, *messages: Said) -> None:
        """Sends messages, or any text at all, in one write."""
        await self._stream.send_all(b"".join(map(_framed, messages)))

    async def close(self, code: int | None, reason: str = "", *more: Said) -> None:
        """Says ``more`` and sends a Close frame; the connection is closed when the answer to that was heard."""
        self.stage = "over"
        last = frame(CLOSE) if code is None else close(code, reason)
        await self._stream.send_all(b"".join(map(_framed, more)) + last)

    async def cut(self, resets: bool, *more: Said) -> None:
        """Ends the connection after ``more``, without a goodbye; a reset loses what was not received yet.

        Writes that wait fail, as they do when the peer's kernel answers them with a reset.
        """
        self.stage = "over"
        await self.say(*more)
        if resets:
            self._stream.abort()
        await self._stream.aclose()
        self._upgraded.set()
        self.gate.open()

    def hear(self, is_deaf: bool) -> None:
        """Stops reading, or goes on with what came meanwhile."""
        if is_deaf:
            self._hears = trio.Event()
        else:
            self._hears.set()

    # Its life

    async def let_in(self) -> trio.abc.Stream:
        """Waits for the first decision; what replaces DNS and TCP for the client."""
        try:
            await self._let_in.wait()
        except trio.Cancelled:
            self.stage = "over"
            raise
        if self._is_refused:
            raise ConnectionRefusedError("refused")
        return self.gate

    async def serve(self) -> None:
        """Reads, as long as there is something to read; never raises for the client's end of it."""
        await self._let_in.wait()
        if self._is_refused:
            return
        try:
            self._request = await read_request(self._stream)
            if self._request and self.stage == "tcp":
                self.stage = "upgrade"
                await self._upgraded.wait()
                await self._converse(Frames(_Heard(self)))
        except (EOFError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.stage = "over"
        await self._stream.aclose()

    async def _converse(self, frames: Frames) -> None:
        has_setup = False
        while True:
            opcode, payload = await frames.next()
            if opcode == PING:
                await self._stream.send_all(frame(PONG, payload))
            elif opcode == CLOSE:
                if self.stage != "over":
                    self.stage = "over"
                    await self._stream.send_all(frame(CLOSE, payload))
                return
            elif has_setup:
                self.wire.append(label_of(json.loads(payload)))
            else:
                has_setup = True
                self.handle = json.loads(payload)["setup"].get("sessionResumption", {}).get("handle")

    async def heard(self) -> bytes:
        """Returns what came, when the server hears."""
        await self._hears.wait()
        chunk = await self._stream.receive_some(65536)
        await self._hears.wait()
        return chunk


class _Heard(trio.abc.ReceiveStream):
    """What a server that may be deaf reads."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._dial.heard()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class Puppet:
    """The server: all dials, and what connects to it.

    Attributes:
        dials: in the order in which they came.
    """

    is_loopback = True  # what it returns ends in this process

    def __init__(self, nursery: trio.Nursery) -> None:
        self.dials: list[Dial] = []
        self._nursery = nursery

    async def __call__(self, host: str, port: int) -> trio.abc.Stream:
        """Takes the place of DNS and TCP; an endpoint's ``connect``."""
        dial = Dial()
        self.dials.append(dial)
        self._nursery.start_soon(dial.serve)
        return await dial.let_in()


def _framed(message: Said) -> bytes:
    return frame(TEXT, (message if isinstance(message, str) else json.dumps(message)).encode())


def label_of(message: Mapping[str, Any]) -> str:
    """Returns in a word what a client message is: its kind, and what the sender put into it to tell it by."""
    if "clientContent" in message:
        return f"text {message['clientContent']['turns'][0]['parts'][0]['text']}"
    if "toolResponse" in message:
        return f"tool {message['toolResponse']['functionResponses'][0]['id']}"
    realtime = message.get("realtimeInput", {})
    for kind in ("audio", "video"):
        if kind in realtime:
            return f"{kind} {int.from_bytes(base64.b64decode(realtime[kind]['data'])[:2], 'little')}"
    for mark in ("activityStart", "activityEnd", "audioStreamEnd"):
        if mark in realtime:
            return mark
    return f"unknown {sorted(message)}"
