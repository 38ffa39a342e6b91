"""Audio arithmetic, conversions, WAV files of every kind, and recordings played in real time."""

from __future__ import annotations

import array
import base64
import io
import math
import mmap
import struct
import subprocess
import sys
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from gemlive.audio import (
    INPUT_MIME_TYPE,
    INPUT_RATE_HZ,
    OUTPUT_MIME_TYPE,
    OUTPUT_RATE_HZ,
    AudioEncoder,
    Pcm,
    Wav,
    bytes_for,
    chunks,
    down_mix,
    duration_ms,
    duration_s,
    from_float32,
    level_dbfs,
    mime_type,
    paced,
    rate_of,
    read_wav,
    rms,
    to_float32,
    write_wav,
)

I16 = st.integers(-32_768, 32_767)
RATES = st.sampled_from([8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000])


def pcm_of(*samples: int) -> bytes:
    return struct.pack(f"<{len(samples)}h", *samples)


def samples_of(pcm: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(pcm) // 2}h", pcm))


PCM = st.lists(I16, max_size=400).map(lambda samples: pcm_of(*samples))


# --- durations -----------------------------------------------------------------------------------------------------


def test_a_second_is_as_many_samples_as_the_rate_says() -> None:
    assert duration_s(bytes(32_000), rate_hz=16_000) == 1.0
    assert duration_ms(bytes(960), rate_hz=24_000) == 20.0
    assert bytes_for(0.02, rate_hz=16_000) == 640


def test_a_duration_can_be_asked_by_length_alone() -> None:
    assert duration_s(48_000, rate_hz=24_000) == duration_s(bytes(48_000), rate_hz=24_000) == 1.0


def test_the_items_of_a_buffer_are_counted_in_bytes() -> None:
    assert duration_ms(memoryview(array.array("h", [0] * 16)), rate_hz=16_000) == 1.0


def test_half_a_sample_has_no_duration() -> None:
    assert duration_s(33, rate_hz=16_000) == duration_s(bytes(33), rate_hz=16_000) == 16 / 16_000


@given(st.integers(0, 2**31), RATES)
def test_every_whole_number_of_samples_survives_the_way_through_seconds(samples: int, rate_hz: int) -> None:
    assert bytes_for(duration_s(samples * 2, rate_hz=rate_hz), rate_hz=rate_hz) == samples * 2


@pytest.mark.parametrize("seconds", [-0.001, math.inf, -math.inf, math.nan])
def test_what_is_no_duration_has_no_bytes(seconds: float) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        bytes_for(seconds, rate_hz=16_000)


def test_a_negative_length_is_no_audio() -> None:
    with pytest.raises(ValueError, match="-2 bytes are no audio"):
        duration_s(-2, rate_hz=16_000)


@pytest.mark.parametrize(
    "call",
    [
        lambda: duration_s(b"", rate_hz=0),
        lambda: duration_ms(b"", rate_hz=-1),
        lambda: bytes_for(1.0, rate_hz=0),
        lambda: mime_type(0),
        lambda: chunks(b"", rate_hz=0),
        lambda: paced(b"", rate_hz=0),
        lambda: write_wav(io.BytesIO(), b"", rate_hz=0),
    ],
)
def test_a_rate_below_one_is_refused_everywhere(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="is no sample rate"):
        call()


# --- types ---------------------------------------------------------------------------------------------------------


def test_the_types_of_both_directions_name_their_rates() -> None:
    assert (mime_type(INPUT_RATE_HZ), mime_type(OUTPUT_RATE_HZ)) == (INPUT_MIME_TYPE, OUTPUT_MIME_TYPE)


@pytest.mark.parametrize(
    ("type_", "rate_hz"),
    [
        ("audio/pcm;rate=24000", 24_000),
        ("audio/pcm;rate=16000", 16_000),
        ("audio/pcm; Rate = 8000 ", 8_000),
        ('audio/pcm;codec=x;rate="44100"', 44_100),
        ("audio/l16;rate=48000;channels=2", 48_000),
        ("audio/pcm", 7),
        ("", 7),
        ("rate=16000", 7),
        ("audio/pcm;rate=", 7),
        ("audio/pcm;rate=0", 7),
        ("audio/pcm;rate=-16000", 7),
        ("audio/pcm;rate=16k", 7),
        ("audio/pcm;rate=²", 7),
        ("audio/pcm;rate=" + "9" * 5000, 7),
        ("audio/pcm;bitrate=16000", 7),
    ],
)
def test_the_rate_of_a_type(type_: str, rate_hz: int) -> None:
    assert rate_of(type_, default=7) == rate_hz


@given(st.text() | st.text().map("audio/pcm;rate={}".format))
def test_any_type_has_a_usable_rate(type_: str) -> None:
    assert rate_of(type_, default=16_000) >= 1


# --- chunks --------------------------------------------------------------------------------------------------------


def test_chunks_are_twenty_milliseconds_and_the_last_is_what_remains() -> None:
    assert [len(chunk) for chunk in chunks(bytes(1500))] == [640, 640, 220]


def test_no_audio_has_no_chunks() -> None:
    assert list(chunks(b"")) == []
    assert list(chunks(np.zeros((0, 2), dtype="<i2").data)) == []


@given(PCM, RATES, st.integers(1, 50))
def test_chunks_lose_nothing_split_no_sample_and_do_not_drift(pcm: bytes, rate_hz: int, chunk_ms: int) -> None:
    pieces = list(chunks(pcm, chunk_ms=chunk_ms, rate_hz=rate_hz))
    assert b"".join(pieces) == pcm
    assert all(len(piece) % 2 == 0 and piece for piece in pieces)
    for index in range(len(pieces) - 1):
        exact = Fraction((index + 1) * chunk_ms * rate_hz, 1000)
        assert 0 <= exact - sum(map(len, pieces[: index + 1])) // 2 < 1


def test_chunks_of_no_whole_number_of_samples_keep_to_the_clock() -> None:
    sizes = [len(piece) // 2 for piece in chunks(bytes(2 * 11_025), rate_hz=11_025)]
    assert sizes == [220, 221] * 25


@pytest.mark.parametrize("buffer", [bytearray, memoryview, lambda pcm: memoryview(array.array("h", pcm))])
def test_any_buffer_is_cut_like_bytes(buffer: Callable[[bytes], Pcm]) -> None:
    pcm = pcm_of(*range(100))
    assert list(chunks(buffer(pcm), chunk_ms=1)) == list(chunks(pcm, chunk_ms=1))


def test_a_buffer_with_gaps_is_cut_like_what_it_shows() -> None:
    pcm = pcm_of(1, 2, 3, 4)
    assert b"".join(chunks(memoryview(array.array("h", pcm))[::2])) == pcm_of(1, 3)


def test_half_a_sample_is_refused_at_the_call_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="3 bytes end in half a 16-bit sample; keep the last byte"):
        chunks(b"abc")


def test_a_chunk_shorter_than_a_sample_is_refused_at_the_call() -> None:
    with pytest.raises(ValueError, match="shorter than one sample"):
        chunks(b"", chunk_ms=1, rate_hz=999)


# --- conversions ---------------------------------------------------------------------------------------------------


def test_every_sample_survives_the_way_through_floats() -> None:
    pcm = pcm_of(*range(-32_768, 32_768))
    assert from_float32(to_float32(pcm)) == pcm


def test_floats_run_from_minus_one_up_to_but_not_including_one() -> None:
    floats = to_float32(pcm_of(-32_768, 0, 32_767))
    assert floats.dtype == np.float32
    assert floats.tolist() == [-1.0, 0.0, 32_767 / 32_768]


def test_what_is_too_loud_is_cut_off_and_what_is_no_number_is_silence() -> None:
    floats = np.array([1.0, 1.5, math.inf, 1e300, -1.0, -2.0, -math.inf, math.nan])
    assert samples_of(from_float32(floats)) == [32_767] * 4 + [-32_768] * 3 + [0]


def test_floats_are_rounded_to_the_nearest_sample() -> None:
    assert samples_of(from_float32([0.6 / 32_768, -0.6 / 32_768, 0.4 / 32_768])) == [1, -1, 0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_of_any_width_are_taken(dtype: type) -> None:
    assert samples_of(from_float32(np.array([0.5, -0.5], dtype=dtype))) == [16_384, -16_384]


@given(st.lists(st.floats(width=32)))
def test_any_floats_become_samples(samples: list[float]) -> None:
    assert len(from_float32(np.array(samples, dtype=np.float32))) == 2 * len(samples)


def test_a_signalling_nan_is_silence_too() -> None:
    floats = np.frombuffer(struct.pack("<I", 0x7FA00000), dtype="<f4")
    assert from_float32(floats) == pcm_of(0)


def test_no_floats_are_no_samples() -> None:
    assert from_float32([]) == b""
    assert to_float32(b"").tolist() == []


def test_integers_are_refused_because_their_scale_is_another() -> None:
    with pytest.raises(ValueError, match=r"int16 are not floats.*tobytes"):
        from_float32(np.array([1, 2], dtype=np.int16))


def test_several_channels_of_floats_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 2\) are not one channel"):
        from_float32(np.zeros((2, 2)))


def test_half_a_sample_is_no_float() -> None:
    with pytest.raises(ValueError, match="half a 16-bit sample"):
        to_float32(b"abc")


def test_mixing_down_averages_without_overflow() -> None:
    stereo = pcm_of(32_767, 32_767, -32_768, -32_768, 32_767, -32_768, 100, 200)
    assert samples_of(down_mix(stereo, channels=2)) == [32_767, -32_768, 0, 150]


@given(st.integers(1, 8).flatmap(lambda n: st.lists(st.lists(I16, min_size=n, max_size=n), min_size=1, max_size=50)))
def test_mixing_down_is_the_exact_average_rounded(frames: list[list[int]]) -> None:
    pcm = pcm_of(*(sample for frame in frames for sample in frame))
    assert samples_of(down_mix(pcm, channels=len(frames[0]))) == [round(Fraction(sum(f), len(f))) for f in frames]


def test_one_channel_is_mixed_already() -> None:
    assert down_mix(bytearray(b"abcd"), channels=1) == b"abcd"


def test_a_broken_frame_is_not_mixed() -> None:
    with pytest.raises(ValueError, match="6 bytes are not whole frames of 2 16-bit samples; send a multiple of 4"):
        down_mix(bytes(6), channels=2)


def test_no_channels_are_not_mixed() -> None:
    with pytest.raises(ValueError, match="0 channels"):
        down_mix(b"", channels=0)


def test_silence_and_nothing_have_no_level() -> None:
    assert rms(b"") == rms(bytes(100)) == 0.0
    assert level_dbfs(b"") == level_dbfs(bytes(100)) == -math.inf


def test_a_square_wave_is_as_loud_as_its_samples() -> None:
    assert rms(pcm_of(1000, -1000) * 50) == pytest.approx(1000)
    assert level_dbfs(pcm_of(-32_768, -32_768)) == 0.0


def test_a_full_sine_measures_three_decibels_less() -> None:
    sine = from_float32(np.sin(np.arange(16_000) * (2 * math.pi * 440 / 16_000)))
    assert level_dbfs(sine) == pytest.approx(-3.01, abs=0.01)


@given(PCM)
def test_no_audio_is_louder_than_full_scale(pcm: bytes) -> None:
    assert 0 <= rms(pcm) <= 32_768


@pytest.mark.parametrize("measure", [rms, level_dbfs])
def test_half_a_sample_has_no_level(measure: Callable[[bytes], float]) -> None:
    with pytest.raises(ValueError, match="half a 16-bit sample"):
        measure(b"abc")


@given(PCM)
def test_one_encoder_serves_all_audio(pcm: bytes) -> None:
    encoder = AudioEncoder()
    expected = base64.b64encode(pcm).decode()
    assert [encoder.encode_i16_le(form) for form in (pcm, bytearray(pcm), memoryview(pcm))] == [expected] * 3


def test_half_a_sample_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="half a 16-bit sample"):
        AudioEncoder().encode_i16_le(b"abc")


def test_importing_the_room_does_not_import_numpy() -> None:
    code = "import sys, gemlive.audio; gemlive.audio.duration_s(b'', rate_hz=1); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


# --- WAV: reading --------------------------------------------------------------------------------------------------

PCM_TAG, FLOAT_TAG, EXTENSIBLE_TAG = 1, 3, 0xFFFE
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")


def chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def format_chunk(tag: int, bits: int, *, channels: int = 1, rate_hz: int = 16_000, frame: int | None = None) -> bytes:
    frame = channels * bits // 8 if frame is None else frame
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * frame, frame, bits))


def extensible_chunk(tag: int, bits: int, *, channels: int = 1, tail: bytes = GUID_TAIL) -> bytes:
    plain = struct.pack("<HHIIHH", EXTENSIBLE_TAG, channels, 16_000, 0, channels * bits // 8, bits)
    return chunk(b"fmt ", plain + struct.pack("<HHIH", 22, bits, 0, tag) + tail)


def riff(*parts: bytes, size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def data_chunk(body: bytes, *, size: int) -> bytes:
    return b"data" + struct.pack("<I", size) + body


S16 = format_chunk(PCM_TAG, 16)
SIMPLE = riff(S16, chunk(b"data", pcm_of(1, -2, 3)))


def int_bytes(value: int, bits: int) -> bytes:
    return bytes([value + 128]) if bits == 8 else value.to_bytes(bits // 8, "little", signed=True)


@given(
    st.data(),
    st.sampled_from([8, 16, 24, 32]),
    st.integers(1, 6),
    st.sampled_from([format_chunk, extensible_chunk]),
)
def test_integers_of_every_width_and_channel_count_are_read_exactly(
    data: st.DataObject, bits: int, channels: int, header: Callable[..., bytes]
) -> None:
    value = st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    frames = data.draw(st.lists(st.lists(value, min_size=channels, max_size=channels), min_size=1, max_size=20))
    body = b"".join(int_bytes(sample, bits) for frame in frames for sample in frame)
    read = read_wav(riff(header(PCM_TAG, bits, channels=channels), chunk(b"data", body)))
    scale = Fraction(2) ** (16 - bits)
    assert samples_of(read.pcm) == [min(32_767, round(Fraction(sum(f), channels) * scale)) for f in frames]


@given(
    st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=50),
    st.sampled_from([(32, "f"), (64, "d")]),
    st.booleans(),
)
def test_floats_of_both_widths_are_read_and_cut_off_at_full_scale(
    values: list[float], width: tuple[int, str], extensible: bool
) -> None:
    bits, code = width
    header = extensible_chunk if extensible else format_chunk
    body = struct.pack(f"<{len(values)}{code}", *values)
    read = read_wav(riff(header(FLOAT_TAG, bits), chunk(b"data", body)))
    assert samples_of(read.pcm) == [max(-32_768, min(32_767, round(Fraction(v) * 32_768))) for v in values]


@given(st.binary(min_size=8, max_size=200), st.sampled_from([32, 64]), st.integers(1, 3))
def test_any_bits_are_some_float(body: bytes, bits: int, channels: int) -> None:
    data = riff(format_chunk(FLOAT_TAG, bits, channels=channels), chunk(b"data", body + bytes(24)))
    assert len(read_wav(data).pcm) == (len(body) + 24) // (bits // 8 * channels) * 2


def test_a_long_recording_is_read_whole() -> None:
    frames = np.arange(3 * 150_000).astype("<i2").reshape(-1, 3)
    read = read_wav(riff(format_chunk(PCM_TAG, 16, channels=3), chunk(b"data", frames.tobytes())))
    assert samples_of(read.pcm) == np.rint(frames.astype(float).mean(axis=1)).astype(int).tolist()
    assert read.duration_s == 150_000 / 16_000


def test_the_rate_is_that_of_the_recording() -> None:
    read = read_wav(riff(format_chunk(PCM_TAG, 16, rate_hz=44_100), chunk(b"data", pcm_of(5))))
    assert read == Wav(pcm_of(5), 44_100)


def test_other_chunks_also_of_odd_length_are_passed_over() -> None:
    data = riff(
        chunk(b"LIST", b"odd"), S16, chunk(b"fact", b"12345"), chunk(b"data", pcm_of(7, 8)), chunk(b"id3 ", b"x")
    )
    assert samples_of(read_wav(data).pcm) == [7, 8]


def test_samples_that_stand_before_the_format_are_read() -> None:
    assert samples_of(read_wav(riff(chunk(b"data", pcm_of(7)), S16)).pcm) == [7]


def test_only_the_first_samples_are_read() -> None:
    assert samples_of(read_wav(riff(S16, chunk(b"data", pcm_of(7)), chunk(b"data", pcm_of(8)))).pcm) == [7]


@pytest.mark.parametrize(
    ("riff_size", "data_size"),
    [(0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0), (0, 0), (36, 0), (0x7FFFFFFF, 0x7FFFFFDB)],
)
def test_a_length_that_was_never_filled_in_means_up_to_the_end(riff_size: int, data_size: int) -> None:
    data = riff(S16, data_chunk(pcm_of(1, 2, 3), size=data_size), size=riff_size)
    assert samples_of(read_wav(data).pcm) == [1, 2, 3]


def test_a_length_of_zero_is_believed_when_the_file_goes_on() -> None:
    with pytest.raises(ValueError, match="holds no samples"):
        read_wav(riff(S16, data_chunk(b"", size=0), chunk(b"LIST", b"comment!")))


def test_a_recording_that_was_cut_off_gives_the_samples_it_has() -> None:
    data = riff(format_chunk(PCM_TAG, 16, channels=2), data_chunk(pcm_of(2, 4, 6), size=400))
    assert samples_of(read_wav(data).pcm) == [3]


def test_a_path_a_file_and_bytes_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    path.write_bytes(SIMPLE)
    expected = Wav(pcm_of(1, -2, 3), 16_000)
    with path.open("rb") as file:
        assert read_wav(path) == read_wav(str(path)) == read_wav(file) == expected
    assert read_wav(bytearray(SIMPLE)) == read_wav(memoryview(SIMPLE)) == expected


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty; a WAV of 8, 16, 24 or 32-bit integers"),
        (b"ID3\x04rest of an MP3", "is an MP3 file; .* is accepted, so convert it with: ffmpeg"),
        (b"\xff\xfb\x90\x00", "is an MP3 file"),
        (b"OggS\0\x02", "is an Ogg file"),
        (b"fLaC\0\0", "is a FLAC file"),
        (b"FORM\0\0\0\0AIFF", "is an AIFF file"),
        (b"\0\0\0\x20ftypM4A ", "is an MP4 file"),
        (b"\x1aE\xdf\xa3\x01", "is a Matroska or WebM file"),
        (b"RF64\xff\xff\xff\xffWAVE", "is an RF64 file"),
        (b"RIFX\0\0\0\0WAVE", "is a big-endian WAV"),
        (b"RIFF\0\0\0\0AVI LIST", "is a RIFF file of another kind"),
        (b"hello, world", r"is no audio file that is known \(it begins with b'hell'\)"),
        (b"RIFF\0\0", "breaks off in its header, after 6 bytes"),
        (riff(), "breaks off before its format"),
        (riff(b"fmt "), "breaks off before its format"),
        (riff(S16), "breaks off before its samples"),
        (riff(chunk(b"data", pcm_of(1))), "breaks off before its format"),
        (
            riff(chunk(b"LIST", b"")[:4] + b"\xff\xff\xff\xff", S16, chunk(b"data", b"ab")),
            "breaks off before its format",
        ),
        (riff(chunk(b"fmt ", bytes(14)), chunk(b"data", b"ab")), "has a header of 14 bytes instead of 16"),
        (riff(S16, chunk(b"data", b"")), "holds no samples; record something first"),
        (riff(S16, chunk(b"data", b"a")), "holds no samples"),
        (riff(format_chunk(0x0002, 4), chunk(b"data", b"ab")), r"holds Microsoft ADPCM audio \(format 0x0002\)"),
        (riff(format_chunk(0x0006, 8), chunk(b"data", b"ab")), "holds A-law audio"),
        (riff(format_chunk(0x0007, 8), chunk(b"data", b"ab")), "holds mu-law audio"),
        (riff(format_chunk(0x0055, 0), chunk(b"data", b"ab")), "holds MP3 audio"),
        (riff(format_chunk(0x1234, 8), chunk(b"data", b"ab")), "holds compressed audio .format 0x1234.*pcm_s16le"),
        (riff(format_chunk(PCM_TAG, 12, frame=2), chunk(b"data", b"ab")), "holds 12-bit integer PCM"),
        (riff(format_chunk(PCM_TAG, 64), chunk(b"data", bytes(8))), "holds 64-bit integer PCM"),
        (riff(format_chunk(FLOAT_TAG, 16), chunk(b"data", bytes(8))), "holds 16-bit float PCM"),
        (riff(extensible_chunk(0x0007, 8), chunk(b"data", b"ab")), "holds mu-law audio"),
        (riff(extensible_chunk(PCM_TAG, 16, tail=bytes(14)), chunk(b"data", b"ab")), "holds compressed audio"),
        (riff(format_chunk(EXTENSIBLE_TAG, 16), chunk(b"data", b"ab")), "holds compressed audio"),
        (
            riff(format_chunk(PCM_TAG, 16, channels=0), chunk(b"data", b"ab")),
            "has a header that contradicts itself .0 channels",
        ),
        (
            riff(format_chunk(PCM_TAG, 16, rate_hz=0), chunk(b"data", b"ab")),
            "has a header that contradicts itself .* 0 Hz",
        ),
        (
            riff(format_chunk(PCM_TAG, 16, frame=3), chunk(b"data", b"ab")),
            "has a header that contradicts itself .*frames of 3 bytes",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_is_no_usable_wav_is_refused_with_the_reason(data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=rf"^the recording {says}"):
        read_wav(data)


def test_a_refused_path_is_named(tmp_path: Path) -> None:
    (tmp_path / "song.mp3").write_bytes(b"ID3")
    with pytest.raises(ValueError, match=r"song\.mp3 is an MP3 file"):
        read_wav(tmp_path / "song.mp3")


def test_a_path_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_wav(tmp_path / "nowhere.wav")


def test_a_file_opened_as_text_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="mode 'rb'"):
        read_wav(io.StringIO("RIFF"))  # type: ignore[arg-type]


def reads_or_refuses(data: bytes) -> None:
    try:
        read = read_wav(data)
    except ValueError as error:
        assert type(error) is ValueError  # noqa: PT017 - a subclass would be somebody else's, such as a struct's
    else:
        assert read.pcm
        assert len(read.pcm) % 2 == 0
        assert read.rate_hz >= 1


@given(
    st.one_of(
        st.binary(),
        st.binary().map(lambda rest: b"RIFF\0\0\0\0WAVE" + rest),
        st.binary(min_size=16, max_size=40).map(lambda header: riff(chunk(b"fmt ", header), chunk(b"data", bytes(99)))),
    )
)
@settings(max_examples=300)
def test_any_bytes_are_a_recording_or_refused(data: bytes) -> None:
    reads_or_refuses(data)


@given(st.data())
@settings(max_examples=300)
def test_a_damaged_recording_is_a_recording_or_refused(data: st.DataObject) -> None:
    whole = bytearray(
        riff(extensible_chunk(FLOAT_TAG, 32, channels=2), chunk(b"LIST", b"abc"), chunk(b"data", bytes(64)))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    reads_or_refuses(bytes(whole[: data.draw(st.integers(0, len(whole)))]))


def test_a_recording_shows_no_samples_in_its_repr() -> None:
    assert repr(Wav(bytes(1000), 16_000)) == "Wav(pcm=<1000 bytes>, rate_hz=16000)"


# --- WAV: writing --------------------------------------------------------------------------------------------------


@given(PCM.filter(bool), st.integers(1, 192_000))
def test_what_is_written_is_read_back(pcm: bytes, rate_hz: int) -> None:
    file = io.BytesIO()
    write_wav(file, memoryview(pcm), rate_hz=rate_hz)
    assert read_wav(file.getvalue()) == Wav(pcm, rate_hz)


def test_what_is_written_is_a_wav_to_others_too(tmp_path: Path) -> None:
    write_wav(tmp_path / "reply.wav", pcm_of(1, 2, 3))
    with wave.open(str(tmp_path / "reply.wav")) as other:
        assert other.getparams()[:4] == (1, 2, OUTPUT_RATE_HZ, 3)
        assert other.readframes(9) == pcm_of(1, 2, 3)
    whole = (tmp_path / "reply.wav").read_bytes()
    assert struct.unpack_from("<I", whole, 4) == (len(whole) - 8,)


def test_what_others_write_is_read(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "speech.wav"), "wb") as other:
        other.setparams((2, 3, 48_000, 0, "NONE", ""))
        other.writeframes(int_bytes(256, 24) + int_bytes(768, 24))
    assert read_wav(tmp_path / "speech.wav") == Wav(pcm_of(2), 48_000)


def test_a_file_that_cannot_seek_is_written_from_where_it_stands() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: object) -> int:
            raise OSError("a pipe")

        tell = seek

    pipe = Pipe()
    pipe.write(b"before")
    write_wav(pipe, pcm_of(9))
    assert read_wav(pipe.getvalue()[6:]).pcm == pcm_of(9)


def test_no_audio_makes_a_wav_without_samples(tmp_path: Path) -> None:
    write_wav(str(tmp_path / "nothing.wav"), b"")
    with wave.open(str(tmp_path / "nothing.wav")) as other:
        assert other.getnframes() == 0


def test_half_a_sample_leaves_the_old_file_alone(tmp_path: Path) -> None:
    (tmp_path / "old.wav").write_bytes(b"old")
    with pytest.raises(ValueError, match="half a 16-bit sample"):
        write_wav(tmp_path / "old.wav", b"abc")
    assert (tmp_path / "old.wav").read_bytes() == b"old"


def test_more_than_a_wav_can_hold_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb+") as file:
        file.truncate(2**32)
        with (
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as huge,
            memoryview(huge) as pcm,
            pytest.raises(ValueError, match="write several files"),
        ):
            write_wav(io.BytesIO(), pcm)


def test_a_rate_that_the_header_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="more than a WAV's header can say"):
        write_wav(io.BytesIO(), b"", rate_hz=2**31)


# --- in real time --------------------------------------------------------------------------------------------------


async def test_pieces_come_when_their_time_has_come(autojump_clock: trio.testing.MockClock) -> None:
    start = trio.current_time()
    came = [(len(piece), trio.current_time() - start) async for piece in paced(bytes(1500), rate_hz=16_000)]
    assert [size for size, _ in came] == [640, 640, 220]
    assert [at for _, at in came] == pytest.approx([0.0, 0.02, 0.04])


async def test_the_loop_lasts_as_long_as_the_audio(autojump_clock: trio.testing.MockClock) -> None:
    start = trio.current_time()
    async for _ in paced(bytes(1500), rate_hz=16_000):
        pass
    assert trio.current_time() - start == pytest.approx(750 / 16_000)


async def test_pieces_do_not_drift_where_the_rate_gives_no_whole_samples(
    autojump_clock: trio.testing.MockClock,
) -> None:
    start = trio.current_time()
    pcm = bytes(2 * 11_025)
    joined = b"".join([piece async for piece in paced(pcm, rate_hz=11_025, chunk_ms=1)])
    assert joined == pcm
    assert trio.current_time() - start == pytest.approx(1.0)


async def test_work_between_two_pieces_does_not_delay_the_next(autojump_clock: trio.testing.MockClock) -> None:
    start = trio.current_time()
    came = []
    async for _ in paced(bytes(640 * 4), rate_hz=16_000):
        came.append(trio.current_time() - start)
        await trio.sleep(0.015)
    assert came == pytest.approx([0.0, 0.02, 0.04, 0.06])


async def test_who_is_late_gets_what_is_due_at_once_and_is_on_time_after_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    start = trio.current_time()
    came = []
    async for _ in paced(bytes(640 * 6), rate_hz=16_000):
        came.append(trio.current_time() - start)
        if len(came) == 1:
            await trio.sleep(0.07)
    assert came == pytest.approx([0.0, 0.07, 0.07, 0.07, 0.08, 0.1])


async def test_the_clock_starts_with_the_first_piece_and_not_before(autojump_clock: trio.testing.MockClock) -> None:
    pieces = paced(bytes(1280), rate_hz=16_000)
    await trio.sleep(5)
    start = trio.current_time()
    assert [trio.current_time() - start async for _ in pieces] == pytest.approx([0.0, 0.02])


async def test_a_cancelled_wait_takes_no_piece(autojump_clock: trio.testing.MockClock) -> None:
    pcm = pcm_of(*range(640))
    pieces = paced(pcm, rate_hz=16_000)
    first = await anext(pieces)
    with trio.move_on_after(0.005) as scope:
        await anext(pieces)
    assert scope.cancelled_caught
    assert first + b"".join([piece async for piece in pieces]) == pcm


async def test_each_step_is_a_checkpoint(autojump_clock: trio.testing.MockClock) -> None:
    pieces = paced(bytes(1280), rate_hz=16_000)
    for _ in range(2):
        with trio.testing.assert_checkpoints():
            await anext(pieces)
    for _ in range(2):
        with trio.testing.assert_checkpoints(), pytest.raises(StopAsyncIteration):
            await anext(pieces)


async def test_no_audio_ends_at_once(autojump_clock: trio.testing.MockClock) -> None:
    assert [piece async for piece in paced(b"", rate_hz=16_000)] == []


def test_half_a_sample_is_refused_before_the_loop() -> None:
    with pytest.raises(ValueError, match="half a 16-bit sample"):
        paced(b"abc", rate_hz=16_000)
