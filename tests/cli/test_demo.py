"""The demo: real speech over a real socket, without a key."""

from __future__ import annotations

import signal
from array import array
from pathlib import Path

import pytest

from gemlive.audio import read_wav
from gemlive.cli._demo import sentences
from gemlive.cli._recording import packaged_speech
from tests.cli import program

pytestmark = pytest.mark.socket


def test_the_demo_tells_a_person_what_happens(tmp_path: Path) -> None:
    ran = program.run("demo", "--no-pace", "--out", str(tmp_path / "reply.wav"))
    assert (ran.returncode, ran.stderr) == (0, "")
    labels = {line[:12].rstrip() for line in ran.stdout.splitlines()}
    assert labels >= {"connected", "sending", "you", "model", "audio", "turn over", "tokens", "sent", "wrote", "done"}
    assert str(tmp_path / "reply.wav") in ran.stdout


def test_the_reply_is_speech_of_24_khz_about_as_long_as_what_was_said(tmp_path: Path) -> None:
    ran = program.run("demo", "--no-pace", "--out", str(tmp_path / "reply.wav"))
    assert ran.returncode == 0
    reply = read_wav(tmp_path / "reply.wav")
    assert reply.rate_hz == 24_000
    assert 3.0 < reply.duration_s < 4.0
    assert max(array("h", reply.pcm)) > 10_000


def test_the_demo_writes_nothing_unless_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert program.run("demo", "--no-pace").returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_the_demo_tells_a_program_the_same_in_json(tmp_path: Path) -> None:
    ran = program.run("demo", "--no-pace", "--json", "--out", str(tmp_path / "reply.wav"))
    assert (ran.returncode, ran.stderr) == (0, "")
    records = program.records(ran.stdout)
    assert records[0]["event"] == "opened"
    assert [record["text"] for record in records if record["event"] == "input_transcript"] == [
        "[speech, 2.1 s]",
        "[speech, 1.2 s]",
    ]
    summary = next(record for record in records if record["event"] == "summary")
    assert (summary["turns"], summary["interruptions"]) == (2, 0)
    # Each sentence waits for the answer to the one before, or it would interrupt it somewhere.
    assert [record["event"] for record in records].count("sending") == 2
    wrote = next(record for record in records if record["event"] == "wrote")
    assert wrote["duration_s"] == summary["reply_s"] == pytest.approx(3.5, abs=0.2)


def test_the_demo_says_the_same_every_time(tmp_path: Path) -> None:
    replies = []
    for name in ("a.wav", "b.wav"):
        assert program.run("demo", "--no-pace", "--out", str(tmp_path / name)).returncode == 0
        replies.append((tmp_path / name).read_bytes())
    assert replies[0] == replies[1]


def test_a_pipe_gets_no_control_characters() -> None:
    ran = program.run("demo", "--no-pace")
    assert [character for character in ran.stdout if character < " " and character != "\n"] == []


def test_the_demo_is_paced_unless_it_is_told_otherwise() -> None:
    with program.started("demo", "--json") as process:
        assert process.stdout is not None
        sending = next(record for record in (program.records(line)[0] for line in process.stdout) if "pace" in record)
        process.send_signal(signal.SIGINT)
        process.wait(program.PATIENCE_S)
    assert sending["pace"] is True


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_ctrl_c_ends_the_demo_quietly(form: list[str]) -> None:
    with program.started("demo", *form) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=program.PATIENCE_S)
    assert (process.returncode, errors) == (130, "")
    assert rest == "" or rest.endswith("\n")


def test_the_sentences_are_cut_in_the_pause() -> None:
    speech = packaged_speech()
    first, second = sentences(speech)
    assert first.pcm + second.pcm == speech.pcm
    assert first.pcm.endswith(bytes(16_000))
    assert second.pcm.startswith(bytes(16_000))
    assert len(first.pcm) % 2 == 0
