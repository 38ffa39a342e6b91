"""When things are said: at once, or as the service spaces them."""

from __future__ import annotations

import attrs
import trio

# Measured on 3.1: 10.56 s of audio had generationComplete after 4.3 s and turnComplete after 12.0 s, which was the time
# of the first audio plus its length (docs/protocol.md 5). So the first audio came after 1.44 s, and the audio was
# produced 3.7 times as fast as it plays.
FIRST_OUTPUT_S = 1.44
FASTER_THAN_PLAYED = 3.7
INTERRUPTED_TO_COMPLETE_S = 0.08  # 60 to 100 ms


@attrs.frozen
class Pace:
    """The spacing of one server.

    Attributes:
        is_real: whether the service's timing is kept; otherwise nothing waits.
    """

    is_real: bool

    async def until(self, time: float) -> None:
        """Waits until a time of trio's clock, or not at all."""
        if self.is_real:
            await trio.sleep_until(time)
        else:
            await trio.lowlevel.checkpoint()

    async def pause(self, duration_s: float) -> None:
        """Waits for some seconds, or not at all."""
        await self.until(trio.current_time() + duration_s)
