"""Named bugs, each of which the unchanged schedules must find: the proof that the checker can fail.

A mutation is a few words of the package replaced by others while it is imported, in a process of its own; no file is
touched. Each is a mistake that somebody could make, and most are ones that somebody has made. Beside it stands a seed
that finds it, so that a test need not search; where that has stopped working, the search begins at seed 0.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from tests.faults.laboratory import Failure

PACKAGE = Path(__file__).parents[2] / "gemlive"
SEARCH = 2_000
"""How many seeds a mutation may survive."""


@attrs.frozen
class Patch:
    """A piece of source and what stands in its place.

    Attributes:
        where: the file, from the package on, without its suffix; and behind a colon the function, if it is in one.
        old: what is there, once.
        new: what is put there.
    """

    where: str
    old: str
    new: str

    @property
    def module(self) -> str:
        """The name of the module."""
        return "gemlive." + self.where.partition(":")[0].replace("/", ".")


@attrs.frozen
class Mutation:
    """A bug.

    Attributes:
        name: what it is called.
        seed: a seed that finds it.
        patches: how it is made.
    """

    name: str
    seed: int
    patches: tuple[Patch, ...]


def _bug(name: str, seed: int, *parts: str) -> Mutation:
    patches = [Patch(*parts[at : at + 3]) for at in range(0, len(parts), 3)]
    return Mutation(name, seed, tuple(patches))


_OUTBOX = "session/_outbox"
_LIFE = "session/_lifecycle"
_RUN = "session/_runner"
_OPEN = "session/_open"
_SPEND = "session/_policy:spend"

MUTATIONS: tuple[Mutation, ...] = (
    # --- what becomes of messages
    _bug("no replay", 0, f"{_OUTBOX}:_judge", 'if policy == "replay" and not entry.is_history', "if False"),
    _bug("blind replay", 0, f"{_OUTBOX}:_judge", 'if policy == "replay" and not', "if not"),
    _bug("history sent again", 0, f"{_OUTBOX}:_judge", " and not entry.is_history:", ":"),
    _bug("drop policy reports", 0, f"{_OUTBOX}:_judge", 'elif policy == "drop":', "elif False:"),
    _bug("uncertain not reported", 0, f"{_OUTBOX}:reconnected", "for entry in uncertain if", "for entry in () if"),
    _bug("departing batch forgotten", 0, f"{_OUTBOX}:reconnected", ", *self._departing]", "]"),
    _bug("journal forgotten", 0, f"{_OUTBOX}:reconnected", "sorted([*self._journal, ", "sorted(["),
    _bug("all written is covered", 0, f"{_OUTBOX}:handle_issued", "is_covered = entry.answered", "is_covered = True"),
    _bug(
        "index off by one, too few",
        0,
        f"{_OUTBOX}:handle_issued",
        "is_covered = entry.index <=",
        "is_covered = 1 + entry.index <=",
    ),
    _bug(
        "index off by one, too many",
        0,
        f"{_OUTBOX}:handle_issued",
        "is_covered = entry.index <=",
        "is_covered = entry.index - 1 <=",
    ),
    _bug(
        "index counts the setup", 0, f"{_OUTBOX}:_depart", "entry.index = self._index", "entry.index = self._index + 1"
    ),
    _bug(
        "index kept over a reconnect",
        0,
        f"{_OUTBOX}:reconnected",
        "self._journal_bytes = self._index = 0",
        "self._journal_bytes = 0",
    ),
    _bug(
        "replay behind what waits",
        0,
        f"{_OUTBOX}:_put_back",
        "self._queue.appendleft(entry)",
        "self._queue.append(entry)",
    ),
    _bug("replay in reverse", 0, f"{_OUTBOX}:reconnected", "in reversed(", "in list("),
    _bug(
        "receipts not finalised",
        0,
        f"{_OUTBOX}:finish",
        "in [*self._journal, *self._journaled_media]",
        "in self._journaled_media",
    ),
    _bug(
        "waiting receipts not finalised",
        0,
        f"{_OUTBOX}:finish",
        "final=True, reason=reason",
        "final=False, reason=reason",
    ),
    _bug("lost session called written", 0, f"{_OUTBOX}:finish", "is_known = is_normal or", "is_known = True or"),
    # --- media
    _bug("stale audio sent on resume", 0, _OUTBOX, "RESUME_MAX_AGE_S = 0.5", "RESUME_MAX_AGE_S = 1.5"),
    _bug("stale audio sent", 0, _OUTBOX, "\nMEDIA_MAX_AGE_S = 2.0", "\nMEDIA_MAX_AGE_S = 4.0"),
    _bug("written media sent again", 0, f"{_OUTBOX}:_judge", "            elif by_index:", "            elif True:"),
    _bug("dropped audio uncounted", 0, f"{_OUTBOX}:_drop", "self._audio_ms_dropped += entry.audio_ms", "pass"),
    _bug("dropped audio untold", 0, f"{_RUN}:_note_dropped", "self._drops += dropped", "self._drops += dropped[1:]"),
    _bug("order broken by media drop", 0, f"{_OUTBOX}:_drop", "self._holes += 1", "self._queue.rotate(-1)"),
    _bug(
        "everything waits behind the newest",
        0,
        f"{_OUTBOX}:accept",
        "self._queue.append(entry)",
        "self._queue.appendleft(entry)",
    ),
    # --- activities
    _bug("activity not restored", 0, f"{_OUTBOX}:_balance_activities", "if is_restored:", "if False:"),
    _bug(
        "activity restored unasked",
        0,
        f"{_OUTBOX}:_balance_activities",
        "if is_restored:",
        "if is_restored or useless:",
    ),
    _bug(
        "empty activity sent",
        0,
        f"{_OUTBOX}:take",
        "if self._has_lost_audio else 0",
        "if False else 0",
        f"{_OUTBOX}:take",
        "and not self._activity_has_audio",
        "and False",
    ),
    # --- handles
    _bug(
        "empty handle stored",
        0,
        f"{_LIFE}:received",
        "is_usable = bool(handle) and",
        "is_usable =",
        f"{_LIFE}:received",
        "if is_usable and handle and",
        'handle = handle or ""\n                    if is_usable and',
    ),
    _bug("unusable handle stored", 0, f"{_LIFE}:received", " and resumable is not False and", " and"),
    _bug("handle used though off", 0, f"{_LIFE}:received", " and self._resumption\n", "\n"),
    _bug("handle kept after refusal", 0, f"{_LIFE}:_drop_handle", "self._handle = None", "pass"),
    _bug("handle kept after two failures", 0, f"{_LIFE}:failed", " or self._handle_failures >= 2", ""),
    _bug("handle dropped at the first failure", 0, f"{_LIFE}:failed", "self._handle_failures >= 2", "True"),
    _bug("first handle for ever", 0, f"{_LIFE}:received", "self._handle.value != handle", "False"),
    _bug("handle told again is newer", 0, f"{_LIFE}:received", "self._handle.value != handle", "True"),
    _bug(
        "handle not presented",
        0,
        f"{_RUN}:_set_up",
        "attrs.evolve(self.config, resumption_handle=handle)",
        "self.config",
    ),
    _bug("lost context ignored", 0, f"{_LIFE}:failed", 'if self._policy.lost_context == "fail":', "if False:"),
    # --- reconnecting
    _bug("no jitter", 0, _SPEND, "self._uniform(0.0, bound)", "bound"),
    _bug("delay not waited", 0, f"{_RUN}:_supervise", "trio.move_on_after(step.delay_s)", "trio.move_on_after(0)"),
    _bug("Retry-After ignored", 0, _SPEND, "max(floor_s, self._uniform(0.0, bound))", "self._uniform(0.0, bound)"),
    _bug("quota not waited for", 0, _LIFE, "QUOTA_WAIT_S = 5.0", "QUOTA_WAIT_S = 0.0"),
    _bug("no exponent", 0, _SPEND, "2.0 ** min(self._row, 60)", "8"),
    _bug(
        "budget reset on success",
        0,
        "session/_policy:succeeded",
        "self._row = 0",
        "self._row = 0; self._window.clear()",
    ),
    _bug("tries never reset", 0, f"{_LIFE}:connected", "self._budget.succeeded()", "pass"),
    _bug("one try too many", 0, _SPEND, "self._row >= self._policy.attempts", "self._row > self._policy.attempts"),
    _bug("4xx tried again", 0, "errors", "retryable=status in (408, 429) or status >= 500", "retryable=True"),
    _bug("fatal close tried again", 0, f"{_LIFE}:lost", "if self._is_fatal(meaning):", "if False:"),
    _bug(
        "passing close is fatal",
        0,
        "session/_closes",
        '("internal error", Remedy.RESUME',
        '("internal error", Remedy.FATAL',
    ),
    _bug(
        "code before text",
        0,
        "session/_closes:meaning_of",
        "if fragment in text:",
        "if fragment in text and code != 1008:",
    ),
    _bug("close 1000 in mid-turn ends it", 0, f"{_LIFE}:lost", " and not self.is_mid_turn", ""),
    _bug(
        "first dial always tried again",
        0,
        f"{_LIFE}:failed",
        "if is_first and not self._policy.first_dial:",
        "if False:",
    ),
    # --- the announced end
    _bug("GoAway ignored", 0, f"{_LIFE}:received", "if self._policy.attempts > 0:", "if False:"),
    _bug("GoAway polled only on messages", 0, f"{_RUN}:_await_hand_over", "math.inf if at is None else at", "math.inf"),
    _bug("GoAway without margin", 0, f"{_LIFE}:received", "max(left - GO_AWAY_MARGIN_S, left / 2)", "left"),
    _bug("GoAway in mid-turn", 0, f"{_LIFE}:can_hand_over", " or self.is_mid_turn", ""),
    _bug("GoAway storm spins", 0, _LIFE, "HAND_OVER_SPACING_S = 1.0", "HAND_OVER_SPACING_S = 0.0"),
    _bug(
        "later GoAway postpones",
        0,
        f"{_LIFE}:received",
        "at if self._hand_over_at is None else min(at, self._hand_over_at)",
        "at + 30",
    ),
    # --- events
    _bug("Interrupted missing", 0, f"{_LIFE}:leave", "if not cut_short:", "if True:"),
    _bug(
        "Reconnected after events",
        0,
        f"{_RUN}:_converse",
        "self._connected()\n        self._take_in(frames)",
        "self._take_in(frames)\n        self._connected()",
    ),
    _bug(
        "InputDropped before Reconnected",
        0,
        f"{_RUN}:_reconnected",
        "stamp = self.lifecycle.stamp",
        "stamp = self.lifecycle.stamp\n        self._drops += carried.dropped\n        self._flush_drops()",
    ),
    _bug("aborted turn untold", 0, f"{_RUN}:_supervise", "bool(cut_short)", "False"),
    _bug("stamp stands still", 0, f"{_LIFE}:received", "self.stamp = advance(self.stamp, events)", "pass"),
    _bug("lag off by one", 0, f"{_RUN}:_lag", "so_far.events + 1", "so_far.events"),
    _bug("lagged audio uncounted", 0, f"{_RUN}:_lag", "audio_ms += dropped.duration_ms", "pass"),
    _bug("turn events lost first", 0, f"{_RUN}:_rank", "return 3", "return 0"),
    _bug("rest of a read lost after an error", 0, f"{_RUN}:_take_in", "continue", "break"),
    _bug("what came second is lost", 0, "transport/_websocket:receive", "*self._taken()", "*list(self._taken())[:0]"),
    # --- tools
    _bug("answer to a dead call", 0, f"{_OUTBOX}:_fate_of_answer", "any(at > resumed_from for at in asked)", "False"),
    _bug("answer to a forgotten call", 0, "session/_session:send_tool_response", "record.is_forgotten", "False"),
    _bug("calls forgotten on a fresh start only", 0, f"{_LIFE}:forget", "call.order > remembered", "not remembered"),
    _bug("answer to a cancelled call", 0, "session/_session:send_tool_response", "].is_cancelled", "].is_forgotten"),
    _bug("double answer", 0, "session/_session:_answer", "if record.is_answered:", "if False:"),
    _bug("orphans untold", 0, f"{_RUN}:_reconnected", "events += _orphans(carried, at=stamp)", "pass"),
    # --- the block
    _bug(
        "close unbounded",
        0,
        _RUN,
        "timeouts.close_s / 2",
        "timeouts.close_s * 20",
        f"{_OPEN}:_leave",
        ", deadline=trio.current_time() + timeouts.close_s",
        "",
    ),
    _bug("close a little too slow", 0, _RUN, "timeouts.close_s / 2", "timeouts.close_s"),
    _bug("nothing said before leaving", 0, f"{_OPEN}:open_session", "flush=is_done", "flush=False"),
    _bug(
        "group for one failure",
        0,
        f"{_OPEN}:open_session",
        "if _is_cancellation(error):",
        "if True:",
        f"{_OPEN}:open_session",
        "group.exceptions[0] if len(group.exceptions) == 1 else group",
        "group",
    ),
    _bug(
        "loss swallowed",
        0,
        f"{_OPEN}:open_session",
        "if runner.failure is not None:\n        try",
        "if False:\n        try",
    ),
    _bug(
        "senders not woken at the end",
        0,
        f"{_RUN}:_finish",
        "range(self._places.statistics().tasks_waiting)",
        "range(0)",
    ),
    _bug("sends after the end accepted", 0, f"{_RUN}:check_open", "raise trio.Closed", "trio.Closed"),
    _bug(
        "cancelled send has effect",
        0,
        f"{_RUN}:send",
        "await trio.lowlevel.checkpoint()",
        "self.outbox.accept(entry)\n        await trio.lowlevel.checkpoint()",
    ),
    # --- connections
    _bug(
        "old socket kept open during the dial",
        0,
        "transport/_websocket:aclose",
        "await trio.aclose_forcefully(self._stream)",
        "pass",
        "transport/_websocket:_say_goodbye",
        "await self._stream.aclose()",
        "pass",
    ),
    _bug(
        "unshielded send",
        0,
        "transport/_outgoing:drain",
        "await stream.send_all(data)",
        "with trio.move_on_after(1): await stream.send_all(data)",
    ),
    _bug(
        "black hole not found",
        0,
        "transport/_keepalive:wait_for_silence",
        "if not peer.heard.is_set() and peer.is_reading:",
        "if False:",
    ),
    _bug(
        "slow pong is death",
        0,
        "transport/_keepalive:wait_for_silence",
        "trio.move_on_after(pong_s)",
        "trio.move_on_after(pong_s / 3)",
    ),
    _bug(
        "setup unbounded", 0, f"{_RUN}:_set_up", "trio.move_on_after(self.timeouts.setup_s)", "trio.move_on_after(900)"
    ),
    _bug(
        "upgrade unbounded",
        0,
        "transport/_dial:attempt",
        "trio.move_on_after(timeout_s)",
        "trio.move_on_after(timeout_s * 9)",
    ),
)


def named(name: str) -> Mutation:
    """Returns a mutation by its name.

    Raises:
        ValueError: there is none.
    """
    for mutation in MUTATIONS:
        if mutation.name == name:
            return mutation
    raise ValueError(f"no mutation is called {name!r}")


# --- putting one into the package ------------------------------------------------------------------------------------


def mutated(patch: Patch, source: str) -> str:
    """Returns the source with the patch in it.

    Raises:
        ValueError: what is to be replaced is not there, or not once.
    """
    name = patch.where.partition(":")[2]
    begin, end = _extent(source, name) if name else (0, len(source))
    part = source[begin:end]
    if part.count(patch.old) != 1:
        raise ValueError(f"{patch.where} has {part.count(patch.old)} times {patch.old!r}; write the mutation anew")
    return source[:begin] + part.replace(patch.old, patch.new) + source[end:]


def _extent(source: str, name: str) -> tuple[int, int]:
    """Returns where a function begins and ends in its file."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, functions) and node.name == name]
    if len(found) != 1 or found[0].end_lineno is None:
        raise ValueError(f"there are {len(found)} functions {name}; write the mutation anew")
    lines = source.splitlines(keepends=True)
    return len("".join(lines[: found[0].lineno - 1])), len("".join(lines[: found[0].end_lineno]))


def sources_of(mutation: Mutation) -> dict[str, str]:
    """Returns the source of each module that a mutation changes, changed."""
    sources: dict[str, str] = {}
    for patch in mutation.patches:
        source = sources.get(patch.module) or _file_of(patch.module).read_text()
        sources[patch.module] = mutated(patch, source)
    return sources


def _file_of(module: str) -> Path:
    return PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")


def apply(mutation: Mutation) -> None:
    """Makes this process import the package with a bug in it. Nothing of the package may have been imported yet."""
    assert not any(name.startswith("gemlive") for name in sys.modules), "it is too late to change what is imported"
    sys.meta_path.insert(0, _Finder(sources_of(mutation)))


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, sources: dict[str, str]) -> None:
        self._sources = sources

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._sources:
            return None
        location = str(_file_of(fullname))
        loader = _Loader(fullname, location, self._sources[fullname])
        return importlib.util.spec_from_file_location(fullname, location, loader=loader)


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, source: str) -> None:
        super().__init__(fullname, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, self.path, "exec", dont_inherit=True)


# --- finding them ----------------------------------------------------------------------------------------------------


def kill_all(
    chosen: Sequence[Mutation], *, jobs: int, seeds: int = SEARCH, afresh: bool = False
) -> Iterator[tuple[Mutation, Failure | None]]:
    """Yields each mutation with the first schedule that finds it, None where none of so many does."""
    with ThreadPoolExecutor(jobs) as pool:
        yield from zip(chosen, pool.map(lambda one: kill(one, seeds=seeds, afresh=afresh), chosen), strict=True)


def kill(mutation: Mutation, *, seeds: int = SEARCH, afresh: bool = False) -> Failure | None:
    """Returns the first schedule that finds a mutation: by the seed that is known, or else by search from 0."""
    from tests.faults.laboratory import judge_on_cores  # late: a process with a mutation must not have it yet

    arguments = ["--mutation", mutation.name, "--stop"]
    if not afresh:
        known = judge_on_cores(mutation.seed, 1, jobs=1, arguments=arguments)
        if known.failures:
            return known.failures[0]
    found = judge_on_cores(0, seeds, jobs=1, arguments=arguments)
    return found.failures[0] if found.failures else None
