"""Hears where speech begins and ends, by energy: values in, values out.

The service's own detection is a model; this is a threshold above the noise floor. It is deterministic, needs no
dependency beyond numpy, and ends a turn as the service does: by silence that it hears, or by being told that the
stream ended (docs/protocol.md 7).
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

import attrs

from gemlive.audio import INPUT_RATE_HZ, SAMPLE_WIDTH_BYTES

FRAME_MS = 20
_FRAME_BYTES = INPUT_RATE_HZ * FRAME_MS // 1000 * SAMPLE_WIDTH_BYTES

# Levels are root mean squares of 16-bit samples. A quiet room at a headset is near 30, speech from 500 up.
_QUIETEST_FLOOR = 30.0
_LOUDEST_FLOOR = 1200.0
_FLOOR_FALL = 0.5  # a quieter frame pulls the floor down at once ...
_FLOOR_RISE = 0.02  # ... a louder one lifts it slowly, so that a word does not become the floor
# Nor is the floor below the quietest frame of the last half minute. Speech has its pauses; a fan that is switched on
# has none, and counts as speech until then only.
_BLOCK_FRAMES = 1000 // FRAME_MS
_BLOCKS = 30

PREFIX_PADDING_MS = 40
"""Speech needed before it counts as begun, where the client does not say; two frames, so that a click is not speech."""

SILENCE_DURATION_MS = {"HIGH": 500, "LOW": 800}
"""Silence that ends speech by end sensitivity, where the client does not say; 500 to 800 ms are in use in the field
(docs/protocol.md 3.3)."""

ABOVE_FLOOR = {"HIGH": 3.0, "LOW": 5.0}
"""How far above the noise floor speech is, by start sensitivity."""

MAX_SPEECH_S = 300
"""The longest utterance that is kept; beyond it the oldest audio is forgotten, and counted. 9.6 MB a connection."""

MAX_SPEECH_BYTES = MAX_SPEECH_S * INPUT_RATE_HZ * SAMPLE_WIDTH_BYTES

_PRE_ROLL_MS = 100  # what is kept from before the onset: the consonant that was too quiet to cross the threshold


@attrs.frozen
class SpeechStarted:
    """Speech began.

    Attributes:
        offset_s: seconds of audio since the stream began.
    """

    offset_s: float


@attrs.frozen
class SpeechEnded:
    """Speech ended.

    Attributes:
        offset_s: seconds of audio since the stream began.
        pcm: what was said, 16 kHz, with a little from before the onset and without the silence that ended it.
        duration_s: how long it was, from onset to the last loud frame.
    """

    offset_s: float
    pcm: bytes = attrs.field(repr=lambda pcm: f"<{len(pcm)} bytes>")
    duration_s: float


Hearing: TypeAlias = SpeechStarted | SpeechEnded


class Ear:
    """Follows one stream of 16 kHz audio.

    ``dropped_bytes`` counts what was forgotten of utterances longer than ``MAX_SPEECH_S``.

    Args:
        prefix_padding_ms: speech needed before it counts as begun.
        silence_duration_ms: silence that ends it.
        above_floor: how many times the noise floor speech is.
    """

    def __init__(
        self,
        *,
        prefix_padding_ms: int = PREFIX_PADDING_MS,
        silence_duration_ms: int = SILENCE_DURATION_MS["HIGH"],
        above_floor: float = ABOVE_FLOOR["HIGH"],
    ) -> None:
        self.dropped_bytes = 0
        self._needed = max(1, -(-prefix_padding_ms // FRAME_MS))
        self._patience = max(1, -(-silence_duration_ms // FRAME_MS))
        self._above_floor = above_floor
        self._floor = _QUIETEST_FLOOR
        self._minima: deque[float] = deque(maxlen=_BLOCKS)  # of each second
        self._rest = bytearray()  # less than a frame
        self._frames = 0  # since the stream began
        self._kept = bytearray()  # pre-roll, or the utterance so far
        self._loud_run = 0
        self._quiet_run = 0
        self._started_at: int | None = None  # frame number of the onset

    @property
    def hears_speech(self) -> bool:
        """Whether speech has begun and not ended."""
        return self._started_at is not None

    def feed(self, pcm: bytes) -> list[Hearing]:
        """Takes the next audio, of any length, and returns what it brought."""
        self._rest += pcm
        whole = len(self._rest) // _FRAME_BYTES * _FRAME_BYTES
        if not whole:
            return []
        taken = bytes(self._rest[:whole])
        del self._rest[:whole]
        heard: list[Hearing] = []
        for index, level in enumerate(_levels(taken)):
            heard += self._frame(taken[index * _FRAME_BYTES : (index + 1) * _FRAME_BYTES], level)
        return heard

    def finish(self) -> list[Hearing]:
        """Ends the stream for now: what is being said has been said. The next audio opens it again."""
        self._rest.clear()
        self._loud_run = 0
        return [self._ended()] if self.hears_speech else []

    def _frame(self, pcm: bytes, level: float) -> list[Hearing]:
        self._frames += 1
        is_loud = level > max(self._floor, self._quietest(level)) * self._above_floor
        if not is_loud:
            rate = _FLOOR_FALL if level < self._floor else _FLOOR_RISE
            self._floor = min(max(self._floor + (level - self._floor) * rate, _QUIETEST_FLOOR), _LOUDEST_FLOOR)
        self._loud_run = self._loud_run + 1 if is_loud else 0
        self._quiet_run = 0 if is_loud else self._quiet_run + 1
        self._keep(pcm)
        if not self.hears_speech and self._loud_run >= self._needed:
            self._started_at = self._frames - self._loud_run
            return [SpeechStarted(_seconds(self._started_at))]
        if self.hears_speech and self._quiet_run >= self._patience:
            return [self._ended()]
        return []

    def _quietest(self, level: float) -> float:
        """Returns the level of the quietest frame of the last half minute, this one included; 0 before that is full."""
        if self._frames % _BLOCK_FRAMES == 1:
            self._minima.append(level)
        self._minima[-1] = min(self._minima[-1], level)
        return min(self._minima) if len(self._minima) == _BLOCKS else 0

    def _keep(self, pcm: bytes) -> None:
        self._kept += pcm
        most = MAX_SPEECH_S * 1000 if self.hears_speech else _PRE_ROLL_MS + self._loud_run * FRAME_MS
        excess = len(self._kept) - most // FRAME_MS * _FRAME_BYTES
        if excess > 0:
            del self._kept[:excess]
            if self.hears_speech:
                self.dropped_bytes += excess

    def _ended(self) -> SpeechEnded:
        assert self._started_at is not None
        last_loud = self._frames - self._quiet_run
        pcm = bytes(self._kept[: len(self._kept) - self._quiet_run * _FRAME_BYTES])
        ended = SpeechEnded(_seconds(last_loud), pcm, _seconds(last_loud - self._started_at))
        self._started_at = None
        self._kept.clear()
        self._quiet_run = 0
        return ended


def _seconds(frames: int) -> float:
    return frames * FRAME_MS / 1000


def _levels(pcm: bytes) -> list[float]:
    """Returns the root mean square of each whole frame."""
    import numpy as np

    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32).reshape(-1, _FRAME_BYTES // SAMPLE_WIDTH_BYTES)
    levels: list[float] = np.sqrt(np.mean(samples * samples, axis=1)).tolist()
    return levels
