"""What a session promises, as a model with no trio, no bytes and nothing of ``gemlive.session`` in it.

It is told what the program does, what the server does and how much time passes, and says what must then be true: every
event of the session in order, the state of every receipt, what the server has received on each connection, what each
question was answered with. It was written from docs/session.md and docs/protocol.md, not from the code, so that a
mistake has to be made twice to stay unseen. Where the documents leave something open, so does the model: ``told`` and
``Message.states`` then allow several things, and say why.

Time is in seconds of the run's clock. Connections are counted from 1, dials from 0.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

import attrs

Told: TypeAlias = tuple[object, ...]
"""An event, in the words of :func:`tests.faults.machine.told`: its name, what counts of its fields, its stamp."""

Kind = Literal["content", "tool", "mark", "audio", "video"]
State = Literal["unsent", "written", "covered", "uncertain", "dropped"]
Stage = Literal["tcp", "upgrade", "setup"]
Answer = Literal["completed", "interrupted", "rejected", "empty", "lost"]

STEP_S: dict[Stage, float] = {"tcp": 10, "upgrade": 10, "setup": 15}
PING_S, SILENCE_S = 20.0, 65.0
CLOSE_S = 5.0
LAST_WORDS_S = 1.0
MAX_WAITING = 64
MEDIA_S, RESUMED_MEDIA_S = 2.0, 0.5
JOURNAL = 256
QUOTA_S = 5.0
MARGIN_S = 10.0
SPACING_S = 1.0
ACTIVITY = ("activityStart", "activityEnd")

Verdict = Literal["fatal", "resume", "fresh", "wait"]
_BY_TEXT: tuple[tuple[str, Verdict], ...] = (
    ("Internal error encountered.", "resume"),
    ("Resource has been exhausted", "wait"),
    ("The operation was aborted.", "resume"),
    ("BidiGenerateContent session not found", "fresh"),
    ("Invalid session handle", "fresh"),
    ("Requested entity was not found.", "fresh"),
    ("API key not valid.", "fatal"),
    ("Request contains an invalid argument.", "fatal"),
)
_FATAL_CODES = (1007, 1008, 1009)


def verdict(code: int, reason: str) -> Verdict:
    """Returns what the end of a connection means, by its text first and its code second (docs/protocol.md 8)."""
    for text, meaning in _BY_TEXT:
        if text in reason:
            return meaning
    return "fatal" if code in _FATAL_CODES else "resume"


@attrs.frozen(kw_only=True)
class Profile:
    """How a session is set up."""

    resumption: bool = True
    has_index: bool = False
    is_manual: bool = False
    uncertain: Literal["report", "replay", "drop"] = "report"
    lost_context: Literal["fresh", "fail"] = "fresh"
    attempts: int = 4
    window_attempts: int = 12
    window_s: float = 600


@attrs.define(eq=False)
class Message:
    """One message that was accepted."""

    kind: Kind
    label: str
    accepted_at: float
    state: State = "unsent"
    is_final: bool = False
    audio_ms: float = 0.0
    asks: bool = False
    call: Call | None = None
    index: int = 0
    is_answered: bool = False
    has_place: bool = False
    written_at: float | None = None
    connection: int = 0
    answered_in: int | None = None
    """The turn that answers it, by order."""
    shifts: int = 0
    """How many turns later that may be, one for each that is interrupted."""

    def agrees(self, state: str, is_final: bool, now: float) -> bool:
        """Whether this is what a receipt may say at this time."""
        if (state, is_final) == (self.state, self.is_final):
            return True
        # What is older than media ever gets is settled when there is a reason to look. It is never sent.
        return self.is_media and now - self.accepted_at >= MEDIA_S and (self.state, state) == ("unsent", "dropped")

    @property
    def is_media(self) -> bool:
        """Whether it is realtime audio or video."""
        return self.kind in ("audio", "video")


@attrs.define(eq=False)
class Call:
    """One function call of the model."""

    id: str
    connection: int
    asked_at: float
    is_open: bool = True
    is_answered: bool = False
    is_cancelled: bool = False
    is_forgotten: bool = False


@attrs.frozen
class Handle:
    """A resumption handle that was good when it came."""

    value: str
    issued_at: float


@attrs.define(eq=False)
class Question:
    """Something that waits for the first response which begins after its message has left.

    Attributes:
        message: what was asked.
        answer: how it ended, None while it goes on.
    """

    message: Message
    answer: Answer | None = None
    is_empty: bool = True
    has_spoken_since_call: bool = True
    was_interrupted: bool = False
    shifted: int = 0

    def take(self, event: Told, connection: int, turn: int) -> None:
        """Takes in an event of the session, which happened on a connection and in a turn."""
        name = event[0]
        if self.answer is not None:
            return
        if name == "SessionClosed":
            self.answer = "lost"
        elif name == "Reconnected":
            is_gone = self.message.state != "unsent" and self.message.connection < connection
            self.answer = "lost" if is_gone or not self.is_empty else None
        elif not self._is_about(connection, turn):
            return
        elif name in ("ModelText", "ModelAudio", "OutputTranscript", "ToolCall"):
            self.is_empty = False
            self.has_spoken_since_call = name != "ToolCall"
        elif name == "Interrupted" and event[1] == "connection":
            self.answer = None if self.is_empty else "lost"
        elif name == "Interrupted":
            self.was_interrupted = True
        elif name == "TurnComplete":
            self._complete(event)

    def _is_about(self, connection: int, turn: int) -> bool:
        first = self.message.answered_in
        return first is not None and connection >= self.message.connection and turn >= first + self.shifted

    def _complete(self, event: Told) -> None:
        _, reason, status = event[:3]
        if self.was_interrupted and self.shifted < self.message.shifts:
            # What was interrupted was the answer to an older question, and ours is what interrupted it.
            self.shifted += 1
            self.was_interrupted, self.is_empty, self.has_spoken_since_call = False, True, True
        elif self.was_interrupted:
            self.answer = "interrupted"
        elif reason is not None:
            self.answer = "rejected"
        elif status == "IN_PROGRESS" or not self.has_spoken_since_call:
            return
        else:
            self.answer = "empty" if self.is_empty else "completed"


@attrs.define(eq=False)
class Limbo:
    """A connection that is being left and cannot be, since what is written does not leave or is not heard.

    Attributes:
        due: when it is over at the latest.
        outcome: what the session does then.
        finishes_batch: whether what is being written still counts when it leaves.
        is_answer: whether all that is missing is our answer to the server's Close, which nobody needs to hear.
    """

    due: float
    outcome: Callable[[], None]
    finishes_batch: bool = False
    is_answer: bool = False


class Contract:
    """One session, from before its first dial to its end."""

    def __init__(self, profile: Profile, now: float) -> None:
        self.profile = profile
        self.now = now
        self.status: Literal["connecting", "connected", "reconnecting", "closed"] = "connecting"
        self.connection = self.turn = self.response = 0
        self.events: list[Told] = []
        self.messages: list[Message] = []
        self.blocked: deque[Message] = deque()
        self.calls: dict[str, Call] = {}
        self.handle: Handle | None = None
        self.stage: Stage | None = "tcp"
        self.wires: list[list[str]] = [[]]
        self.presented: list[str | None] = [None]
        self.is_shut = self.is_deaf = False
        self.limbo: Limbo | None = None
        self.lost: tuple[str, int | None] | None = None
        self.questions: list[Question] = []
        self.overflowed = 0
        self.is_asked = self.is_speaking = False
        self._queue: list[Message] = []
        self._departing: list[Message] = []
        self._journal: list[Message] = []
        self._media: list[Message] = []
        self._unheard: list[str] = []
        self._step_due = now + STEP_S["tcp"]
        self._retry_at: float | None = None
        self._hand_over_at: float | None = None
        self._resuming: Handle | None = None
        self._handle_failures = 0
        self._row = 0
        self._window: list[float] = []
        self._turn_ended_at: float | None = None
        self._connected_at = now
        self._last_inbound = now
        self._pinged = False
        self._sick_since: float | None = None
        self._index = 0
        self._handle_has_index = False
        self._was_cut = False
        self._unanswered = 0
        self._answers: set[str] = set()
        self._was_interrupted = self._is_reading = False
        self._activity_left_open = False
        self._activity_covered_open = False
        self._activity_has_audio = False
        self._has_lost_audio = False

    # --- looking -----------------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether the session has ended."""
        return self.status == "closed"

    @property
    def is_live(self) -> bool:
        """Whether there is a connection that is not being left."""
        return self.status == "connected" and self.limbo is None

    @property
    def has_place(self) -> bool:
        """Whether another message other than media would be accepted at once."""
        return sum(message.has_place for message in self._queue) < MAX_WAITING

    @property
    def open_calls(self) -> list[Call]:
        """The calls that wait for an answer."""
        return [call for call in self.calls.values() if call.is_open]

    @property
    def is_mid_turn(self) -> bool:
        """Whether the model owes something, or the program an answer to a call."""
        return self.is_owed or self.is_speaking or bool(self.open_calls)

    @property
    def is_owed(self) -> bool:
        """Whether the model was asked or told something and has not ended a turn since."""
        return self.is_asked or bool(self._answers)

    @property
    def waiting(self) -> int:
        """How many messages other than media wait."""
        return sum(not message.is_media for message in self._queue)

    @property
    def written_on_connection(self) -> int:
        """How many messages have left on this connection: the highest index there is."""
        return self._index

    # --- what the program does ---------------------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """A message is handed over."""
        self.messages.append(message)
        if not message.is_media and not self.has_place:
            self.blocked.append(message)
            return
        self._accept(message)
        self._write()

    def answer(self, message: Message) -> None:
        """A call is answered."""
        call = message.call
        assert call is not None
        if call.is_cancelled:
            self.messages.append(message)
            self._settle(message, "dropped", is_final=True)
            return
        if call.is_forgotten:
            self.messages.append(message)
            self._settle(message, "dropped", is_final=True)
            self._tell("OrphanedToolResult", call.id)
            return
        call.is_answered = True
        call.is_open = False
        self.send(message)

    def ask(self, message: Message) -> Question:
        """A question is asked; there is a place for it."""
        question = Question(message)
        self.questions.append(question)
        self.send(message)
        return question

    def forget(self, message: Message) -> None:
        """A send that waits for a place is cancelled."""
        self.blocked.remove(message)
        self.messages.remove(message)

    def leave(self, *, flushes: bool) -> None:
        """The program leaves the session."""
        if self.status == "connected" and flushes and not self.is_shut:
            self._write()
        is_known = self.status == "connected"
        self._end(None, 1000, is_known=is_known)

    # --- what the server does ----------------------------------------------------------------------------------------

    def accept(self, *, greets: bool = False) -> None:
        """The dial gets past the step at which it is; the model may begin to speak in the breath that accepts it."""
        if self.stage == "tcp":
            self.stage = "upgrade"
        elif self.stage == "upgrade":
            self.stage = "setup"
            self.presented[-1] = None if self._resuming is None else self._resuming.value
        else:
            self._connected(greets=greets)
            return
        assert self.stage is not None
        self._step_due = self.now + STEP_S[self.stage]

    def refuse(self, *, code: int | None = None, reason: str = "", retries: bool = True, after_s: float = 0) -> None:
        """The dial fails at the step at which it is: by a close of the setup (``code``), or otherwise."""
        assert self.stage is not None
        step = self.stage
        meaning: Verdict = "resume"
        if code is not None:
            meaning = verdict(code, reason)
            retries = meaning != "fatal"
            after_s = QUOTA_S if meaning == "wait" else 0
        self.stage = None
        if not self.connection:
            self._end((step, code), code)
            return
        if self._resuming is not None and step == "setup":
            is_refused = meaning == "fresh" or (code in (1007, 1008) and not retries)
            self._handle_failures += 1
            if is_refused or self._handle_failures >= 2:
                self._drop_handle()
                if self.profile.lost_context == "fail":
                    self._end((step, code), code)
                else:
                    self._retry(code, 0)
                return
        if retries:
            self._retry(code, after_s)
        else:
            self._end((step, code), code)

    @contextmanager
    def in_one_breath(self) -> Iterator[None]:
        """What is said in here comes with one read, and is taken in as a whole before anything is decided."""
        self._is_reading = True
        yield
        self._is_reading = False
        self._consider_hand_over()

    def say(self, name: str, *fields: object, speaks: bool = False) -> None:
        """The server sends a message with one event in it that needs no more than to be told."""
        self._heard()
        self.is_speaking = self.is_speaking or speaks
        self._tell(name, *fields)
        self._consider_hand_over()

    def call(self, call: Call) -> None:
        """The model calls a function."""
        self.calls[call.id] = call
        self.say("ToolCall", call.id, speaks=True)

    def cancel_call(self, call: Call) -> None:
        """The server wants no answer any more."""
        call.is_open, call.is_cancelled = False, True
        self._answers.discard(f"tool {call.id}")
        for answer in [one for one in self._queue if one.call is call]:
            self._queue.remove(answer)
            self._settle(answer, "dropped", is_final=True)
        self.say("ToolCallCancellation", call.id)

    def interrupted(self) -> None:
        """The response was cut short; its end follows."""
        self._heard()
        self._was_interrupted = True
        self._tell("Interrupted", "server")
        self.response += 1
        self._consider_hand_over()

    def turn_complete(self, reason: str | None, status: str | None) -> None:
        """The model has finished."""
        self._heard()
        self.is_speaking = self.is_asked = False
        self._answers.clear()
        self._turn_ended_at = self.now
        # A turn that was not interrupted answers all that was asked before its end.
        self._unanswered = max(0, self._unanswered - 1) if self._was_interrupted else 0
        self._was_interrupted = False
        for message in self._journal:
            message.is_answered = True
        self._tell("TurnComplete", reason, status)
        self.turn += 1
        self.response += 1
        self._consider_hand_over()

    def handle_issued(self, value: str, index: int | None) -> None:
        """The server saved the conversation."""
        self._heard()
        self._tell("ResumptionUpdate")
        if self.profile.resumption:
            self.handle = Handle(value, self.now)
            self._handle_failures = 0
            self._cover(index)
        self._consider_hand_over()

    def go_away(self, left_s: float | None) -> None:
        """The server announces the end of the connection."""
        self._heard()
        self._tell("GoAway")
        if self.profile.attempts:
            left = 10.0 if left_s is None else left_s
            at = self.now + max(left - MARGIN_S, left / 2)
            self._hand_over_at = at if self._hand_over_at is None else min(self._hand_over_at, at)
        self._consider_hand_over()

    def closed_by_server(self, code: int | None, reason: str = "") -> None:
        """A Close frame came."""
        self._heard()

        def outcome() -> None:
            self._cut(1005 if code is None else code, reason)

        if self.is_shut:
            # Our answer cannot leave; it is given a moment.
            self.limbo = Limbo(self.now + LAST_WORDS_S, outcome, is_answer=True)
        else:
            outcome()

    def cut(self) -> None:
        """The network is gone."""
        if self.stage is not None:
            self.refuse(code=1006 if self.stage == "setup" else None)
        elif self.limbo is not None and not self.limbo.finishes_batch:
            self._leave_limbo()
        else:
            self.limbo = None
            self._cut(1006, "")

    def shut(self, is_shut: bool) -> None:
        """Writes wait from now on, or no longer."""
        self._sicken(lambda: setattr(self, "is_shut", is_shut))
        if is_shut:
            return
        self._depart()
        if self.limbo is not None and (not self.is_deaf or self.limbo.is_answer):
            self._leave_limbo()
        elif self.limbo is not None and self.limbo.finishes_batch:
            # Written, but nobody hears the goodbye that comes now.
            self.limbo = Limbo(self.now + CLOSE_S / 2, self.limbo.outcome)
        elif self.limbo is None:
            self._write()

    def deafen(self, is_deaf: bool) -> None:
        """The server does not read from now on, or reads again."""
        self._sicken(lambda: setattr(self, "is_deaf", is_deaf))
        if is_deaf:
            return
        self.wires[-1] += self._unheard
        self._unheard = []
        if self.limbo is not None and not self.is_shut:
            self._leave_limbo()

    # --- time --------------------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Time passes, and what is due in it happens in its order."""
        until = self.now + seconds
        while True:
            due = min(self._timers(), key=lambda timer: timer[0], default=None)
            if due is None or due[0] > until:
                break
            self.now = max(self.now, due[0])
            due[1]()
        self.now = until

    def _timers(self) -> Iterable[tuple[float, Callable[[], None]]]:
        if self.status == "closed":
            return
        if self.stage is not None:
            yield self._step_due, self.refuse
        elif self._retry_at is not None:
            yield self._retry_at, self._dial
        else:
            if self._sick_since is not None:
                yield self._last_inbound + SILENCE_S, self._silent
            if self._media and (self.limbo is None or self.limbo.finishes_batch):
                yield self._media[0].accepted_at + MEDIA_S, self._retire
            if self.limbo is not None:
                yield self.limbo.due, self._limbo_due
            elif self._hand_over_at is not None:
                yield self._hand_over_at, self._hand_over

    # --- the outbox --------------------------------------------------------------------------------------------------

    def _accept(self, message: Message) -> None:
        message.accepted_at = self.now
        message.has_place = not message.is_media
        if message.kind == "video":
            for older in [one for one in self._queue if one.kind == "video"]:
                self._queue.remove(older)
                self._settle(older, "dropped", is_final=True)
        self._queue.append(message)
        if message.kind == "tool":
            self._answers.add(message.label)
        else:
            self.is_asked = self.is_asked or message.asks

    def _write(self) -> None:
        """Lets leave what can."""
        while self.is_live and not self._departing:
            self._expire(MEDIA_S)
            if not self._queue:
                break
            if self._has_lost_audio:
                self._drop_empty_activities()
            self._departing, self._queue = self._with_silence(self._queue), []
            for message in self._departing:
                self._index += 1
                message.index = self._index
                message.connection = self.connection
                message.has_place = False
                self._question_left(message)
                if message.label in ACTIVITY:
                    self._activity_left_open = message.label == "activityStart"
            if not self.is_shut:
                self._depart()
            while self.blocked and self.has_place:
                self._accept(self.blocked.popleft())

    def _drop_empty_activities(self) -> None:
        """An activity whose audio was dropped while it waited is not sent: the server would end the session on it."""
        self._has_lost_audio = False
        for start in [one for one in self._queue if one.label == "activityStart"]:
            after = self._queue[self._queue.index(start) + 1 :]
            end = next((one for one in after if one.is_media or one.label in ACTIVITY), None)
            if end is not None and end.label == "activityEnd":
                for mark in (start, end):
                    self._queue.remove(mark)
                    self._settle(mark, "dropped", is_final=True)

    def _with_silence(self, leaving: list[Message]) -> list[Message]:
        """An activity whose beginning has left and whose audio has not ends behind a little silence."""
        batch: list[Message] = []
        for message in leaving:
            if message.label == "activityEnd" and not self._activity_has_audio:
                batch.append(Message("audio", "audio 0", self.now))
            if message.kind == "audio":
                self._activity_has_audio = True
            elif message.label == "activityStart":
                self._activity_has_audio = False
            batch.append(message)
        return batch

    def _question_left(self, message: Message) -> None:
        """Says which turn answers a message that leaves: no turn that has begun, and the questions before it first."""
        if not message.asks or (message.kind == "tool" and self.is_speaking):
            return
        message.answered_in = self.turn + self.is_speaking
        message.shifts = max(0, self._unanswered - self.is_speaking)
        self._unanswered += 1

    def _depart(self) -> None:
        """What is being written has left."""
        batch, self._departing = self._departing, []
        (self._unheard if self.is_deaf else self.wires[-1]).extend(message.label for message in batch)
        if self.limbo is not None and not self.limbo.finishes_batch:
            self._departing = batch  # it left, and nobody is there any more to note it
            return
        for message in batch:
            message.written_at = self.now
            is_fleeting = message.is_media or message.kind == "mark"
            is_final = not self.profile.resumption or (is_fleeting and not self.profile.has_index)
            self._settle(message, "written", is_final=is_final)
            if not is_final:
                (self._media if message.is_media else self._journal).append(message)
        while len(self._journal) > JOURNAL:
            oldest = self._journal.pop(0)
            self._settle(oldest, "uncertain", is_final=True)
            self._note_covered(oldest)  # nothing that a handle may say later is older than this
            self.overflowed += 1
        if batch and self.limbo is None:
            self._consider_hand_over()

    def _cover(self, index: int | None) -> None:
        self._handle_has_index = self.profile.has_index and index is not None and 0 <= index <= self._index
        for message in list(self._journal):
            if message.index <= index if self._handle_has_index and index is not None else message.is_answered:
                self._journal.remove(message)
                self._settle(message, "covered", is_final=True)
                self._note_covered(message)
        if self._handle_has_index and index is not None:
            for message in [one for one in self._media if one.index <= index]:
                self._media.remove(message)
                self._settle(message, "written", is_final=True)

    def _retire(self) -> None:
        """Media that no reconnect would send again has its last state."""
        self._settle(self._media.pop(0), "written", is_final=True)

    def _note_covered(self, message: Message) -> None:
        if message.label in ACTIVITY:
            self._activity_covered_open = message.label == "activityStart"

    def _expire(self, limit_s: float) -> None:
        for message in [one for one in self._queue if one.is_media and self.now - one.accepted_at >= limit_s]:
            self._queue.remove(message)
            self._settle(message, "dropped", is_final=True)
            self._has_lost_audio = self._has_lost_audio or message.kind == "audio"

    def _settle(self, message: Message, state: State, *, is_final: bool) -> None:
        assert not message.is_final, f"the model itself settles {message} twice"
        message.state, message.is_final = state, is_final

    # --- connections begin -------------------------------------------------------------------------------------------

    def _dial(self) -> None:
        self._retry_at = None
        self._resuming = self.handle
        self.stage = "tcp"
        self._step_due = self.now + STEP_S["tcp"]
        self.wires.append([])
        self.presented.append(None)

    def _connected(self, *, greets: bool) -> None:
        self.stage = None
        self.status = "connected"
        self.connection += 1
        self._connected_at = self._last_inbound = self.now
        self._row = self._handle_failures = 0
        self._hand_over_at = None
        self.is_shut = self.is_deaf = self._pinged = False
        self._sick_since = None
        self._unanswered, self._was_interrupted = 0, False
        if self.connection == 1:
            self._tell("Connected", 1)
        else:
            self._carry_over()
        self._tell("SetupComplete")
        if greets:
            self.say("ModelText", speaks=True)
        self._write()

    def _carry_over(self) -> None:
        """Decides about every message that the connection before has left behind."""
        resumed = self._resuming
        by_index = resumed is not None and self._handle_has_index
        self._expire(MEDIA_S if by_index else RESUMED_MEDIA_S)
        past = sorted([*self._journal, *self._media, *self._departing], key=lambda message: message.index)
        self._journal, self._media, self._departing = [], [], []
        again: list[Message] = []
        uncertain: list[Message] = []
        orphans = [one for one in self._queue if one.kind == "tool" and self._fate(one, resumed) == "orphan"]
        self._queue = [one for one in self._queue if one not in orphans]
        for message in past:
            fate = self._fate(message, resumed) if message.kind == "tool" else "uncertain"
            if fate == "orphan":
                orphans.append(message)
            elif by_index and message.is_media and self.now - message.accepted_at >= MEDIA_S:
                self._settle(message, "dropped", is_final=True)
            elif by_index or fate == "again":
                again.append(message)
            elif message.kind in ("content", "tool"):
                uncertain.append(message)
            else:
                self._settle(message, "uncertain", is_final=True)
        reported = [message.label for message in uncertain]
        for message in uncertain:
            if self.profile.uncertain == "replay":
                again.append(message)
            else:
                state: State = "dropped" if self.profile.uncertain == "drop" else "uncertain"
                self._settle(message, state, is_final=True)
        for message in orphans:
            self._settle(message, "uncertain" if message.index else "dropped", is_final=True)
        for message in sorted(again, key=lambda message: message.index, reverse=True):
            if message.kind == "video" and any(one.kind == "video" for one in self._queue):
                self._settle(message, "dropped", is_final=True)
                continue
            self._settle(message, "unsent", is_final=False)
            message.is_answered, message.written_at, message.has_place = False, None, False
            message.answered_in = None
            self._queue.insert(0, message)
        self._index = 0
        for call in self.calls.values():
            call.is_forgotten = call.is_forgotten or resumed is None or call.asked_at > resumed.issued_at
        self._balance(self._activity_covered_open if by_index else self._activity_left_open)
        age = None if resumed is None else round(self.now - resumed.issued_at, 6)
        self._tell("Reconnected", self.connection, resumed is not None, age, tuple(reported), self._was_cut)
        for message in orphans:
            assert message.call is not None
            self._tell("OrphanedToolResult", message.call.id)
        self.is_asked = any(message.asks for message in self._queue)
        while self.blocked and self.has_place:
            self._accept(self.blocked.popleft())

    def _balance(self, is_open: bool) -> None:
        """Restores the activity that was open, and drops marks that would not fit or would enclose nothing."""
        self._activity_left_open = False
        kept: list[Message] = []
        inside: list[Message] | None = [] if is_open else None  # the activity under way, its mark first unless restored
        is_restored = is_open
        for message in self._queue:
            if message.label == "activityStart" and inside is None:
                inside = [message]
            elif message.label == "activityEnd" and inside is not None:
                has_media = any(one.is_media for one in inside)
                begins = bool(inside) and inside[0].label == "activityStart"
                if has_media:
                    kept += [*inside, message]
                else:
                    kept += inside[1:] if begins else inside
                    for mark in [*inside[:1], message] if begins else [message]:
                        self._settle(mark, "dropped", is_final=True)
                    is_restored = is_restored and begins
                inside = None
            elif message.label in ACTIVITY:
                self._settle(message, "dropped", is_final=True)
            else:
                (kept if inside is None else inside).append(message)
        kept += inside or []
        if is_restored:
            kept.insert(0, Message("mark", "activityStart", self.now))
        self._queue = kept

    def _fate(self, answer: Message, resumed: Handle | None) -> Literal["again", "orphan", "uncertain"]:
        """Says what becomes of an answer: does the resumed model know the call, and does it still wait?"""
        call = answer.call
        if call is None:
            return "again" if answer.written_at is None else "uncertain"
        if resumed is None or call.asked_at > resumed.issued_at:
            return "orphan"
        if answer.written_at is None or resumed.issued_at <= answer.written_at:
            return "again"
        return "uncertain"

    # --- connections end ---------------------------------------------------------------------------------------------

    def _cut(self, code: int, reason: str) -> None:
        """The connection is over, by somebody else's doing."""
        meaning = verdict(code, reason)
        if code == 1000 and not self.is_mid_turn:
            self._settle_turn()
            self._end(None, code, is_known=True)
            return
        if meaning == "fresh" and "entity" not in reason:
            # On an open connection that text is more often about the id of a call.
            self._drop_handle()
        if meaning == "fatal":
            self._settle_turn()
            self._end(("open", code), code)
        else:
            self._settle_turn()
            self._retry(code, QUOTA_S if meaning == "wait" else 0)

    def _silent(self) -> None:
        if self.limbo is not None and not self.limbo.finishes_batch:
            self._leave_limbo()
        else:
            self.limbo = None
            self._cut(1006, "")

    def _consider_hand_over(self) -> None:
        if self._hand_over_at is None or not self.is_live or self.is_mid_turn or self._is_reading:
            return
        is_saved = not self.profile.resumption or self._turn_ended_at is None
        if is_saved or (self.handle is not None and self.handle.issued_at >= (self._turn_ended_at or 0)):
            self._hand_over()

    def _hand_over(self) -> None:
        """The connection is left for the next one."""
        if self.is_shut and self._departing:
            self.limbo = Limbo(self.now + CLOSE_S / 2, self._handed_over, finishes_batch=True)
        elif self.is_shut or self.is_deaf:
            self.limbo = Limbo(self.now + CLOSE_S / 2, self._handed_over)
        else:
            self._handed_over()

    def _handed_over(self) -> None:
        self._settle_turn()
        self._retry(None, max(0.0, SPACING_S - (self.now - self._connected_at)))

    def _limbo_due(self) -> None:
        assert self.limbo is not None
        if self.limbo.finishes_batch:
            # What was being written is given up; now the goodbye has its time.
            self.limbo = Limbo(self.now + CLOSE_S / 2, self.limbo.outcome)
        else:
            self._leave_limbo()

    def _leave_limbo(self) -> None:
        assert self.limbo is not None
        outcome, self.limbo = self.limbo.outcome, None
        outcome()

    def _settle_turn(self) -> None:
        """Says what the end of the connection cut short."""
        while self._media and self.now - self._media[0].accepted_at >= MEDIA_S:
            self._retire()
        self._was_cut = self.is_speaking or bool(self.open_calls)
        self.is_speaking = False
        self._answers.clear()
        for call in self.calls.values():
            call.is_open = False
        if self._was_cut:
            self._tell("Interrupted", "connection")
            self.response += 1
        self._unheard = []
        self._sick_since = None
        self._hand_over_at = None

    def _retry(self, code: int | None, floor_s: float) -> None:
        self._window = [at for at in self._window if at > self.now - self.profile.window_s]
        if self._row >= self.profile.attempts or len(self._window) >= self.profile.window_attempts:
            self._end(("any", code), code)
            return
        self._row += 1
        self._window.append(self.now)
        self.status = "reconnecting"
        self._tell("Reconnecting", self.connection, self._row, round(floor_s, 6), code)
        self._retry_at = self.now + floor_s
        if not floor_s:
            self._dial()

    def _end(self, lost: tuple[str, int | None] | None, code: int | None, *, is_known: bool = False) -> None:
        """The session is over; every message gets its last state."""
        self.lost = lost
        self.status = "closed"
        self.stage = self.limbo = self._retry_at = None
        for message in self._departing:
            self._settle(message, "uncertain", is_final=True)
        for message in self._journal:
            self._settle(message, "written" if is_known else "uncertain", is_final=True)
        for message in self._media:
            self._settle(message, "written", is_final=True)
        for message in self._queue:
            self._settle(message, "dropped", is_final=True)
        self._departing, self._journal, self._media, self._queue = [], [], [], []
        self._tell("SessionClosed", lost is not None)

    def _drop_handle(self) -> None:
        self.handle = None
        self._handle_failures = 0

    # --- within ------------------------------------------------------------------------------------------------------

    def _tell(self, name: str, *fields: object) -> None:
        event = (name, *fields, (self.connection, self.turn, self.response))
        self.events.append(event)
        for question in self.questions:
            question.take(event, self.connection, self.turn)

    def _heard(self) -> None:
        """A byte came from the server."""
        if self._sick_since is not None and self.now >= self._last_inbound + PING_S:
            self._pinged = True
        self._last_inbound = self.now

    def _sicken(self, change: Callable[[], None]) -> None:
        """Changes the health of the connection, which decides whether pings are answered."""
        was_sick = self.is_shut or self.is_deaf
        change()
        is_sick = self.is_shut or self.is_deaf
        if is_sick and not was_sick:
            # So far every ping was answered at once.
            self._last_inbound += PING_S * math.floor((self.now - self._last_inbound) / PING_S)
            self._sick_since = self.now
        elif was_sick and not is_sick:
            if self._pinged or self.now >= self._last_inbound + PING_S:
                self._last_inbound = self.now
            self._pinged = False
            self._sick_since = None
