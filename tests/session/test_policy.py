"""How long a session waits between tries, and when it stops trying."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemlive.errors import ConfigError
from gemlive.session._policy import Budget, ReconnectPolicy


def longest(low: float, high: float) -> float:
    return high


def test_the_bound_of_the_delay_doubles_up_to_the_cap() -> None:
    budget = Budget(ReconnectPolicy(base_s=0.5, cap_s=3), longest)
    assert [budget.spend(0.0) for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_the_delay_is_drawn_from_zero_to_the_bound() -> None:
    asked: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        asked.append((low, high))
        return 0.25

    budget = Budget(ReconnectPolicy(base_s=0.5), draw)
    assert budget.spend(0.0) == 0.25
    assert asked == [(0.0, 0.5)]


def test_a_row_of_failures_ends_at_its_limit() -> None:
    budget = Budget(ReconnectPolicy(attempts=2), longest)
    assert [budget.spend(0.0), budget.spend(0.0), budget.spend(0.0)] == [0.5, 1.0, None]


def test_a_success_starts_the_row_anew() -> None:
    budget = Budget(ReconnectPolicy(attempts=1), longest)
    budget.spend(0.0)
    budget.succeeded()
    assert budget.spend(1.0) == 0.5


def test_a_server_that_accepts_and_drops_cannot_reset_the_window() -> None:
    budget = Budget(ReconnectPolicy(window_attempts=3, window_s=600), longest)
    delays = []
    for second in range(5):
        delays.append(budget.spend(float(second)))
        budget.succeeded()
    assert delays == [0.5, 0.5, 0.5, None, None]


def test_what_fell_out_of_the_window_does_not_count() -> None:
    budget = Budget(ReconnectPolicy(window_attempts=1, window_s=10), longest)
    budget.spend(0.0)
    budget.succeeded()
    assert budget.spend(9.9) is None
    assert budget.spend(10.0) == 0.5


def test_a_server_that_names_a_time_is_given_it() -> None:
    assert Budget(ReconnectPolicy(), longest).spend(0.0, floor_s=7.0) == 7.0


def test_a_planned_hand_over_does_not_wait() -> None:
    assert Budget(ReconnectPolicy(), longest).spend(0.0, at_once=True) == 0.0


@given(st.integers(0, 2**32), st.integers(1, 200))
def test_no_delay_is_ever_above_the_cap(seed: int, tries: int) -> None:
    policy = ReconnectPolicy(attempts=200, window_attempts=200)
    budget = Budget(policy, random.Random(seed).uniform)
    for _ in range(tries):
        delay = budget.spend(0.0)
        assert delay is not None
        assert 0 <= delay <= policy.cap_s


@pytest.mark.parametrize(
    ("field", "value"),
    [("base_s", -1), ("cap_s", float("inf")), ("window_s", float("nan")), ("attempts", -1), ("lost_context", "no")],
)
def test_a_wrong_number_names_itself(field: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        ReconnectPolicy(**{field: value})  # type: ignore[arg-type]
    assert caught.value.field == f"reconnect.{field}"
