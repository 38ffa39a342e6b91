"""A session against its contract: Hypothesis invents the program and the server, and compares after every step.

    rule  ->  the session, in a hand-cranked trio run  ->  what is seen
          ->  the model in ``contract``                ->  what is promised

Each rule does one thing to both and lets a millisecond pass; then everything the two can be compared by must be equal:
status, events, receipts, what the server received, answers to questions, the resumption handle, counts. A session that
is over is checked as a whole and followed by another one, so that no step of an example is wasted.

What the rules leave out, since the contract does not say what then happens in which order: two sends that wait for a
place at the same time, questions of several tasks at once, and what the program or the server starts while a
connection is being left and cannot be (``Contract.limbo``).
"""

from __future__ import annotations

import argparse
import functools
import json
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any, ClassVar, Literal

import trio
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from gemlive.broadcast import Cursor
from gemlive.errors import ConnectError, ConnectionLost, SessionLost
from gemlive.session import Receipt, ReconnectPolicy, Session, open_session
from gemlive.transport import Endpoint, GoogleAI, VertexAI
from gemlive.types import (
    ClientContent,
    ClientMessage,
    Content,
    Event,
    InputDropped,
    Interrupted,
    Lagged,
    ModelAudio,
    OrphanedToolResult,
    Part,
    Reconnected,
    Reconnecting,
    ServerMessageError,
    SessionClosed,
    SessionConfig,
    ToolCall,
    ToolCallCancellation,
    ToolResponse,
    TurnComplete,
)
from tests.faults.contract import ACTIVITY, CLOSE_S, Call, Contract, Message, Profile, Question, Told
from tests.faults.crank import Crank
from tests.faults.puppet import Dial, Puppet

MODEL = "gemini-live-2.5-flash-preview"
STEPS = 50
TICK_S = 0.0011
"""What passes with every rule: two things that happen one after the other must not have happened at the same time."""

Leaving = Literal["normally", "with an exception", "cancelled", "by aclose"]


def _profiles(**fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[Profile]:
    drawn: dict[str, st.SearchStrategy[Any]] = {
        "uncertain": st.sampled_from(["report", "replay", "drop"]),
        "lost_context": st.sampled_from(["fresh", "fresh", "fail"]),
        "attempts": st.sampled_from([4, 4, 4, 1]),
    }
    return st.builds(Profile, **{**drawn, **fixed})


PARTS: dict[str, st.SearchStrategy[Profile]] = {
    "without an index": _profiles(),
    "with an index": _profiles(has_index=st.just(True)),
    "with marks": _profiles(is_manual=st.just(True), has_index=st.booleans()),
    "on its own": _profiles(resumption=st.just(False), attempts=st.sampled_from([8, 4, 1, 0])),
}
"""Kinds of sessions, each explored by itself so that none is left to chance: what decides about messages differs."""

CLOSES = st.sampled_from(
    [
        (1000, ""),
        (1000, "The operation was cancelled."),
        (1001, ""),
        (None, ""),
        (4000, "something of its own"),
        (1011, "Internal error encountered."),
        (1011, "Resource has been exhausted (e.g. check quota)."),
        (1008, "The operation was aborted."),
        (1008, "BidiGenerateContent session not found"),
        (1007, "Invalid session handle"),
        (1008, "Requested entity was not found."),
        (1007, "Request contains an invalid argument."),
        (1008, ""),
    ]
)

SECONDS = st.sampled_from([0.3007, 0.3007, 1.7003, 1.7003, 4.9011, 12.3017, 31.7, 130.1, 601.3])
"""Below and above every limit there is, and such that no sum of them meets one exactly."""

RANKS = {
    0: ("ModelAudio", "ModelMedia"),
    1: ("ModelThought", "Usage", "ResumptionUpdate", "UnknownMessage", "InputDropped", "ServerMessageError"),
    2: ("ModelText", "InputTranscript", "OutputTranscript"),
}
"""The table of docs/session.md: what a cursor that lags loses first. Everything else is of rank 3."""


SPOKEN = {"serverContent": {"modelTurn": {"parts": [{"text": "x"}]}}}
"""A piece of an answer."""


class Mine(Exception):
    """What a program may raise in its block."""


class SlowCursor:
    """A cursor that is read now and then, and what it must hold by then."""

    def __init__(self, cursor: Cursor[Event], max_events: int) -> None:
        self.cursor = cursor
        self._max_events = max_events
        self._held: list[tuple[int, Event]] = []
        self._lost = 0
        self._lost_ms = 0.0
        self._number = 0

    def take(self, event: Event) -> None:
        """An event was published."""
        self._number += 1
        self._held.append((self._number, event))
        if len(self._held) > self._max_events:
            number, lost = min(self._held, key=lambda pair: (rank_of(pair[1]), pair[0]))
            self._held.remove((number, lost))
            self._lost += 1
            self._lost_ms += lost.duration_ms if isinstance(lost, ModelAudio) else 0

    def next(self) -> Event | tuple[int, float] | None:
        """Returns what comes next: an event, how much was lost, or None."""
        if self._lost:
            lost, self._lost = (self._lost, round(self._lost_ms, 6)), 0
            self._lost_ms = 0
            return lost
        return self._held.pop(0)[1] if self._held else None


def step(**arguments: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """Makes a rule that is counted, and after which a moment passes and everything is compared."""

    def decorate(act: Callable[..., None]) -> Any:
        @functools.wraps(act)
        def counted(self: SessionMachine, **drawn: Any) -> None:
            self.met[act.__name__] += 1
            act(self, **drawn)
            self._done()

        decorated: Any = rule(**arguments)  # type: ignore[call-overload] # hypothesis types its bundles, not these
        return decorated(counted)

    return decorate


class SessionMachine(RuleBasedStateMachine):
    """A program, a server, a session between them, and the model of it."""

    profiles: ClassVar[st.SearchStrategy[Profile]]
    met: ClassVar[Counter[str]] = Counter()
    """How often what happened, over all examples: a machine that never gets anywhere proves nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.crank = Crank()
        self.model: Contract | None = None
        self.session: Session | None = None
        self.puppet: Puppet
        self.numbers = 0
        self.handles = 0
        self.patience = self.undecided = 0

    # --- one session after the other ---------------------------------------------------------------------------------

    @property
    def contract(self) -> Contract:
        """The model of the session that is running."""
        assert self.model is not None
        return self.model

    @property
    def dial(self) -> Dial:
        """The connection in use, or the one being made."""
        return self.puppet.dials[-1]

    @precondition(lambda self: self.model is None)
    @step(profile=st.runner().flatmap(lambda machine: machine.profiles), patience=st.sampled_from([0, 1, 1, 3, 8]))
    def open(self, profile: Profile, patience: int) -> None:
        """Opens a session. ``patience`` is after how many rules a dial that nobody has decided about is let in."""
        self.model = Contract(profile, self.crank.now)
        self.puppet = Puppet(self.crank.nursery)
        self.session = None
        self.seen: list[Event] = []
        self.told: list[Told] = []
        self.receipts: list[tuple[Message, Receipt]] = []
        self.final: dict[Message, str] = {}
        self.waiting: tuple[Message, trio.CancelScope] | None = None
        self.errors: list[Exception] = []
        self.asked: list[tuple[Question, list[object], trio.CancelScope, bool]] = []
        self.slow: list[SlowCursor] = []
        self.failure: Exception | None = None
        self.leaving: Leaving | None = None
        self.left_at: float | None = None
        self._leave = trio.Event()
        self._body = trio.CancelScope()
        self.crank.do(self._start, self._hold)
        self.patience = patience
        self.undecided = 0

    async def _start(self, task: Any, *args: object) -> None:
        self.crank.nursery.start_soon(task, *args)
        await trio.lowlevel.checkpoint()

    async def _hold(self) -> None:
        profile = self.contract.profile
        config = SessionConfig(
            model=MODEL,
            response_modalities=("TEXT",),
            resumption=profile.resumption,
            transparent_resumption=profile.has_index or None,
            vad="manual" if profile.is_manual else None,
        )
        policy = ReconnectPolicy(
            base_s=0,  # no jitter: the times of all dials are known
            attempts=profile.attempts,
            window_attempts=profile.window_attempts,
            window_s=profile.window_s,
            uncertain=profile.uncertain,
            lost_context=profile.lost_context,
        )
        try:
            with self._body:
                async with open_session(config, endpoint=self._endpoint(), reconnect=policy) as self.session:
                    self.crank.nursery.start_soon(self._collect, self.session)
                    await self._leave.wait()
                    if self.leaving == "with an exception":
                        raise Mine
        except (SessionLost, ConnectError, Mine) as error:
            self.failure = error
        self.left_at = trio.current_time()

    def _endpoint(self) -> Endpoint:
        if self.contract.profile.has_index:
            return VertexAI("p", "us-central1", token="t", base_url="ws://localhost", connect=self.puppet)
        return GoogleAI("k", base_url="ws://localhost", connect=self.puppet)

    async def _collect(self, session: Session) -> None:
        async for event in session:
            self.seen.append(event)

    # --- sending -----------------------------------------------------------------------------------------------------

    def _can_send(self) -> bool:
        return self.session is not None and self.model is not None and not self.model.is_over

    def _has_place(self) -> bool:
        return self._can_send() and self.contract.has_place

    def _number(self) -> int:
        self.numbers += 1
        return self.numbers

    def _send(self, message: Message, method: Any, *args: object, **named: object) -> None:
        async def send() -> None:
            receipt = await method(*args, **named)
            self._watch(message, receipt)

        if self.contract.has_place or message.is_media:
            self.crank.do(send)
        else:
            self._send_when_there_is_a_place(message, send)
        self.contract.send(message)

    def _watch(self, message: Message, receipt: Receipt) -> None:
        async def watch() -> None:
            self.final[message] = await receipt.wait()

        self.receipts.append((message, receipt))
        self.crank.nursery.start_soon(watch)

    def _send_when_there_is_a_place(self, message: Message, send: Any) -> None:
        scope = trio.CancelScope()

        async def wait() -> None:
            with scope:
                try:
                    await send()
                except (SessionLost, trio.ClosedResourceError) as error:
                    self.errors.append(error)

        self.waiting = (message, scope)
        self.crank.do(self._start, wait)

    def _may_wait(self) -> bool:
        """Whether a send may be tried: only one waits for a place at a time."""
        return self._can_send() and not self.contract.blocked

    @precondition(_may_wait)
    @step(asks=st.sampled_from([True, True, False]))
    def send_text(self, asks: bool) -> None:
        """Sends a text, or content that wants no answer."""
        assert self.session is not None
        text = str(self._number())
        message = Message("content", f"text {text}", 0, asks=asks)
        if asks:
            self._send(message, self.session.send_text, text)
        else:
            self._send(message, self.session.send_client_content, text, turn_complete=False)

    @precondition(_may_wait)
    @step()
    def send_raw(self) -> None:
        """Sends a message that the program made itself."""
        assert self.session is not None
        text = str(self._number())
        content = ClientContent(turns=(Content(parts=(Part(text=text),), role="user"),), turn_complete=True)
        self._send(Message("content", f"text {text}", 0, asks=True), self.session.send_raw, content)

    @precondition(_may_wait)
    @step()
    def fill(self) -> None:
        """Sends so many texts that no place is left, if they cannot leave."""
        assert self.session is not None
        for _ in range(64):
            if not self.contract.has_place:
                break
            text = str(self._number())
            message = Message("content", f"text {text}", 0)
            self._send(message, self.session.send_client_content, text, turn_complete=False)

    @precondition(lambda self: self._can_send() and (not self.contract.profile.is_manual or self._in_activity()))
    @step(milliseconds=st.sampled_from([20, 100]))
    def send_audio(self, milliseconds: int) -> None:
        """Sends a chunk of audio."""
        assert self.session is not None
        number = self._number()
        pcm = struct.pack("<H", number) * (milliseconds * 16)
        self._send(Message("audio", f"audio {number}", 0, audio_ms=milliseconds), self.session.send_audio, pcm)

    @precondition(_can_send)
    @step()
    def send_video(self) -> None:
        """Sends a video frame."""
        assert self.session is not None
        number = self._number()
        message = Message("video", f"video {number}", 0)
        self._send(message, self.session.send_video, struct.pack("<H", number) * 20)

    @precondition(lambda self: self._may_wait() and not self.contract.profile.is_manual)
    @step()
    def stream_end(self) -> None:
        """Says that the microphone is off."""
        assert self.session is not None
        self._send(Message("mark", "audioStreamEnd", 0), self.session.audio_stream_end)

    def _in_activity(self) -> bool:
        marks = [message.label for message in self.contract.messages if message.label in ACTIVITY]
        return bool(marks) and marks[-1] == "activityStart"

    @precondition(lambda self: self._may_wait() and self.contract.profile.is_manual and not self._in_activity())
    @step()
    def start_activity(self) -> None:
        """Says that the user begins to speak."""
        assert self.session is not None
        self._send(Message("mark", "activityStart", 0), self.session.activity_start)

    @precondition(lambda self: self._may_wait() and self._in_activity())
    @step()
    def end_activity(self) -> None:
        """Says that the user has spoken."""
        assert self.session is not None
        self._send(Message("mark", "activityEnd", 0, asks=True), self.session.activity_end)

    @precondition(lambda self: self._can_send() and self.contract.blocked)
    @step()
    def cancel_a_send(self) -> None:
        """Cancels the send that waits for a place."""
        assert self.waiting is not None
        message, scope = self.waiting
        scope.cancel()
        self.contract.forget(message)

    # --- calls -------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self._has_place() and not self.contract.blocked and self.contract.calls)
    @step(data=st.data())
    def answer_a_call(self, data: st.DataObject) -> None:
        """Answers a call, open or not, of this connection or an older one."""
        assert self.session is not None
        call = self.contract.calls[data.draw(st.sampled_from(sorted(self.contract.calls)), label="call")]
        answer = {"id": call.id, "response": {"output": 1}}
        if call.is_answered:
            try:
                self.crank.do(self.session.send_tool_response, answer)
            except ValueError:
                return
            raise AssertionError(f"{call} was answered twice")
        message = Message("tool", f"tool {call.id}", 0, call=call, asks=True)

        async def send() -> None:
            assert self.session is not None
            self._watch(message, await self.session.send_tool_response(answer))

        self.crank.do(send)
        self.contract.answer(message)

    @precondition(_may_wait)
    @step()
    def send_answer_to_unknown_call(self) -> None:
        """Answers a call that nobody has seen, as after a resumption in another process."""
        assert self.session is not None
        call_id = f"unknown{self._number()}"
        message = Message("tool", f"tool {call_id}", 0, asks=True)
        self._send(message, self.session.send_tool_response, {"id": call_id, "name": "f", "response": {}})

    # --- asking ------------------------------------------------------------------------------------------------------

    def _may_ask(self) -> bool:
        # A question waits for a sign of the answer to the one before; the rules do not, so they do not ask then.
        has_sign = self.session is not None and (self.contract.is_speaking or not self.contract.is_owed)
        return self._has_place() and not self.contract.blocked and has_sign and len(self.asked) < 8

    @precondition(_may_ask)
    @step(is_turn=st.booleans())
    def ask(self, is_turn: bool) -> None:
        """Asks a question, and lets a task wait for the answer."""
        session = self.session
        assert session is not None
        if not is_turn and any(is_ask and not question.answer for question, _, _, is_ask in self.asked):
            return
        text = str(self._number())
        message = Message("content", f"text {text}", 0, asks=True)
        outcome: list[object] = []
        scope = trio.CancelScope()

        async def ask() -> None:
            with scope:
                try:
                    if not is_turn:
                        outcome.append((await session.ask(text)).state)
                        return
                    async with session.turn() as turn:
                        self._watch(message, await session.send_text(text))
                        async for _ in turn:
                            pass
                    outcome.append(turn.state)
                except (SessionLost, trio.ClosedResourceError) as error:
                    outcome.append(type(error))

        question = self.contract.ask(message)
        self.asked.append((question, outcome, scope, not is_turn))
        self.crank.do(self._start, ask)

    @precondition(lambda self: self._can_send() and any(not outcome for _, outcome, *_ in self.asked))
    @step()
    def stop_asking(self) -> None:
        """Cancels a task that waits for an answer."""
        waiting = next(entry for entry in self.asked if not entry[1])
        waiting[2].cancel()
        self.asked.remove(waiting)

    # --- receiving ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: self._can_send() and len(self.slow) < 3)
    @step(max_events=st.integers(1, 6))
    def subscribe(self, max_events: int) -> None:
        """Begins to listen with a cursor that is hardly ever read."""
        assert self.session is not None
        self.slow.append(SlowCursor(self.session.subscribe(max_events=max_events), max_events))

    @precondition(lambda self: self.model is not None and self.slow)
    @step(count=st.integers(1, 8))
    def read(self, count: int) -> None:
        """Reads some events with the slow cursors."""
        for slow in self.slow:
            for _ in range(count):
                if not self._read_one(slow):
                    break

    def _read_one(self, slow: SlowCursor) -> bool:
        expected = slow.next()
        try:
            event = slow.cursor.receive_nowait()
        except trio.WouldBlock:
            assert expected is None, f"the cursor does not have {expected}"
            return False
        except trio.EndOfChannel:
            assert expected is None, f"the cursor ended before {expected}"
            assert self.contract.is_over, "a cursor ended before the session"
            return False
        if isinstance(event, Lagged):
            assert (event.events, round(event.audio_ms, 6)) == expected
            self.met["lagged"] += 1
        else:
            assert event is expected, f"the cursor has {event} and not {expected}"
        return True

    @precondition(lambda self: self.model is not None and self.slow)
    @step()
    def unsubscribe(self) -> None:
        """Stops listening."""
        self.slow.pop(0).cursor.close()

    @precondition(_can_send)
    @step()
    def receive_twice(self) -> None:
        """A second task receives from the cursor of the first, which is an error and disturbs nobody."""
        assert self.session is not None
        try:
            self.crank.do(self.session.receive)
        except trio.BusyResourceError:
            return
        raise AssertionError("two tasks receive from one cursor")

    # --- the server lets the client in, or not -----------------------------------------------------------------------

    def _is_dialling(self) -> bool:
        return self.model is not None and self.model.stage is not None

    @precondition(_is_dialling)
    @step(greets=st.booleans())
    def let_in(self, greets: bool) -> None:
        """Lets the dial through, to the end; the model may begin to speak at once."""
        self._let_in(greets=greets)

    @precondition(_is_dialling)
    @step()
    def let_one_step(self) -> None:
        """Lets the dial get one step further."""
        self.crank.do(self.dial.accept)
        self.contract.accept()

    @precondition(_is_dialling)
    @step(
        status=st.sampled_from([429, 503, 500, 408, 403, 404]),
        after_s=st.sampled_from([None, 7, 40]),
        close=CLOSES,
        first=st.sampled_from([{}, {}, {}, {"goAway": {}}, {"serverContent": {"turnComplete": True}}]),
    )
    def refuse(self, status: int, after_s: int | None, close: tuple[int | None, str], first: dict[str, Any]) -> None:
        """Refuses the dial where it is: the connection, the upgrade (with a time to wait), or the setup."""
        match self.contract.stage:
            case "tcp":
                self.crank.do(self.dial.refuse_connection)
                self.contract.refuse()
            case "upgrade":
                self.crank.do(self.dial.refuse_upgrade, status, after_s)
                self.contract.refuse(retries=status in (408, 429) or status >= 500, after_s=after_s or 0)
            case _ if first:
                self.crank.do(self.dial.say, first)
                self.contract.refuse(retries=False)
            case _:
                self.crank.do(self.dial.close, *close)
                self.contract.refuse(code=1005 if close[0] is None else close[0], reason=close[1])

    @precondition(lambda self: self._is_dialling() and self.contract.handle is not None)
    @step(again=st.booleans())
    def refuse_to_resume(self, again: bool) -> None:
        """Has forgotten the handle, or fails on it."""
        while self.contract.stage != "setup":
            self.crank.do(self.dial.accept)
            self.contract.accept()
        close = (1011, "Internal error encountered.") if again else (1008, "BidiGenerateContent session not found")
        self.crank.do(self.dial.close, *close)
        self.contract.refuse(code=close[0], reason=close[1])

    @precondition(lambda self: self._is_dialling() and self.contract.stage != "tcp")
    @step(resets=st.booleans())
    def cut_dial(self, resets: bool) -> None:
        """Cuts a connection that is not complete yet."""
        self.crank.do(self.dial.cut, resets)
        self.contract.cut()

    # --- the server speaks -------------------------------------------------------------------------------------------

    def _is_live(self) -> bool:
        return self.model is not None and self.model.is_live

    def _say(self, *messages: dict[str, Any] | str) -> None:
        self.crank.do(self.dial.say, *messages)

    @precondition(_is_live)
    @step(what=st.sampled_from(["text", "audio", "thought", "transcript", "user", "unknown", "broken", "not JSON"]))
    def speak(self, what: str) -> None:
        """Says a piece of an answer, or something that is none."""
        part: Any = {
            "text": {"text": "x"},
            "audio": {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": "AAAAAAAA"}},
            "thought": {"text": "hm", "thought": True},
        }.get(what, {})
        messages: dict[str, dict[str, Any] | str] = {
            "transcript": {"serverContent": {"outputTranscription": {"text": "x"}}},
            "user": {"serverContent": {"inputTranscription": {"text": "x"}}},
            "unknown": {"somethingNew": {"a": 1}},
            "broken": {"serverContent": {"turnComplete": "perhaps"}},
            "not JSON": "{",
        }
        self._say(messages.get(what, {"serverContent": {"modelTurn": {"parts": [part]}}}))
        name, speaks = {
            "text": ("ModelText", True),
            "audio": ("ModelAudio", True),
            "thought": ("ModelThought", True),
            "transcript": ("OutputTranscript", True),
            "user": ("InputTranscript", False),
            "unknown": ("UnknownMessage", False),
        }.get(what, ("ServerMessageError", False))
        self.contract.say(name, speaks=speaks)

    @precondition(_is_live)
    @step(saves=st.sampled_from([True, True, False]))
    def answer(self, saves: bool) -> None:
        """Answers whatever was asked, in one breath, and saves the conversation."""
        self.handles += 1
        value, last = f"handle {self.handles}", self.contract.written_on_connection
        update = {"newHandle": value, "resumable": True, "lastConsumedClientMessageIndex": str(last)}
        complete = {"serverContent": {"turnComplete": True}}
        self._say(SPOKEN, complete, *[{"sessionResumptionUpdate": update}] * saves)
        with self.contract.in_one_breath():
            self.contract.say("ModelText", speaks=True)
            self.contract.turn_complete(None, None)
            if saves:
                self.contract.handle_issued(value, last)

    @precondition(_is_live)
    @step()
    def call(self) -> None:
        """Calls a function."""
        call = Call(f"call{self._number()}", self.contract.connection, self.crank.now)
        self._say({"toolCall": {"functionCalls": [{"id": call.id, "name": "f", "args": {}}]}})
        self.contract.call(call)

    @precondition(lambda self: self._is_live() and self.contract.open_calls)
    @step()
    def cancel_call(self) -> None:
        """Wants no answer to a call any more."""
        call = self.contract.open_calls[0]
        self._say({"toolCallCancellation": {"ids": [call.id]}})
        self.contract.cancel_call(call)

    @precondition(_is_live)
    @step()
    def generation_complete(self) -> None:
        """Has said everything."""
        self._say({"serverContent": {"generationComplete": True}})
        self.contract.say("GenerationComplete")

    @precondition(_is_live)
    @step()
    def interrupt(self) -> None:
        """Was interrupted by the user."""
        self._say({"serverContent": {"interrupted": True}})
        self.contract.interrupted()

    @precondition(_is_live)
    @step(reason=st.sampled_from([None, None, None, "SAFETY"]), status=st.sampled_from([None, None, "IN_PROGRESS"]))
    def turn_complete(self, reason: str | None, status: str | None) -> None:
        """Ends the turn."""
        content: dict[str, Any] = {"turnComplete": True}
        if reason is not None:
            content["turnCompleteReason"] = reason
        if status is not None:
            content["interactionStatus"] = status
        self._say({"serverContent": content})
        self.contract.turn_complete(reason, status)

    @precondition(_is_live)
    @step(index=st.sampled_from(["none", "all", "all", "one less", "nothing", "impossible"]))
    def issue_handle(self, index: str) -> None:
        """Saves the conversation, and says how far."""
        self.handles += 1
        value = f"handle {self.handles}"
        last = self.contract.written_on_connection
        covered = {"all": last, "one less": max(0, last - 1), "nothing": 0, "impossible": last + 100}.get(index)
        update: dict[str, Any] = {"newHandle": value, "resumable": True}
        if covered is not None:
            update["lastConsumedClientMessageIndex"] = str(covered)
        self._say({"sessionResumptionUpdate": update})
        self.contract.handle_issued(value, covered)

    @precondition(_is_live)
    @step(update=st.sampled_from([{"newHandle": "", "resumable": True}, {"newHandle": "bad", "resumable": False}]))
    def issue_useless_handle(self, update: dict[str, Any]) -> None:
        """Says that the conversation cannot be resumed now."""
        self._say({"sessionResumptionUpdate": update})
        self.contract.say("ResumptionUpdate")

    @precondition(_is_live)
    @step(left=st.sampled_from([None, 0, 3, 25, 60]))
    def go_away(self, left: int | None) -> None:
        """Announces the end of the connection."""
        self._say({"goAway": {} if left is None else {"timeLeft": f"{left}s"}})
        self.contract.go_away(left)

    # --- the server ends the connection, or falls ill ----------------------------------------------------------------

    @precondition(_is_live)
    @step(close=CLOSES, speaks=st.booleans())
    def close(self, close: tuple[int | None, str], speaks: bool) -> None:
        """Closes the connection, perhaps in the middle of a sentence: what comes before the Close counts."""
        self.crank.do(self.dial.close, *close, *[SPOKEN] * speaks)
        if speaks:
            self.contract.say("ModelText", speaks=True)
        self.contract.closed_by_server(*close)

    @precondition(lambda self: self.model is not None and self.model.status == "connected")
    @step(how=st.sampled_from(["reset", "end", "end in mid-sentence"]))
    def drop(self, how: str) -> None:
        """Cuts the connection without a goodbye: what came before the end of the stream counts."""
        speaks = how == "end in mid-sentence" and self.contract.is_live
        self.crank.do(self.dial.cut, how == "reset", *[SPOKEN] * speaks)
        if speaks:
            with self.contract.in_one_breath():
                self.contract.say("ModelText", speaks=True)
        self.contract.cut()

    @precondition(lambda self: self._is_live() and not self.contract.is_shut)
    @step()
    def shut_the_gate(self) -> None:
        """Lets nothing leave any more."""
        self.dial.gate.shut()
        self.contract.shut(True)

    @precondition(lambda self: self.model is not None and self.model.status == "connected" and self.model.is_shut)
    @step()
    def open_the_gate(self) -> None:
        """Lets everything leave again."""
        self.dial.gate.open()
        self.contract.shut(False)

    @precondition(lambda self: self._is_live() and not self.contract.is_deaf)
    @step()
    def go_deaf(self) -> None:
        """Reads nothing any more."""
        self.dial.hear(True)
        self.contract.deafen(True)

    @precondition(lambda self: self.model is not None and self.model.status == "connected" and self.model.is_deaf)
    @step()
    def hear_again(self) -> None:
        """Reads what came meanwhile."""
        self.dial.hear(False)
        self.contract.deafen(False)

    # --- time, and the end -------------------------------------------------------------------------------------------

    @precondition(lambda self: self.model is not None)
    @step(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        """Lets time pass."""
        self._pass(seconds)

    @precondition(lambda self: self._can_send() and self.contract.limbo is None)
    @step(how=st.sampled_from(["normally", "with an exception", "cancelled", "by aclose"]))
    def leave(self, how: Leaving) -> None:
        """Leaves the session, at any time; it takes no longer than it may."""
        self._leave_block(how)

    def _leave_block(self, how: Leaving) -> None:
        self.leaving = how
        if how == "cancelled":
            self._body.cancel()
        elif how == "by aclose":
            assert self.session is not None
            self._leave.set()  # the block is left while another task closes
            self.crank.do(self._start, self.session.aclose)
        else:
            self._leave.set()
        self.crank.sleep(0)
        if self.left_at is None:
            assert self.contract.is_shut or self.contract.is_deaf, "leaving took longer than it needs"
            self.crank.sleep(CLOSE_S + 1e-6)
            self.contract.now += CLOSE_S
        assert self.left_at is not None, f"leaving took longer than {CLOSE_S} s"
        if not self.contract.is_over:
            self.contract.leave(flushes=how in ("normally", "by aclose"))

    def teardown(self) -> None:
        """Leaves what is open, checks what is over, and ends the run."""
        try:
            if self._can_send() and self.left_at is None:
                if self.contract.limbo is not None:
                    self._pass(2 * CLOSE_S)
                if self._can_send():
                    self._leave_block("normally")
            if self.model is not None and self.session is not None:
                self._check()
        finally:
            self.crank.close()

    # --- comparing ---------------------------------------------------------------------------------------------------

    def _done(self) -> None:
        """Ends a rule: lets a moment pass and compares, and lets in a dial that nobody has decided about for long."""
        self._tick()
        self.undecided = self.undecided + 1 if self._is_dialling() else 0
        if self.undecided > self.patience:
            self._let_in()

    def _tick(self) -> None:
        self._pass(TICK_S)
        self._check()

    def _pass(self, seconds: float) -> None:
        self.crank.sleep(seconds)
        self.contract.advance(seconds)

    def _let_in(self, *, greets: bool = False) -> None:
        while self.contract.stage is not None:
            self.crank.do(self.dial.accept, *[SPOKEN] * (greets and self.contract.stage == "setup"))
            self.contract.accept(greets=greets)
        self.undecided = 0
        self._tick()

    def _check(self) -> None:
        model = self.contract
        self._check_server(model)
        if self.session is not None:
            self._check_events(model)
            self._check_receipts(model)
            self._check_session(model, self.session)
        if model.is_over:
            self._check_end(model)
            self.met["sessions"] += 1
            self.model = self.session = None

    def _check_server(self, model: Contract) -> None:
        for number, dial in enumerate(self.puppet.dials):
            if dial.wire != model.wires[number]:
                raise AssertionError(f"dial {number}: {first_difference(dial.wire, model.wires[number])}")
            presented = model.presented[number]
            assert dial.handle == presented, f"dial {number}: presented {dial.handle} and not {presented}"
        assert len(self.puppet.dials) == len(model.wires), f"{len(self.puppet.dials)} dials, not {len(model.wires)}"
        for dial in self.puppet.dials:
            marks = [label for label in dial.wire if label in ACTIVITY]
            assert marks == [ACTIVITY[number % 2] for number in range(len(marks))], f"not balanced: {marks}"

    def _check_events(self, model: Contract) -> None:
        for event in self.seen[len(self.told) :]:
            self.told.append(told(event))
            self.met[" ".join(map(str, self.told[-1][:1] + self.told[-1][2:3] * isinstance(event, Reconnected)))] += 1
            for slow in self.slow:
                slow.take(event)
        expected = model.events
        seen = [one for one in self.told if one[0] != "InputDropped"]
        assert seen == expected, f"events: {first_difference(seen, expected)}"

    def _check_receipts(self, model: Contract) -> None:
        for message, receipt in self.receipts:
            if message.agrees(receipt.state, message in self.final, model.now):
                continue
            raise AssertionError(f"{message}, but its receipt: {receipt}, final: {self.final.get(message)}")

    def _check_session(self, model: Contract, session: Session) -> None:
        assert session.status.value == model.status
        assert session.connection == model.connection
        handle = None if model.handle is None else model.handle.value
        assert session.resumption_handle == handle
        assert repr(handle) not in repr(session)
        sending = session.statistics().sending
        assert sending.messages_waiting == model.waiting
        assert sending.journal_overflowed == model.overflowed
        for question, outcome, *_ in self.asked:
            if question.answer is None:
                assert not outcome, f"a question that is open was answered with {outcome}"
            elif question.answer == "lost" and model.lost is not None:
                assert outcome == ["lost"] or outcome == [SessionLost], f"a lost question ended in {outcome}"
            else:
                assert outcome == [question.answer], f"a question ended in {outcome} and not {question.answer}"

    def _check_end(self, model: Contract) -> None:
        if self.left_at is None:
            # The server ended the session normally, which the block learns from what it does next.
            self._leave_block("normally")
        if model.lost is None:
            assert isinstance(self.failure, Mine) if self.leaving == "with an exception" else self.failure is None
        else:
            self._check_failure(*model.lost)
        if self.session is None:
            return
        assert self.session.status.value == "closed"
        self._check_refusal(self.session)
        missing = [message for message, _ in self.receipts if message not in self.final]
        assert not missing, f"not final at the end: {missing}"
        dropped_ms = sum(message.audio_ms for message, receipt in self.receipts if receipt.state == "dropped")
        assert abs(self.session.statistics().sending.audio_ms_dropped - dropped_ms) < 0.001
        if model.blocked:
            kind = trio.ClosedResourceError if model.lost is None else SessionLost
            assert [type(error) for error in self.errors] == [kind]

    def _check_failure(self, step: str, code: int | None) -> None:
        if self.contract.connection == 0:
            assert isinstance(self.failure, ConnectError)
            assert self.failure.step == step
        else:
            assert isinstance(self.failure, SessionLost)
            assert self.failure.step == step or step == "any"
            assert self.failure.code == code
            assert self.failure.connection == self.contract.connection
        assert not isinstance(self.failure, ConnectionLost)

    def _check_refusal(self, session: Session) -> None:
        try:
            self.crank.do(session.send_text, "too late")
        except trio.ClosedResourceError:
            assert self.contract.lost is None
        except SessionLost as error:
            assert self.contract.lost is not None
            assert error is not self.failure, "each task gets an error of its own"
        else:
            raise AssertionError("a session that is over took a message")


def first_difference(seen: Sequence[object], expected: Sequence[object]) -> str:
    """Returns where two sequences part, in words."""
    pairs = zip_longest(seen, expected, fillvalue="nothing")
    number, (one, other) = next((number, pair) for number, pair in enumerate(pairs) if pair[0] != pair[1])
    return f"number {number} is {one} and not {other}"


def rank_of(event: Event) -> int:
    """Returns how late a lagging cursor loses an event."""
    return next((rank for rank, names in RANKS.items() if type(event).__name__ in names), 3)


def told(event: Event) -> Told:
    """Returns what the model says of an event."""
    at = (event.at.connection, event.at.turn, event.at.response)
    fields: tuple[object, ...] = ()
    match event:
        case Reconnecting():
            fields = (event.connection, event.attempt, round(event.delay_s, 6), event.code)
        case Reconnected():
            age = event.resumption_handle_age_s
            labels = tuple(map(label, event.uncertain))
            fields = (event.connection, event.resumed, None if age is None else round(age, 6), labels)
            fields += (event.aborted_turn,)
        case Interrupted():
            fields = (event.reason,)
        case TurnComplete():
            fields = (event.reason, event.interaction_status)
        case ToolCall():
            fields = tuple(call.id for call in event.calls)
        case ToolCallCancellation():
            fields = event.ids
        case OrphanedToolResult():
            fields = (event.call_id,)
        case SessionClosed():
            fields = (event.lost,)
        case InputDropped() | ServerMessageError():
            pass
        case _ if type(event).__name__ == "Connected":
            fields = (1,)
    return (type(event).__name__, *fields, at)


def label(message: ClientMessage) -> str:
    """Returns by what the model knows a message that was reported."""
    if isinstance(message, ClientContent):
        assert message.turns
        assert message.turns[0].parts
        return f"text {message.turns[0].parts[0].text}"
    assert isinstance(message, ToolResponse)
    assert message.function_responses
    return f"tool {message.function_responses[0].id}"


def explore(part: str, examples: int, *, number: int = 0, steps: int = STEPS, shrinks: bool = False) -> Counter[str]:
    """Plays examples of one part; returns how often each rule was applied and what happened.

    Args:
        part: a key of ``PARTS``.
        examples: how many.
        number: which examples; the same number gives the same ones, in a process with the same ``PYTHONHASHSEED``.
        steps: rules in each example.
        shrinks: whether a failing example is made short, which takes up to five minutes.

    Raises:
        AssertionError: the session and its contract differ; its notes have the steps of the example.
    """
    machine = type("Example", (SessionMachine,), {"profiles": PARTS[part], "met": Counter()})
    phases = (Phase.generate, Phase.shrink) if shrinks else (Phase.generate,)
    run_state_machine_as_test(
        seed(number)(machine),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=phases,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    met: Counter[str] = machine.met  # type: ignore[attr-defined] # made as a type, below a class that has it
    return met


def main() -> None:
    """Plays examples from the command line and prints what was met, as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.machine", description=main.__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--number", type=int, default=0, help="which examples (the seed)")
    parser.add_argument("--shrink", action="store_true", help="make a failing example short")
    chosen = parser.parse_args()
    print(json.dumps(explore(chosen.part, chosen.examples, number=chosen.number, shrinks=chosen.shrink)))


if __name__ == "__main__":
    main()
