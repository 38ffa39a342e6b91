"""Read lines from stdin without holding up the exit.

A read from a terminal cannot be cancelled, so it happens in a thread that is abandoned at the end. It reads the raw
file beneath ``sys.stdin``: an abandoned thread inside the buffered one holds a lock which the interpreter wants at its
exit, and it dies of that ("could not acquire lock for <_io.BufferedReader name='<stdin>'> at interpreter shutdown").
"""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Callable
from typing import Self

import trio

from gemlive.cli._exit import Misuse

MAX_LINE = 256 * 1024
"""Characters in a line: far more than anybody types, and less than a pipe of zeros brings."""

_READ_BYTES = 64 * 1024


def _stdin() -> Callable[[int], bytes | None]:
    raw = getattr(getattr(sys.stdin, "buffer", None), "raw", None)
    if isinstance(raw, io.RawIOBase):
        return raw.read
    if sys.stdin is None:
        return lambda _: b""  # started without one, as a desktop does
    stdin = sys.stdin  # somebody put an object of their own in its place, as test runners do
    return lambda _: stdin.readline().encode()


def _decoder() -> codecs.IncrementalDecoder:
    encoding = getattr(sys.stdin, "encoding", None) or "utf-8"
    return codecs.getincrementaldecoder(encoding)(errors="replace")


class TypedLines:
    """An asynchronous iterator over the lines of stdin, without their newlines; ends at its end."""

    def __init__(self, read: Callable[[int], bytes | None] | None = None) -> None:
        """``read`` replaces stdin: it gets a number of bytes and may block; empty is the end, None is "not yet"."""
        self._read = _stdin() if read is None else read
        self._decoder = _decoder()
        self._text = ""
        self._ended = False

    def __aiter__(self) -> Self:
        """Returns itself: a second loop goes on where the first stopped."""
        return self

    async def __anext__(self) -> str:
        """Returns the next line.

        Cancelled while it waits, a line that arrives then is lost: there is no way back into a terminal.

        Raises:
            Misuse: a line is longer than ``MAX_LINE``.
        """
        while "\n" not in self._text and not self._ended:
            if len(self._text) > MAX_LINE:
                raise Misuse(f"a line on stdin is longer than {MAX_LINE} characters; break it up")
            await self._fill()
        await trio.lowlevel.checkpoint()
        line, newline, self._text = self._text.partition("\n")
        if not newline and not line:
            raise StopAsyncIteration
        return line.removesuffix("\r")

    async def _fill(self) -> None:
        data = await trio.to_thread.run_sync(self._read, _READ_BYTES, abandon_on_cancel=True)
        if data is None:
            # Somebody who shares the terminal made it non-blocking.
            await trio.sleep(0.05)
            return
        self._ended = not data
        self._text += self._decoder.decode(data, final=self._ended)


__all__ = ["MAX_LINE", "TypedLines"]
