"""Runs the schedules of the fault laboratory: many, or one with its whole story, or against the mutations.

python -m tests.faults --seeds 10000 --jobs 2     # as the tests do
python -m tests.faults --seeds 1000000            # the long run
python -m tests.faults --seed 4711                # what happened in one
python -m tests.faults --mutations                # each named bug, until a schedule finds it
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.faults import laboratory, mutations
from tests.faults.laboratory import Summary


def main() -> int:
    """Does what the arguments say; returns the exit code."""
    asked = _arguments()
    laboratory.be_strict()
    if asked.mutation is not None:
        mutations.apply(mutations.named(asked.mutation))
    if asked.seed is not None:
        return _tell(asked.seed)
    if asked.worker:
        seeds = range(asked.start, asked.start + asked.seeds)
        print(laboratory.judge(seeds, stop_at_failure=asked.stop).to_json())
        return 0
    if asked.mutations is not None:
        return _mutate(asked.mutations, jobs=asked.jobs, seeds=asked.seeds or mutations.SEARCH, afresh=asked.afresh)
    return _run(asked)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__, formatter_class=_Raw)
    parser.add_argument("--seeds", type=int, default=0, help="how many schedules")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many processes")
    parser.add_argument("--seed", type=int, help="one schedule, with its story")
    parser.add_argument("--stop", action="store_true", help="stop at the first failure")
    parser.add_argument("--mutation", help="put this bug into the package first")
    parser.add_argument("--mutations", nargs="*", metavar="NAME", help="find these bugs; without names, all of them")
    parser.add_argument("--afresh", action="store_true", help="forget the seeds that are known to find a mutation")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


class _Raw(argparse.RawDescriptionHelpFormatter):
    pass


def _run(asked: argparse.Namespace) -> int:
    began = time.monotonic()
    arguments = [*(["--mutation", asked.mutation] if asked.mutation else []), *(["--stop"] if asked.stop else [])]
    summary = laboratory.judge_on_cores(
        asked.start,
        asked.seeds or laboratory.FULL_RUN,
        jobs=asked.jobs,
        arguments=arguments,
        report=_report,
    )
    print(laboratory.table(summary.met))
    print(
        f"{summary.schedules} schedules, {len(summary.failures)} failed; the median met {summary.median_depth} faults; "
        f"mean delay {summary.mean_delay:.3f} of its bound in {summary.delays}; "
        f"{time.monotonic() - began:.1f} s, {1000 * summary.cpu_s / max(1, summary.schedules):.1f} ms of a core each"
    )
    for line in (*laboratory.too_rare(summary), *laboratory.impossible_but_met(summary)):
        print(f"wrong: {line}")
    return 1 if summary.failures else 0


def _report(part: Summary) -> None:
    for failure in part.failures[:3]:
        print(laboratory.in_full(failure), end="\n\n")
    for failure in part.failures[3:100]:
        print(f"seed {failure.seed}: {failure.told[0]}", flush=True)


def _tell(seed: int) -> int:
    from tests.faults.checker import check
    from tests.faults.runner import run
    from tests.faults.story import story

    ran = run(seed)
    violations = check(ran)
    print(story(ran, violations))
    return 1 if violations else 0


def _mutate(names: list[str], *, jobs: int, seeds: int, afresh: bool) -> int:
    chosen = [mutations.named(name) for name in names] or mutations.MUTATIONS
    alive = 0
    for mutation, killed in mutations.kill_all(chosen, jobs=jobs, seeds=seeds, afresh=afresh):
        alive += killed is None
        print(
            f"{mutation.name:34} " + ("ALIVE" if killed is None else f"seed {killed.seed:4}: {killed.told[0][:150]}"),
            flush=True,
        )
    print(f"{len(chosen) - alive} of {len(chosen)} found")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
