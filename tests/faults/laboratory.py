"""Runs many schedules, judges each, and adds up what they met; on several cores, in processes of their own.

A worker is this package run as a program for a range of seeds; what it found comes back as JSON on its standard output.
So a schedule that hangs in real time costs its worker and not the run: the worker names the seed and ends, and another
one goes on behind it.
"""

from __future__ import annotations

import faulthandler
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

from tests.faults.schedule import KINDS, STATUSES, Status, in_words, plan

ROOT = Path(__file__).parents[2]
REAL_LIMIT_S = 30.0
"""How long one schedule may take in real time; the usual one takes 13 ms."""

LEAST_IN_CELL = 50
"""How many schedules must meet each cell in a run of ``FULL_RUN``."""

FULL_RUN = 10_000


@attrs.frozen
class Failure:
    """A schedule that did not keep a promise.

    Attributes:
        seed: which.
        told: what was wrong, each beginning with the name of the check.
    """

    seed: int
    told: tuple[str, ...]


@attrs.define
class Summary:
    """What some schedules met and how they went.

    Attributes:
        schedules: how many there were.
        met: how many of them met a kind of fault in a status.
        depths: how many of them met so many cells.
        failures: those that did not keep a promise.
        delays: how many delays were drawn between reconnects.
        delays_sum: the sum of their quotients by their bounds.
        cpu_s: what they took.
    """

    schedules: int = 0
    met: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    depths: Counter[int] = attrs.field(factory=Counter)
    failures: list[Failure] = attrs.field(factory=list)
    delays: int = 0
    delays_sum: float = 0.0
    cpu_s: float = 0.0

    def add(self, other: Summary) -> None:
        """Adds another one to this."""
        self.schedules += other.schedules
        self.met += other.met
        self.depths += other.depths
        self.failures += other.failures
        self.delays += other.delays
        self.delays_sum += other.delays_sum
        self.cpu_s += other.cpu_s

    @property
    def median_depth(self) -> int:
        """How many faults, each a kind in a status, the median schedule met."""
        left = (self.schedules + 1) // 2
        for depth in sorted(self.depths):
            left -= self.depths[depth]
            if left <= 0:
                return depth
        return 0

    @property
    def mean_delay(self) -> float:
        """The mean of the delays as parts of their bounds; a half, if they are drawn as full jitter."""
        return self.delays_sum / self.delays if self.delays else 0.5

    def to_json(self) -> str:
        """Returns it as a worker says it."""
        return json.dumps(
            {
                "schedules": self.schedules,
                "met": [[kind, status, count] for (kind, status), count in self.met.items()],
                "depths": list(self.depths.items()),
                "failures": [[failure.seed, list(failure.told)] for failure in self.failures],
                "delays": self.delays,
                "delays_sum": self.delays_sum,
                "cpu_s": self.cpu_s,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Summary:
        """Reads what a worker said."""
        said: dict[str, Any] = json.loads(text)
        return cls(
            schedules=said["schedules"],
            met=Counter({(kind, status): count for kind, status, count in said["met"]}),
            depths=Counter(dict(map(tuple, said["depths"]))),
            failures=[Failure(seed, tuple(told)) for seed, told in said["failures"]],
            delays=said["delays"],
            delays_sum=said["delays_sum"],
            cpu_s=said["cpu_s"],
        )


# --- in this process -------------------------------------------------------------------------------------------------


def judge(seeds: Sequence[int], *, stop_at_failure: bool = False) -> Summary:
    """Runs and judges schedules here, one after the other."""
    # Late, so that a mutation can be put into the package before it is imported.
    from tests.faults.checker import check, delays
    from tests.faults.runner import run

    summary = Summary()
    began = time.process_time()
    for seed in seeds:
        told: tuple[str, ...] = ()
        with _watched(seed, summary):
            try:
                ran = run(seed)
            except Exception as error:  # the session's own mistakes, too
                told = (f"nothing is raised: {_in_brief(error)}",)
            else:
                told = tuple(str(violation) for violation in check(ran))
                met = set(ran.met)
                summary.met.update(met)
                summary.depths[len(met)] += 1
                for part in delays(ran):
                    summary.delays += 1
                    summary.delays_sum += part
        summary.schedules += 1
        if told:
            summary.failures.append(Failure(seed, told))
            if stop_at_failure:
                break
    summary.cpu_s = time.process_time() - began
    return summary


def _in_brief(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{error!r}"[:500]


@contextmanager
def _watched(seed: int, summary: Summary) -> Iterator[None]:
    """Ends the process, with what it knows, when a schedule hangs in real time."""

    def give_up(*_: object) -> None:
        summary.schedules += 1
        summary.failures.append(Failure(seed, (f"nothing hangs: it took more than {REAL_LIMIT_S:g} s of real time",)))
        print(summary.to_json(), flush=True)
        faulthandler.dump_traceback(all_threads=False)
        os._exit(0)

    usual = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, REAL_LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)


def be_strict() -> None:
    """Makes this process as strict as pytest, and quiet: lost sessions are its daily work."""
    warnings.simplefilter("error")
    logging.disable(logging.CRITICAL)


# --- in others -------------------------------------------------------------------------------------------------------


def judge_on_cores(
    first: int, count: int, *, jobs: int, arguments: Sequence[str] = (), report: Callable[[Summary], None] | None = None
) -> Summary:
    """Runs and judges ``count`` schedules from ``first`` on.

    Args:
        first: the first seed.
        count: how many seeds.
        jobs: how many processes at a time.
        arguments: more arguments for each.
        report: is told what each part found, as it comes.
    """
    summary = Summary()
    parts = max(1, -(-count // _PART), jobs)
    edges = [first + count * number // parts for number in range(parts + 1)]
    with ThreadPoolExecutor(jobs) as pool:
        futures = [
            pool.submit(_in_worker, low, high, arguments) for low, high in itertools.pairwise(edges) if high > low
        ]
        for future in futures:
            part = future.result()
            summary.add(part)
            if report is not None:
                report(part)
    return summary


_PART = 20_000


def _in_worker(low: int, high: int, arguments: Sequence[str]) -> Summary:
    summary = Summary()
    while low < high:
        command = [sys.executable, "-m", "tests.faults", "--worker", "--start", str(low), "--seeds", str(high - low)]
        done = subprocess.run([*command, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        part = None
        with suppress(ValueError, KeyError):
            part = Summary.from_json(done.stdout)
        if part is None or not part.schedules:
            raise RuntimeError(f"the worker for the seeds {low} to {high - 1} ended with {done.returncode}")
        summary.add(part)
        low += part.schedules
        if "--stop" in arguments and part.failures:
            break
    return summary


# --- telling ---------------------------------------------------------------------------------------------------------


def table(met: Counter[tuple[str, str]]) -> str:
    """Returns how many schedules met each kind of fault in each status; a letter where they cannot."""
    reasons: dict[str, str] = {}
    lines = [f"{'':22}" + "".join(f"{status:>14}" for status in STATUSES)]
    for kind in KINDS.values():
        cells = []
        for status in STATUSES:
            if status in kind.impossible:
                reason = kind.impossible[status]
                cells.append(reasons.setdefault(reason, chr(ord("a") + len(reasons))))
            else:
                cells.append(str(met[kind.name, status]))
        lines.append(f"{kind.name:22}" + "".join(f"{cell:>14}" for cell in cells))
    lines += [f"  {letter}: {reason}" for reason, letter in reasons.items()]
    return "\n".join(lines)


def too_rare(summary: Summary) -> list[str]:
    """Returns the cells that too few schedules met, for the size of the run."""
    least = LEAST_IN_CELL * summary.schedules / FULL_RUN
    return [
        f"{kind.name} while {status}: {summary.met[kind.name, status]}"
        for kind in KINDS.values()
        for status in kind.statuses
        if summary.met[kind.name, status] < least
    ]


def impossible_but_met(summary: Summary) -> list[str]:
    """Returns the cells that were declared impossible, and met."""
    return [
        f"{kind} while {status}"
        for kind, status in summary.met
        if kind not in KINDS or _as_status(status) in KINDS[kind].impossible
    ]


def _as_status(text: str) -> Status:
    return next(status for status in STATUSES if status == text)


def in_full(failure: Failure) -> str:
    """Returns a failed schedule in words, with the command that tells its whole story."""
    told = "\n".join(f"  {one}" for one in failure.told)
    return f"{in_words(plan(failure.seed))}\n{told}\nreplay: python -m tests.faults --seed {failure.seed}"
