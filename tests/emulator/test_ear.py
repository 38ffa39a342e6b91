from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gemlive.emulator._ear import ABOVE_FLOOR, MAX_SPEECH_S, Ear, Hearing, SpeechEnded, SpeechStarted


def tone(duration_s: float, *, amplitude: int = 6000) -> bytes:
    return (np.sin(np.arange(int(duration_s * 16000)) / 9) * amplitude).astype("<i2").tobytes()


def silence(duration_s: float) -> bytes:
    return bytes(int(duration_s * 16000) * 2)


def hum(duration_s: float, *, amplitude: int) -> bytes:
    return (np.random.default_rng(7).normal(0, amplitude, int(duration_s * 16000))).astype("<i2").tobytes()


def heard(pcm: bytes, ear: Ear | None = None, *, chunk: int = 640) -> list[Hearing]:
    ear = ear or Ear()
    return [event for start in range(0, len(pcm), chunk) for event in ear.feed(pcm[start : start + chunk])]


def test_speech_begins_at_its_onset_and_ends_by_the_silence_after_it() -> None:
    started, ended = heard(silence(1) + tone(2) + silence(1))
    assert started == SpeechStarted(1.0)
    assert isinstance(ended, SpeechEnded)
    assert (ended.offset_s, ended.duration_s) == (3.0, 2.0)


def test_what_was_said_is_kept_with_a_little_from_before_and_without_the_silence_after() -> None:
    (_, ended) = heard(silence(1) + tone(2) + silence(1))
    assert isinstance(ended, SpeechEnded)
    assert 2.0 < len(ended.pcm) / 32000 <= 2.12
    assert ended.pcm.endswith(tone(2))


def test_silence_alone_is_not_speech() -> None:
    assert heard(silence(30)) == []


def test_steady_noise_is_not_speech_once_it_is_known() -> None:
    (started, ended) = heard(hum(2, amplitude=80) + tone(1) + hum(2, amplitude=80))
    assert isinstance(started, SpeechStarted)
    assert isinstance(ended, SpeechEnded)
    assert started.offset_s == 2.0
    assert ended.duration_s == 1.0


def test_noise_is_followed_as_it_grows() -> None:
    assert heard(b"".join(hum(4, amplitude=amplitude) for amplitude in (40, 70, 120, 200))) == []


def test_loud_noise_that_never_pauses_is_speech_for_half_a_minute_only() -> None:
    ear = Ear()
    (started, ended) = heard(hum(60, amplitude=1000), ear)
    assert (started, type(ended)) == (SpeechStarted(0.0), SpeechEnded)
    assert 29 <= ended.offset_s <= 31
    assert [type(event) for event in heard(tone(1, amplitude=20000) + hum(2, amplitude=1000), ear)] == [
        SpeechStarted,
        SpeechEnded,
    ]


def test_a_click_is_not_speech() -> None:
    assert heard(silence(1) + tone(0.02) + silence(2)) == []


def test_a_pause_within_speech_does_not_end_it() -> None:
    events = heard(tone(1) + silence(0.3) + tone(1) + silence(1))
    assert [type(event) for event in events] == [SpeechStarted, SpeechEnded]


def test_a_shorter_patience_ends_speech_at_the_same_pause() -> None:
    events = heard(tone(1) + silence(0.3) + tone(1) + silence(1), Ear(silence_duration_ms=100))
    assert [type(event) for event in events] == [SpeechStarted, SpeechEnded] * 2


def test_quiet_speech_is_heard_with_high_sensitivity_only() -> None:
    quiet = silence(1) + tone(1, amplitude=180) + silence(1)
    assert heard(quiet, Ear(above_floor=ABOVE_FLOOR["HIGH"])) != []
    assert heard(quiet, Ear(above_floor=ABOVE_FLOOR["LOW"])) == []


def test_the_end_of_the_stream_ends_speech() -> None:
    ear = Ear()
    heard(tone(1), ear)
    (ended,) = ear.finish()
    assert isinstance(ended, SpeechEnded)
    assert ended.duration_s == 1.0
    assert ear.finish() == []


def test_speech_beyond_the_longest_loses_its_beginning_and_counts_it() -> None:
    ear = Ear()
    second = tone(0.8) + silence(0.2)
    for _ in range(MAX_SPEECH_S + 10):
        ear.feed(second)
    (ended,) = ear.finish()
    assert isinstance(ended, SpeechEnded)
    assert (len(ended.pcm), ear.dropped_bytes) == ((MAX_SPEECH_S - 0.2) * 32000, 10 * 32000)


@given(cuts=st.lists(st.integers(1, 5000), min_size=1, max_size=30))
def test_how_the_audio_is_cut_makes_no_difference(cuts: list[int]) -> None:
    pcm = silence(0.5) + tone(0.7) + silence(0.8) + tone(0.4) + silence(0.6)
    whole = Ear().feed(pcm)
    ear, start, events = Ear(), 0, list[Hearing]()
    for cut in cuts:
        events += ear.feed(pcm[start : start + cut])
        start += cut
    assert events + ear.feed(pcm[start:]) == whole
