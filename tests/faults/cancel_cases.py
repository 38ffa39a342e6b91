"""The table of how every public coroutine is called.

One point by itself: ``python -m tests.faults.cancel_cases session.Session.send_text blocked waiting 2``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.faults.cancel_opening import OPENING
from tests.faults.cancel_points import Case, Point, Row, Where, explore, play
from tests.faults.cancel_server import ON_SERVER
from tests.faults.cancel_session import ON_SESSION

GROUPS: dict[str, dict[str, Case]] = {
    "on a session": {**ON_SESSION},
    "opening and transport": {**OPENING},
    "on a server": {**ON_SERVER},
}
CASES: dict[str, Case] = {name: case for group in GROUPS.values() for name, case in group.items()}

UNCANCELLABLE = {
    "emulator.Server.leave": "it is shielded, and bounded by the time that closing may take",
    "emulator.Turn.drop": "it ends the connection, and is cancelled with everything that belongs to it",
    "emulator.Turn.close": "it ends the connection, and is cancelled with everything that belongs to it",
    "emulator.Turn.open_wire": "this family begins with nothing, and it is the dialogue that calls it",
}
"""Coroutines that need not be checkpoints, and why. They are cancelled at every point all the same."""


def jobs(group: str) -> list[tuple[str, Where]]:
    """Returns everything of a group that is to be played."""
    return [(name, where) for name, case in GROUPS[group].items() for where in case.where]


def explored(name: str, where: Where) -> Row:
    """Cancels a case of the table at one point after another until there is none left."""
    return explore(name, CASES[name], where)


def main(arguments: Sequence[str]) -> None:
    """Plays one point and says what came of it."""
    name, where, mode, *number = arguments
    trial = play(CASES[name], where, Point(mode, int(*number) if number else 0))  # type: ignore[arg-type]
    print("fired", trial.instrument.has_fired, "cancelled", trial.was_cancelled, "result", trial.result)
    print("error", repr(trial.error), "\n" + ("\n".join(trial.problems) or "no problem"))


if __name__ == "__main__":
    main(sys.argv[1:])
