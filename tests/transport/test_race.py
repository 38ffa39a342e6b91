"""The race over addresses: who starts when, who wins, and that nobody is left open."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from gemlive.transport._race import interleave, race


class Connection(trio.abc.AsyncResource):
    """What an attempt opens."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_closed = False

    async def aclose(self) -> None:
        self.is_closed = True
        await trio.lowlevel.checkpoint()


class Course:
    """Attempts that take so many seconds, and fail if the number is negative."""

    def __init__(self, **seconds: float) -> None:
        self.seconds = seconds
        self.started: list[tuple[str, float]] = []
        self.opened: list[Connection] = []

    async def connect(self, name: str) -> Connection:
        self.started.append((name, trio.current_time()))
        await trio.sleep(abs(self.seconds[name]))
        if self.seconds[name] < 0:
            raise OSError(name)
        await trio.lowlevel.cancel_shielded_checkpoint()  # the moment in which the kernel has connected already
        self.opened.append(Connection(name))
        return self.opened[-1]

    async def run(self) -> Connection | list[OSError]:
        return await race(list(self.seconds), self.connect)


async def test_the_first_wins_if_it_is_fast(autojump_clock: MockClock) -> None:
    course = Course(a=0.1, b=0.1)
    assert await course.run() is course.opened[0]
    assert course.started == [("a", 0)]


async def test_each_attempt_has_a_head_start_of_250_ms(autojump_clock: MockClock) -> None:
    course = Course(a=9, b=9, c=1)
    winner = await course.run()
    assert isinstance(winner, Connection)
    assert winner.name == "c"
    assert course.started == [("a", 0), ("b", 0.25), ("c", 0.5)]
    assert trio.current_time() == 1.5


async def test_a_failure_starts_the_next_at_once(autojump_clock: MockClock) -> None:
    course = Course(a=-0.1, b=0.1)
    winner = await course.run()
    assert isinstance(winner, Connection)
    assert course.started == [("a", 0), ("b", 0.1)]


async def test_an_earlier_attempt_may_still_win(autojump_clock: MockClock) -> None:
    winner = await Course(a=0.3, b=9).run()
    assert isinstance(winner, Connection)
    assert winner.name == "a"


async def test_if_all_fail_all_errors_are_told(autojump_clock: MockClock) -> None:
    errors = await Course(a=-3, b=-0.1).run()
    assert isinstance(errors, list)
    assert [str(error) for error in errors] == ["b", "a"]


async def test_without_addresses_there_are_no_errors(autojump_clock: MockClock) -> None:
    assert await Course().run() == []


async def test_who_comes_second_at_the_same_moment_is_closed(autojump_clock: MockClock) -> None:
    course = Course(a=0.5, b=0.25)
    winner = await course.run()
    assert len(course.opened) == 2
    assert [connection.is_closed for connection in course.opened] == [
        connection is not winner for connection in course.opened
    ]


async def test_cancelling_leaves_nothing_open(autojump_clock: MockClock) -> None:
    course = Course(a=2, b=2)
    with trio.move_on_after(1) as scope:
        await course.run()
    assert scope.cancelled_caught
    assert course.opened == []


async def test_a_bug_in_an_attempt_comes_out_plain(autojump_clock: MockClock) -> None:
    async def connect(name: str) -> Connection:
        await trio.lowlevel.checkpoint()
        raise KeyError(name)

    with pytest.raises(KeyError):
        await race(["a"], connect)


@pytest.mark.parametrize(
    ("addresses", "ordered"),
    [
        (["4a", "4b", "6a", "6b"], ["4a", "6a", "4b", "6b"]),
        (["6a", "4a", "6b"], ["6a", "4a", "6b"]),
        (["4a", "4b"], ["4a", "4b"]),
        ([], []),
    ],
)
def test_the_second_attempt_is_of_another_family(addresses: list[str], ordered: list[str]) -> None:
    assert interleave(addresses, lambda address: address[0]) == ordered
