from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gemlive.codec import structure
from gemlive.emulator import _listener
from gemlive.emulator._ear import Hearing, SpeechEnded, SpeechStarted
from gemlive.emulator._listener import Listener
from gemlive.emulator._route import Backend
from gemlive.types import Setup

SECOND = (np.sin(np.arange(16000) / 9) * 6000).astype("<i2").tobytes()
QUIET = (np.sin(np.arange(16000) / 9) * 180).astype("<i2").tobytes()
SILENCE = bytes(32000)


def listener(backend: Backend = "google_ai", **detection: Any) -> Listener:
    config = {"automaticActivityDetection": detection} if detection else {}
    return Listener(backend, structure(Setup, {"model": "m", "realtimeInputConfig": config}))


def kinds(hearings: list[Hearing]) -> list[type[Hearing]]:
    return [type(hearing) for hearing in hearings]


def test_in_automatic_mode_the_ear_decides() -> None:
    found = listener().audio(SILENCE + SECOND + SILENCE)
    assert kinds([*found]) == [SpeechStarted, SpeechEnded]


def test_in_automatic_mode_the_stream_can_end() -> None:
    hearing = listener()
    hearing.audio(SECOND)
    assert hearing.hears_speech
    assert kinds([*hearing.stream_end()]) == [SpeechEnded]
    assert not hearing.hears_speech


def test_in_manual_mode_the_marks_decide_and_other_audio_only_moves_the_offset() -> None:
    hearing = listener(disabled=True)
    assert list(hearing.audio(SECOND)) == []
    assert list(hearing.activity_start()) == [SpeechStarted(1.0)]
    assert list(hearing.activity_start()) == []
    assert list(hearing.audio(SECOND)) == []
    assert list(hearing.activity_end()) == [SpeechEnded(2.0, SECOND, 1.0)]
    assert list(hearing.activity_end()) == []
    assert list(hearing.stream_end()) == []


def test_vertex_is_less_sensitive_unless_asked() -> None:
    pcm = SILENCE + QUIET + SILENCE
    assert listener("google_ai").audio(pcm) != []
    assert listener("vertex").audio(pcm) == []
    assert listener("vertex", startOfSpeechSensitivity="START_SENSITIVITY_HIGH").audio(pcm) != []
    assert listener("google_ai", startOfSpeechSensitivity="START_SENSITIVITY_LOW").audio(pcm) == []


def test_a_sensitivity_that_nobody_knows_is_the_usual_one() -> None:
    assert listener("google_ai", startOfSpeechSensitivity="START_SENSITIVITY_TRIPLE").audio(SILENCE + QUIET) != []


def test_an_activity_beyond_the_longest_loses_its_beginning_and_counts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_listener, "MAX_SPEECH_BYTES", 40_000)
    hearing = listener(disabled=True)
    hearing.activity_start()
    hearing.audio(SILENCE)
    hearing.audio(SECOND)
    (ended,) = hearing.activity_end()
    assert isinstance(ended, SpeechEnded)
    assert (len(ended.pcm), hearing.dropped_bytes) == (40_000, 24_000)
    assert ended.pcm.endswith(SECOND)
