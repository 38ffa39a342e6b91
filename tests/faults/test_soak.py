"""A day under the virtual clock: 144 announced ends, 50 cuts, and nothing lost, repeated or kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.faults.soak import CUTS, GO_AWAYS, HOURS, Counts, allocated_bytes

MAX_GROWTH_BYTES = 2**20
TIME_LIMIT_S = 110
"""The day has two minutes at most, and takes half a minute on a machine that has nothing else to do."""


@pytest.fixture(scope="module")
def day() -> Counts:
    """The counts of one day, played in a process of its own: what pytest keeps is not its memory."""
    arguments = []
    try:
        allocated_bytes()
    except AttributeError:
        arguments.append("--tracemalloc")  # not glibc: slower, and the same question
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.faults.soak", *arguments],
        env={**os.environ, "PYTHONMALLOC": "malloc"},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Counts(**json.loads(done.stdout))


def test_the_day_was_as_long_and_as_hard_as_it_should(day: Counts, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{day}")
    assert (day.go_aways, day.cuts, day.texts_sent, day.audio_sent) == (GO_AWAYS, CUTS, HOURS * 60, HOURS * 3600)
    assert day.spoken >= HOURS * 3600


def test_the_conversation_holds_every_text_once_and_in_order(day: Counts) -> None:
    assert day.complaints == []
    assert day.texts_known == day.texts_sent
    assert day.conversations == 1


def test_every_piece_of_audio_arrived_or_was_counted_as_dropped(day: Counts) -> None:
    # What arrived, and was then forgotten by a server thrown back to an earlier state, may be counted as well.
    assert day.audio_sent - day.audio_received <= day.audio_dropped <= CUTS


def test_the_model_was_heard_but_for_what_a_cut_cost(day: Counts) -> None:
    assert day.spoken - CUTS <= day.heard <= day.spoken


def test_every_hand_over_went_on_from_the_newest_handle(day: Counts) -> None:
    assert day.reconnects == GO_AWAYS + CUTS
    assert day.resumed == day.reconnects


def test_memory_does_not_grow(day: Counts) -> None:
    early, late = day.memory_bytes
    assert abs(late - early) < MAX_GROWTH_BYTES
