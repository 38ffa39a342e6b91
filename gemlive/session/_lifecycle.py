"""The deciding half of a session: a state machine with no trio in it.

It is told what happened (events, ends of connections, the time) and answers with what to do; ``_runner`` does it. All
of reconnecting, resumption and hand-over is decided here, where it can be tested by passing values.

``CONNECTING -> CONNECTED -> RECONNECTING -> CONNECTED ... -> CLOSED``, and from each of them to ``CLOSED``.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence

import attrs

from gemlive.errors import ConnectError, ConnectionLost, SessionLost, SetupError, Step
from gemlive.families import Family
from gemlive.session._closes import CloseMeaning, Remedy, meaning_of, names_handle
from gemlive.session._policy import Budget, ReconnectPolicy
from gemlive.types import (
    Event,
    GenerationComplete,
    GoAway,
    Interrupted,
    ModelAudio,
    ModelMedia,
    ModelText,
    ModelThought,
    OutputTranscript,
    ResumptionUpdate,
    Stamp,
    ToolCall,
    ToolCallCancellation,
    TurnComplete,
)

GO_AWAY_MARGIN_S = 10.0
"""Hand over at the latest this long before the server's deadline: a dial with all its steps fits into it."""

GO_AWAY_UNTOLD_S = 10.0
"""Time left that is assumed when the server does not tell: the least that was ever seen to follow a GoAway is 50 s
(docs/protocol.md 4.7), and too early costs nothing."""

HAND_OVER_SPACING_S = 1.0
"""The least time between the start of a connection and leaving it for the next one."""

QUOTA_WAIT_S = 5.0
"""The least to wait after a close that names the quota: quotas are counted by the minute."""

MAX_RECORDED_CALLS = 1024
"""Calls whose ids are remembered for their answers. A call older than a thousand others is not going to be answered."""


class Status(enum.Enum):
    """Where a session is."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"


@attrs.frozen
class Retry:
    """Dial again."""

    delay_s: float
    attempt: int
    reason: str
    code: int | None = None


@attrs.frozen
class End:
    """The session is over; ``lost`` is what its owner gets, None after a normal end."""

    lost: SessionLost | None
    code: int | None = None
    reason: str = ""
    is_orderly: bool = True
    """Whether the last connection ended with a goodbye."""


@attrs.define(eq=False)
class CallRecord:
    """What is known of a function call that the model made."""

    name: str | None
    connection: int
    order: int
    """When it was asked, in the order of :meth:`Lifecycle.tick`: two things may happen at one reading of a clock."""

    is_open: bool = True
    is_forgotten: bool = False
    is_cancelled: bool = False
    is_answered: bool = False
    is_silent: bool = False


@attrs.frozen
class Handle:
    """A resumption handle that was good when it came."""

    value: str = attrs.field(repr=False)
    issued_at: float
    order: int = 0
    """When it came, as in :class:`CallRecord`."""

    covers: int | None = None
    """The index of the last message that it covers, where the server tells."""


def advance(stamp: Stamp, events: Iterable[Event]) -> Stamp:
    """Returns the stamp of the frame that follows one with these events."""
    interrupted = completed = False
    for event in events:
        if isinstance(event, TurnComplete):
            completed = True
        elif isinstance(event, Interrupted):
            interrupted = True
    if completed:
        return Stamp(stamp.connection, stamp.turn + 1, stamp.response + 1)
    if interrupted:
        return Stamp(stamp.connection, stamp.turn, stamp.response + 1)
    return stamp


class Lifecycle:
    """Decides what a session does next.

    Args:
        policy: how hard to try.
        family: facts about the model.
        uniform: the source of chance for the jitter.
        handle: a resumption handle from an earlier session.
        resumption: whether handles are of use at all.
        renews_credentials: whether the next dial can present another credential than the last.
        now: the time.
    """

    def __init__(
        self,
        policy: ReconnectPolicy,
        family: Family,
        uniform: Callable[[float, float], float],
        *,
        handle: str | None = None,
        resumption: bool = True,
        renews_credentials: bool = True,
        now: float = 0.0,
    ) -> None:
        self._policy = policy
        self._family = family
        self._budget = Budget(policy, uniform)
        self._resumption = resumption
        self._renews_credentials = renews_credentials
        self._handle = None if handle is None else Handle(handle, now)
        self._handle_failures = 0
        self._turn_ended: int | None = None
        self._ticks = 0
        self._is_interrupted = False
        self._connected_at = now
        self._hand_over_at: float | None = None
        self.status = Status.CONNECTING
        self.stamp = Stamp()
        self.is_asked = False
        """Whether something was sent that the model has not answered yet."""
        self.is_speaking = False
        """Whether the model has begun a turn that is not complete."""
        self._questions = 0
        # Calls whose answers the model has not reacted to; the server ignores one that crosses the cancellation.
        self._answers: set[str] = set()
        self.calls: dict[str, CallRecord] = {}
        self.resuming_with: Handle | None = None
        """The handle that the connection in progress was set up with."""

    # --- what a connection says ----------------------------------------------------------------------------------

    @property
    def is_mid_turn(self) -> bool:
        """Whether the model owes the rest of a turn, or the program the answer to a call."""
        return self.is_owed or self.is_speaking or self.has_open_call

    @property
    def is_owed(self) -> bool:
        """Whether the model was asked or told something that it has not reacted to."""
        return self.is_asked or bool(self._answers)

    @property
    def has_open_call(self) -> bool:
        """Whether a call of the connection in use waits for its answer."""
        return any(call.is_open for call in self.calls.values())

    @property
    def handle(self) -> Handle | None:
        """The handle that the next connection will be set up with."""
        return self._handle

    def tick(self) -> int:
        """Returns a number that is higher than all before: what came first is asked of it and not of a clock."""
        self._ticks += 1
        return self._ticks

    def dialling(self) -> str | None:
        """A connection is about to be made; returns the resumption handle to present, if any."""
        self.resuming_with = self._handle
        return None if self._handle is None else self._handle.value

    def connected(self, now: float) -> None:
        """The connection's setup is complete."""
        self._connected_at = now
        self.status = Status.CONNECTED
        self.stamp = Stamp(self.stamp.connection + 1, self.stamp.turn, self.stamp.response)
        self._budget.succeeded()
        self._handle_failures = 0
        self._hand_over_at = None
        self._questions = 0
        self._is_interrupted = False

    def received(self, events: Iterable[Event], now: float) -> None:
        """Takes in the events of one frame."""
        for event in events:
            if isinstance(event, Interrupted):
                self._is_interrupted = True
            match event:
                case ModelAudio() | ModelText() | ModelMedia() | OutputTranscript():
                    self.is_speaking = True
                case ModelThought():
                    self.is_speaking = True
                case GenerationComplete() if self._family.speech_to_text_only:
                    # Transcription has no turns to complete (docs/protocol.md 5).
                    self.is_speaking = self.is_asked = False
                    self._questions = 0
                case ToolCall(calls=calls):
                    self.is_speaking = True
                    for call in calls:
                        if call.id is not None:
                            self.calls.pop(call.id, None)
                            self.calls[call.id] = CallRecord(call.name, self.stamp.connection, self.tick())
                    while len(self.calls) > MAX_RECORDED_CALLS:
                        self.calls.pop(next(iter(self.calls)))
                case ToolCallCancellation(ids=ids):
                    for call_id in ids:
                        self._answers.discard(call_id)
                        if call_id in self.calls:
                            self.calls[call_id].is_open = False
                            self.calls[call_id].is_cancelled = True
                case TurnComplete():
                    self.is_speaking = self.is_asked = False
                    self._answers.clear()
                    # What was not interrupted answers everything that was asked before it ended.
                    self._questions = max(0, self._questions - 1) if self._is_interrupted else 0
                    self._is_interrupted = False
                    self._turn_ended = self.tick()
                case ResumptionUpdate(handle=handle, resumable=resumable, last_consumed_index=covers):
                    # Not resumable, or an empty handle: the last good one is kept (docs/protocol.md 4.6).
                    is_usable = bool(handle) and resumable is not False and self._resumption
                    # Told again, it is no newer than it was: the state that it stands for was saved then.
                    if is_usable and handle and (self._handle is None or self._handle.value != handle):
                        self._handle = Handle(handle, now, self.tick(), covers)
                        self._handle_failures = 0
                case GoAway(time_left_s=time_left_s) if self._policy.attempts > 0:
                    left = GO_AWAY_UNTOLD_S if time_left_s is None else max(0.0, time_left_s)
                    at = now + max(left - GO_AWAY_MARGIN_S, left / 2)
                    self._hand_over_at = at if self._hand_over_at is None else min(at, self._hand_over_at)
                case _:
                    pass
        self.stamp = advance(self.stamp, events)

    def asked(self) -> None:
        """Something was accepted that the model will answer."""
        self.is_asked = True

    def answered(self, call_ids: Iterable[str]) -> None:
        """The answers to calls were accepted, and the model is expected to go on."""
        self._answers.update(call_ids)

    def question_left(self) -> tuple[int, int]:
        """A question goes out on the connection in use; returns which turn answers it, by order, which is all there is.

        A turn that the model has begun is not the one. Older questions that it has not begun to answer are answered
        together with this one, or this one interrupts their turns; which of the two, the server does not tell
        beforehand (docs/protocol.md 5, 13).

        Returns:
            The number of the turn; and how many turns more it may be later, one for each turn from there on that ends
            interrupted.
        """
        turn = self.stamp.turn + int(self.is_speaking)
        interruptible = max(0, self._questions - int(self.is_speaking))
        self._questions += 1
        return turn, interruptible

    @property
    def awaits_sign(self) -> bool:
        """Whether the model was asked something and has not begun to answer."""
        return self.is_owed and not self.is_speaking

    def answer_left(self) -> None:
        """A tool's answer goes out: where the turn of its call has ended, the model goes on in a turn of its own."""
        if not self.is_speaking:
            self.question_left()

    # --- hand-over -------------------------------------------------------------------------------------------------

    @property
    def hand_over_at(self) -> float | None:
        """The time at which a hand-over is forced, None when none is due."""
        return self._hand_over_at

    def can_hand_over(self) -> bool:
        """Whether this is a good moment: nothing in progress, and a handle that covers all that was said."""
        if self._hand_over_at is None or self.is_mid_turn:
            return False
        if not self._resumption or not self._family.resumption or self._turn_ended is None:
            return True
        return self._handle is not None and self._handle.order > self._turn_ended

    # --- ends of connections -----------------------------------------------------------------------------------------

    def hand_over(self, now: float) -> Retry | End:
        """The connection was left because the server announced its end."""
        # A server that says goodbye on every connection must not make us spin.
        floor = max(0.0, HAND_OVER_SPACING_S - (now - self._connected_at))
        reason = "the server announced the end of the connection"
        return self._retry(now, reason, code=None, at_once=True, floor_s=floor)

    def lost(self, error: ConnectionLost, now: float) -> Retry | End:
        """An established connection ended without our asking."""
        meaning = meaning_of(error.code, error.reason)
        if error.code == 1000 and error.origin == "peer" and not self.is_mid_turn:
            # Idle: the server said goodbye, and nothing is owed by either side.
            return End(None, error.code, error.reason)
        # On an open connection the less definite text is more often about the id of a call (docs/protocol.md 8).
        if names_handle(error.reason) and "requested entity" not in error.reason.lower():
            self._drop_handle()
        if self._is_fatal(meaning):
            return self._end(error.reason, code=error.code, step="open", causes=meaning.causes, retryable=False)
        floor = QUOTA_WAIT_S if meaning.remedy is Remedy.WAIT else 0.0
        return self._retry(now, error.reason, code=error.code, floor_s=floor, causes=meaning.causes)

    def failed(self, error: ConnectError, now: float, *, is_first: bool) -> Retry | End:
        """A connection could not be made.

        The very first is not retried unless the policy says so; the caller then raises ``error`` itself.
        """
        code = error.code if isinstance(error, SetupError) else None
        reason = error.reason if isinstance(error, SetupError) and error.reason else str(error)
        retryable, floor = error.retryable, error.retry_after_s or 0.0
        causes: tuple[str, ...] = (str(error),)
        if code is not None:
            meaning = meaning_of(code, reason)
            causes = meaning.causes
            floor = max(floor, QUOTA_WAIT_S if meaning.remedy is Remedy.WAIT else 0.0)
            retryable = not self._is_fatal(meaning)
        if is_first and not self._policy.first_dial:
            return self._end(reason, code=code, step=error.step, causes=causes, retryable=retryable)
        if self.resuming_with is not None and error.step == "setup":
            refused = names_handle(reason) or (code in (1007, 1008) and not retryable)
            self._handle_failures += 1
            if refused or self._handle_failures >= 2:
                self._drop_handle()
                if self._policy.lost_context == "fail":
                    causes = ("The server refused to resume, and ReconnectPolicy.lost_context is 'fail'.", *causes)
                    return self._end(reason, code=code, step=error.step, causes=causes, retryable=True)
                # One fresh attempt, even where the code alone says fatal: it was the handle that was refused.
                return self._retry(now, reason, code=code, step=error.step, causes=causes, at_once=True)
        if not retryable:
            return self._end(reason, code=code, step=error.step, causes=causes, retryable=False)
        return self._retry(now, reason, code=code, step=error.step, causes=causes, floor_s=floor)

    def leave(self) -> list[Event]:
        """A connection is over; returns the events that say what it cut short, and settles the state."""
        cut_short = self.is_speaking or self.has_open_call
        self.is_speaking = False
        self._answers.clear()
        for call in self.calls.values():
            call.is_open = False
        if not cut_short:
            return []
        event = Interrupted("connection", at=self.stamp)
        self.stamp = advance(self.stamp, [event])
        return [event]

    def forget(self) -> None:
        """The connection in use began from a saved state, or afresh: the model knows no call that came later."""
        remembered = 0 if self.resuming_with is None else self.resuming_with.order
        for call in self.calls.values():
            call.is_forgotten = call.is_forgotten or call.order > remembered

    def closed(self) -> None:
        """The session is over."""
        self.status = Status.CLOSED

    # --- within ------------------------------------------------------------------------------------------------------

    def _is_fatal(self, meaning: CloseMeaning) -> bool:
        """Says whether the same again would fail again: also when a credential ran out that nobody renews."""
        return meaning.remedy is Remedy.FATAL or (meaning.remedy is Remedy.NEW_TOKEN and not self._renews_credentials)

    def _drop_handle(self) -> None:
        self._handle = None
        self._handle_failures = 0

    def _retry(
        self,
        now: float,
        reason: str,
        *,
        code: int | None,
        step: Step = "open",
        causes: Sequence[str] = (),
        floor_s: float = 0.0,
        at_once: bool = False,
    ) -> Retry | End:
        delay = self._budget.spend(now, floor_s=floor_s, at_once=at_once)
        if delay is None:
            tries = self._budget.attempt
            causes = causes or ("The server keeps ending connections.",)
            return self._end(reason, code=code, step=step, causes=causes, why=f"gave up after {tries} tries in a row")
        self.status = Status.RECONNECTING if self.stamp.connection else Status.CONNECTING
        return Retry(delay, self._budget.attempt, reason, code)

    def _end(
        self, reason: str, *, code: int | None, step: Step, causes: Sequence[str], why: str = "", retryable: bool = True
    ) -> End:
        connection = self.stamp.connection
        told = [why, "" if code is None else f"close code {code}", "" if reason in causes else reason.rstrip(".")]
        lost = SessionLost(
            f"the session was lost in step {step} of connection {max(connection, 1)}"
            + "".join(f"; {part}" for part in told if part)
            + (f". {causes[0]}" if causes else ""),
            code=code,
            reason=reason,
            step=step,
            connection=connection,
            causes=causes,
            retryable=retryable,
        )
        return End(lost, code, reason)
