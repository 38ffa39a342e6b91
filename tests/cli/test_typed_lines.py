"""Lines come out of stdin whole, whatever the reads brought."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Callable

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gemlive.cli._exit import Misuse
from gemlive.cli._typed_lines import MAX_LINE, TypedLines


def reads(*chunks: bytes | None) -> Callable[[int], bytes | None]:
    """Returns a read function that brings one chunk a call, and then the end."""
    waiting = list(chunks)
    return lambda _: waiting.pop(0) if waiting else b""


async def lines(*chunks: bytes | None) -> list[str]:
    return [line async for line in TypedLines(reads(*chunks))]


async def test_one_read_can_bring_several_lines() -> None:
    assert await lines(b"one\ntwo\n") == ["one", "two"]


async def test_one_line_can_take_several_reads() -> None:
    assert await lines(b"o", b"n", b"e\n") == ["one"]


async def test_the_last_line_needs_no_newline() -> None:
    assert await lines(b"one\ntwo") == ["one", "two"]


async def test_nothing_is_no_line() -> None:
    assert await lines() == []


async def test_an_empty_line_is_a_line() -> None:
    assert await lines(b"\n\na\n") == ["", "", "a"]


async def test_a_character_can_be_cut_in_two() -> None:
    assert await lines("ü\n".encode()[:1], "ü\n".encode()[1:]) == ["ü"]


async def test_what_is_no_text_is_replaced() -> None:
    assert await lines(b"a\xffb\n") == ["a\ufffdb"]


async def test_lines_of_windows_lose_their_return() -> None:
    assert await lines(b"one\r\ntwo\r\n") == ["one", "two"]


async def test_a_read_that_has_nothing_yet_is_repeated(autojump_clock: trio.testing.MockClock) -> None:
    assert await lines(None, b"a\n") == ["a"]


async def test_a_line_without_an_end_is_refused() -> None:
    with pytest.raises(Misuse, match="longer than"):
        await lines(*[b"a" * 65536] * (MAX_LINE // 65536 + 2))


async def test_a_second_loop_goes_on_where_the_first_stopped() -> None:
    source = TypedLines(reads(b"a\nb\nc\n"))
    async for line in source:
        assert line == "a"
        break
    assert [line async for line in source] == ["b", "c"]


async def test_a_line_that_is_there_is_a_checkpoint_too() -> None:
    source = TypedLines(reads(b"a\nb\n"))
    await anext(source)
    with trio.testing.assert_checkpoints():
        await anext(source)


async def test_a_read_that_never_returns_does_not_hold_up_the_end() -> None:
    released = threading.Event()

    def read(_: int) -> bytes:
        released.wait(30)
        return b""

    with trio.move_on_after(0) as scope:
        await anext(TypedLines(read))
    released.set()
    assert scope.cancelled_caught


async def test_an_object_in_the_place_of_stdin_is_read_by_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    assert [line async for line in TypedLines()] == ["one", "two"]


async def test_no_stdin_is_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert [line async for line in TypedLines()] == []


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_it_makes_no_difference_how_the_input_was_cut(data: bytes, cuts: list[int]) -> None:
    places = [0, *sorted({min(cut, len(data)) for cut in cuts}), len(data)]
    chunks = [data[start:end] for start, end in itertools.pairwise(places) if start < end]
    assert trio.run(lines, *chunks) == trio.run(lines, *([data] if data else []))
