"""PCM in the formats of the Live API: durations, chunks, conversions, WAV files.

What goes over the wire is always *s16le mono*: signed 16-bit samples, little-endian, one channel; 16 kHz from the user,
24 kHz from the model. Everything that is called ``pcm`` here is that, as ``bytes`` or anything with their shape, and
``rate_hz`` says how many of the samples are one second::

    WAV file ──read_wav──> Wav(pcm, rate_hz) ──chunks / paced──> send_audio_at_rate
    ModelAudio.data ──> write_wav, to_float32, duration_s

Pure functions over bytes, apart from :func:`paced`, which waits, and the two that take a path. numpy is imported when
a function first needs it, so that a program that only plays bytes through never loads it.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import AsyncIterator, Iterator
from typing import IO, TYPE_CHECKING, Final, TypeAlias

import attrs
import pybase64
import trio

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

INPUT_RATE_HZ: Final = 16_000
"""The rate of audio to the model (docs/protocol.md 6). The service resamples other rates if the type names them."""

OUTPUT_RATE_HZ: Final = 24_000
"""The rate of audio from the model (docs/protocol.md 4.2)."""

SAMPLE_WIDTH_BYTES: Final = 2
"""Bytes a sample."""

INPUT_MIME_TYPE: Final = "audio/pcm;rate=16000"
"""What audio to the model is called."""

OUTPUT_MIME_TYPE: Final = "audio/pcm;rate=24000"
"""What audio from the model is called on Google AI; Vertex AI leaves the rate out."""

FULL_SCALE: Final = 32_768
"""The amplitude that is 1.0 in floats and 0 dB in levels; the loudest positive sample is 32,767."""

CHUNK_MS: Final = 20
"""Milliseconds a chunk where nothing else is said; 20 to 40 are advised (docs/protocol.md 3.7)."""

Pcm: TypeAlias = bytes | bytearray | memoryview
"""s16le mono samples."""


# --- durations -----------------------------------------------------------------------------------------------------


def duration_s(pcm: Pcm | int, *, rate_hz: int) -> float:
    """Returns how many seconds the audio plays, exact but for the one rounding to a float.

    Args:
        pcm: the audio, or its length in bytes. Half a sample at the end counts for nothing: it cannot be played.
        rate_hz: samples per second.

    Raises:
        ValueError: the length is negative, or the rate below 1.
    """
    return _samples(pcm) / _rate(rate_hz)


def duration_ms(pcm: Pcm | int, *, rate_hz: int) -> float:
    """Returns how many milliseconds the audio plays; otherwise like :func:`duration_s`."""
    return _samples(pcm) * 1000 / _rate(rate_hz)


def bytes_for(duration_s: float, *, rate_hz: int) -> int:
    """Returns how many bytes play for that many seconds, to the nearest whole sample.

    Raises:
        ValueError: the duration is negative, infinite or NaN, or the rate below 1.
    """
    if not 0 <= duration_s < math.inf:
        raise ValueError(f"{duration_s} s is no duration; give 0 or more seconds")
    return round(duration_s * _rate(rate_hz)) * SAMPLE_WIDTH_BYTES


# --- types ---------------------------------------------------------------------------------------------------------


def mime_type(rate_hz: int) -> str:
    """Returns the type that names this rate: ``"audio/pcm;rate=16000"`` for 16,000.

    Raises:
        ValueError: the rate is below 1.
    """
    return f"audio/pcm;rate={_rate(rate_hz)}"


def rate_of(mime_type: str, *, default: int) -> int:
    """Returns the rate that a type names: 24,000 for ``"audio/pcm;rate=24000"``. Never fails: types come from a peer.

    Args:
        mime_type: any type, in any casing; only its ``rate`` parameter is read.
        default: what to return when it names none, or nothing that can be a rate (0, letters, more than 7 digits).
    """
    if mime_type == OUTPUT_MIME_TYPE:  # by far the most frequent question
        return OUTPUT_RATE_HZ
    for parameter in mime_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        digits = value.strip().strip('"')
        if name.strip().lower() == "rate" and len(digits) <= 7 and digits.isascii() and digits.isdigit():
            return int(digits) or default
    return default


# --- chunks --------------------------------------------------------------------------------------------------------


def chunks(pcm: Pcm, *, chunk_ms: int = CHUNK_MS, rate_hz: int = INPUT_RATE_HZ) -> Iterator[bytes]:
    """Returns the audio cut into pieces of ``chunk_ms``, the last one perhaps shorter; nothing for no audio.

    No sample is ever split. Where the rate does not give whole samples a chunk (11,025 Hz: 220.5 in 20 ms) the pieces
    differ by one sample, so that they do not drift from the clock.

    Raises:
        ValueError: there is half a sample at the end, the rate is below 1, or a chunk is shorter than a sample.
    """
    return iter(_Cut(pcm, chunk_ms, rate_hz))


def paced(pcm: Pcm, *, rate_hz: int, chunk_ms: int = CHUNK_MS) -> AsyncIterator[bytes]:
    """Returns the pieces of :func:`chunks` for ``async for``, each when its time has come: a recording as a microphone.

    The first piece comes at once and starts the clock (trio's); every later one is due when all before it have played,
    and the loop ends when the last one has. So it lasts exactly as long as the audio, however long the work between two
    pieces takes: who is late gets what has become due meanwhile without waiting, and is on time again after it. Each
    step is a checkpoint; a cancelled one takes no piece. For one task.

    Raises:
        ValueError: as :func:`chunks`, at the call.
    """
    return _Paced(_Cut(pcm, chunk_ms, rate_hz))


class _Cut:
    """Audio, and where to cut it: piece ``i`` starts at sample ``i * rate * ms // 1000``."""

    def __init__(self, pcm: Pcm, chunk_ms: int, rate_hz: int) -> None:
        self.rate_hz = _rate(rate_hz)
        self._per_chunk_x1000 = rate_hz * chunk_ms
        if self._per_chunk_x1000 < 1000:
            raise ValueError(f"a chunk of {chunk_ms} ms at {rate_hz} Hz is shorter than one sample; make it longer")
        self._bytes = _whole_samples(pcm)
        self.samples = len(self._bytes) // SAMPLE_WIDTH_BYTES

    def start(self, index: int) -> int:
        """Returns the number of the first sample of a piece, at most the number of samples."""
        return min(index * self._per_chunk_x1000 // 1000, self.samples)

    def piece(self, index: int) -> bytes:
        start, end = self.start(index), self.start(index + 1)
        return bytes(self._bytes[start * SAMPLE_WIDTH_BYTES : end * SAMPLE_WIDTH_BYTES])

    def __iter__(self) -> Iterator[bytes]:
        index = 0
        while piece := self.piece(index):
            yield piece
            index += 1


class _Paced(AsyncIterator[bytes]):
    # A class and not an async generator: nothing of it stays suspended when a loop is left early.

    def __init__(self, cut: _Cut) -> None:
        self._cut = cut
        self._next = 0
        self._started_at: float | None = None

    async def __anext__(self) -> bytes:
        if self._started_at is None:
            self._started_at = trio.current_time()
        # Reckoned from the start and in samples, never from the piece before: errors do not add up.
        due = self._started_at + self._cut.start(self._next) / self._cut.rate_hz
        if due > trio.current_time():
            await trio.sleep_until(due)
        else:
            await trio.lowlevel.checkpoint()
        piece = self._cut.piece(self._next)
        if not piece:
            raise StopAsyncIteration
        self._next += 1
        return piece


# --- conversions ---------------------------------------------------------------------------------------------------


def to_float32(pcm: Pcm) -> NDArray[np.float32]:
    """Returns the samples as 32-bit floats from -1.0 up to, but not including, 1.0.

    :func:`from_float32` gives back the very same samples.

    Raises:
        ValueError: there is half a sample at the end.
    """
    import numpy as np

    return np.frombuffer(_whole_samples(pcm), dtype="<i2").astype(np.float32) / np.float32(FULL_SCALE)


def from_float32(samples: ArrayLike) -> bytes:
    """Returns floats from -1.0 to 1.0 as samples, rounded to the nearest; what is louder is cut off, NaN is silence.

    Args:
        samples: floats of any width in one dimension; one channel.

    Raises:
        ValueError: they are not floats (integers have a scale of their own), or have more than one dimension.
    """
    import numpy as np

    array = np.asarray(samples)
    if array.ndim != 1:
        raise ValueError(f"samples of shape {array.shape} are not one channel; average the channels first")
    if array.dtype.kind != "f":
        raise ValueError(
            f"samples of type {array.dtype} are not floats from -1.0 to 1.0; for 16-bit integers take samples.tobytes()"
        )
    with np.errstate(all="ignore"):
        return _quantised(array.astype(np.float64))


def down_mix(pcm: Pcm, *, channels: int) -> bytes:
    """Returns the average of interleaved channels, rounded to the nearest sample; it cannot overflow.

    Args:
        pcm: s16le samples, one of each channel after the other.
        channels: how many there are.

    Raises:
        ValueError: fewer than one channel, or the length is not a whole number of samples of all channels.
    """
    if channels < 1:
        raise ValueError(f"{channels} channels cannot be mixed; give at least 1")
    frame = channels * SAMPLE_WIDTH_BYTES
    raw = _octets(pcm)
    if len(raw) % frame:
        raise ValueError(
            f"{len(raw)} bytes are not whole frames of {channels} 16-bit samples; send a multiple of {frame} bytes"
        )
    return bytes(raw) if channels == 1 else _mono(raw, "<i2", channels)


def rms(pcm: Pcm) -> float:
    """Returns the root mean square of the samples, in their own unit: 0 is silence, 32,768 as loud as can be.

    A quiet room at a headset is near 30, speech from about 500 up. Empty audio is silent.

    Raises:
        ValueError: there is half a sample at the end.
    """
    import numpy as np

    samples = np.frombuffer(_whole_samples(pcm), dtype="<i2").astype(np.float64)
    return math.sqrt(float(np.mean(samples * samples))) if samples.size else 0.0


def level_dbfs(pcm: Pcm) -> float:
    """Returns the loudness (:func:`rms`) in decibels below full scale: 0.0 is as loud as can be, ``-inf`` silence.

    A sine that just fits measures -3.01, speech -40 to -15, a quiet room -60.

    Raises:
        ValueError: there is half a sample at the end.
    """
    amplitude = rms(pcm)
    return 20 * math.log10(amplitude / FULL_SCALE) if amplitude else -math.inf


class AudioEncoder:
    """Turns audio into the base64 text that the wire carries. Keeps nothing between calls: one serves all.

    For programs that write messages themselves; ``session.send_audio`` does this for you. An order of magnitude faster
    than the standard library at the size of a chunk, and without a copy of the audio on the way.
    """

    __slots__ = ()

    def encode_i16_le(self, pcm: Pcm) -> str:
        """Returns the samples as base64 in the standard alphabet, padded.

        Raises:
            ValueError: there is half a sample at the end.
        """
        return pybase64.b64encode_as_string(_whole_samples(pcm))


# --- WAV -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class Wav:
    """A recording.

    Attributes:
        pcm: s16le mono samples.
        rate_hz: samples per second.
    """

    pcm: bytes = attrs.field(repr=lambda pcm: f"<{len(pcm)} bytes>")
    rate_hz: int

    @property
    def duration_s(self) -> float:
        """How many seconds it plays."""
        return duration_s(self.pcm, rate_hz=self.rate_hz)


def read_wav(source: str | os.PathLike[str] | Pcm | IO[bytes]) -> Wav:
    """Returns a WAV file's audio as s16le mono, at the rate it was recorded with.

    Read are integer samples of 8, 16, 24 and 32 bits and floats of 32 and 64, with any number of channels, which are
    averaged; both the plain and the extensible header. A length that was never filled in, as in recordings that were
    streamed or cut off, means: up to the end. What follows the last whole sample is left out.

    Args:
        source: a path, the file's bytes, or a file open for reading bytes (read to its end, not closed). Reading a path
            blocks; in trio, hand large ones to a thread.

    Raises:
        ValueError: it is no WAV, holds something else than PCM, has a broken header or no samples; the message says
            which, what is accepted, and how to convert it.
        OSError: the path cannot be read.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _wav("the recording", _octets(source))
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            return _wav(os.fspath(source), memoryview(file.read()))
    data = source.read()
    if not isinstance(data, bytes):
        raise ValueError("the recording was opened as text, and a WAV is bytes; open it with mode 'rb'")
    return _wav("the recording", memoryview(data))


def write_wav(target: str | os.PathLike[str] | IO[bytes], pcm: Pcm, *, rate_hz: int = OUTPUT_RATE_HZ) -> None:
    """Writes audio as a WAV file of 16-bit mono samples.

    Args:
        target: a path, whose file is replaced, or a file open for writing bytes (written from where it stands, not
            closed; it need not be seekable).
        pcm: the audio; none gives a file without samples.
        rate_hz: samples per second.

    Raises:
        ValueError: there is half a sample at the end, the rate is below 1 or above what the header holds, or it is more
            than the 4 GiB that a WAV can hold. Nothing is written then.
        OSError: the path cannot be written.
    """
    data = _whole_samples(pcm)
    if len(data) > _MAX_DATA_BYTES:
        raise ValueError(
            f"{len(data)} bytes are more than the {_MAX_DATA_BYTES} that a WAV can hold; write several files"
        )
    if _rate(rate_hz) * SAMPLE_WIDTH_BYTES > _UNKNOWN_SIZE:
        raise ValueError(f"{rate_hz} Hz is more than a WAV's header can say; no recording has that rate")
    header = _HEADER.pack(
        b"RIFF",
        _HEADER.size - 8 + len(data),
        b"WAVE",
        b"fmt ",
        16,
        _PCM,
        1,
        rate_hz,
        rate_hz * SAMPLE_WIDTH_BYTES,
        SAMPLE_WIDTH_BYTES,
        8 * SAMPLE_WIDTH_BYTES,
        b"data",
        len(data),
    )
    if isinstance(target, (str, os.PathLike)):
        with open(target, "wb") as file:
            file.write(header)
            file.write(data)
    else:
        target.write(header)
        target.write(data)


_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_FORMAT = struct.Struct("<HHIIHH")  # tag, channels, rate, bytes a second, bytes a frame, bits a sample
_CHUNK = struct.Struct("<4sI")
_UNKNOWN_SIZE = 0xFFFFFFFF  # what writers that cannot seek put in place of a length
_MAX_DATA_BYTES = _UNKNOWN_SIZE - _HEADER.size
_PCM, _FLOAT, _EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
# The tail of a sub-format's GUID when its first two bytes are an ordinary tag (mmreg.h, KSDATAFORMAT_SUBTYPE_*).
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
# By tag and bits: numpy's name of the type, but for "<i3", which it does not have. The last character is the width.
_DTYPES = {
    (_PCM, 8): "u1",
    (_PCM, 16): "<i2",
    (_PCM, 24): "<i3",
    (_PCM, 32): "<i4",
    (_FLOAT, 32): "<f4",
    (_FLOAT, 64): "<f8",
}

_ACCEPTED = "a WAV of 8, 16, 24 or 32-bit integers or 32 or 64-bit floats is accepted"
_CONVERT = "convert it with: ffmpeg -i IN -c:a pcm_s16le OUT.wav"
_NAMES_OF_TAGS = {
    0x0002: "Microsoft ADPCM",
    0x0006: "A-law",
    0x0007: "mu-law",
    0x0011: "IMA ADPCM",
    0x0031: "GSM 6.10",
    0x0050: "MPEG",
    0x0055: "MP3",
    0x00FF: "AAC",
    0x0161: "Windows Media",
}
_NAMES_OF_BEGINNINGS = {
    b"ID3": "an MP3 file",
    b"\xff\xfb": "an MP3 file",
    b"\xff\xf3": "an MP3 file",
    b"OggS": "an Ogg file",
    b"fLaC": "a FLAC file",
    b"FORM": "an AIFF file",
    b"RF64": "an RF64 file",
    b"RIFX": "a big-endian WAV",
    b"RIFF": "a RIFF file of another kind",
    b".snd": "an AU file",
    b"caff": "a CAF file",
    b"\x1aE\xdf\xa3": "a Matroska or WebM file",
}
_BLOCK_FRAMES = 65_536  # converted at once: bounds what the 8-byte floats of a long recording cost


def _wav(name: str, data: memoryview) -> Wav:
    """Returns the audio of a WAV file's bytes; ``name`` is how errors call it."""
    _require_wav(name, data)
    header, samples = _header_and_samples(name, data)
    dtype, channels, rate_hz = _layout(name, header)
    frame = channels * int(dtype[-1])
    whole = samples[: len(samples) // frame * frame]
    if not whole:
        raise ValueError(f"{name} holds no samples; record something first")
    return Wav(bytes(whole) if (dtype, channels) == ("<i2", 1) else _mono(whole, dtype, channels), rate_hz)


def _require_wav(name: str, data: memoryview) -> None:
    beginning = bytes(data[:12])
    if beginning[:4] == b"RIFF" and beginning[8:] == b"WAVE":
        return
    if not beginning:
        raise ValueError(f"{name} is empty; {_ACCEPTED}")
    kind = next((kind for magic, kind in _NAMES_OF_BEGINNINGS.items() if beginning.startswith(magic)), None)
    if beginning[4:8] == b"ftyp":
        kind = "an MP4 file"
    if beginning[:4] == b"RIFF" and len(beginning) < 12:
        raise ValueError(f"{name} breaks off in its header, after {len(data)} bytes; get the whole file")
    if kind is None:
        kind = f"no audio file that is known (it begins with {beginning[:4]!r})"
    raise ValueError(f"{name} is {kind}; {_ACCEPTED}, so {_CONVERT}")


def _header_and_samples(name: str, data: memoryview) -> tuple[memoryview, memoryview]:
    """Returns the bodies of the chunks ``fmt`` and ``data``."""
    header: memoryview | None = None
    samples: memoryview | None = None
    position = 12
    while position + _CHUNK.size <= len(data) and (header is None or samples is None):
        kind, size = _CHUNK.unpack_from(data, position)
        position += _CHUNK.size
        if kind == b"data" and size == 0 and _was_streamed(data, position):
            size = _UNKNOWN_SIZE
        body = data[position : position + size]
        if kind == b"fmt ":
            header = body
        elif kind == b"data":
            samples = body
        position += size + size % 2  # a chunk of odd length is followed by a byte that belongs to none
    if header is None or samples is None:
        missing = "format" if header is None else "samples"
        raise ValueError(f"{name} breaks off before its {missing}, after {len(data)} bytes; get the whole file")
    return header, samples


def _was_streamed(data: memoryview, position: int) -> bool:
    """Tells whether a length of 0 was only never filled in: then the file, too, claims to end here, or to be empty."""
    (size,) = struct.unpack_from("<I", data, 4)
    return size in (0, _UNKNOWN_SIZE) or size + 8 == position


def _layout(name: str, header: memoryview) -> tuple[str, int, int]:
    """Returns the samples' numpy type, the number of channels and the rate that a ``fmt`` chunk states."""
    if len(header) < _FORMAT.size:
        raise ValueError(f"{name} has a header of {len(header)} bytes instead of {_FORMAT.size}; get the whole file")
    tag, channels, rate_hz, _, frame, bits = _FORMAT.unpack_from(header)
    if tag == _EXTENSIBLE and header[26:40] == _GUID_TAIL:
        (tag,) = struct.unpack_from("<H", header, 24)
    dtype = _DTYPES.get((tag, bits))
    if dtype is None:
        kind = f"{_NAMES_OF_TAGS.get(tag, 'compressed')} audio"
        if tag in (_PCM, _FLOAT):
            kind = f"{bits}-bit {'integer' if tag == _PCM else 'float'} PCM"
        raise ValueError(f"{name} holds {kind} (format 0x{tag:04x}); {_ACCEPTED}, so {_CONVERT}")
    if channels < 1 or rate_hz < 1 or frame != channels * bits // 8:
        raise ValueError(
            f"{name} has a header that contradicts itself ({channels} channels of {bits} bits in frames of "
            f"{frame} bytes, {rate_hz} Hz); {_CONVERT}"
        )
    return dtype, channels, rate_hz


# --- inside --------------------------------------------------------------------------------------------------------


def _octets(pcm: Pcm) -> memoryview:
    view = memoryview(pcm)
    # Only what is contiguous and not empty can be seen as octets where it lies.
    return view.cast("B") if view.c_contiguous and view.nbytes else memoryview(view.tobytes())


def _whole_samples(pcm: Pcm) -> memoryview:
    raw = _octets(pcm)
    if len(raw) % SAMPLE_WIDTH_BYTES:
        raise ValueError(
            f"{len(raw)} bytes end in half a 16-bit sample; keep the last byte and put it before the next audio"
        )
    return raw


def _samples(pcm: Pcm | int) -> int:
    n_bytes = pcm if isinstance(pcm, int) else memoryview(pcm).nbytes
    if n_bytes < 0:
        raise ValueError(f"{n_bytes} bytes are no audio; give 0 or more")
    return n_bytes // SAMPLE_WIDTH_BYTES


def _rate(rate_hz: int) -> int:
    if rate_hz < 1:
        raise ValueError(f"{rate_hz} Hz is no sample rate; give the samples per second, such as {INPUT_RATE_HZ}")
    return rate_hz


def _mono(raw: memoryview, dtype: str, channels: int) -> bytes:
    """Returns the average of interleaved channels of any type as s16le."""
    import numpy as np

    step = _BLOCK_FRAMES * channels * int(dtype[-1])
    with np.errstate(all="ignore"):  # what is not a number, or too large for one, is dealt with in _quantised
        return b"".join(
            _quantised(_floats(raw[start : start + step], dtype).reshape(-1, channels).mean(axis=1))
            for start in range(0, len(raw), step)
        )


def _floats(raw: memoryview, dtype: str) -> NDArray[np.float64]:
    """Returns samples of any type as floats, full scale being 1.0."""
    import numpy as np

    match dtype:
        case "u1":
            return (np.frombuffer(raw, dtype="u1").astype(np.float64) - 128) / 128
        case "<i3":
            # As the upper three bytes of four.
            wide = np.zeros((len(raw) // 3, 4), dtype="u1")
            wide[:, 1:] = np.frombuffer(raw, dtype="u1").reshape(-1, 3)
            return wide.view("<i4").reshape(-1).astype(np.float64) / 2**31
        case "<i2" | "<i4":
            return np.frombuffer(raw, dtype=dtype).astype(np.float64) / 2.0 ** (8 * int(dtype[-1]) - 1)
        case _:
            return np.frombuffer(raw, dtype=dtype).astype(np.float64)


def _quantised(samples: NDArray[np.float64]) -> bytes:
    """Returns floats as s16le: rounded to the nearest, cut off at full scale, NaN as silence."""
    import numpy as np

    # Cut off before scaling: the largest floats would not survive it.
    limited = np.clip(np.where(np.isnan(samples), 0.0, samples), -1.0, 1.0) * FULL_SCALE
    rounded: NDArray[np.int16] = np.minimum(np.rint(limited), FULL_SCALE - 1).astype("<i2")
    return rounded.tobytes()


__all__ = [
    "CHUNK_MS",
    "FULL_SCALE",
    "INPUT_MIME_TYPE",
    "INPUT_RATE_HZ",
    "OUTPUT_MIME_TYPE",
    "OUTPUT_RATE_HZ",
    "SAMPLE_WIDTH_BYTES",
    "AudioEncoder",
    "Pcm",
    "Wav",
    "bytes_for",
    "chunks",
    "down_mix",
    "duration_ms",
    "duration_s",
    "from_float32",
    "level_dbfs",
    "mime_type",
    "paced",
    "rate_of",
    "read_wav",
    "rms",
    "to_float32",
    "write_wav",
]
