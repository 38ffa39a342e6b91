"""Every public coroutine, cancelled at every point, in every state of a session that it makes sense in."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest
import trio
from trio.testing import MockClock

from tests.faults import cancel_points
from tests.faults.cancel_cases import CASES, GROUPS, UNCANCELLABLE, explored, jobs
from tests.faults.cancel_opening import Alone
from tests.faults.cancel_points import CancelAt, Point, Row, Trial, explore, public_coroutines
from tests.faults.spread import workers

LEAST_POINTS = 2
"""Cancelled at one at least, and then finished: a coroutine with fewer has no checkpoint."""


def test_every_public_coroutine_is_in_the_table() -> None:
    assert sorted(CASES) == public_coroutines()


def test_the_list_is_made_from_the_package() -> None:
    listed = public_coroutines()
    for kind in ("session.open_session", "session.Session.ask", "session.Turn.__anext__", "audio.paced"):
        assert kind in listed
    # Inherited from trio, and public all the same.
    assert "broadcast.Cursor.__aenter__" in listed


def test_a_session_is_cancelled_in_every_state() -> None:
    for name, case in CASES.items():
        states = {"connected", "blocked", "reconnecting", "closing"}
        if name == "session.open_session":
            states.add("connecting")
        if name.startswith("session."):
            assert set(case.where) >= states, name


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with workers() as pool:
        yield pool


@pytest.mark.parametrize("group", GROUPS)
def test_a_cancellation_at_any_point_leaves_everything_whole(
    group: str, pool: ProcessPoolExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    names, states = zip(*jobs(group), strict=True)
    rows = list(pool.map(explored, names, states))
    with capsys.disabled():
        print("\n" + table(rows))
    assert [problem for row in rows for problem in row.problems] == []
    for row in rows:
        assert row.points >= LEAST_POINTS, f"{row.name} has {row.points} points when {row.where}"
        assert row.is_checkpoint or row.name in UNCANCELLABLE, f"{row.name} has no checkpoint when {row.where}"


def table(rows: list[Row]) -> str:
    """Returns the table of points: how many there are, and in brackets at how many Cancelled came out."""
    states = list(dict.fromkeys(row.where for row in rows))
    cells = {(row.name, row.where): f"{row.points} ({row.cancelled})" for row in rows}
    lines = [f"{'points (cancelled)':36}" + "".join(f"{where:>14}" for where in states)]
    for name in dict.fromkeys(row.name for row in rows):
        lines.append(f"{name:36}" + "".join(f"{cells.get((name, where), ''):>14}" for where in states))
    total = sum(row.points for row in rows)
    return "\n".join([*lines, f"{len({row.name for row in rows})} coroutines, {len(rows)} rows, {total} points"])


# --- that the machinery can say no -----------------------------------------------------------------------------------


def _explored(play: Callable[[Trial], Awaitable[None]]) -> Row:
    return explore("made.up", Alone(play=play), "alone")


def test_every_point_of_a_call_is_tried() -> None:
    reached: list[int] = []

    async def three_steps() -> None:
        for step in range(3):
            reached.append(step)
            await trio.lowlevel.checkpoint()

    row = _explored(lambda trial: trial.call(three_steps))
    # One before it began, three as it waited, three as it ran on, and the run without.
    assert (row.points, row.cancelled, row.problems) == (1 + 3 + 3 + 1, 1 + 3 + 3, ())
    # The first step is reached wherever it is cancelled, the third only by who is cancelled there, or not at all.
    assert reached.count(2) < reached.count(1) < reached.count(0)


def test_a_call_without_a_checkpoint_is_told() -> None:
    async def nothing() -> None:
        pass

    assert not _explored(lambda trial: trial.call(nothing)).is_checkpoint


def test_a_task_that_is_left_is_told() -> None:
    async def main() -> Trial:
        trial = Trial("alone", CancelAt(Point("begin")))

        async def leak() -> None:
            trio.lowlevel.spawn_system_task(trio.sleep, 10, name="leak")
            await trio.lowlevel.checkpoint()

        await cancel_points._play(Alone(play=lambda trial: trial.call(leak)), trial)
        return trial

    trial = trio.run(main, clock=MockClock(autojump_threshold=0))
    assert any("leak" in problem for problem in trial.problems)


def test_a_descriptor_that_is_left_is_told() -> None:
    kept: list[socket.socket] = []

    async def leak() -> None:
        kept.append(socket.socket())
        await trio.lowlevel.checkpoint()

    row = _explored(lambda trial: trial.call(leak))
    for one in kept:
        one.close()
    assert any("descriptors are left open" in problem for problem in row.problems)
