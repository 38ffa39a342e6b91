"""Tells a run in words: the plan, then everything that happened in the order of time, then what was wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.faults.checker import Case, Violation
from tests.faults.record import Run, Seen
from tests.faults.schedule import in_words

_WIDE = 300


def story(run: Run, violations: Sequence[Violation]) -> str:
    """Returns the whole story of a run."""
    lines = sorted(_lines(Case(run)), key=lambda line: line[0])  # stable: what is simultaneous keeps its place
    told = [f"{at:10.4f}  {text}" for at, text in lines]
    outcome = run.outcome
    came_out = f"came out: {outcome.name} {outcome.told}" if outcome.name else "nothing came out"
    met = ", ".join(f"{kind} while {status}" for kind, status in run.met) or "nothing"
    end = [f"{came_out}; met: {met}", *(f"VIOLATION {violation}" for violation in violations)]
    return "\n".join([in_words(run.plan), "", *told, "", *end, *([f"HUNG: {run.hung}"] if run.hung else [])])


def _lines(case: Case) -> Iterator[tuple[float, str]]:
    run = case.run
    for dial in run.dials:
        yield dial.at, f"DIAL {dial.ordinal} (the emulator's connection {dial.number})"
        for message in case.wire[dial.ordinal]:
            notes = ("" if message.is_received else ", never read") + ("" if message.is_passed else ", not all of it")
            handle = f" with handle {case.setups.get(dial.ordinal)}" if message.key == "setup" else ""
            yield message.at, f"  -> {message.key}{handle} (dial {dial.ordinal}, message {message.index}{notes})"
        if dial.cut_at is not None:
            yield dial.cut_at, f"CUT dial {dial.ordinal}"
        if dial.went_silent_at is not None:
            yield dial.went_silent_at, f"SILENCE on dial {dial.ordinal}"
        if dial.closed_at is not None:
            yield dial.closed_at, f"CLOSED dial {dial.ordinal} by the client"
    for record in run.connections:
        if record.closed_at is not None:
            yield (
                record.closed_at,
                f"the emulator's connection {record.number} ended by {record.closed_by}: {record.close}",
            )
    for sent in run.sent:
        order = f" as number {sent.order}" if sent.order else ""
        end = f"; ended {sent.state} {sent.reason}" if sent.state else ""
        call = f" for {sent.call_id}" if sent.call_id else ""
        yield sent.at, f"send {sent.kind} {sent.key}{call}: {sent.outcome}{order} (called at {sent.asked_at:.4f}){end}"
    for event in run.events:
        yield event.at, _told(event)
    for asked in run.asked:
        yield run.exited_at, f"asked {asked.key}: {asked.state} {asked.said!r}"
    for at, by in run.jumps:
        yield at, f"JUMP by {by} s"
    if run.left_at is not None:
        yield run.left_at, "LEAVING"
    yield run.exited_at, "LEFT"


def _told(event: Seen) -> str:
    values = ", ".join(f"{name}={value!r}" for name, value in event.values.items() if value is not None)
    return f"<- {event.kind} [{event.connection}.{event.turn}.{event.response}] {values}"[:_WIDE]
