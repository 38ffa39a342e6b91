"""``gemlive demo``: a whole conversation by voice on this machine, real but for the model.

The emulator listens on a real loopback socket, the session dials it as it would dial Google, and recorded speech goes
up as fast as it is spoken. The model's part is deterministic, so the same is said every time.
"""

from __future__ import annotations

import re
from pathlib import Path

from gemlive import audio, emulator
from gemlive.audio import Wav
from gemlive.cli._defaults import HOST, MODEL, PORT, TIMEOUT_S
from gemlive.cli._endpoint import place
from gemlive.cli._exit import Failure
from gemlive.cli._hearing import Hearing
from gemlive.cli._output import Line, Output
from gemlive.cli._recording import check_writable, packaged_speech, save
from gemlive.cli._speaking import Speaking
from gemlive.session import open_session
from gemlive.types import SessionConfig


async def demo(output: Output, *, out: Path | None, pace: bool) -> None:
    """Holds the conversation and says what happens in it.

    Raises:
        Misuse: ``out`` cannot be written.
        Failure: there was no spoken answer.
    """
    check_writable(out)
    speech = packaged_speech()
    config = SessionConfig(model=MODEL, response_modalities=("AUDIO",), transcription=True)
    async with emulator.serve() as server, open_session(config, endpoint=server.endpoint) as session:
        where = place(server.endpoint)
        output.report("opened", Line("connected", f"to a local server at {where}"), url=where, model=MODEL)
        speaking = Speaking(session, output, timeout_s=TIMEOUT_S)
        # At once, the second sentence would interrupt the answer to the first somewhere; so each waits for its turn.
        for part in [speech] if pace else sentences(speech):
            hearing = await speaking.run(part, pace=pace)
    reply_s = audio.duration_s(hearing.audio, rate_hz=hearing.rate_hz)
    await write_reply(output, hearing, out)
    output.report(
        "summary",
        Line("done", f"{hearing.turns} turns, {reply_s:.1f} s of answer, over a real WebSocket and without a key"),
        turns=hearing.turns,
        interruptions=hearing.interruptions,
        reply_s=round(reply_s, 3),
    )
    here, there = "gemlive serve", f"gemlive chat --url ws://{HOST}:{PORT}"
    output.report("next", Line("try next", f"{here}, and elsewhere: {there}"), commands=[here, there])


def sentences(speech: Wav) -> list[Wav]:
    """Returns the recording cut in two, in the middle of its longest silence."""
    zeros = max(re.finditer(rb"(?:\0\0)+", speech.pcm), key=lambda silence: len(silence[0]))
    middle = (zeros.start() + zeros.end()) // 4 * 2
    return [Wav(speech.pcm[:middle], speech.rate_hz), Wav(speech.pcm[middle:], speech.rate_hz)]


async def write_reply(output: Output, hearing: Hearing, out: Path | None) -> None:
    """Writes what the model said to ``out``, if that is wanted, and says so.

    Raises:
        Failure: it said nothing aloud.
    """
    if out is None:
        return
    if not hearing.audio:
        raise Failure(f"the model said nothing aloud, so {out} was not written; ask for speech with another --model")
    await save(out, hearing.audio, hearing.rate_hz)
    length_s = audio.duration_s(hearing.audio, rate_hz=hearing.rate_hz)
    output.report(
        "wrote",
        Line("wrote", f"{out}: {length_s:.1f} s, {hearing.rate_hz} Hz mono, 16 bit"),
        path=str(out),
        duration_s=round(length_s, 3),
        rate_hz=hearing.rate_hz,
    )


__all__ = ["demo", "write_reply"]
