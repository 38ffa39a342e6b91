"""How hard a session tries to stay alive, as a value, and the arithmetic of waiting between tries.

The delays are full jitter: uniform between zero and a bound that doubles. A thousand clients that lost the same server
then come back spread out and not in waves. The rolling budget exists because a counter of consecutive failures alone
never reaches its limit with a server that accepts each connection and drops it at once.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Literal

import attrs

from gemlive.errors import ConfigError


@attrs.frozen(kw_only=True)
class ReconnectPolicy:
    """What a session does when a connection ends that it still needs.

    Attributes:
        base_s: bound of the first delay, in seconds; each further one doubles it.
        cap_s: bound that no delay exceeds, in seconds.
        attempts: tries in a row before the session is lost. 0 switches reconnecting off.
        window_s: length of the rolling window, in seconds.
        window_attempts: tries within the window before the session is lost, however many of them succeeded.
        lost_context: what to do when the server refuses to resume: ``"fresh"`` goes on without a memory and says so
            (``Reconnected(resumed=False)``), ``"fail"`` ends the session.
        uncertain: what to do with messages that may or may not have taken effect: ``"report"`` lists them in
            ``Reconnected``, ``"replay"`` sends them again (at least once), ``"drop"`` forgets them (at most once).
        first_dial: whether the first dial follows this policy too. False: it is made once and fails at once, since a
            program that starts with a wrong key should hear of it immediately.
    """

    base_s: float = 0.5
    cap_s: float = 30
    attempts: int = 10
    window_s: float = 600
    window_attempts: int = 20
    lost_context: Literal["fresh", "fail"] = "fresh"
    uncertain: Literal["report", "replay", "drop"] = "report"
    first_dial: bool = False

    def __attrs_post_init__(self) -> None:
        """Raises :class:`ConfigError` for a number that makes no sense."""
        for name in ("base_s", "cap_s", "window_s"):
            value = getattr(self, name)
            if not value >= 0 or (name != "window_s" and math.isinf(value)):
                raise ConfigError(f"reconnect.{name}", f"must be a number of seconds, 0 or more, not {value!r}")
        for name in ("attempts", "window_attempts"):
            if getattr(self, name) < 0:
                raise ConfigError(f"reconnect.{name}", f"must be 0 or more, not {getattr(self, name)!r}")
        if self.lost_context not in ("fresh", "fail"):
            raise ConfigError("reconnect.lost_context", f"must be 'fresh' or 'fail', not {self.lost_context!r}")
        if self.uncertain not in ("report", "replay", "drop"):
            raise ConfigError("reconnect.uncertain", f"must be 'report', 'replay' or 'drop', not {self.uncertain!r}")


class Budget:
    """Counts the tries of one session against its policy. Pure: time and chance come in as values."""

    def __init__(self, policy: ReconnectPolicy, uniform: Callable[[float, float], float]) -> None:
        self._policy = policy
        self._uniform = uniform
        self._row = 0
        self._window: deque[float] = deque()

    @property
    def attempt(self) -> int:
        """The number of tries since the last success."""
        return self._row

    def succeeded(self) -> None:
        """Starts the row anew; what is in the window stays there."""
        self._row = 0

    def spend(self, now: float, *, floor_s: float = 0.0, at_once: bool = False) -> float | None:
        """Returns the seconds to wait before the next try, or None when there is none left.

        Args:
            now: the time, in seconds of any monotonic clock.
            floor_s: the least to wait, for a server that named a time.
            at_once: no waiting: a planned hand-over, not a failure.
        """
        while self._window and self._window[0] <= now - self._policy.window_s:
            self._window.popleft()
        if self._row >= self._policy.attempts or len(self._window) >= self._policy.window_attempts:
            return None
        bound = min(self._policy.cap_s, self._policy.base_s * 2.0 ** min(self._row, 60))
        self._row += 1
        self._window.append(now)
        return floor_s if at_once else max(floor_s, self._uniform(0.0, bound))
