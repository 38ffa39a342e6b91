"""The default model: it says what it is and what it heard, the same for the same input.

That is enough to see that a client works: text comes back quoted, speech comes back as sound, ``call NAME`` makes it
call the declared function NAME and tell what came of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from gemlive.audio import INPUT_RATE_HZ, OUTPUT_RATE_HZ
from gemlive.emulator._memory import ToolResult
from gemlive.emulator._turn import Turn
from gemlive.emulator._voice import resample

NAME = "gemlive emulator"

_QUOTED = 200  # characters: a book that is sent in is not read back
_ARGUMENTS = 10_000  # characters that are read for the arguments of a call
_MOST_CALLS = 16  # in one turn: a text that is nothing but calls is no reason to make thousands
_CALL = re.compile(r"\bcall\s+([A-Za-z_][\w.:-]*)\s*", re.IGNORECASE)


async def answer(turn: Turn) -> None:
    """Answers a turn by saying what it was."""
    if turn.thinks_first:
        await turn.think("**Saying what I heard**\n\nI am the emulator, so I repeat what I have heard.\n\n\n")
    results = list(turn.results)
    calls = named_calls(turn.text, turn.functions)
    if calls:
        if turn.reports_progress:
            await turn.say("One moment.")
            await turn.complete(status="IN_PROGRESS")
        ids = await turn.begin_calls(calls)
        if not turn.reports_progress and not all(turn.blocks(name) for name, _ in calls):
            return  # the conversation goes on; the answers will come as a turn of their own
        for call_id, (name, _) in zip(ids, calls, strict=True):
            results.append(ToolResult(call_id, name, await turn.wait_result(call_id)))
    words = reply(turn, results)
    if not (turn.speaks and turn.audio):
        await turn.say(words)
    else:
        await turn.speak(resample(turn.audio, from_hz=INPUT_RATE_HZ, to_hz=OUTPUT_RATE_HZ), transcript=words)


def named_calls(text: str, functions: Mapping[str, object]) -> list[tuple[str, Mapping[str, object]]]:
    """Returns the declared functions that the text says to call, with the JSON arguments that follow their names."""
    calls: list[tuple[str, Mapping[str, object]]] = []
    for found in _CALL.finditer(text):
        name = found[1] if found[1] in functions else found[1].rstrip(".:-")
        if name in functions:
            calls.append((name, _arguments(text[found.end() : found.end() + _ARGUMENTS])))
    return calls[:_MOST_CALLS]


def reply(turn: Turn, results: list[ToolResult]) -> str:
    """Returns what is said to a turn."""
    said = [f'I heard "{_shortened(turn.text)}"'] if turn.text else []
    if turn.video:
        said.append(f"saw {len(turn.video)} video frame" + "s" * (len(turn.video) > 1))
    sentences = [" and ".join(said) or "I heard nothing"] if said or not results else []
    sentences += [f"{result.name} returned {_shortened(_json(result.response))}" for result in results]
    return f"{NAME}: {'. '.join(sentences)}."


def _arguments(text: str) -> Mapping[str, object]:
    try:
        value, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _shortened(text: str) -> str:
    return text if len(text) <= _QUOTED else text[:_QUOTED] + "…"
