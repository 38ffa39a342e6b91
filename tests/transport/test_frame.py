"""The two frames we write ourselves."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gemlive.transport._frame import close_frame, cut_reason, is_close, ping_frame
from tests.transport.peers import CLOSE, PING, Frames


async def read(data: bytes) -> tuple[int, bytes]:
    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_all(data)
    return await Frames(theirs).next()


async def test_a_ping_is_empty_and_masked() -> None:
    assert await read(ping_frame()) == (PING, b"")


async def test_a_close_carries_code_and_reason() -> None:
    assert await read(close_frame(1002, "why é")) == (CLOSE, b"\x03\xea" + "why é".encode())


async def test_a_close_is_cut_to_the_125_bytes_of_a_control_frame() -> None:
    _, payload = await read(close_frame(1002, "x" * 1000))
    assert len(payload) == 125


@pytest.mark.parametrize(
    ("frame", "closes"), [(close_frame(1000, ""), True), (ping_frame(), False), (b"\x81\x80", False)]
)
def test_a_close_is_told_from_other_frames(frame: bytes, closes: bool) -> None:
    assert is_close(frame) is closes


@given(st.text(max_size=200))
def test_a_reason_is_cut_between_characters(reason: str) -> None:
    cut = cut_reason(reason)
    assert len(cut.encode()) <= 123
    if len(reason.encode("utf-8", "replace")) <= 123:
        assert cut == reason.encode("utf-8", "replace").decode()
    else:
        assert len(cut.encode()) > 119
        assert reason.startswith(cut.rstrip("?"))
