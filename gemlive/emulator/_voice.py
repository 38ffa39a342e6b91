"""The sound of the emulator: words as tones, about as long as a person takes to say them.

No words can be made out, and none are meant to be: what counts is that there is a signal, that it has the length and
the rhythm of the text, and that the same text always sounds the same. Speech proper is for an optional part.
"""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Iterator

from gemlive.audio import OUTPUT_RATE_HZ, SAMPLE_WIDTH_BYTES

_SYLLABLE_S = 0.18  # with the pauses below about four and a half syllables a second, as in unhurried speech
_WORD_GAP_S = 0.05
_PAUSE_S = 0.25  # at the end of a clause or sentence
_VOWELS = re.compile(r"[aeiouyäöüàâéèêëîïôûùœæ]+", re.IGNORECASE)
# The first two formants of a vowel in Hz, rounded; enough to tell one syllable from another by ear.
_FORMANTS = {"a": (750, 1250), "e": (550, 1850), "i": (300, 2300), "o": (500, 900), "u": (320, 800)}
_PITCHES_HZ = (105, 118, 132, 148)


def synthesise(text: str) -> bytes:
    """Returns s16le mono 24 kHz audio for ``text``, the same for the same text; empty for no words."""
    return b"".join(_sounds(text))


def resample(pcm: bytes, *, from_hz: int, to_hz: int) -> bytes:
    """Returns s16le mono audio at another rate, by linear interpolation.

    That folds what is above half the lower rate into the audible range when going down, which is why the library's own
    conversion does it otherwise; for playing a caller's voice back from 16 to 24 kHz it is enough.
    """
    import numpy as np

    samples = np.frombuffer(pcm[: len(pcm) // SAMPLE_WIDTH_BYTES * SAMPLE_WIDTH_BYTES], dtype="<i2")
    if from_hz == to_hz or not len(samples):
        return samples.tobytes()
    wanted = np.arange(len(samples) * to_hz // from_hz) * (from_hz / to_hz)
    resampled: bytes = np.interp(wanted, np.arange(len(samples)), samples).astype("<i2").tobytes()
    return resampled


def _sounds(text: str) -> Iterator[bytes]:
    for word in text.split():
        letters = [letter for letter in word if letter.isalnum()]
        if letters:
            syllables = _VOWELS.findall(word) or [word]
            # Long runs without a space (a URL, base64) are words to `split`; nobody would say them in full.
            for place, syllable in enumerate(syllables[:12]):
                pitch = zlib.crc32(f"{word}{place}".encode()) % len(_PITCHES_HZ)
                yield _syllable(_vowel_of(syllable), _PITCHES_HZ[pitch])
        yield _silence(_PAUSE_S if word[-1] in ".,;:!?" else _WORD_GAP_S)


def _vowel_of(syllable: str) -> str:
    first = syllable[0].lower()
    return first if first in _FORMANTS else "aeiou"[zlib.crc32(first.encode()) % 5]


@functools.cache  # five vowels and four pitches: twenty sounds of nine kilobytes
def _syllable(vowel: str, pitch_hz: int) -> bytes:
    import numpy as np

    at = np.arange(int(_SYLLABLE_S * OUTPUT_RATE_HZ)) / OUTPUT_RATE_HZ
    signal = np.zeros(len(at))
    for harmonic in range(1, 25):
        frequency = pitch_hz * harmonic
        # Each formant lifts the harmonics near it; the constant keeps the fundamental, and so the pitch, audible.
        strength = 0.15 + sum(np.exp(-(((frequency - formant) / 180.0) ** 2)) for formant in _FORMANTS[vowel])
        signal += strength / harmonic**0.5 * np.sin(2 * np.pi * frequency * at)
    signal *= np.sin(np.pi * at / _SYLLABLE_S) ** 0.5  # swells and fades, so that syllables do not click
    sound: bytes = (signal / np.abs(signal).max() * 9000).astype("<i2").tobytes()
    return sound


@functools.cache
def _silence(duration_s: float) -> bytes:
    return bytes(int(duration_s * OUTPUT_RATE_HZ) * SAMPLE_WIDTH_BYTES)
