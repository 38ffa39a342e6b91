"""Say a recording to a session and hear the answer: what ``demo`` and ``say`` share.

Data flow::

    recording --paced--> session --> events --> Output
                                       '------> Hearing (is it over?)
"""

from __future__ import annotations

import math
import sys
from array import array

import trio

from gemlive import audio
from gemlive.audio import Wav
from gemlive.cli._exit import Failure
from gemlive.cli._hearing import SETTLE_S, Hearing
from gemlive.cli._output import Line, Output
from gemlive.session import Receipt, Session
from gemlive.types import Event

_SILENCE_S = 1.0
"""Silence that a server's detection gets to hear after the last word. It ends a turn by that, and one family was
reported to heed nothing else (docs/protocol.md 7)."""

_CHUNK_MS = 20
_UNPACED_CHUNK_MS = 100
_LOUD = 0.1  # of the peak: below it lies what a microphone hears of a quiet room


class Speaking:
    """Recordings on their way, one after the other, and what comes back."""

    def __init__(self, session: Session, output: Output, *, timeout_s: float) -> None:
        """``timeout_s``: how long the model may be silent once all was sent."""
        self._session = session
        self._output = output
        self._timeout_s = timeout_s
        self._waiting = trio.CancelScope()
        self._is_sent = False
        self._last_event = self._last_progress = math.inf  # counts only once all is sent
        self._sent_s = self._loud_s = self._total_s = 0.0
        self.hearing = Hearing(transcribes_only=session.family.speech_to_text_only)

    async def run(self, wav: Wav, *, pace: bool) -> Hearing:
        """Sends a recording, shows every event meanwhile, and returns when the answer is complete.

        What is heard adds up over several recordings.

        Args:
            wav: what to say.
            pace: send it as fast as it is spoken; False: as fast as the connection takes it.

        Raises:
            Failure: the model said nothing for too long, or the server ended the session.
            SessionLost: from the session's block, as always.
        """
        self.hearing.begin()
        self._sent_s = 0.0
        self._is_sent = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, wav, pace)
            await self._listen()
            nursery.cancel_scope.cancel()
        # Out here, so that one failure does not become a group.
        if not self.hearing.has_answer:
            raise Failure(self._why_not())
        return self.hearing

    async def _send(self, wav: Wav, pace: bool) -> None:
        quiet_s = audio.duration_s(len(wav.pcm) - loud_end(wav.pcm), rate_hz=wav.rate_hz)
        pcm = wav.pcm + bytes(audio.bytes_for(max(_SILENCE_S - quiet_s, 0), rate_hz=wav.rate_hz))
        total_s = audio.duration_s(pcm, rate_hz=wav.rate_hz)
        self._total_s, self._loud_s = total_s, total_s - max(_SILENCE_S, quiet_s)
        manner = "as fast as it is spoken" if pace else "at once"
        self._output.report(
            "sending", Line("sending", f"{total_s:.1f} s of speech, {manner}"), duration_s=round(total_s, 3), pace=pace
        )
        try:
            if pace:
                async for chunk in audio.paced(pcm, rate_hz=wav.rate_hz, chunk_ms=_CHUNK_MS):
                    await self._send_chunk(chunk, wav.rate_hz)
            else:
                for chunk in audio.chunks(pcm, rate_hz=wav.rate_hz, chunk_ms=_UNPACED_CHUNK_MS):
                    receipt = await self._send_chunk(chunk, wav.rate_hz)
                    await receipt.written()  # or the session would drop what its queue cannot hold
            await self._session.audio_stream_end()
        except trio.ClosedResourceError:
            return  # the server ended the session; the listener says so
        self._output.report("sent", Line("sent", "all of it"))
        self._is_sent = True
        self._last_event = self._last_progress = trio.current_time()
        self._waiting.deadline = self._deadline()

    async def _send_chunk(self, chunk: bytes, rate_hz: int) -> Receipt:
        receipt = await self._session.send_audio_at_rate(chunk, rate_hz)
        self._sent_s += audio.duration_s(chunk, rate_hz=rate_hz)
        self.hearing.all_speech_sent = self._sent_s >= self._loud_s
        self._output.progress("sending", self._sent_s, self._total_s)
        return receipt

    async def _listen(self) -> None:
        while True:
            with trio.CancelScope(deadline=self._deadline()) as self._waiting:
                try:
                    event = await self._session.receive()
                except trio.EndOfChannel:
                    break
            if self._waiting.cancelled_caught:
                break
            self._output.show(event)
            self._take(event)

    def _take(self, event: Event) -> None:
        progress = self.hearing.progress
        self.hearing.take(event)
        if self._is_sent:
            self._last_event = trio.current_time()
            if self.hearing.progress != progress:
                self._last_progress = self._last_event

    def _deadline(self) -> float:
        if not self._is_sent:
            return math.inf
        if self.hearing.is_answered:
            return self._last_event + SETTLE_S
        return self._last_progress + self._timeout_s

    def _why_not(self) -> str:
        if self._waiting.cancelled_caught:
            return (
                f"the model said nothing for {self._timeout_s:g} s; check that there is speech in the recording, "
                "or give it longer with --timeout"
            )
        return "the server ended the session before the answer was complete; try again"


def loud_end(pcm: bytes) -> int:
    """Returns where the last loud sample of s16le PCM ends, in bytes; 0 if it is all silence."""
    samples = array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    if not samples:
        return 0
    limit = max(_LOUD * max(max(samples), -min(samples)), 1)
    for index in range(len(samples) - 1, -1, -1):
        if abs(samples[index]) >= limit:
            return (index + 1) * audio.SAMPLE_WIDTH_BYTES
    return 0


__all__ = ["Speaking", "loud_end"]
