"""Whether the peer is still there: silence is answered with a Ping, and silence after that is the end.

Any inbound byte is life, so a peer that streams audio is never asked, and one whose pongs take half a minute is not
given up. Time during which we ourselves did not read counts for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import trio


class Watched(Protocol):
    """What is watched: when the peer was last heard, and whether anybody listens."""

    last_inbound: float
    heard: trio.Event

    @property
    def is_reading(self) -> bool:
        """Whether a read is under way."""


async def wait_for_silence(peer: Watched, ping: Callable[[], None], *, ping_interval_s: float, pong_s: float) -> float:
    """Returns when the peer has been silent for too long, and for how many seconds it was.

    Args:
        peer: what is watched.
        ping: asks the peer for a sign of life, without waiting.
        ping_interval_s: the silence in seconds after which it is asked; infinity never asks and never ends.
        pong_s: the further silence in seconds after which it counts as gone; infinity only asks.
    """
    while True:
        await trio.sleep_until(peer.last_inbound + ping_interval_s)
        if trio.current_time() < peer.last_inbound + ping_interval_s:
            continue
        peer.heard = trio.Event()
        ping()
        with trio.move_on_after(pong_s):
            await peer.heard.wait()
        # After a program has blocked the event loop, deadline and bytes are found at the same moment: bytes first.
        await trio.lowlevel.checkpoint()
        if not peer.heard.is_set() and peer.is_reading:  # else it is we who did not listen
            return trio.current_time() - peer.last_inbound
