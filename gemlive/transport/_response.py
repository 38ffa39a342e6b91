"""The HTTP/1.1 answer to an upgrade or a CONNECT: its head, and the body of a refusal.

Only what a client needs that asks once: no redirects, no second request on the connection. The limits are fixed, so
that an endless answer costs neither memory nor time. What the peer does wrong comes back in words, to be put after
"the server" or "the proxy".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import attrs
import trio

from gemlive.transport._seclusion import broken

MAX_HEAD_BYTES = 32 * 1024
"""Twice what servers commonly send at most (nginx and Apache cap a request head at 8-32 KiB, Node at 16 KiB)."""

MAX_BODY_BYTES = 64 * 1024
"""An error page to read, not a download."""

ENDED = "closed the connection"
"""How the words begin that tell of an end, which may be an overload; all others tell of a peer that is no server."""

_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})(?: [^\r\n]*)?")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?")
_PROTOCOL = b"HTTP/1."


@attrs.frozen
class Head:
    """The head of a response.

    Attributes:
        status: the HTTP status.
        headers: the headers in their order, names in lower case, values without surrounding white space.
        rest: the bytes that came after the head.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    rest: bytes = attrs.field(default=b"", repr=False)

    def get(self, name: str) -> str | None:
        """Returns the value of a header, several joined with commas as HTTP has it; None when there is none."""
        values = [value for key, value in self.headers if key == name]
        return ", ".join(values) if values else None

    def tokens(self, name: str) -> tuple[str, ...]:
        """Returns the comma-separated tokens of a header, in lower case."""
        return tuple(token.strip().lower() for token in (self.get(name) or "").split(",") if token.strip())


async def exchange(stream: trio.abc.Stream, request: bytes) -> Head | str:
    """Sends a request and reads the head of its answer; returns what is wrong in words, as :func:`read_head` does."""
    try:
        await stream.send_all(request)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        return f"{ENDED} before it had the request ({broken(exc)})"
    return await read_head(stream)


async def read_head(stream: trio.abc.ReceiveStream) -> Head | str:
    """Reads the head of a final response, past informational ones other than 101; returns what is wrong in words."""
    data = bytearray()
    total = 0
    while True:
        parsed = parse_head(data)
        if isinstance(parsed, Head) and (parsed.status == 101 or parsed.status >= 200):
            return parsed
        if isinstance(parsed, Head):
            data[:] = parsed.rest
            continue
        if parsed is not None:
            return parsed
        if total > MAX_HEAD_BYTES:
            return f"sent more than {MAX_HEAD_BYTES // 1024} KiB without ending the head of its answer"
        why = ""
        try:
            chunk = await stream.receive_some(4096)
        except trio.BrokenResourceError as exc:
            chunk, why = b"", f" ({broken(exc)})"
        if not chunk:
            return f"{ENDED} {'in the middle of its answer' if total else 'without an answer'}{why}"
        data += chunk
        total += len(chunk)


def parse_head(data: bytes | bytearray) -> Head | str | None:
    """Reads a head from what has come so far: None when more is needed, in words what is wrong."""
    if data[: len(_PROTOCOL)] != _PROTOCOL[: len(data)]:
        return "answered with something that is not HTTP/1.1; is this the right port?"
    first_end = data.find(b"\r\n")
    if first_end < 0:
        return None
    status = _STATUS_LINE.fullmatch(data, 0, first_end)
    if status is None:
        return "answered with a status line that cannot be read"
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    lines = bytes(data[first_end + 2 : end]).split(b"\r\n")
    return Head(int(status[1]), tuple(_headers(lines)), bytes(data[end + 4 :]))


async def read_body(stream: trio.abc.ReceiveStream, head: Head, body: bytearray) -> None:
    """Reads the body of a response into ``body``, at most 64 KiB of it; a body that ends early is left as it is.

    Cancellation: ``body`` has what came so far.
    """
    if head.status in (204, 304):
        return
    source = _Source(stream, head.rest)
    if "chunked" in head.tokens("transfer-encoding"):
        await _read_chunks(source, body)
        return
    length = head.get("content-length") or ""
    await source.move(int(length) if re.fullmatch("[0-9]{1,18}", length) else MAX_BODY_BYTES, body)


class _Source:
    """Bytes that came and bytes still to come, as one."""

    def __init__(self, stream: trio.abc.ReceiveStream, data: bytes) -> None:
        self._stream = stream
        self._data = bytearray(data)

    async def move(self, count: int, body: bytearray) -> bool:
        """Moves so many bytes to ``body``, within its limit; returns whether they all came and fitted."""
        while count > 0:
            if not self._data and not await self._fill():
                return False
            taken = self._data[: min(count, MAX_BODY_BYTES - len(body))]
            if not taken:
                return False
            body += taken
            count -= len(taken)
            del self._data[: len(taken)]
        return True

    async def line(self) -> bytes | None:
        """Returns a line without its end; None when it does not come or is longer than 1 KiB."""
        while (end := self._data.find(b"\r\n")) < 0:
            if len(self._data) > 1024 or not await self._fill():
                return None
        line = bytes(self._data[:end])
        del self._data[: end + 2]
        return line

    async def _fill(self) -> bool:
        try:
            chunk = await self._stream.receive_some(4096)
        except trio.BrokenResourceError:
            return False
        self._data += chunk
        return bool(chunk)


async def _read_chunks(source: _Source, body: bytearray) -> None:
    while (line := await source.line()) is not None:
        size = _CHUNK_SIZE.fullmatch(line)
        # A chunk of no bytes is the end; what follows it (trailers) says nothing we need.
        if size is None or int(size[1], 16) == 0 or not await source.move(int(size[1], 16), body):
            return
        await source.line()


def _headers(lines: Sequence[bytes]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon:
            yield name.strip().lower().decode("latin-1"), value.strip().decode("latin-1")
