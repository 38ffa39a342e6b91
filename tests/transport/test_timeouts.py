"""Deadlines are checked where they are written down."""

from __future__ import annotations

import math

import pytest

from gemlive.errors import ConfigError
from gemlive.transport._timeouts import Timeouts


def test_the_defaults_are_the_promised_ones() -> None:
    assert Timeouts() == Timeouts(
        dns_s=5, tcp_s=10, proxy_s=10, tls_s=10, upgrade_s=10, setup_s=15, close_s=5, ping_interval_s=20, pong_s=45
    )


def test_infinity_switches_a_deadline_off() -> None:
    assert Timeouts(pong_s=math.inf).pong_s == math.inf


@pytest.mark.parametrize("value", [0, -1, math.nan, -math.inf, "5", None, True])
def test_what_is_no_duration_is_refused(value: float) -> None:
    with pytest.raises(ConfigError) as caught:
        Timeouts(close_s=value)
    assert caught.value.field == "timeouts.close_s"
