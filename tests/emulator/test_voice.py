from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemlive.audio import rms
from gemlive.emulator._voice import resample, synthesise


def test_the_same_words_sound_the_same() -> None:
    assert synthesise("The weather in Oslo.") == synthesise("The weather in Oslo.")


def test_other_words_sound_otherwise() -> None:
    assert synthesise("Oslo") != synthesise("Rome")


def test_words_take_about_as_long_as_a_person_takes() -> None:
    text = "The quick brown fox jumps over the lazy dog, and nobody minds."  # about four seconds when read aloud
    assert 3 < len(synthesise(text)) / 48000 < 6


def test_words_are_not_silent() -> None:
    assert rms(synthesise("hello")) > 1000


def test_no_words_are_no_sound() -> None:
    assert synthesise("") == b""
    assert synthesise(" \n") == b""


@given(st.text(max_size=40))
def test_any_text_has_a_sound_of_whole_samples(text: str) -> None:
    assert len(synthesise(text)) % 2 == 0


def test_a_tone_keeps_its_pitch_at_another_rate() -> None:
    tone = (np.sin(np.arange(16000) * 2 * np.pi * 440 / 16000) * 8000).astype("<i2").tobytes()
    faster = np.frombuffer(resample(tone, from_hz=16000, to_hz=24000), dtype="<i2")
    assert len(faster) == 24000
    assert np.argmax(np.abs(np.fft.rfft(faster))) == 440


@pytest.mark.parametrize("pcm", [b"", b"\x01", b"\x01\x02", b"\x01\x02\x03"])
def test_less_than_a_few_samples_are_resampled_without_complaint(pcm: bytes) -> None:
    assert len(resample(pcm, from_hz=16000, to_hz=24000)) == len(pcm) // 2 * 3 // 2 * 2
