"""Reading the answer to an upgrade or a CONNECT, whatever the peer sends."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gemlive.transport._response import MAX_BODY_BYTES, Head, parse_head, read_body, read_head


class Chunks(trio.abc.ReceiveStream):
    """A stream that delivers the given chunks, then its end."""

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self.chunks = [chunk for chunk in chunks if chunk]

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return self.chunks.pop(0) if self.chunks else b""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def read(*chunks: bytes) -> tuple[Head, bytes] | str:
    stream = Chunks(chunks)
    head = await read_head(stream)
    if isinstance(head, str):
        return head
    body = bytearray()
    await read_body(stream, head, body)
    return head, bytes(body)


async def read_body_of(*chunks: bytes) -> bytes:
    answer = await read(*chunks)
    assert not isinstance(answer, str)
    return answer[1]


async def test_a_head_is_read() -> None:
    head = await read_head(Chunks([b"HTTP/1.1 403 Forbidden\r\nX-One: 1 \r\nx-two:\t2\r\nX-One: 3\r\n\r\nrest"]))
    assert head == Head(403, (("x-one", "1"), ("x-two", "2"), ("x-one", "3")), b"rest")
    assert isinstance(head, Head)
    assert head.get("x-one") == "1, 3"
    assert head.get("x-none") is None


async def test_a_status_needs_no_reason() -> None:
    assert parse_head(b"HTTP/1.0 200\r\n\r\n") == Head(200, ())


async def test_informational_answers_are_passed_over() -> None:
    head = await read_head(
        Chunks([b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 101 Go\r\n", b"a: b\r\n\r\n\x81"])
    )
    assert head == Head(101, (("a", "b"),), b"\x81")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed the connection without an answer"),
        (b"HTTP/1.1 101 Sw", "closed the connection in the middle of its answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "answered with something that is not HTTP/1.1; is this the right port?"),
        (b"\x15\x03\x01", "answered with something that is not HTTP/1.1; is this the right port?"),
        (b"HTTP/2 200\r\n\r\n", "answered with something that is not HTTP/1.1; is this the right port?"),
        (b"HTTP/1.1 abc\r\n", "answered with a status line that cannot be read"),
        (b"HTTP/1.1 1011\r\n", "answered with a status line that cannot be read"),
        (
            b"HTTP/1.1 200 OK\r\n" + b"a: " + b"x" * 40_000,
            "sent more than 32 KiB without ending the head of its answer",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 2000, "sent more than 32 KiB without ending the head of its answer"),
    ],
)
async def test_a_peer_that_does_not_answer_properly_is_described(answer: bytes, words: str) -> None:
    chunks = [answer[start : start + 4096] for start in range(0, len(answer), 4096)]
    assert await read(*chunks) == words


async def test_a_stream_that_breaks_is_told_with_its_reason() -> None:
    class Broken(Chunks):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            await trio.lowlevel.checkpoint()
            raise trio.BrokenResourceError from ConnectionResetError(104, "Connection reset by peer")

    assert await read_head(Broken([])) == "closed the connection without an answer (Connection reset by peer)"
    body = bytearray()
    await read_body(Broken([]), Head(403, (), b"part"), body)
    assert body == b"part"


async def test_garbage_is_told_at_its_first_byte_and_not_at_the_end_of_a_line() -> None:
    assert isinstance(parse_head(b"S"), str)
    assert parse_head(b"HTTP") is None


async def test_a_body_with_a_length_ends_there() -> None:
    assert await read_body_of(b"HTTP/1.1 401 No\r\ncontent-length: 5\r\n\r\nhello", b" and more") == b"hello"


async def test_a_body_without_a_length_ends_with_the_stream() -> None:
    assert await read_body_of(b"HTTP/1.1 401 No\r\n\r\nhel", b"lo") == b"hello"


async def test_a_body_that_ends_early_is_kept() -> None:
    assert await read_body_of(b"HTTP/1.1 401 No\r\ncontent-length: 50\r\n\r\nhello") == b"hello"


async def test_a_chunked_body_is_joined() -> None:
    head = b"HTTP/1.1 503 No\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n"
    assert await read_body_of(head, b"3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: x\r\n\r\n") == b"hello"


@pytest.mark.parametrize(
    "broken", [b"3\r\nhel\r\nzz\r\n", b"3\r\nhel\r\n", b"3\r\nhel", b"5\r\nhel", b"3\r\nhel\r\n" + b"1" * 2000]
)
async def test_a_broken_chunked_body_keeps_what_came(broken: bytes) -> None:
    assert await read_body_of(b"HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\n\r\n", broken) == b"hel"


@pytest.mark.parametrize(
    "framing",
    [b"", b"content-length: 99999999\r\n", b"content-length: " + b"9" * 400 + b"\r\n", b"content-length: -1\r\n"],
)
async def test_a_body_is_cut_at_the_limit(framing: bytes) -> None:
    body = await read_body_of(b"HTTP/1.1 403 No\r\n" + framing + b"\r\n", *[b"x" * 4096] * 40)
    assert body == b"x" * MAX_BODY_BYTES


async def test_a_chunked_body_is_cut_at_the_limit() -> None:
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    assert (
        await read_body_of(b"HTTP/1.1 403 No\r\ntransfer-encoding: chunked\r\n\r\n", *[chunk] * 40)
        == b"x" * MAX_BODY_BYTES
    )


async def test_a_status_without_a_body_reads_none() -> None:
    assert await read_body_of(b"HTTP/1.1 304 Not Modified\r\n\r\nrest") == b""


@given(
    data=st.binary(max_size=60).map(lambda tail: b"HTTP/1.1 200 OK\r\n" + tail) | st.binary(max_size=40),
    cuts=st.lists(st.integers(0, 80), max_size=6),
)
async def test_the_answer_does_not_depend_on_how_it_is_cut(data: bytes, cuts: list[int]) -> None:
    borders = [0, *sorted(cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(borders)]
    assert await read(*pieces) == await read(data)
