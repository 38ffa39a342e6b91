"""The client's end of a connection, with a tap on it and with a broken cable where a schedule wants one.

It stands where an endpoint's ``connect`` puts it: below TLS and WebSocket, above the emulator's pipe. What it notes is
what left and what came, byte for byte and with the time, whether or not the emulator ever read it. So the checker can
tell what was lost by the network from what was lost by the session.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Literal, final

import attrs
import trio

from gemlive.emulator._pipe import PipeEnd

News = Literal["request", "head", "first_out", "first_in", "close"]
"""What a tap tells as it happens: the upgrade request left, its answer was read, the first frame left (the setup), the
first message was read, a Close frame was read."""

_READ_BYTES = 64 * 1024
_DATA = (0, 1, 2)
_CLOSE = 8


@attrs.frozen
class Frame:
    """One WebSocket frame.

    Attributes:
        begin: the offset of its first byte in its direction, the HTTP head not counted.
        end: the offset behind its last byte.
        first: the first byte: FIN, reserved bits and opcode.
        is_masked: whether the payload is masked.
        payload: the offset of the payload.
    """

    begin: int
    end: int
    first: int
    is_masked: bool
    payload: int

    @property
    def opcode(self) -> int:
        """What kind of frame it is."""
        return self.first & 0x0F


class Cutter:
    """Finds the frames in a stream of bytes, however it is cut into pieces."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._begin = 0
        self._position = 0
        self._left = 0  # of the payload of the frame under way

    @property
    def is_between_frames(self) -> bool:
        """Whether the last byte was the last of a frame."""
        return not self._header and not self._left

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Frame]:
        """Takes the next bytes and yields each frame whose header is complete, with the end that it announces."""
        at = 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                self._position += step
                at += step
                continue
            if not self._header:
                self._begin = self._position
            self._header.append(data[at])
            self._position += 1
            at += 1
            frame = self._complete()
            if frame is not None:
                self._left = frame.end - frame.payload
                self._header.clear()
                yield frame

    def _complete(self) -> Frame | None:
        header = self._header
        if len(header) < 2:
            return None
        is_masked, short = bool(header[1] & 0x80), header[1] & 0x7F
        extended = {126: 2, 127: 8}.get(short, 0)
        needed = 2 + extended + (4 if is_masked else 0)
        if len(header) < needed:
            return None
        size = int.from_bytes(header[2 : 2 + extended], "big") if extended else short
        return Frame(self._begin, self._position + size, header[0], is_masked, self._position)


def unmasked(data: bytes | bytearray, frame: Frame) -> bytes:
    """Returns the payload of a frame of which ``data`` holds all bytes, at its offsets."""
    payload = bytes(data[frame.payload : frame.end])
    if not frame.is_masked or not payload:
        return payload
    key = bytes(data[frame.payload - 4 : frame.payload])
    mask = (key * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(len(payload), "big")


@attrs.frozen
class Offer:
    """Bytes that the client handed to the network in one call.

    Attributes:
        offset: where they begin, the upgrade request not counted.
        at: when, in seconds of trio's clock.
        waited_s: for how long the call before it had kept the client waiting.
    """

    offset: int
    at: float
    waited_s: float


@final
class Tap(trio.abc.Stream):
    """A stream that notes what passes, and fails as it is told.

    Attributes:
        ordinal: which dial of the session it is, counted from 1.
        is_secret: whether TLS runs over it, so that there are no frames to see.
        sent: everything that the client handed over behind its upgrade request.
        offers: when it did.
        passed: how many bytes of ``sent`` were taken by the network for certain.
        status: the HTTP status of the answer to the upgrade, None before it was read.
        heard_at: when the client last read a byte.
        closed_at: when the client closed its end, None while it has not.
        cut_at: when a fault ended the connection, None when none did.
    """

    def __init__(
        self,
        stream: PipeEnd,
        *,
        ordinal: int,
        is_secret: bool = False,
        tell: Callable[[News], None] = lambda news: None,
        fired: Callable[[str], None] = lambda kind: None,
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        self.ordinal = ordinal
        self.is_secret = is_secret
        self.sent = bytearray()
        self.offers: list[Offer] = []
        self.passed = 0
        self.status: int | None = None
        self.heard_at = trio.current_time()
        self.closed_at: float | None = None
        self.cut_at: float | None = None
        self._stream = stream
        self._tell = tell
        self._fired = fired
        self._closed = closed
        self._cutter = Cutter()
        self._head = bytearray()
        self._frames_in = 0
        self._is_requested = False
        self._waited_s = 0.0
        self._ready: deque[bytes] = deque()
        self._injected: deque[deque[bytes]] = deque()
        self._is_injecting = False
        self._news = trio.Event()
        self._reading: trio.CancelScope | None = None
        self._how: Literal["end", "reset"] | None = None
        self._left = {"in": math.inf, "out": math.inf}
        self._kind = {"in": "", "out": ""}
        self._holds = {"in": False, "out": False}
        self._is_hole = False
        self._trickle: tuple[int, float] | None = None

    @property
    def is_live(self) -> bool:
        """Whether neither the client nor a fault has ended it."""
        return self.closed_at is None and self._how is None

    # --- faults ------------------------------------------------------------------------------------------------------

    def cut(self, *, resets: bool = False) -> None:
        """Ends the connection in both directions; what is on its way is lost."""
        if not self.is_live:
            return
        self._how = "reset" if resets else "end"
        self.cut_at = trio.current_time()
        self._stream.abort() if resets else self._stream._close(broken=False)
        self._poke()

    def cut_after(self, direction: Literal["in", "out"], n_bytes: int, kind: str) -> None:
        """Ends the connection when so many bytes more have passed in a direction."""
        self._left[direction], self._kind[direction] = n_bytes, kind
        self._check(direction)

    def hold(self, *directions: Literal["in", "out"]) -> None:
        """Lets nothing pass until :meth:`release`."""
        for direction in directions:
            self._holds[direction] = True
        self._poke()

    def release(self) -> None:
        """Lets everything pass again."""
        self._holds = {"in": False, "out": False}
        self._trickle = None
        self._poke()

    def sink(self) -> None:
        """Makes it a black hole: what is sent is taken and lost, and nothing comes."""
        self._is_hole = True
        self._poke()

    def trickle(self, n_bytes: int, pause_s: float) -> None:
        """Lets at most so many bytes pass at a time, with a pause before each."""
        self._trickle = n_bytes, pause_s

    def inject(self, *pieces: bytes) -> None:
        """Lets the client read these bytes as if the server had sent them, between two frames.

        Args:
            pieces: what is read at once, each at most 64 KiB.
        """
        self._injected.append(deque(pieces))
        self._poke()

    # --- the stream --------------------------------------------------------------------------------------------------

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends, or fails."""
        began = trio.current_time()
        is_request = not self._is_requested and not self.is_secret
        if not is_request:
            self.offers.append(Offer(len(self.sent), began, self._waited_s))
            self.sent += data
        rest = memoryview(bytes(data))
        while rest:
            await trio.lowlevel.checkpoint_if_cancelled()
            await self._wait_while_held("out")
            piece = rest[: self._portion("out", len(rest))]
            if self._is_hole:
                await trio.lowlevel.checkpoint()
            else:
                await self._pass(piece)
            rest = rest[len(piece) :]
            if not is_request:
                self.passed += len(piece)
            self._left["out"] -= len(piece)
            self._check("out")
        self._waited_s = trio.current_time() - began
        if is_request:
            self._is_requested = True
            self._tell("request")
        elif len(self.offers) == 1:
            self._tell("first_out")

    async def wait_send_all_might_not_block(self) -> None:
        """Waits as the stream beneath."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receives, or fails."""
        await trio.lowlevel.checkpoint()
        most = _READ_BYTES if max_bytes is None else max_bytes
        while True:
            if self.closed_at is not None:
                raise trio.ClosedResourceError("this end of the connection is closed")
            if self._how == "reset":
                raise trio.BrokenResourceError("the connection was reset")
            if self._how == "end":
                return b""
            if self._holds["in"] or self._is_hole:
                await self._changed()
            elif self._may_inject():
                return self._heard(self._inject())
            elif self._ready:
                return await self._deliver(most)
            elif not await self._fetch():
                return b""

    async def aclose(self) -> None:
        """Closes it. Never blocks, idempotent."""
        if self.closed_at is None:
            self.closed_at = trio.current_time()
            self._stream._close(broken=False)
            self._closed()
            self._poke()
        await trio.lowlevel.checkpoint()

    # --- within ------------------------------------------------------------------------------------------------------

    def _may_inject(self) -> bool:
        is_possible = self._is_injecting or (self._cutter.is_between_frames and self.status is not None)
        return bool(self._injected) and is_possible

    def _inject(self) -> bytes:
        pieces = self._injected[0]
        data = pieces.popleft()
        self._is_injecting = bool(pieces)
        if not pieces:
            self._injected.popleft()
        return data

    async def _pass(self, piece: memoryview) -> None:
        try:
            await self._stream.send_all(piece)
        except trio.ClosedResourceError:
            self._check_sendable()
            raise

    def _check_sendable(self) -> None:
        if self.closed_at is not None:
            raise trio.ClosedResourceError("this end of the connection is closed")
        if self._how is not None:
            raise trio.BrokenResourceError("the connection was cut")

    async def _wait_while_held(self, direction: Literal["in", "out"]) -> None:
        if self._trickle is not None:
            await trio.sleep(self._trickle[1])
        self._check_sendable()
        while self._holds[direction]:
            await self._changed()
            self._check_sendable()

    def _portion(self, direction: Literal["in", "out"], size: int) -> int:
        most = self._left[direction] if self._trickle is None else min(self._left[direction], self._trickle[0])
        return size if most >= size else int(most)

    def _check(self, direction: Literal["in", "out"]) -> None:
        if self._left[direction] <= 0 and self.is_live:
            self._fired(self._kind[direction])
            self.cut()

    async def _fetch(self) -> bool:
        """Reads from the stream beneath; False at its end. Comes back with nothing when something has changed."""
        data: bytes | None = None
        try:
            with trio.CancelScope() as self._reading:
                data = await self._stream.receive_some(_READ_BYTES)
        except trio.ClosedResourceError:
            if self.is_live:
                raise
        finally:
            self._reading = None
        if data:
            self._ready.append(data)
        return data != b""

    async def _deliver(self, most: int) -> bytes:
        if self._trickle is not None:
            await trio.sleep(self._trickle[1])
            if not self.is_live or not self._ready:
                return b""
        data = self._ready.popleft()
        size = self._portion("in", min(len(data), most))
        if self._injected:
            size = min(size, self._to_boundary(data))
        if size < len(data):
            self._ready.appendleft(data[size:])
        self._left["in"] -= size
        heard = self._heard(data[:size])
        self._check("in")
        return heard

    def _to_boundary(self, data: bytes) -> int:
        """Returns how many of these bytes belong to the frame that is under way, all of them in the HTTP head."""
        if self.status is None:
            return len(data)
        cutter = copy.deepcopy(self._cutter)
        for size in range(1, len(data) + 1):
            for _ in cutter.feed(data[size - 1 : size]):
                pass
            if cutter.is_between_frames:
                return size
        return len(data)

    def _heard(self, data: bytes) -> bytes:
        self.heard_at = trio.current_time()
        if self.is_secret:
            return data
        frames: bytes = data
        if self.status is None:
            self._head += data
            head, mark, rest = bytes(self._head).partition(b"\r\n\r\n")
            if not mark:
                return data
            self.status = int(head.split(b" ", 2)[1])
            self._tell("head")
            frames = rest
        for frame in self._cutter.feed(frames):
            if frame.opcode in _DATA:
                self._frames_in += 1
                if self._frames_in == 1:
                    self._tell("first_in")
            elif frame.opcode == _CLOSE:
                self._tell("close")
        return data

    async def _changed(self) -> None:
        await self._news.wait()

    def _poke(self) -> None:
        self._news.set()
        self._news = trio.Event()
        if self._reading is not None:
            self._reading.cancel()
