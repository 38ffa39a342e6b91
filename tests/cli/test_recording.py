"""Recordings are read whatever they are, or refused with the reason; the packaged one is what the demo needs."""

from __future__ import annotations

import os
import struct
from array import array
from importlib import resources
from pathlib import Path

import pytest

from gemlive.audio import read_wav, write_wav
from gemlive.cli import _recording
from gemlive.cli._exit import Misuse
from gemlive.cli._recording import check_writable, load, packaged_speech, save

FRAME = 320  # samples of 20 ms


def quiet_runs_s(samples: array[int]) -> list[float]:
    """Returns the length of each run of silence."""
    runs, run = [], 0
    for start in range(0, len(samples), FRAME):
        if max(map(abs, samples[start : start + FRAME])) < 100:
            run += 1
        else:
            runs.append(run * 0.02)
            run = 0
    return [*runs, run * 0.02]


def test_the_packaged_speech_is_long_enough_and_not_too_large() -> None:
    wav = packaged_speech()
    file = resources.files("gemlive.cli").joinpath("data", "speech.wav").read_bytes()
    assert wav.rate_hz == 16_000
    assert wav.duration_s >= 4
    assert len(file) < 300_000


def test_the_packaged_speech_is_pcm_of_16_bits_and_one_channel() -> None:
    file = resources.files("gemlive.cli").joinpath("data", "speech.wav").read_bytes()
    assert struct.unpack_from("<HH", file, 20) == (1, 1)
    assert struct.unpack_from("<H", file, 34) == (16,)


def test_the_packaged_speech_has_a_pause_inside_and_silence_at_its_end() -> None:
    runs = quiet_runs_s(array("h", packaged_speech().pcm))
    assert max(runs[1:-1]) >= 0.6
    assert runs[-1] >= 0.4


def test_the_packaged_speech_is_loud_and_does_not_clip() -> None:
    samples = array("h", packaged_speech().pcm)
    assert 16_000 < max(map(abs, samples)) < 32_767


async def test_a_recording_of_another_kind_is_converted(tmp_path: Path) -> None:
    stereo = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 44, b"WAVE", b"fmt ", 16, 1, 2, 48000, 96000, 2, 8, b"data", 8)
    (tmp_path / "a.wav").write_bytes(stereo + b"\x80" * 8)
    wav = await load(tmp_path / "a.wav")
    assert (wav.rate_hz, len(wav.pcm)) == (48_000, 8)


async def test_what_is_no_wav_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"OggS and more")
    with pytest.raises(Misuse, match=r"a\.wav: .*Ogg"):
        await load(tmp_path / "a.wav")


async def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match=r"a\.wav: No such file"):
        await load(tmp_path / "a.wav")


async def test_a_directory_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="Is a directory"):
        await load(tmp_path)


async def test_a_file_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_recording, "MAX_BYTES", 2**20)
    with pytest.raises(Misuse, match="larger than 1 MiB"):
        await load(Path("/dev/zero"))


async def test_what_is_saved_can_be_read(tmp_path: Path) -> None:
    await save(tmp_path / "a.wav", b"\1\0\2\0", 24_000)
    wav = read_wav(tmp_path / "a.wav")
    assert (wav.pcm, wav.rate_hz) == (b"\1\0\2\0", 24_000)


def test_a_place_that_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", b"\1\0")
    before = (tmp_path / "a.wav").read_bytes()
    check_writable(tmp_path / "a.wav")
    check_writable(tmp_path / "new.wav")
    check_writable(None)
    assert (tmp_path / "a.wav").read_bytes() == before
    assert not (tmp_path / "new.wav").exists()


def test_a_directory_cannot_be_written_over(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="is a directory"):
        check_writable(tmp_path)


def test_a_place_in_no_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="there is no directory"):
        check_writable(tmp_path / "no" / "a.wav")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_place_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(Misuse, match="may not be written"):
        check_writable(tmp_path / "a.wav")
