"""A recording said to a server that somebody runs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gemlive.audio import read_wav, write_wav
from gemlive.cli._recording import packaged_speech
from tests.cli import program

pytestmark = pytest.mark.socket


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with program.serving("--no-pace") as url:
        yield url


@pytest.fixture
def question(tmp_path: Path) -> str:
    path = tmp_path / "question.wav"
    write_wav(path, packaged_speech().pcm[:80_000], rate_hz=16_000)
    return str(path)


def test_a_recording_is_said_and_its_answer_written(url: str, question: str, tmp_path: Path) -> None:
    ran = program.run("say", question, "--url", url, "--no-pace", "--out", str(tmp_path / "reply.wav"))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "you         [speech, 2.1 s]\n" in ran.stdout
    reply = read_wav(tmp_path / "reply.wav")
    assert reply.rate_hz == 24_000
    assert reply.duration_s == pytest.approx(2.2, abs=0.1)


def test_a_recording_of_another_rate_is_said_at_that_rate(url: str, tmp_path: Path) -> None:
    path = tmp_path / "slow.wav"
    write_wav(path, packaged_speech().pcm[:80_000], rate_hz=8_000)
    ran = program.run("say", str(path), "--url", url, "--no-pace", "--json")
    assert ran.returncode == 0
    heard = [record["text"] for record in program.records(ran.stdout) if record["event"] == "input_transcript"]
    assert heard == ["[speech, 4.2 s]"]


def test_what_is_no_recording_is_refused_before_anybody_is_called(tmp_path: Path) -> None:
    path = tmp_path / "question.wav"
    path.write_bytes(b"ID3 and an MP3 behind it")
    ran = program.run("say", str(path), "--url", "ws://127.0.0.1:1")
    assert ran.returncode == 2
    assert ran.stderr.startswith(f"error: {path}: ")


def test_silence_is_a_failure_that_says_why(url: str, tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    write_wav(path, bytes(32_000), rate_hz=16_000)
    ran = program.run("say", str(path), "--url", url, "--no-pace", "--timeout", "0.2", "--json")
    assert ran.returncode == 1
    assert "check that there is speech in the recording" in ran.stderr
    assert program.records(ran.stdout)[-1]["event"] == "error"


def test_the_model_comes_from_the_environment(url: str, question: str) -> None:
    ran = program.run(
        "say", question, "--url", url, "--no-pace", "--json", GEMINI_MODEL="gemini-3.1-flash-live-preview"
    )
    assert program.records(ran.stdout)[0]["model"] == "gemini-3.1-flash-live-preview"


def test_ctrl_c_ends_it_quietly_and_writes_nothing(url: str, question: str, tmp_path: Path) -> None:
    with program.started("say", question, "--url", url, "--out", str(tmp_path / "reply.wav")) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=program.PATIENCE_S)
    assert (process.returncode, errors) == (130, "")
    assert not (tmp_path / "reply.wav").exists()
