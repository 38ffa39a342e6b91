"""Follows the realtime input of one connection and says when speech begins and ends: values in, values out.

In automatic mode an ear decides; in manual mode the client's marks do (docs/protocol.md 3.7). Either way what comes out
is the same, so that the rest need not know which it was.
"""

from __future__ import annotations

from collections.abc import Sequence

from gemlive.audio import INPUT_RATE_HZ, duration_s
from gemlive.emulator._ear import (
    ABOVE_FLOOR,
    MAX_SPEECH_BYTES,
    PREFIX_PADDING_MS,
    SILENCE_DURATION_MS,
    Ear,
    Hearing,
    SpeechEnded,
    SpeechStarted,
)
from gemlive.emulator._route import Backend
from gemlive.types import Setup


class Listener:
    """Takes audio and marks in the order in which they come.

    Args:
        backend: the service that is played: its usual sensitivity is HIGH on Google AI, LOW on Vertex AI.
        setup: says how activity is detected.

    Attributes:
        is_manual: whether the client marks activity itself.
        received_bytes: audio since the stream began, also what was ignored.
        dropped_bytes: what was forgotten of utterances that were too long.
    """

    def __init__(self, backend: Backend, setup: Setup) -> None:
        config = setup.realtime_input_config
        detection = config.automatic_activity_detection if config is not None else None
        self.is_manual = detection is not None and bool(detection.disabled)
        self.received_bytes = 0
        self._ear = _ear(backend, setup)
        self._activity: bytearray | None = None  # what came since activityStart
        self._forgotten_bytes = 0

    @property
    def dropped_bytes(self) -> int:
        """What was forgotten of utterances that were too long."""
        return self._forgotten_bytes + self._ear.dropped_bytes

    @property
    def offset_s(self) -> float:
        """Seconds of audio since the stream began."""
        return duration_s(self.received_bytes, rate_hz=INPUT_RATE_HZ)

    @property
    def hears_speech(self) -> bool:
        """Whether the user is speaking, or says so."""
        return self._activity is not None or self._ear.hears_speech

    def audio(self, pcm: bytes) -> Sequence[Hearing]:
        """Takes s16le mono 16 kHz audio and returns what it brought: in manual mode nothing, the marks decide."""
        self.received_bytes += len(pcm)
        if not self.is_manual:
            return self._ear.feed(pcm)
        if self._activity is not None:
            self._activity += pcm
            excess = max(0, len(self._activity) - MAX_SPEECH_BYTES)
            del self._activity[:excess]
            self._forgotten_bytes += excess
        return ()

    def stream_end(self) -> Sequence[Hearing]:
        """Takes the end of the stream. Only automatic mode has one."""
        return () if self.is_manual else self._ear.finish()

    def activity_start(self) -> Sequence[Hearing]:
        """Takes the mark that the user begins to speak; one inside an activity is ignored."""
        if self._activity is not None:
            return ()
        self._activity = bytearray()
        return [SpeechStarted(self.offset_s)]

    def activity_end(self) -> Sequence[Hearing]:
        """Takes the mark that the user has spoken; one outside of an activity is ignored. The audio may be empty."""
        if self._activity is None:
            return ()
        pcm, self._activity = bytes(self._activity), None
        return [SpeechEnded(self.offset_s, pcm, duration_s(pcm, rate_hz=INPUT_RATE_HZ))]


def _ear(backend: Backend, setup: Setup) -> Ear:
    config = setup.realtime_input_config
    detection = config.automatic_activity_detection if config is not None else None
    usual = "HIGH" if backend == "google_ai" else "LOW"
    if detection is None:
        return Ear(silence_duration_ms=SILENCE_DURATION_MS[usual], above_floor=ABOVE_FLOOR[usual])
    start = _sensitivity(detection.start_of_speech_sensitivity, usual)
    end = _sensitivity(detection.end_of_speech_sensitivity, usual)
    return Ear(
        prefix_padding_ms=_given(detection.prefix_padding_ms, PREFIX_PADDING_MS),
        silence_duration_ms=_given(detection.silence_duration_ms, SILENCE_DURATION_MS[end]),
        above_floor=ABOVE_FLOOR[start],
    )


def _sensitivity(asked: str | None, usual: str) -> str:
    level = (asked or "").rpartition("_")[2]
    return level if level in ABOVE_FLOOR else usual


def _given(value: int | None, usual: int) -> int:
    return usual if value is None else value
