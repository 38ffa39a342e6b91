"""Networks that misbehave, put where an endpoint's ``connect`` is, and the reading of what went over them.

::

    session -> transport -> Wire -> the emulator's pipe -> emulator
                             |
                             +-- up, down: what the other side was given, for ``parse``

A :class:`Network` replaces ``Server.connect``; each dial through it is a :class:`Wire`. What they do to bytes is exact:
a cut falls after a byte that was named, a trickle is that many bytes and then a checkpoint, a stall lets nothing pass
until it is released. Nothing here knows the session, and the frames are read by a parser of its own (RFC 6455
section 5), so that no mistake is shared with the code under test.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import attrs
import trio
import trio.abc
import trio.lowlevel

Direction = Literal["up", "down"]
"""``up``: what the client sends. ``down``: what it receives."""

How = Literal["drop", "reset"]
"""``drop``: the stream ends for both. ``reset``: the client's side of it breaks, as by a TCP reset."""

_READ_BYTES = 64 * 2**10


@attrs.frozen
class Cut:
    """Where a network is cut, once.

    Attributes:
        direction: whose bytes are counted.
        after_bytes: how many of them pass, over all connections together; then both directions end.
        how: in which way the client learns of it.
    """

    direction: Direction
    after_bytes: int
    how: How = "drop"

    def __str__(self) -> str:
        return f"{self.how} after byte {self.after_bytes} {self.direction}"


class Flow:
    """One direction of a network, over all of its connections.

    Attributes:
        passed: how many bytes came through.
        cut_after: after how many bytes the connection in use is cut; infinity for never.
        piece_bytes: how many bytes pass at once; between two pieces there is a checkpoint.
    """

    def __init__(self, *, cut_after: float = math.inf, piece_bytes: int = _READ_BYTES) -> None:
        self.passed = 0
        self.cut_after = cut_after
        self.piece_bytes = piece_bytes
        self._has_cut = trio.Event()
        self._is_stalled = False
        self._changed = trio.lowlevel.ParkingLot()

    def cut_in(self, n_bytes: int) -> trio.Event:
        """Sets the cut for so many bytes from now; returns what is set when it has fallen."""
        self.cut_after = self.passed + n_bytes
        self._has_cut = trio.Event()
        return self._has_cut

    def stall(self) -> None:
        """Lets nothing pass from now on: the other side does not read any more."""
        self._is_stalled = True

    def release(self) -> None:
        """Lets everything pass again."""
        self._is_stalled = False
        self.wake()

    def wake(self) -> None:
        """Makes those who wait look again."""
        self._changed.unpark_all()

    async def admit(self, wanted: int, give_up: Callable[[], bool]) -> int:
        """Returns how many of the bytes may pass now, waiting while none may; 0 once ``give_up`` says so."""
        while self._is_stalled and not give_up():
            await self._changed.park()
        if give_up():
            return 0
        left = self.cut_after - self.passed
        return int(min(wanted, self.piece_bytes, left if left > 0 else math.inf))

    def took(self, n_bytes: int) -> bool:
        """Counts what passed; says whether the cut falls here."""
        before, self.passed = self.passed, self.passed + n_bytes
        is_here = before < self.cut_after <= self.passed
        if is_here:
            self._has_cut.set()
        return is_here


class Wire(trio.abc.Stream):
    """One connection, as the client has it.

    Attributes:
        up: what the other side was given.
        down: what the client was given.
        is_cut: whether the network ended it.
        is_closed: whether the client did.
    """

    def __init__(
        self, stream: trio.abc.Stream, up: Flow, down: Flow, *, how: How = "drop", keeps_bytes: bool = True
    ) -> None:
        self.up = bytearray()
        self.down = bytearray()
        self.is_cut = False
        self.is_closed = False
        self._keeps_bytes = keeps_bytes
        self._stream = stream
        self._up = up
        self._down = down
        self._how: How = how
        self._held = b""  # received, and not yet let through

    def _is_over(self) -> bool:
        return self.is_cut or self.is_closed

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends piece by piece. Raises BrokenResourceError when the cut comes before the last byte."""
        await trio.lowlevel.checkpoint_if_cancelled()
        rest = memoryview(data)
        while True:
            allowed = await self._up.admit(len(rest), self._is_over)
            if self.is_closed:
                raise trio.ClosedResourceError("this side closed the connection")
            if self.is_cut:
                raise trio.BrokenResourceError("the network was cut")
            await self._stream.send_all(rest[:allowed])
            if self._keeps_bytes:
                self.up += rest[:allowed]
            rest = rest[allowed:]
            if self._up.took(allowed):
                await self.cut()
            if not rest:
                return

    async def wait_send_all_might_not_block(self) -> None:
        """Waits as the stream beneath."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receives piece by piece; cancelled, nothing is lost."""
        while not self._held and not self._is_over():
            try:
                self._held = bytes(await self._stream.receive_some(_READ_BYTES))
            except trio.ClosedResourceError:
                break  # cut or closed meanwhile
            if not self._held:
                return b""
        await trio.lowlevel.checkpoint()
        allowed = await self._down.admit(min(len(self._held), max_bytes or _READ_BYTES), self._is_over)
        if self.is_closed:
            raise trio.ClosedResourceError("this side closed the connection")
        if self.is_cut:
            if self._how == "reset":
                raise trio.BrokenResourceError("the network was reset")
            return b""
        data, self._held = self._held[:allowed], self._held[allowed:]
        if self._keeps_bytes:
            self.down += data
        if self._down.took(len(data)):
            await self.cut()
        return data

    async def cut(self) -> None:
        """Ends both directions. The other side still reads what was sent; what was under way to the client is lost."""
        self.is_cut = True
        self._held = b""
        await self._end()

    async def aclose(self) -> None:
        """Closes the stream beneath."""
        self.is_closed = True
        await self._end()

    async def _end(self) -> None:
        self._up.wake()
        self._down.wake()
        await self._stream.aclose()


class Network:
    """A server's ``connect`` with faults: ``server.connect = Network(server.connect, ...)``.

    Args:
        connect: what it replaces.
        cut: where the connection in use is cut, once.
        piece_bytes: how many bytes pass at once, in both directions.
        keeps: whether connections that are over are kept, with everything that went over them.

    Attributes:
        up: the direction to the server.
        down: the direction to the client.
        wires: all connections, in the order of dialling; without ``keeps``, the last one.
    """

    is_loopback = True  # what it returns ends in this process

    def __init__(
        self,
        connect: Callable[[str, int], Awaitable[trio.abc.Stream]] | None,
        *,
        cut: Cut | None = None,
        piece_bytes: int = _READ_BYTES,
        keeps: bool = True,
    ) -> None:
        assert connect is not None, "a server on a socket has no connect to replace"
        self._connect = connect
        self._how: How = "drop" if cut is None else cut.how
        after = {} if cut is None else {cut.direction: cut.after_bytes}
        self.up = Flow(cut_after=after.get("up", math.inf), piece_bytes=piece_bytes)
        self.down = Flow(cut_after=after.get("down", math.inf), piece_bytes=piece_bytes)
        self.wires: list[Wire] = []
        self._keeps = keeps

    async def __call__(self, host: str, port: int) -> trio.abc.Stream:
        """Dials."""
        stream = await self._connect(host, port)
        wire = Wire(stream, self.up, self.down, how=self._how, keeps_bytes=self._keeps)
        if not self._keeps:
            self.wires.clear()
        self.wires.append(wire)
        return wire

    async def cut(self) -> None:
        """Cuts the connection that was dialled last, now."""
        await self.wires[-1].cut()


# --- reading what went over a wire -----------------------------------------------------------------------------------

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_CONTROL = 8
_HEAD_END = b"\r\n\r\n"


@attrs.frozen
class Frame:
    """One WebSocket frame.

    Attributes:
        opcode: what it is.
        payload: what is in it, unmasked.
    """

    opcode: int
    payload: bytes

    @property
    def message(self) -> object:
        """What a text frame says, read as JSON."""
        return json.loads(self.payload)


@attrs.frozen
class Spoken:
    """What one side said on one connection.

    Attributes:
        head: the HTTP request or response, empty while it is not whole.
        frames: the whole frames after it.
        rest: what is left: the beginning of a frame (or of the head) of which the end never came.
        problem: why this is no sequence of frames, empty when it is one.
    """

    head: bytes
    frames: Sequence[Frame] = ()
    rest: bytes = b""
    problem: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether nothing was cut in two and everything is well-formed."""
        return not self.rest and not self.problem and bool(self.head)


def parse(data: bytes | bytearray, *, masked: bool) -> Spoken:
    """Reads what one side said on one connection: an HTTP head, then frames.

    Half a frame followed by another one is found by what the bytes after it then claim to be: lengths, opcodes, masks
    and JSON that are none.

    Args:
        data: everything from the first byte.
        masked: whether it is what a client said.
    """
    head, mark, rest = bytes(data).partition(_HEAD_END)
    if not mark:
        return Spoken(b"", rest=head)
    frames: list[Frame] = []
    problem = ""
    while rest and not problem:
        found = _frame(rest, masked=masked)
        if found is None:
            break
        frame, length, problem = found
        if not problem and frames and frames[-1].opcode == CLOSE:
            problem = "a frame after the Close frame"
        frames.append(frame)
        rest = rest[length:]
    return Spoken(head, tuple(frames), rest, problem and f"frame {len(frames)}: {problem}")


def _frame(data: bytes, *, masked: bool) -> tuple[Frame, int, str] | None:
    """Returns the first frame, its length with everything, and what is wrong with it; None where it is not whole."""
    if len(data) < 2:
        return None
    opcode, short = data[0] & 0x0F, data[1] & 0x7F
    wide = {126: 2, 127: 8}.get(short, 0)
    start = 2 + wide + 4 * bool(data[1] & 0x80)
    length = int.from_bytes(data[2 : 2 + wide], "big") if wide else short
    problem = _header_problem(data, opcode, short, masked=masked)
    if problem:
        return Frame(opcode, b""), len(data), problem
    if len(data) < start or len(data) < start + length:
        return None
    payload = data[start : start + length]
    if masked:
        payload = _unmask(payload, data[start - 4 : start])
    frame = Frame(opcode, payload)
    return frame, start + length, _payload_problem(frame, masked=masked)


def _header_problem(data: bytes, opcode: int, short: int, *, masked: bool) -> str:
    if data[0] & 0x70:
        return f"reserved bits are set ({data[0]:#x})"
    if opcode not in (TEXT, BINARY, CLOSE, PING, PONG) or not data[0] & 0x80:
        return f"opcode {opcode} of a message in fragments, which neither side sends, or of nothing"
    if bool(data[1] & 0x80) is not masked:
        return f"the mask bit is {'missing' if masked else 'set'}"
    if opcode & _CONTROL and short > 125:
        return "a control frame of more than 125 bytes"
    return ""


def _payload_problem(frame: Frame, *, masked: bool) -> str:
    if masked and frame.opcode == BINARY:
        return "a binary message, which gemlive never sends"
    if frame.opcode in (TEXT, BINARY):
        try:
            message = frame.message
        except (UnicodeDecodeError, ValueError) as error:
            return f"a message that is no JSON: {error}"
        return "" if isinstance(message, dict) else "a message that is no JSON object"
    return ""


def _unmask(payload: bytes, key: bytes) -> bytes:
    n = len(payload)
    whole = (key * (n // 4 + 1))[:n]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")).to_bytes(n, "big")
