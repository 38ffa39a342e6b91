"""WAV files that a command reads and writes, with every mistake found before the conversation begins."""

from __future__ import annotations

import os
from functools import partial
from importlib import resources
from pathlib import Path

import trio

from gemlive.audio import Wav, read_wav, write_wav
from gemlive.cli._exit import Misuse

MAX_BYTES = 256 * 2**20
"""More than an hour of CD audio, and the service's sessions end after fifteen minutes."""


async def load(path: Path) -> Wav:
    """Returns the recording in ``path`` as s16le mono at its own rate.

    Raises:
        Misuse: there is no such file, or it is no WAV that can be converted.
    """
    # In a thread: it may be a pipe that nobody has written to yet, and Ctrl-C must work then.
    return await trio.to_thread.run_sync(_load, path, abandon_on_cancel=True)


def _load(path: Path) -> Wav:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Misuse(f"{path}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise Misuse(f"{path} is larger than {MAX_BYTES // 2**20} MiB; cut it into pieces")
    try:
        return read_wav(data)
    except ValueError as error:
        raise Misuse(f"{path}: {error}") from None


def packaged_speech() -> Wav:
    """Returns the speech that the demo sends: two sentences with a pause of 1.2 s between, 16 kHz.

    espeak-ng 1.51 said them and SoX 14.4.2 cut them, without dither, so that the pause is digital silence::

        trim="silence 1 0.01 0.5% reverse silence 1 0.01 0.5% reverse"
        espeak-ng -v en-us -s 150 -w hello.wav "Hello, this is the gemlive demo."
        espeak-ng -v en-us -s 150 -w question.wav "Can you hear me well?"
        sox -D hello.wav -b 16 -r 16000 -c 1 hello16.wav $trim pad 0.25 1.2
        sox -D question.wav -b 16 -r 16000 -c 1 question16.wav $trim pad 0 0.5
        sox -D hello16.wav question16.wav speech.wav norm -3
    """
    return read_wav(resources.files("gemlive.cli").joinpath("data", "speech.wav").read_bytes())


def check_writable(path: Path | None) -> None:
    """Finds out before a conversation whether its result can be written; changes nothing.

    Raises:
        Misuse: ``path`` is a directory, or lies in none, or may not be written.
    """
    if path is None:
        return
    if path.is_dir():
        raise Misuse(f"--out: {path} is a directory; name a file in it")
    if not path.parent.is_dir():
        raise Misuse(f"--out: there is no directory {path.parent}; create it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise Misuse(f"--out: {path} may not be written; choose another place")


async def save(path: Path, pcm: bytes, rate_hz: int) -> None:
    """Writes s16le mono PCM as a WAV.

    Raises:
        OSError: it cannot be written.
    """
    await trio.to_thread.run_sync(partial(write_wav, path, pcm, rate_hz=rate_hz))


__all__ = ["MAX_BYTES", "check_writable", "load", "packaged_speech", "save"]
