"""Cancelling a call at every point there is, and the list of the calls: every public coroutine of the package.

The list is made from the package: every async function, async iterator and async context manager that can be reached
from the ``__all__`` of a room, dunder and inherited methods included. For each there is a *case* (``cancel_cases``):
how it is called, and in which states of a session that makes sense. A case is played over and over, and cancelled at
another point each time::

    begin        before the first step of the call
    waiting k    as the call begins to wait for the k-th time: what it would wait for is taken back
    running k    just before it runs on from there: what it waited for has happened, and the cancellation comes on top
    meanwhile k  while it waits, after the k-th step of anything else: writer, reader, server, timers

until a run comes to its end with no point left. A call that has tasks of its own (``open_session`` has, a ``send_text``
has none) is cancelled at each step of each of them.

After each run: the frames on both sides of every connection are whole, nothing is left of the call (tasks, descriptors,
threads), what a cancelled call says of its effect is true, and the session answers a question or is cleanly closed.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Literal, Protocol

import attrs
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

import gemlive
from tests.faults.streams import Network, parse

# --- the list --------------------------------------------------------------------------------------------------------


def public_coroutines() -> list[str]:
    """Returns the name of every public coroutine, as ``room.function`` or ``room.Class.method``."""
    rooms = [name for _, name, _ in pkgutil.iter_modules(gemlive.__path__) if not name.startswith("_")]
    found: set[str] = set()
    for room in ["", *rooms]:
        module = importlib.import_module(f"gemlive.{room}".rstrip("."))
        for name in module.__all__:
            value = getattr(module, name)
            if not _is_ours(value):
                continue
            if inspect.isclass(value):
                found |= {f"{_room_of(value)}.{value.__name__}.{method}" for method in _async_methods(value)}
            elif _is_async(value):
                found.add(f"{_room_of(value)}.{name}")
    return sorted(found)


def _is_ours(value: object) -> bool:
    return str(getattr(value, "__module__", "")).startswith("gemlive.")


def _room_of(value: object) -> str:
    return str(getattr(value, "__module__", "")).split(".")[1]


def _async_methods(cls: type) -> Iterable[str]:
    """Yields the methods of a class that are async, those that it inherits too; private ones are not public."""
    for name in dir(cls):
        value = inspect.getattr_static(cls, name)
        if isinstance(value, staticmethod | classmethod):
            value = value.__func__
        is_public = not name.startswith("_") or (name.startswith("__") and name.endswith("__"))
        if is_public and inspect.isfunction(value) and _is_async(value):
            yield name


_PROMISES = re.compile(r"\b(Async\w+|Abstract\w*Async\w+|Awaitable|Coroutine)\b")


def _is_async(function: object) -> bool:
    """Whether calling it gives something to await, to iterate over with ``async for`` or to enter."""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(inspect.unwrap(function)):  # type: ignore[arg-type]
        return True
    returns = getattr(function, "__annotations__", {}).get("return", "")
    return bool(_PROMISES.search(returns if isinstance(returns, str) else repr(returns)))


# --- cancelling ------------------------------------------------------------------------------------------------------

Mode = Literal["begin", "waiting", "running", "meanwhile"]
MODES: tuple[Mode, ...] = ("begin", "waiting", "running", "meanwhile")
Where = Literal["alone", "connecting", "connected", "blocked", "reconnecting", "closing", "on a socket"]


@attrs.frozen
class Point:
    """Where a call is cancelled.

    Attributes:
        mode: before its first step; as it begins to wait; when it is about to run on; or while others run.
        number: for the k-th time. Of the first three modes counted over the steps of the call and of the tasks that it
            started, of the last over all others.
    """

    mode: Mode
    number: int = 0

    def __str__(self) -> str:
        return self.mode if self.mode == "begin" else f"{self.mode} {self.number}"


class CancelAt(trio.abc.Instrument):
    """Cancels a scope at one point of what the task inside it does.

    Attributes:
        has_fired: whether the point was reached.
    """

    def __init__(self, point: Point) -> None:
        self.point = point
        self.has_fired = False
        self._task: trio.lowlevel.Task | None = None
        self._scope = trio.CancelScope()
        self._waits = 0
        self._others = 0

    def arm(self, scope: trio.CancelScope) -> None:
        """Begins to count: from here on the current task is in the call."""
        self._task, self._scope = trio.lowlevel.current_task(), scope
        trio.lowlevel.add_instrument(self)
        if self.point.mode == "begin":
            self._fire()

    def disarm(self) -> None:
        """Stops counting: the call is over."""
        self._task = None
        trio.lowlevel.remove_instrument(self)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Counts a wait, and cancels it if it is the one."""
        if self._is_in_call(task):
            self._waits += 1
            point = Point("waiting", self._waits)
        else:
            self._others += 1
            point = Point("meanwhile", self._others)
        if self.point == point:
            self._fire()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Cancels what runs on after the wait in question."""
        if self.point == Point("running", self._waits) and not self.has_fired and self._is_in_call(task):
            self._fire()

    def _fire(self) -> None:
        self.has_fired = True
        self._scope.cancel()

    def _is_in_call(self, task: trio.lowlevel.Task | None) -> bool:
        while self._task is not None and task is not None:
            if task is self._task:
                return True
            task = None if task.parent_nursery is None else task.parent_nursery.parent_task
        return False


@attrs.define
class Trial:
    """One run of a case.

    Attributes:
        where: the state in which the call is made.
        instrument: cancels the call.
        was_cancelled: whether Cancelled came out of the call.
        result: what the call returned.
        error: what else it raised.
        was_called: whether it came to the call.
        problems: what is wrong.
    """

    where: Where
    instrument: CancelAt
    was_cancelled: bool = False
    result: object = None
    error: Exception | None = None
    was_called: bool = False
    problems: list[str] = attrs.Factory(list)

    async def call(self, act: Callable[[], Awaitable[object]]) -> None:
        """Makes the call, in a scope that the instrument cancels."""
        assert not self.was_called, "a case makes its call once"
        self.was_called = True
        is_over = trio.Event()

        async def make() -> None:
            with trio.CancelScope() as scope:
                self.instrument.arm(scope)
                try:
                    self.result = await act()
                except Exception as error:
                    self.error = error
                finally:
                    self.instrument.disarm()
            self.was_cancelled = scope.cancelled_caught
            is_over.set()

        # In a task of its own, so that what the call starts can be told from what was there before.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(make)
            await is_over.wait()

    def expect(self, is_so: object, otherwise: str) -> None:
        """Notes a problem."""
        if not is_so:
            self.problems.append(otherwise)


# --- what every case checks ------------------------------------------------------------------------------------------

GRACE_S = 100.0
"""Virtual time in which a session answers a question, whatever was cancelled before."""

PIECE_BYTES = 64
"""How much of a write passes at once. A write that is not shielded is then cut in two by any cancellation."""


def task_names() -> list[str]:
    """Returns the names of all tasks of this run, those of the cases themselves apart."""
    names: list[str] = []
    waiting = [trio.lowlevel.current_root_task()]
    while waiting:
        task = waiting.pop()
        if task is not None:
            names += [task.name] if not task.name.startswith("tests.") else []
            waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return sorted(names)


def check_frames(trial: Trial, network: Network, *, may_end_torn: bool) -> None:
    """Both sides of every connection said whole frames.

    Args:
        trial: the run.
        network: the connections.
        may_end_torn: whether the last write of the client may have been cut off by the end of the connection: a peer
            that does not read leaves no other way to leave in time, and what follows is the end of the stream.
    """
    for number, wire in enumerate(network.wires, 1):
        up, down = parse(wire.up, masked=True), parse(wire.down, masked=False)
        for side, said in (("client", up), ("server", down)):
            trial.expect(not said.problem, f"the {side} on connection {number}: {said.problem}")
        in_upgrade = not up.head and trial.was_cancelled
        if up.rest and not (wire.is_closed and (may_end_torn or in_upgrade)):
            trial.problems.append(f"the client's side of connection {number} ends in half a frame: {up.rest[:30]!r}")


# --- playing them ----------------------------------------------------------------------------------------------------

_MOST_POINTS = 2000


@attrs.frozen
class Row:
    """One line of the table of points.

    Attributes:
        name: the coroutine.
        where: the state of the session.
        points: at how many points it was cancelled, and one more for the end that it came to without.
        cancelled: at how many of them Cancelled came out.
        is_checkpoint: whether it came out at the very first: where it does not, there is no checkpoint.
        problems: what was wrong, with its point.
    """

    name: str
    where: Where
    points: int
    cancelled: int
    is_checkpoint: bool
    problems: tuple[str, ...] = ()


class Case(Protocol):
    """How a coroutine is called."""

    @property
    def where(self) -> tuple[Where, ...]:
        """In which states it is called."""

    @property
    def play(self) -> Callable[[Trial], Awaitable[None]]:
        """Makes the surroundings and the call, and looks at what is left."""


def explore(name: str, case: Case, where: Where) -> Row:
    """Cancels a case at one point after another until there is none left."""
    points, cancelled = 0, 0
    is_checkpoint = False
    problems: list[str] = []
    for mode in MODES:
        for number in range(0 if mode == "begin" else 1, 1 if mode == "begin" else _MOST_POINTS):
            point = Point(mode, number)
            trial = play(case, where, point)
            problems += [f"{name}, {where}, {point}: {problem}" for problem in trial.problems]
            if not trial.instrument.has_fired:
                break
            points += 1
            cancelled += trial.was_cancelled
            is_checkpoint = is_checkpoint or (mode == "begin" and trial.was_cancelled)
    # One more for the end that is reached with no cancellation, however often it is reached.
    return Row(name, where, points + 1, cancelled, is_checkpoint, tuple(problems))


def play(case: Case, where: Where, point: Point) -> Trial:
    """Plays a case once and cancels its call at one point."""
    trio._core._run._r.seed(0)
    trial = Trial(where, CancelAt(point))
    files, threads = _open_files(), _busy_threads()
    clock = None if where == "on a socket" else MockClock(autojump_threshold=0)
    try:
        trio.run(_play, case, trial, clock=clock)
    except BaseException as error:
        trial.problems.append(f"{error!r} came out")
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
    trial.expect(trial.was_called, "the call was never made")
    left = _open_files() - files
    trial.expect(not left, f"descriptors are left open: {dict(left)}")
    running = _busy_threads() - threads
    trial.expect(not running, f"threads are left: {running}")
    return trial


async def _play(case: Case, trial: Trial) -> None:
    before = task_names()
    with trio.move_on_after(20 * GRACE_S) as patience:
        await case.play(trial)
    trial.expect(not patience.cancelled_caught, "it hung")
    await wait_all_tasks_blocked()
    after = task_names()
    trial.expect(after == before, f"tasks are left: {Counter(after) - Counter(before)}")


def _busy_threads() -> set[threading.Thread]:
    """Returns the threads that run, apart from those that trio keeps for ten seconds after their work."""
    return {thread for thread in threading.enumerate() if not re.fullmatch(r"Trio thread \d+", thread.name)}


def _open_files() -> Counter[str]:
    """Returns what descriptors are open, by kind."""
    folder = "/proc/self/fd"
    if not os.path.isdir(folder):
        return Counter()
    found: Counter[str] = Counter()
    for entry in os.listdir(folder):
        with suppress(OSError):
            found[os.readlink(f"{folder}/{entry}").partition(":")[0]] += 1
    return found
