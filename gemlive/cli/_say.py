"""``gemlive say``: say a recording to a model, in real time, and hear its answer."""

from __future__ import annotations

import math
from pathlib import Path

from gemlive.cli._demo import write_reply
from gemlive.cli._endpoint import find_endpoint, find_model, place
from gemlive.cli._exit import Misuse
from gemlive.cli._output import Line, Output
from gemlive.cli._recording import check_writable, load
from gemlive.cli._speaking import Speaking
from gemlive.families import family_for
from gemlive.session import open_session
from gemlive.types import SessionConfig


async def say(
    output: Output,
    file: Path,
    *,
    url: str | None,
    model: str | None,
    voice: str | None,
    system: str | None,
    out: Path | None,
    pace: bool,
    timeout_s: float,
) -> None:
    """Holds a conversation of one recording and says what happens in it.

    Raises:
        Misuse: a file, an option or the environment is wrong.
        Failure: there was no answer.
    """
    check_timeout(timeout_s)
    check_writable(out)
    endpoint = find_endpoint(url)
    config = _config(find_model(model), voice=voice, system=system)
    wav = await load(file)
    async with open_session(config, endpoint=endpoint) as session:
        where = place(endpoint)
        output.report("opened", Line("connected", f"to {where}, {config.model}"), url=where, model=config.model)
        hearing = await Speaking(session, output, timeout_s=timeout_s).run(wav, pace=pace)
    await write_reply(output, hearing, out)


def _config(model: str, *, voice: str | None, system: str | None) -> SessionConfig:
    known = family_for(model).response_modalities
    # An older model writes unless it is told to speak; one that only transcribes refuses to be told.
    modalities = ("AUDIO",) if not known or "AUDIO" in known else None
    return SessionConfig(
        model=model, voice=voice, system_instruction=system, response_modalities=modalities, transcription=True
    )


def check_timeout(timeout_s: float) -> None:
    """Raises ``Misuse`` for a time that is none."""
    if not 0 < timeout_s < math.inf:
        raise Misuse(f"--timeout is {timeout_s:g}; give a number of seconds above 0")


__all__ = ["check_timeout", "say"]
