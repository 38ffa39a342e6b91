"""A trio program that synchronous code turns by hand, one command at a time, in virtual time.

Hypothesis calls the rules of a state machine as plain functions and wants each of them to be over when it returns. So
the program runs as a *guest*: trio hands its ticks to a queue, and whoever gives a command turns the crank until the
command is done and everything has come to rest. Between two commands nothing runs and no time passes, which is what
makes a comparison with a model possible after every step, and a failure reproducible to the tick. There is no thread
and no sleep: a conductor task that waits for commands is always runnable, so trio never goes to wait for the operating
system.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import outcome
import trio
import trio._core._run
import trio.testing

T = TypeVar("T")

MAX_TICKS = 100_000
"""A command that has not come to rest by then never will: what was measured needs below 2,000."""

MAX_END_S = 60
"""How long a task may take to end after it was cancelled, in virtual time."""

_LEAST_STEP_S = 1e-9  # adding what is left until a deadline to the time may miss it by a rounding


class Crank:
    """One trio run.

    Args:
        seed: decides the order in which trio runs tasks that are ready at the same time.

    Attributes:
        nursery: where commands start what outlives them; cancelled by :meth:`close`.
    """

    nursery: trio.Nursery

    def __init__(self, seed: int = 0) -> None:
        trio._core._run._r.seed(seed)
        self._clock = trio.testing.MockClock()
        self._ready: deque[Callable[[], object]] = deque()
        self._command: Callable[[], Awaitable[Any]] | None = None
        self._result: outcome.Outcome[Any] | None = None
        self._end: outcome.Outcome[None] | None = None
        self._is_closing = False
        trio.lowlevel.start_guest_run(
            self._conduct, run_sync_soon_threadsafe=self._ready.append, done_callback=self._ended, clock=self._clock
        )
        self.do(trio.lowlevel.checkpoint)

    @property
    def now(self) -> float:
        """The time, in seconds of trio's clock."""
        return self._clock.current_time()

    def do(self, command: Callable[..., Awaitable[T]], *args: object) -> T:
        """Runs a command to its end and everything else until it rests; returns or raises what the command does."""

        async def run() -> T:
            done = await outcome.acapture(command, *args)
            await trio.testing.wait_all_tasks_blocked()
            result: T = done.unwrap()
            return result

        self._command = run
        self._turn(lambda: self._result is not None)
        result, self._result = self._result, None
        assert result is not None
        value: T = result.unwrap()
        return value

    def sleep(self, seconds: float) -> None:
        """Lets time pass, with everything that happens in it happening at its time."""
        self.do(self._sleep, seconds)

    def close(self) -> None:
        """Cancels what still runs and ends the run. What a task raised comes out here."""
        if self._end is None:
            self._is_closing = True
            self._turn(lambda: self._end is not None)
            end: Any = self._end  # set meanwhile, which a type checker cannot see
            end.unwrap()

    async def _sleep(self, seconds: float) -> None:
        until = trio.current_time() + seconds
        while (left := until - trio.current_time()) > 0:
            await trio.testing.wait_all_tasks_blocked()
            due = max(trio.lowlevel.current_statistics().seconds_to_next_deadline, _LEAST_STEP_S)
            self._clock.jump(min(left, due))
        await trio.testing.wait_all_tasks_blocked()

    async def _conduct(self) -> None:
        async with trio.open_nursery() as self.nursery:
            try:
                while not self._is_closing:
                    await trio.lowlevel.checkpoint()
                    if self._command is not None:
                        command, self._command = self._command, None
                        self._result = await outcome.acapture(command)
            finally:
                # What ends in a shield with a deadline needs time to pass, and nobody else lets it.
                self.nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    await self._drain()

    async def _drain(self) -> None:
        until = trio.current_time() + MAX_END_S
        while self.nursery.child_tasks and trio.current_time() < until:
            await self._sleep(1)
        assert not self.nursery.child_tasks, (
            f"still there {MAX_END_S} s after being cancelled: {self.nursery.child_tasks}"
        )

    def _ended(self, end: outcome.Outcome[None]) -> None:
        self._end = end

    def _turn(self, is_done: Callable[[], bool]) -> None:
        for _ in range(MAX_TICKS):
            if is_done():
                return
            if self._end is not None:
                self._end.unwrap()  # a task failed, and took the run with it
            self._ready.popleft()()
        raise AssertionError(f"nothing came to rest within {MAX_TICKS} ticks: something spins")
