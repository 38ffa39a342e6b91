"""Judges a schedule that was run: what the delivery contract of docs/session.md says of it, check by check.

It reads what the emulator noted, what the wire had, the last states of the receipts and the events as plain values. It
knows nothing of the session's code, and a test holds it to that: whoever judges must not look at how it was done. Where
the contract leaves something open (what "covered" means without an index, for one), so do the checks, and say so.
"""

from __future__ import annotations

import bisect
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TypeAlias

import attrs

from gemlive.emulator import ConnectionRecord
from gemlive.types import Setup
from tests.faults.keys import handle_in, key_in, key_of
from tests.faults.record import Dialled, Reader, Run, Seen, Sent
from tests.faults.schedule import ENDINGS, NAMES_HANDLE, Ending, Fault
from tests.faults.wiretap import Cutter, Frame, unmasked

EPSILON_S = 1e-6
PING_S, PONG_S = 20.0, 45.0
STEP_S = {"silent-tcp": 10.0, "silent-tls": 10.0, "silent-upgrade": 10.0, "silent-setup": 15.0}
DIAL_S = 45.0
"""All steps of a dial together."""
MEDIA_AGE_S = 2.0
RESUMED_MEDIA_AGE_S = 0.5
BASE_S, CAP_S = 0.5, 30.0
WINDOW_S = 600.0
GO_AWAY_MARGIN_S = 10.0
GO_AWAY_UNTOLD_S = 10.0
HAND_OVER_SPACING_S = 1.0
QUOTA_LEAST_S, QUOTA_MOST_S = 1.0, 30.0
"""Quotas are counted by the minute: at once is of no use."""

SILENCE = "a0"
"""The key of audio that is silence from its first byte; the program sends none."""

CONTENT = ("text", "content", "history")
MEDIA = ("audio", "video")
SPEAKING = frozenset(("ModelText", "ModelAudio", "ModelMedia", "ModelThought", "OutputTranscript", "ToolCall"))
FROM_SESSION = frozenset(
    (
        *("Connected", "Reconnecting", "Reconnected", "InputDropped", "OrphanedToolResult", "SessionClosed"),
        "ServerMessageError",
    )
)
RANKS: Mapping[str, int] = {
    **dict.fromkeys(("ModelAudio", "ModelMedia"), 0),
    **dict.fromkeys(
        (
            *("InterimInputTranscript", "Usage", "ModelThought", "InputDropped", "ServerMessageError", "Grounding"),
            *("UrlContext", "ExecutableCode", "CodeResult", "UnknownMessage", "ResumptionUpdate"),
        ),
        1,
    ),
    **dict.fromkeys(("ModelText", "InputTranscript", "OutputTranscript"), 2),
}
"""The table of docs/session.md; everything else has rank 3."""

LATE = ("ClosedResourceError", "SessionLost")


@attrs.frozen
class Violation:
    """A promise that was not kept.

    Attributes:
        check: which.
        told: how, with the values.
    """

    check: str
    told: str

    def __str__(self) -> str:
        return f"{self.check}: {self.told}"


Check: TypeAlias = "Callable[[Case], Iterator[str]]"
CHECKS: dict[str, Check] = {}


def check(run: Run) -> list[Violation]:
    """Returns every promise that a run did not keep."""
    case = Case(run)
    return [Violation(name, told) for name, one in CHECKS.items() for told in one(case)]


def _check(function: Check) -> Check:
    CHECKS[function.__name__.removeprefix("_").replace("_", " ")] = function
    return function


# --- the case --------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class OnWire:
    """A message on a connection.

    Attributes:
        key: what it is known by.
        dial: the ordinal of the dial.
        index: its place on the connection, the setup being 0.
        at: when the client handed it over.
        free_at: since when the network could have taken it, had it been handed over before.
        is_passed: whether the network took all of it for certain.
        is_received: whether the emulator noted it.
    """

    key: str
    dial: int
    index: int
    at: float
    free_at: float
    is_passed: bool
    is_received: bool


@attrs.define
class Attempt:
    """One attempt at a connection and what came of it.

    Attributes:
        dial: the dial; None when the session ended before it was made.
        connection: its number as the session counts, 0 when it came to nothing.
        events: the events that belong to it.
        ended: the event that told its end.
        ended_at: when that was, where another attempt followed.
    """

    dial: Dialled | None
    connection: int = 0
    events: list[Seen] = attrs.field(factory=list)
    ended: Seen | None = None
    ended_at: float = 0.0

    @property
    def ready_at(self) -> float:
        """When it was a connection."""
        return next(event.at for event in self.events if event.kind in ("Connected", "Reconnected"))


class Case:
    """A run, looked at from the sides that the checks need."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.setting = run.plan.setting
        self.accepted = [sent for sent in run.sent if sent.outcome == "accepted"]
        self.accepted.sort(key=lambda sent: sent.order)
        self.by_key = {sent.key: sent for sent in self.accepted if sent.kind != "mark"}
        self.faulty = {kind for kind, _ in run.met}

    def jumped_s(self, since: float, until: float) -> float:
        """Returns by how much the clock jumped meanwhile."""
        return sum(by for at, by in self.run.jumps if since - EPSILON_S <= at <= until + EPSILON_S)

    @property
    def wire(self) -> dict[int, list[OnWire]]:
        """The messages of each dial, the setup first."""
        return self._read[0]

    @property
    def setups(self) -> dict[int, str | None]:
        """The handle that each dial presented, of those whose setup left."""
        return self._read[1]

    @property
    def problems(self) -> list[str]:
        """What is wrong with the bytes themselves."""
        return self._read[2]

    @cached_property
    def _read(self) -> tuple[dict[int, list[OnWire]], dict[int, str | None], list[str]]:
        wire: dict[int, list[OnWire]] = {}
        setups: dict[int, str | None] = {}
        problems: list[str] = []
        for dial in self.run.dials:
            received = self.received.get(dial.number or 0, [])
            if dial.is_secret:  # there is only what the emulator heard
                wire[dial.ordinal] = [_heard(dial, index, at, key) for index, (at, key, _) in enumerate(received)]
                if received and isinstance(setup := received[0][2], Setup):
                    resumption = setup.session_resumption
                    setups[dial.ordinal] = None if resumption is None else resumption.handle
                continue
            frames, wrong = frames_of(dial.sent)
            problems += [f"dial {dial.ordinal}: {one}" for one in wrong]
            wire[dial.ordinal] = list(_written(dial, frames, n_received=len(received)))
            if wire[dial.ordinal] and wire[dial.ordinal][0].key == "setup":
                setups[dial.ordinal] = handle_in(unmasked(dial.sent, frames[0]))
        return wire, setups, problems

    @cached_property
    def received(self) -> dict[int, list[tuple[float, str, object]]]:
        """What the emulator noted on each connection: when, which, and the message itself."""
        found: dict[int, list[tuple[float, str, object]]] = defaultdict(list)
        for conversation in self.run.conversations:
            for entry in conversation.messages:
                key = "setup" if isinstance(entry.message, Setup) else key_of(entry.message)
                found[entry.connection].append((entry.at, key, entry.message))
        return found

    @cached_property
    def copies(self) -> dict[str, list[OnWire]]:
        """Where each message is on the wire, in order."""
        found: dict[str, list[OnWire]] = defaultdict(list)
        for messages in self.wire.values():
            for message in messages:
                found[message.key].append(message)
        return found

    def copies_of(self, sent: Sent) -> list[OnWire]:
        """Returns where a message is on the wire."""
        return self.copies.get(sent.key, [])

    @cached_property
    def attempts(self) -> list[Attempt]:
        """The attempts at connections, beside the events that tell of them."""
        dials = iter(self.run.dials)
        if not self.run.has_entered:
            return [Attempt(dial) for dial in dials]
        attempts = [Attempt(next(dials, None))]
        for event in self.run.events:
            now = attempts[-1]
            if event.kind in ("Connected", "Reconnected"):
                now.connection = event.connection
            now.events.append(event)
            if event.kind in ("Reconnecting", "SessionClosed"):
                now.ended = event
            if event.kind == "Reconnecting":
                following = next(dials, None)
                # Before the body begins nobody reads events: of those only the delays can be trusted.
                delay = event.values["delay_s"]
                assert isinstance(delay, float | int)
                now.ended_at = event.at if following is None else min(event.at, following.at - delay)
                attempts.append(Attempt(following))
        return attempts

    @cached_property
    def connections(self) -> list[Attempt]:
        """The attempts that became connections."""
        return [attempt for attempt in self.attempts if attempt.connection and attempt.dial is not None]

    def connection_of(self, dial: int) -> int:
        """Returns the number of the connection that a dial became, 0 for none."""
        return self._numbers.get(dial, 0)

    @cached_property
    def _numbers(self) -> dict[int, int]:
        return {attempt.dial.ordinal: attempt.connection for attempt in self.connections if attempt.dial is not None}

    @property
    def last_connection(self) -> int:
        """The number of the last connection, 0 when there was none."""
        return max((attempt.connection for attempt in self.connections), default=0)

    def record_of(self, dial: Dialled) -> ConnectionRecord | None:
        """Returns what the emulator noted of a dial."""
        return next((record for record in self.run.connections if record.number == dial.number), None)

    def left_cleanly(self, ordinal: int) -> bool:
        """Says whether the emulator read everything on this dial, up to the client's Close frame."""
        record = self.record_of(self.run.dials[ordinal - 1])
        # Closing with another code the client gives up: there the order of frames and Close is nobody's promise.
        close = None if record is None else record.close
        return record is not None and record.closed_by == "client" and close is not None and close.code == 1000

    @property
    def has_index(self) -> bool:
        """Whether every handle came with an index that is true."""
        return self.setting.transparent and "handle-index" not in self.faulty

    def events(self, *kinds: str) -> list[Seen]:
        """Returns the events of some kinds."""
        return [event for event in self.run.events if event.kind in kinds]

    def faults_of(self, dial: Dialled) -> set[str]:
        """Returns the kinds of faults that were planned for a dial."""
        if dial.ordinal > len(self.run.plan.dials):
            return set()
        planned = self.run.plan.dials[dial.ordinal - 1]
        return {fault.kind for fault in (*planned.before, *planned.during)}

    def planned(self) -> Iterator[Fault]:
        """Yields every fault of the plan."""
        for dial in self.run.plan.dials:
            yield from dial.before
            yield from dial.during
        yield from self.run.plan.closing


def frames_of(sent: bytes) -> tuple[list[Frame], list[str]]:
    """Returns the data frames in what a client handed over, and what is wrong with it (RFC 6455 section 5)."""
    frames: list[Frame] = []
    problems: list[str] = []
    cutter = Cutter()
    is_closed = False
    for frame in cutter.feed(sent):
        if is_closed and frame.opcode not in _CONTROL_AFTER_CLOSE:
            problems.append(f"a frame after the Close frame, at byte {frame.begin}")
        if not frame.is_masked or frame.first & 0x70 or not frame.first & 0x80 or frame.opcode not in _OPCODES:
            problems.append(f"no frame that a client sends ({frame.first:#x}), at byte {frame.begin}")
            break
        is_closed = is_closed or frame.opcode == _CLOSE
        if frame.opcode == _TEXT and frame.end <= len(sent):
            frames.append(frame)
    if not cutter.is_between_frames:
        problems.append("half a frame was handed over")
    return frames, problems


_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_OPCODES = (_TEXT, _CLOSE, _PING, _PONG)
_CONTROL_AFTER_CLOSE = (_PING, _PONG)  # section 5.5.1 forbids data only


def _written(dial: Dialled, frames: Sequence[Frame], *, n_received: int) -> Iterator[OnWire]:
    offsets = [offer.offset for offer in dial.offers]
    for index, frame in enumerate(frames):
        offer = dial.offers[bisect.bisect_right(offsets, frame.begin) - 1]
        yield OnWire(
            key=key_in(unmasked(dial.sent, frame)),
            dial=dial.ordinal,
            index=index,
            at=offer.at,
            free_at=offer.at - offer.waited_s,
            is_passed=frame.end <= dial.passed,
            is_received=index < n_received,
        )


def _heard(dial: Dialled, index: int, at: float, key: str) -> OnWire:
    return OnWire(key=key, dial=dial.ordinal, index=index, at=at, free_at=at, is_passed=True, is_received=True)


# --- receipts and messages -------------------------------------------------------------------------------------------


@_check
def _nothing_hangs(case: Case) -> Iterator[str]:
    if case.run.hung:
        yield case.run.hung
    if case.run.has_read_on:
        yield "the session's own cursor did not end with the session"
    for reader in case.run.readers:
        if not reader.has_ended:
            yield f"a further cursor ({reader.kind}) did not end with the session"


@_check
def _every_receipt_is_final(case: Case) -> Iterator[str]:
    for sent in case.accepted:
        if not sent.is_final or sent.state in ("", "unsent"):
            yield f"{sent.key} ended {sent.state!r}, final: {sent.is_final}"


@_check
def _what_was_not_accepted_has_no_effect(case: Case) -> Iterator[str]:
    for sent in case.run.sent:
        if sent.outcome != "accepted" and sent.kind != "mark" and case.copies_of(sent):
            yield f"{sent.key} was not accepted ({sent.outcome}) and left all the same"


@_check
def _what_was_dropped_never_left(case: Case) -> Iterator[str]:
    for sent in case.accepted:
        if sent.state != "dropped" or sent.kind == "mark":
            continue
        if not sent.reason:
            yield f"{sent.key} was dropped without a reason"
        if sent.reason.startswith("uncertain") and case.setting.uncertain == "drop":
            continue  # at most once: what may have arrived is not sent again, and said to be dropped
        if sent.kind in MEDIA and case.setting.transparent:
            continue  # what was lost on the way and is too old to be sent again
        for copy in case.copies_of(sent):
            yield f"{sent.key} was dropped ({sent.reason}), but left on dial {copy.dial}"


@_check
def _what_was_written_left_and_arrived(case: Case) -> Iterator[str]:
    for sent in case.accepted:
        if sent.state not in ("written", "covered") or sent.kind == "mark":
            continue
        copies = case.copies_of(sent)
        if not copies:
            if not case.setting.is_tls:
                yield f"{sent.key} is {sent.state}, but never left"
            continue
        if any(copy.is_received for copy in copies):
            continue
        # Without an index nobody can know of a network that broke; where it did not break, it has arrived.
        if all(case.left_cleanly(copy.dial) for copy in copies) or (sent.state == "covered" and case.has_index):
            yield f"{sent.key} is {sent.state}, but never arrived"


@_check
def _the_emulator_got_what_left(case: Case) -> Iterator[str]:
    for dial in case.run.dials:
        if dial.is_secret:
            continue
        left = [message.key for message in case.wire[dial.ordinal]]
        came = [key for _, key, _ in case.received.get(dial.number or 0, [])]
        if came != left[: len(came)]:
            yield f"dial {dial.ordinal}: {came} arrived of {left}"
        if case.left_cleanly(dial.ordinal) and came and len(came) < len(left):
            yield f"dial {dial.ordinal} was closed cleanly, but {left[len(came) :]} did not arrive"


@_check
def _the_bytes_are_whole_frames(case: Case) -> Iterator[str]:
    yield from case.problems


@_check
def _everything_leaves_in_the_order_of_acceptance(case: Case) -> Iterator[str]:
    for ordinal, messages in case.wire.items():
        at, is_first = 0, True
        for message in messages[1:]:
            found = next(
                (place for place in range(at, len(case.accepted)) if case.accepted[place].key == message.key), None
            )
            if message.key == "activity_start" and is_first and ordinal > 1:
                pass  # the activity that was open is opened again
            elif found is not None:
                at = found + 1
            elif message.key[0] == "q":
                pass  # a question of ``Session.ask``, which keeps its receipt to itself
            elif message.key == SILENCE and _next_key(messages, message) == "activity_end":
                pass  # what keeps an activity from being empty whose audio was dropped
            else:
                yield f"dial {ordinal}: {message.key} (message {message.index}) left out of order, or twice"
                break
            is_first = False


def _next_key(messages: Sequence[OnWire], message: OnWire) -> str:
    following = messages[message.index + 1 : message.index + 2]
    return following[0].key if following else "activity_end"


@_check
def _media_is_sent_once_and_is_fresh(case: Case) -> Iterator[str]:
    first = case.connections[0].dial if case.connections else None
    limit = MEDIA_AGE_S if case.setting.transparent else RESUMED_MEDIA_AGE_S
    for sent in case.accepted:
        if sent.kind not in MEDIA:
            continue
        copies = case.copies_of(sent)
        if len(copies) > 1 and not case.setting.transparent:
            yield f"{sent.key} left {len(copies)} times"
        for copy in copies:
            dial = case.run.dials[copy.dial - 1]
            if dial.is_secret:
                continue
            # What was handed over behind bytes that were stuck is as old as they made it.
            age = copy.at - sent.at if copy.free_at >= copy.at - EPSILON_S else copy.free_at - sent.at
            if any(abs(at + by - copy.at) < EPSILON_S for at, by in case.run.jumps):
                continue  # the clock jumped while it was being handed over
            if age > MEDIA_AGE_S + EPSILON_S:
                yield f"{sent.key} was {age:.3f} s old when it left on dial {copy.dial}"
            number = case.connection_of(copy.dial)
            if number and first is not None and copy.dial != first.ordinal:
                ready_at = next(one.ready_at for one in case.connections if one.connection == number)
                if ready_at - sent.at >= limit + EPSILON_S:
                    yield f"{sent.key} was {ready_at - sent.at:.3f} s old when connection {number} was ready"


@_check
def _activities_are_balanced(case: Case) -> Iterator[str]:
    if not case.setting.is_manual:
        return
    for ordinal, messages in case.wire.items():
        is_open = False
        for message in messages:
            if message.key == "activity_start":
                if is_open:
                    yield f"dial {ordinal}: an activity begins inside another"
                is_open = True
            elif message.key == "activity_end":
                if not is_open:
                    yield f"dial {ordinal}: an activity ends that did not begin"
                is_open = False
            elif message.key.startswith("a") and message.key[1:].isdigit() and not is_open:
                yield f"dial {ordinal}: {message.key} is outside of the activity it belongs to"


@_check
def _content_leaves_as_often_as_the_policy_says(case: Case) -> Iterator[str]:
    if case.setting.transparent:
        return
    told = Counter(key for event in case.events("Reconnected") for key in _keys(event))
    for sent in case.accepted:
        if sent.kind not in CONTENT:
            continue
        copies = len(case.copies_of(sent))
        if copies <= 1:
            continue
        if case.setting.uncertain != "replay":
            yield f"{sent.key} left {copies} times, and the policy is {case.setting.uncertain}"
        elif sent.kind == "history":
            yield f"{sent.key} is history and left {copies} times"
        elif copies - 1 > told[sent.key]:
            yield f"{sent.key} left {copies} times, and was told as uncertain {told[sent.key]} times"


@_check
def _what_is_uncertain_is_told(case: Case) -> Iterator[str]:
    told: dict[str, list[int]] = defaultdict(list)
    for event in case.events("Reconnected"):
        for key in _keys(event):
            told[key].append(event.connection)
    for event in case.events("OrphanedToolResult"):
        response = event.values["response"]
        if isinstance(response, Mapping):
            told[str(response.get("key"))].append(event.connection)
    overflowed = bool(case.run.statistics.get("journal_overflowed"))
    for sent in case.accepted:
        if sent.kind not in (*CONTENT, "tool"):
            continue
        copies = case.copies_of(sent)
        where = max((case.connection_of(copy.dial) for copy in copies), default=0)
        is_stale = bool(where) and where < case.last_connection
        if sent.state == "uncertain" and is_stale and not told[sent.key] and not overflowed:
            yield f"{sent.key} is uncertain since connection {where}, and no Reconnected says so"
        if sent.state == "written" and is_stale and case.setting.resumption:
            yield f"{sent.key} left on connection {where}, which is gone, and is still called written"
        if sent.kind == "tool":
            continue
        for connection in told[sent.key]:
            is_first = copies and min(case.connection_of(copy.dial) or 10**9 for copy in copies) >= connection
            # What was in a batch that the network did not take is uncertain too, and under ``replay`` leaves now.
            if is_first and case.setting.uncertain != "replay":
                yield f"{sent.key} is told as uncertain by connection {connection}, before which it never left"
        is_lost = case.run.outcome.name == "SessionLost"
        if sent.state == "written" and is_lost and case.setting.resumption:
            yield f"{sent.key} is called written, and nobody can know whether the lost session had it"
        meant = {"report": "uncertain", "drop": "dropped", "replay": sent.state}[case.setting.uncertain]
        if told[sent.key] and sent.state != meant:
            yield f"{sent.key} was told as uncertain and ended {sent.state}, and the policy is {case.setting.uncertain}"


@_check
def _covered_means_answered_and_saved(case: Case) -> Iterator[str]:
    """Without an index: a turn ended after the message was written, and a usable handle came after that."""
    if case.setting.transparent or case.setting.is_tls:
        return
    for sent in case.accepted:
        if sent.state == "covered" and not any(_is_saved(case, copy) for copy in case.copies_of(sent)):
            yield f"{sent.key} is covered, and no turn and handle followed it"


def _is_saved(case: Case, copy: OnWire) -> bool:
    attempt = next((one for one in case.connections if one.connection == case.connection_of(copy.dial)), None)
    has_ended = False
    for event in attempt.events if attempt is not None else ():
        if event.kind == "TurnComplete" and event.at >= copy.at - EPSILON_S:
            has_ended = True
        elif has_ended and event.kind == "ResumptionUpdate" and _is_usable(event):
            return True
    return False


def _is_usable(event: Seen) -> bool:
    return bool(event.values["handle"]) and event.values["resumable"] is not False


@_check
def _what_is_to_be_sent_again_is_sent_again(case: Case) -> Iterator[str]:
    """Under ``replay`` what is uncertain leaves before anything that was accepted later."""
    if case.setting.uncertain != "replay" or case.setting.transparent:
        return
    for event in case.events("Reconnected"):
        ordinal = next((a.dial.ordinal for a in case.connections if a.connection == event.connection and a.dial), None)
        if ordinal is None:
            continue
        left = {message.key: message.index for message in case.wire[ordinal]}
        for key in _keys(event):
            sent = case.by_key.get(key)
            if sent is None or sent.kind not in ("text", "content"):
                continue
            later = [
                left[one.key]
                for one in case.accepted
                if one.order > sent.order and one.key in left and one.kind in CONTENT
            ]
            if later and key not in left:
                yield f"{key} is uncertain on connection {event.connection}, and not sent again before what followed it"


def _keys(event: Seen) -> Sequence[str]:
    value = event.values["uncertain"]
    assert isinstance(value, tuple)
    return value


@_check
def _with_an_index_everything_takes_effect_once(case: Case) -> Iterator[str]:
    """What the resumed states together have heard, by the emulator's notes and the indexes it told."""
    if not case.has_index or case.setting.is_tls or not case.connections:
        return
    snapshots: dict[str, tuple[int, int]] = {}
    for event in case.events("ResumptionUpdate"):
        handle, index = event.values["handle"], event.values["last_consumed_index"]
        if isinstance(handle, str) and isinstance(index, int):
            snapshots.setdefault(handle, (event.connection, index))
    inherited: dict[int, list[str]] = {}
    own: dict[int, list[str]] = {}
    begins = 0
    for attempt in case.connections:
        assert attempt.dial is not None
        number, handle = attempt.connection, case.setups.get(attempt.dial.ordinal)
        own[number] = [key for _, key, _ in case.received.get(attempt.dial.number or 0, [])][1:]
        if handle in snapshots:
            origin, index = snapshots[handle]
            inherited[number] = [*inherited[origin], *own[origin][:index]]
        else:
            inherited[number], begins = [], number
    heard = [*inherited[number], *own[number]]
    times = Counter(heard)
    orders = [case.by_key[key].order for key in heard if key in case.by_key and case.by_key[key].kind in CONTENT]
    if orders != sorted(orders):
        yield f"what took effect is out of order: {heard}"
    for sent in case.accepted:
        if sent.kind not in CONTENT:
            continue
        copies = case.copies_of(sent)
        is_of_this_memory = any(case.connection_of(copy.dial) >= begins for copy in copies)
        if times[sent.key] > 1:
            yield f"{sent.key} took effect {times[sent.key]} times"
        if sent.state in ("covered", "written") and is_of_this_memory and not times[sent.key]:
            if sent.state == "written" and not case.left_cleanly(copies[-1].dial):
                continue
            yield f"{sent.key} is {sent.state}, and what the server knows in the end does not have it"


# --- resumption ------------------------------------------------------------------------------------------------------


@_check
def _a_setup_comes_first_and_once(case: Case) -> Iterator[str]:
    for ordinal, messages in case.wire.items():
        for message in messages:
            if (message.key == "setup") is not (message.index == 0):
                yield f"dial {ordinal}: message {message.index} is {message.key}"


@_check
def _each_dial_presents_the_handle_it_should(case: Case) -> Iterator[str]:
    """The last one that was usable; none after a refusal that names it, or after two other failures on it."""
    if case.setting.is_tls:
        return
    current = case.setting.handle
    failures = 0
    for attempt in case.attempts:
        if attempt.dial is None:
            continue
        is_seen = attempt.dial.ordinal in case.setups
        presented = case.setups.get(attempt.dial.ordinal)
        if is_seen and presented != current:
            yield f"dial {attempt.dial.ordinal} presented {presented!r} and not {current!r}"
            current = presented
        for event in attempt.events:
            if event.kind != "ResumptionUpdate" or not case.setting.resumption:
                continue
            if _is_usable(event):
                current, failures = str(event.values["handle"]), 0
        if attempt.connection:
            failures = 0
        ending = _ending_of(attempt.ended)
        if ending is None:
            return
        blames = any(reason in ending.reason for reason in NAMES_HANDLE)
        if blames and not (attempt.connection and "Requested entity" in ending.reason):
            # On an open connection that text is about a call and not about the handle.
            current, failures = None, 0
        elif not attempt.connection and attempt.dial.status == 101 and current is not None:
            failures += 1
            if failures >= 2 or (ending.code in (1007, 1008) and ending.remedy == "fatal"):
                current, failures = None, 0


@_check
def _one_connection_at_a_time(case: Case) -> Iterator[str]:
    earlier: Dialled | None = None
    for dial in case.run.dials:
        if (
            earlier is not None
            and earlier.status is not None
            and (earlier.closed_tick is None or earlier.closed_tick > dial.tick)
        ):
            yield f"dial {dial.ordinal} was made before the connection of dial {earlier.ordinal} was closed"
        earlier = dial
    if earlier is not None and earlier.status is not None and earlier.closed_tick is None:
        yield f"the connection of dial {earlier.ordinal} was never closed"


@_check
def _the_emulator_has_no_reason_to_refuse(case: Case) -> Iterator[str]:
    """Every Close of the server is one that the plan wanted: the session gave it no cause."""
    wanted = {(fault.ending.code, fault.ending.reason) for fault in case.planned() if fault.ending is not None}
    if case.setting.handle is not None:
        wanted.add((1008, "BidiGenerateContent session not found"))
    for record in case.run.connections:
        close = record.close
        if record.closed_by != "server" or close is None or close.code == 1006:
            continue
        dial = next((dial for dial in case.run.dials if dial.number == record.number), None)
        is_late = close.reason.startswith(("Connection aborted because", "Deadline expired"))
        if is_late and dial is not None and (dial.is_slowed or dial.went_silent_at is not None or dial.is_secret):
            continue  # it was told to go, and the network held it
        if is_late and (case.run.jumps or case.setting.attempts == 0 or not _had_notice(case, dial)):
            continue
        is_wanted = any(close.code == code and reason.startswith(close.reason) for code, reason in wanted)
        if not is_wanted and (close.code, close.reason) != (1001, ""):
            yield f"connection {record.number} was closed by the server with {close.code} {close.reason!r}"


def _had_notice(case: Case, dial: Dialled | None) -> bool:
    """Says whether the client could know in time that this connection would end."""
    attempt = next((attempt for attempt in case.connections if attempt.dial is dial), None)
    lefts = [event.values["time_left_s"] for event in attempt.events if event.kind == "GoAway"] if attempt else []
    return bool(lefts) and 0 not in lefts


# --- events ----------------------------------------------------------------------------------------------------------


@_check
def _events_come_in_their_order(case: Case) -> Iterator[str]:
    number, is_open, is_new = 0, False, False
    events = case.run.events
    for place, event in enumerate(events):
        where = f"event {place} ({event.kind}, connection {event.connection})"
        match event.kind:
            case "Connected" | "Reconnected":
                expected = "Reconnected" if number else "Connected"
                if is_open or event.kind != expected or event.connection != number + 1:
                    yield f"{where}: not when connection {number} {'is open' if is_open else 'is gone'}"
                number, is_open, is_new = event.connection, True, True
                continue
            case "Reconnecting":
                if event.connection != number or event.values["connection"] != number:
                    yield f"{where}: it was connection {number} that ended"
                is_open = False
            case "SessionClosed":
                if place != len(events) - 1:
                    yield f"{where}: something follows the end"
                is_open = False
            case "SetupComplete":
                if not is_new:
                    yield f"{where}: a second setupComplete"
            case _ if _is_from_server(event):
                if not is_open or is_new:
                    yield f"{where}: before Reconnected and setupComplete"
        if event.connection != number:
            yield f"{where}: its stamp is ahead of connection {number}"
        is_new = is_new and event.kind in FROM_SESSION
    if case.run.has_entered and (not events or events[-1].kind != "SessionClosed"):
        yield "the last event is not SessionClosed"


def _by_connection(event: Seen) -> bool:
    return event.kind == "Interrupted" and event.values["reason"] == "connection"


def _is_from_server(event: Seen) -> bool:
    return event.kind not in FROM_SESSION and not _by_connection(event)


@_check
def _stamps_count_turns_and_responses(case: Case) -> Iterator[str]:
    turns, ends = 0, 0
    last = (0, 0)
    for place, event in enumerate(case.run.events):
        # All events of a frame carry the stamp from before it, so a stamp may be one behind.
        if not turns - 1 <= event.turn <= turns:
            yield f"event {place} ({event.kind}) is stamped with turn {event.turn} after {turns} turns"
        if not event.turn <= event.response <= ends:
            yield f"event {place} ({event.kind}) is stamped with response {event.response} after {ends} ends"
        if (event.turn, event.response) < last:
            yield f"event {place} ({event.kind}): the stamp goes back"
        last = event.turn, event.response
        turns += event.kind == "TurnComplete"
        ends += event.kind in ("TurnComplete", "Interrupted")


@_check
def _a_turn_cut_short_is_told(case: Case) -> Iterator[str]:
    was_told = False
    for attempt in case.attempts:
        for event in attempt.events:
            if event.kind == "Reconnected" and event.values["aborted_turn"] is not was_told:
                yield f"Reconnected {event.connection} says aborted_turn={event.values['aborted_turn']}"
        if not attempt.connection or attempt.ended is None:
            continue
        is_speaking, told = False, 0
        for event in attempt.events:
            if event.kind in SPEAKING:
                is_speaking = True
            elif event.kind == "TurnComplete":
                is_speaking = False
            elif _by_connection(event):
                told += 1
        was_told = told == 1
        left_at = case.run.left_at if case.run.outcome.name != "SessionLost" else None
        if attempt.ended.kind == "SessionClosed" and left_at is not None and attempt.ended.at >= left_at - EPSILON_S:
            continue  # the program left; nobody cut the turn short
        if attempt.ended.kind == "SessionClosed" and attempt.ended.values["lost"] is False and is_speaking:
            yield f"the session ended by itself in mid-turn, on connection {attempt.connection}"
        if told > 1 or (is_speaking and not told):
            yield f"connection {attempt.connection} ended in mid-turn, and that was told {told} times"
        has_calls = any(event.kind == "ToolCall" for event in attempt.events)
        if told and not is_speaking and not has_calls:
            yield f"connection {attempt.connection} ended between turns, and was told to have cut one short"


@_check
def _the_model_is_heard_in_order(case: Case) -> Iterator[str]:
    """Each connection's pieces come in the order in which they were said, without a gap, as far as they come."""
    said: dict[int, list[tuple[str, bool]]] = defaultdict(list)
    for piece in case.run.pieces:
        said[piece.connection].append((piece.text, piece.is_sent))
    for attempt in case.connections:
        assert attempt.dial is not None
        kind = "OutputTranscript" if case.setting.speaks else "ModelText"
        joined = "".join(str(event.values["text"]) for event in attempt.events if event.kind == kind)
        heard = [text + ";" for text in joined.split(";") if text]
        place = 0
        of_connection = said[attempt.dial.number or 0]
        for text in heard:
            skipped = []
            while place < len(of_connection) and of_connection[place][0] != text:
                skipped.append(of_connection[place])
                place += 1
            if place == len(of_connection):
                yield f"connection {attempt.connection}: {text} was heard out of order, or was never said"
                break
            if any(is_sent for _, is_sent in skipped):
                yield f"connection {attempt.connection}: {skipped} was not heard before {text}"
            place += 1


@_check
def _what_follows_a_bad_message_is_seen(case: Case) -> Iterator[str]:
    raws = [raw for event in case.events("UnknownMessage") if isinstance(raw := event.values["raw"], Mapping)]
    seen = {str(raw.get("mark")) for raw in raws}
    last: dict[int, float] = {}
    for mark in case.run.marks:
        if mark.text in seen:
            last[mark.connection] = max(mark.at, last.get(mark.connection, 0.0))
    for mark in case.run.marks:
        if mark.text not in seen and last.get(mark.connection, 0.0) > mark.at + EPSILON_S:
            yield f"{mark.text} was not seen, and what was sent later on its connection was"


@_check
def _every_reply_answers_its_question(case: Case) -> Iterator[str]:
    """The model of the laboratory repeats what it was asked, so an answer can be told from another's.

    A reply is bound by order alone, so this is asked only where nobody else had anything to say at the time.
    """
    for asked in case.run.asked:
        if asked.state not in ("", "completed", "interrupted", "rejected", "empty", "lost"):
            yield f"{asked.key}: the reply ended {asked.state!r}"
        others = [
            sent
            for sent in case.run.sent
            if asked.began_at - _ALONE_S <= sent.at <= asked.ended_at and sent.key != asked.key and sent.kind != "video"
        ]
        is_repeated = asked.key in re.split(r"[\[\]_; ]", asked.said)
        is_its_own = asked.key[0] == "q"  # a bare turn is answered to whoever asks meanwhile
        if is_its_own and asked.state == "completed" and not others and not is_repeated:
            yield f"{asked.key} was answered with {asked.said!r}"


_ALONE_S = 5.0


@_check
def _what_a_slow_consumer_lost_is_counted(case: Case) -> Iterator[str]:
    for reader in case.run.readers:
        yield from _lag(case, reader)


def _lag(case: Case, reader: Reader) -> Iterator[str]:
    who = f"{reader.kind} with room for {reader.max_events}"
    events = case.run.events
    got = [one.event for one in reader.got if one.event is not None]
    if -1 in got or got != sorted(set(got)) or (got and got[0] < reader.began):
        yield f"{who} got {got}, which is not in order, or came before it began at {reader.began}"
        return
    missing = [place for place in range(reader.began, len(events)) if place not in set(got)]
    lost = sum(one.lost for one in reader.got)
    if lost != len(missing):
        yield f"{who} was told of {lost} lost events, and lost {len(missing)}"
    lost_ms = sum(one.lost_audio_ms for one in reader.got)
    missing_ms = sum(_audio_ms(events[place]) for place in missing)
    if abs(lost_ms - missing_ms) > EPSILON_S:
        yield f"{who} was told of {lost_ms} ms of lost audio, and lost {missing_ms} ms"
    if all(one.published is not None for one in reader.got):
        expected = list(_simulated(case, reader))
        real = [(one.event, one.lost) for one in reader.got]
        if real != expected[: len(real)]:
            place = next(place for place, pair in enumerate(real) if pair != expected[place])
            yield f"{who} got {real[place]} as number {place}, and should have got {expected[place]}"


def _audio_ms(event: Seen) -> float:
    value = event.values.get("duration_ms", 0.0)
    assert isinstance(value, float)
    return value


def _simulated(case: Case, reader: Reader) -> Iterator[tuple[int | None, int]]:
    """What a cursor gives that is read when this one was read, by the rules of docs/session.md."""
    held: list[int] = []
    published, lost = reader.began, 0
    for one in reader.got:
        assert one.published is not None
        for place in range(published, one.published):
            held.append(place)
            if len(held) > reader.max_events:
                rank = min(RANKS.get(case.run.events[each].kind, 3) for each in held)
                held.remove(next(each for each in held if RANKS.get(case.run.events[each].kind, 3) == rank))
                lost += 1
        published = max(published, one.published)
        if lost:
            yield None, lost
            lost = 0
        else:
            yield (held.pop(0), 0) if held else (None, 0)


# --- tools -----------------------------------------------------------------------------------------------------------


@_check
def _a_call_is_answered_once_and_by_who_knows_it(case: Case) -> Iterator[str]:
    asked: dict[str, list[tuple[int, int]]] = defaultdict(list)  # call: where in the events, on which connection
    issued: dict[str, tuple[int, int]] = {}  # handle: the same
    for place, event in enumerate(case.run.events):
        if event.kind == "ToolCall":
            calls = event.values["calls"]
            assert isinstance(calls, tuple)
            for call_id in calls:
                asked[call_id].append((place, event.connection))
        elif event.kind == "ResumptionUpdate" and _is_usable(event):
            issued.setdefault(str(event.values["handle"]), (place, event.connection))
    answers = [sent for sent in case.accepted if sent.kind == "tool"]
    orphans = Counter(
        response.get("key") if isinstance(response := event.values["response"], Mapping) else None
        for event in case.events("OrphanedToolResult")
    )
    for sent in answers:
        is_orphan = sent.state == "dropped" and sent.reason.startswith("its call")
        may_be = sent.state == "uncertain"  # it left, or was about to, and is of no effect
        if not int(is_orphan) <= orphans[sent.key] <= int(is_orphan or may_be):
            yield f"{sent.key} ended {sent.state} ({sent.reason}) and was told as an orphan {orphans[sent.key]} times"
        if _was_cancelled(case, sent) and case.copies_of(sent):
            yield f"{sent.key} answers {sent.call_id}, which the server had cancelled"
        per_dial = Counter(copy.dial for copy in case.copies_of(sent))
        for ordinal, times in per_dial.items():
            number = case.connection_of(ordinal)
            if times > 1:
                yield f"{sent.key} left {times} times on connection {number}"
            knows = any(_knows(case, issued, number, place, asker) for place, asker in asked[sent.call_id])
            if number and not knows:
                yield f"{sent.key} answers {sent.call_id} on connection {number}, which does not know the call"
    by_call = Counter(sent.call_id for sent in answers if sent.state != "dropped")
    for call_id, times in by_call.items():
        if times > len(asked[call_id]):
            yield f"{call_id} was asked {len(asked[call_id])} times and answered {times} times"


def _was_cancelled(case: Case, sent: Sent) -> bool:
    """Says whether the last that was heard of a call, before it was answered, is that nobody wants the answer."""
    is_cancelled = False
    for event in case.run.events:
        if event.at >= sent.asked_at - EPSILON_S:
            break
        calls, ids = event.values.get("calls"), event.values.get("ids")
        if isinstance(calls, tuple) and sent.call_id in calls:
            is_cancelled = False
        elif isinstance(ids, tuple) and sent.call_id in ids:
            is_cancelled = True
    return is_cancelled


def _knows(case: Case, issued: Mapping[str, tuple[int, int]], number: int, call: int, asker: int) -> bool:
    """Says whether the model on a connection knows a call: its memory goes back to it without a gap."""
    while number > asker:
        dial = next(attempt.dial for attempt in case.connections if attempt.connection == number)
        handle = None if dial is None else case.setups.get(dial.ordinal)
        if handle is None or handle not in issued:
            return False  # it began afresh
        place, number = issued[handle]
        if number == asker:
            return place > call
    return number == asker


# --- the end of connections, and what follows ------------------------------------------------------------------------


def _ending_of(event: Seen | None) -> Ending | None:
    """Returns how a connection or a dial ended, as it was told; None where it was not."""
    if event is None or event.kind == "SessionClosed":
        return None
    code, reason = event.values["code"], str(event.values["reason"])
    return _meaning(code if isinstance(code, int) else None, reason)


def _meaning(code: int | None, reason: str) -> Ending:
    for ending in ENDINGS:
        if ending.code == code and ending.reason == reason:
            return ending
    if reason.startswith(_LIFETIME_OVER):
        return Ending(code or 0, reason, "resume")
    return Ending(code or 0, reason, "fatal" if code in (1007, 1008, 1009) else "resume")


_LIFETIME_OVER = "Connection aborted because the client failed to close the connection after receiving a GoAway"


@_check
def _the_budget_is_kept_and_spent(case: Case) -> Iterator[str]:
    """Tries in a row and tries in the window, however many of them succeed."""
    setting = case.setting
    row, window = 0, list[float]()
    for attempt in case.attempts:
        if attempt.connection:
            row = 0
        ended = attempt.ended
        if ended is None:
            continue
        if ended.kind == "SessionClosed":
            if case.run.outcome.name == "SessionLost" and "gave up" in case.run.outcome.told:
                window = [at for at in window if at > ended.at - WINDOW_S]
                if row < setting.attempts and len(window) < setting.window_attempts:
                    yield f"it gave up after {row} tries in a row and {len(window)} in the window"
            continue
        window = [at for at in window if at > attempt.ended_at - WINDOW_S]
        if row >= setting.attempts or len(window) >= setting.window_attempts:
            yield f"it went on after {row} tries in a row and {len(window)} in the window"
        bound = min(CAP_S, BASE_S * 2.0**row)
        row += 1
        window.append(attempt.ended_at)
        if ended.values["attempt"] != row:
            yield f"try {ended.values['attempt']} is told, and it is number {row}"
        yield from _delay(case, attempt, bound)


def _delay(case: Case, attempt: Attempt, bound: float) -> Iterator[str]:
    """Full jitter between nothing and the bound, or what the server asked for; and it is really waited."""
    ended = attempt.ended
    assert ended is not None
    delay = ended.values["delay_s"]
    assert isinstance(delay, float | int)
    ending = _ending_of(ended)
    floor = _floor(case, attempt)
    most = QUOTA_MOST_S if ending is not None and ending.remedy == "wait" else floor
    where = f"after dial {attempt.dial.ordinal if attempt.dial else '?'}"
    if ending is not None and attempt.connection and ending.code == 0:
        # A hand-over is planned, not a failure.
        expected = max(0.0, HAND_OVER_SPACING_S - (ended.at - attempt.ready_at))
        if abs(delay - expected) > EPSILON_S and not case.jumped_s(attempt.ready_at, ended.at):
            yield f"{where}: the hand-over waits {delay} s and not {expected} s"
    elif not floor - EPSILON_S <= delay <= max(bound, most) + EPSILON_S:
        yield f"{where}: the delay of {delay} s is not between {floor} s and {max(bound, most)} s"
    elif delay == bound and bound > floor and not case.setting.is_tls:
        yield f"{where}: the delay is its bound, {bound} s: there is no jitter"
    index = case.attempts.index(attempt) + 1
    if index < len(case.attempts):
        following = case.attempts[index].dial
        is_seen = bool(attempt.connection) or index > case.attempts.index(case.connections[0])
        if is_seen and following is not None and not case.jumped_s(ended.at, following.at):
            if abs(following.at - ended.at - delay) > EPSILON_S:
                yield f"{where}: dialled {following.at - ended.at} s later, and {delay} s were told"


def _floor(case: Case, attempt: Attempt) -> float:
    """The least to wait: what the server asked for, or the time that a quota takes."""
    ending = _ending_of(attempt.ended)
    if ending is not None and ending.remedy == "wait":
        # A resume that failed a second time is followed by one without the handle, at once.
        is_resume = not attempt.connection and attempt.dial is not None and bool(case.setups.get(attempt.dial.ordinal))
        return 0.0 if is_resume else QUOTA_LEAST_S
    if attempt.dial is None or attempt.connection or attempt.dial.ordinal > len(case.run.plan.dials):
        return 0.0
    before = case.run.plan.dials[attempt.dial.ordinal - 1].before
    asked = [fault.number for fault in before if fault.kind.endswith("-after")]
    is_asked = bool(asked) and (attempt.dial.status in (429, 500, 503) or attempt.dial.is_secret)
    return asked[0] if is_asked else 0.0


@_check
def _a_fatal_end_is_the_end_and_another_is_not(case: Case) -> Iterator[str]:
    for attempt in case.attempts:
        dial, ended = attempt.dial, attempt.ended
        if dial is None:
            continue
        faults = case.faults_of(dial)
        is_resume = bool(case.setups.get(dial.ordinal)) or dial.is_secret
        if ended is None and attempt is not case.attempts[-1]:
            continue  # of the dials before the body begins nobody is told
        is_over = ended is None or ended.kind == "SessionClosed"
        outcome = case.run.outcome
        if is_over:
            if outcome.name != "SessionLost" or "gave up" in outcome.told:
                continue
            ending = _meaning(outcome.code, outcome.reason)
            is_fatal = (
                ending.remedy in ("fatal", "either")
                or dial.is_secret
                or (dial.status is not None and 400 <= dial.status < 500 and dial.status not in (408, 429))
                or bool(faults & {"bad-frame", "oversize", "goaway-first", "malformed", "unknown", "wrong-typed"})
                or (case.setting.lost_context == "fail" and (is_resume or ending.remedy == "fresh"))
                or ending.code == 1000
            )
            if not is_fatal:
                yield f"the session was given up for {outcome.code} {outcome.reason!r} ({outcome.told})"
            continue
        told = _ending_of(ended)
        assert told is not None
        if dial.status in (400, 401, 403, 404):
            yield f"dial {dial.ordinal} was refused with {dial.status}, and another followed"
        is_own_verdict = bool({"bad-frame", "oversize"} & faults)
        following = case.attempts[case.attempts.index(attempt) + 1].dial
        is_forgotten = following is not None and following.ordinal in case.setups and not case.setups[following.ordinal]
        if case.setting.lost_context == "fail" and not attempt.connection and is_forgotten:
            if case.setups.get(dial.ordinal):
                yield f"the handle of dial {dial.ordinal} was given up, and dial {dial.ordinal + 1} began afresh"
        if told.remedy == "fatal" and not is_own_verdict and (attempt.connection or not is_resume):
            yield f"dial {dial.ordinal} ended with {told.code} {told.reason!r}, and another followed"


@_check
def _the_end_that_is_told_is_the_real_one(case: Case) -> Iterator[str]:
    for attempt in case.attempts:
        told = _ending_of(attempt.ended)
        if told is None or attempt.dial is None or told.code in (0, 1006):
            continue
        if {"bad-frame", "oversize"} & case.faulty:
            continue  # then the verdict is the client's own
        record = case.record_of(attempt.dial)
        close = None if record is None else record.close
        if close is None or record is None or record.closed_by != "server" or close.code != told.code:
            yield f"dial {attempt.dial.ordinal} is told to have ended with {told.code}, and ended with {close}"
        elif not told.reason.startswith(close.reason):
            yield f"dial {attempt.dial.ordinal} is told to have ended with {told.reason!r}, and ended with {close}"


@_check
def _a_goaway_is_obeyed_in_time_and_not_in_mid_turn(case: Case) -> Iterator[str]:
    if case.setting.attempts == 0:
        return
    for attempt in case.connections:
        dial = attempt.dial
        announced = [event for event in attempt.events if event.kind == "GoAway"]
        if dial is None or not announced:
            continue
        deadline = min(event.at + _must_leave_after(event) for event in announced)
        ended_at = dial.closed_at if dial.closed_at is not None else case.run.exited_at
        slack = case.setting.close_s + case.jumped_s(announced[0].at, ended_at) + EPSILON_S
        if ended_at > max(deadline, announced[0].at) + slack:
            yield f"connection {attempt.connection} was to be left by {deadline:.3f} s and was at {ended_at:.3f} s"
        told = _ending_of(attempt.ended)
        if attempt.ended is None or told is None or told.code != 0:
            continue
        cut = [event for event in attempt.events if event.kind in SPEAKING]
        was_cut = any(_by_connection(event) for event in attempt.events)
        left_at = attempt.ended.at - case.setting.close_s
        if was_cut and cut and cut[-1].at < left_at - EPSILON_S and attempt.ended.at < deadline - EPSILON_S:
            yield f"connection {attempt.connection} was left in mid-turn, {deadline - attempt.ended.at:.3f} s too early"


def _must_leave_after(event: Seen) -> float:
    left = event.values["time_left_s"]
    left_s = GO_AWAY_UNTOLD_S if not isinstance(left, float | int) else max(0.0, float(left))
    return max(left_s - GO_AWAY_MARGIN_S, left_s / 2)


@_check
def _silence_is_found_and_nothing_else_is(case: Case) -> Iterator[str]:
    for attempt in case.attempts:
        dial = attempt.dial
        if dial is None:
            continue
        end = dial.closed_at if dial.closed_at is not None else case.run.exited_at
        if attempt.connection:
            patience = PING_S + PONG_S + case.setting.close_s
            if end - dial.heard_at > patience + case.jumped_s(dial.heard_at, end) + EPSILON_S:
                yield f"connection {attempt.connection} was kept for {end - dial.heard_at:.1f} s without a byte"
            told = _ending_of(attempt.ended)
            if told is not None and told.reason.startswith("no byte from the server") and attempt.ended is not None:
                if attempt.ended.at - dial.heard_at < PING_S + PONG_S - EPSILON_S:
                    yield f"connection {attempt.connection} was taken for dead after {end - dial.heard_at:.1f} s"
        elif attempt.ended is not None or case.run.outcome.name:
            over = attempt.ended_at or dial.closed_at
            if over is None:
                if attempt is not case.attempts[-1]:
                    continue
                over = case.run.exited_at
            if over - dial.at > DIAL_S + case.setting.close_s + case.jumped_s(dial.at, over) + EPSILON_S:
                yield f"dial {dial.ordinal} took {over - dial.at:.1f} s"
            for kind in case.faults_of(dial) & set(STEP_S):
                if dial.is_slowed:
                    continue
                limit = STEP_S[kind] + case.setting.close_s + case.jumped_s(dial.at, over) + EPSILON_S
                if over - dial.at > limit:
                    yield f"dial {dial.ordinal} ({kind}) took {over - dial.at:.1f} s"


# --- counts ----------------------------------------------------------------------------------------------------------


@_check
def _audio_is_accounted_for(case: Case) -> Iterator[str]:
    if not case.run.statistics:
        return
    total: dict[str, float] = defaultdict(float)
    told_ms = 0.0
    for sent in case.accepted:
        if sent.kind == "audio":
            total[sent.state] += sent.audio_ms
            if sent.reason.startswith(("it waited", "too much", "it was too old")):
                told_ms += sent.audio_ms
    written, dropped = case.run.statistics["audio_ms_written"], case.run.statistics["audio_ms_dropped"]
    if abs(dropped - total["dropped"]) > EPSILON_S:
        yield f"{dropped} ms of audio are counted as dropped, and the receipts say {total['dropped']} ms"
    left = total["written"] + total["covered"]
    if abs(written - left) > EPSILON_S and not (case.setting.transparent and written >= left):
        yield f"{written} ms of audio are counted as written, and the receipts say {left} ms"
    events_ms = sum(float(str(event.values["audio_ms"])) for event in case.events("InputDropped"))
    if abs(events_ms - told_ms) > EPSILON_S:
        yield f"InputDropped tells of {events_ms} ms of audio, and the receipts of {told_ms} ms"
    frames = sum(sent.kind == "video" and sent.state == "dropped" for sent in case.accepted)
    counted = case.run.statistics["video_frames_dropped"]
    unsent = sum(
        sent.kind == "video"
        and sent.state == "dropped"
        and not sent.reason.startswith(("it waited", "a newer", "it was"))
        for sent in case.accepted
    )
    if not frames - unsent <= counted <= frames:
        yield f"{counted} video frames are counted as dropped, and the receipts say {frames}"


# --- the block -------------------------------------------------------------------------------------------------------


@_check
def _the_block_is_left_in_time(case: Case) -> Iterator[str]:
    run = case.run
    if run.left_at is None:
        return
    took = run.exited_at - run.left_at - case.jumped_s(run.left_at, run.exited_at)
    if took > case.setting.close_s + EPSILON_S:
        yield f"it took {took:.3f} s, and close_s is {case.setting.close_s} s"


@_check
def _one_plain_exception_comes_out(case: Case) -> Iterator[str]:
    run, outcome = case.run, case.run.outcome
    lost = [event.values["lost"] for event in case.events("SessionClosed")]
    if outcome.is_group:
        yield f"a group came out: {outcome.told}"
    elif not run.has_entered:
        allowed = (
            ("SessionLost",)
            if case.setting.first_dial
            else ("ConnectError", "ConnectTimeout", "SetupError", "UpgradeRejected", "TlsError")
        )
        if outcome.name not in allowed and not (outcome.name == "" and run.was_cancelled):
            yield f"the block was not entered, and {outcome.name or 'nothing'} came out ({outcome.told})"
        if not case.setting.first_dial and len(run.dials) != 1:
            yield f"the first dial was made {len(run.dials)} times"
    elif outcome.name == "BodyError":
        if not run.has_failed_itself:
            yield "the body did not fail"
    elif outcome.name == "SessionLost":
        if lost != [True] and not run.has_failed_itself:
            yield "SessionLost came out, and SessionClosed says that it ended normally"
    elif outcome.name == "":
        if (lost != [False] or run.has_failed_itself) and not run.was_cancelled:
            yield "nothing came out of a block that was lost, or whose body failed"
    else:
        yield f"{outcome.name} came out: {outcome.told}"
    silent = [fault.kind for fault in run.plan.dials[0].before if fault.kind in STEP_S] if run.plan.dials else []
    if outcome.name == "ConnectTimeout" and not run.has_entered and silent:
        if outcome.step != silent[0].removeprefix("silent-"):
            yield f"{silent[0]} was told as step {outcome.step}"


@_check
def _what_waits_is_said_before_leaving(case: Case) -> Iterator[str]:
    run = case.run
    last = case.connections[-1] if case.connections else None
    if run.was_cancelled or run.outcome.name or last is None or last.dial is None or last.ended is None:
        return
    is_troubled = last.dial.is_slowed or last.dial.went_silent_at or last.dial.cut_at or run.plan.closing
    if is_troubled or last.ended.kind != "SessionClosed" or not case.left_cleanly(last.dial.ordinal):
        return
    for sent in case.accepted:
        if sent.kind in CONTENT and sent.state == "dropped" and not sent.reason.startswith("uncertain"):
            yield f"{sent.key} was not sent before leaving ({sent.reason})"


@_check
def _sends_after_the_end_say_so(case: Case) -> Iterator[str]:
    for sent in case.run.sent:
        if sent.asked_at < case.run.exited_at - EPSILON_S and sent.at > case.run.exited_at + EPSILON_S:
            yield f"{sent.key} waited until {sent.at:.3f} s, and the block was left at {case.run.exited_at:.3f} s"
        if sent.key == "late" and sent.outcome not in LATE:
            yield f"a send after the end: {sent.outcome}"
        elif sent.outcome not in ("accepted", "cancelled", *LATE):
            if not (sent.kind == "tool" and sent.outcome == "ValueError"):
                yield f"{sent.key}: {sent.outcome}"


# --- for sums over many runs -----------------------------------------------------------------------------------------


def delays(run: Run) -> Iterator[float]:
    """Yields each delay before a reconnect that was left to chance, as a part of its bound."""
    case = Case(run)
    row = 0
    for attempt in case.attempts:
        row = 0 if attempt.connection else row
        ended = attempt.ended
        ending = _ending_of(ended)
        if ended is None or ending is None:
            continue
        bound = min(CAP_S, BASE_S * 2.0**row)
        row += 1
        delay = ended.values["delay_s"]
        if attempt.connection and ending.code != 0 and ending.remedy != "wait" and isinstance(delay, float):
            yield delay / bound
