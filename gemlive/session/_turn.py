"""One response of the model, bound to a question by order.

The protocol has no ids for responses, so order is all there is: what is asked now is answered by the first response
that begins after it. A response that is still under way when the question is asked, and its late end, belong to the
question before. There is no timer here; a caller who does not want to wait forever uses ``trio.fail_after``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

import trio

from gemlive.errors import SessionLost
from gemlive.types import (
    Event,
    InputTranscript,
    Interrupted,
    Lagged,
    ModelAudio,
    ModelMedia,
    ModelText,
    OutputTranscript,
    Reconnected,
    SessionClosed,
    ToolCall,
    TurnComplete,
)

if TYPE_CHECKING:
    from gemlive.broadcast import Cursor
    from gemlive.session._receipt import Receipt
    from gemlive.session._runner import Runner

ReplyState = Literal["completed", "interrupted", "rejected", "empty", "lost"]
"""``completed``: the model finished. ``interrupted``: it was cut short by the user or by new content. ``rejected``: the
server refused to answer; ``reason`` says why. ``empty``: the turn ended with nothing said. ``lost``: the connection or
the session ended first."""

_NOT_A_REFUSAL = frozenset({None, "TURN_COMPLETE_REASON_UNSPECIFIED", "NEED_MORE_INPUT", "MAX_REGENERATION_REACHED"})


class Reply:
    """What the model said in one response; grows while the response is received.

    Attributes:
        state: how it ended, None while it goes on.
        reason: why the server refused (a ``TurnCompleteReason``), None otherwise.
        missed: what this reply lacks since its consumer was too slow; None when it lacks nothing.
        calls: the function calls that the model made, in order.
    """

    def __init__(self) -> None:
        self.state: ReplyState | None = None
        self.reason: str | None = None
        self.missed: Lagged | None = None
        self.calls: list[ToolCall] = []
        self._text: list[str] = []
        self._transcript: list[str] = []
        self._user_transcript: list[str] = []
        self._audio: list[bytes] = []
        self._rate_hz = 24000
        self._is_empty = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state or 'under way'}: {len(self.text)} characters, {self.audio_ms:g} ms>"

    @property
    def text(self) -> str:
        """What the model wrote, joined; empty when it spoke instead."""
        return "".join(self._text)

    @property
    def transcript(self) -> str:
        """What the model said aloud, as text; empty when no output transcription was asked for."""
        return "".join(self._transcript)

    @property
    def user_transcript(self) -> str:
        """What the user said, as text, as far as it was transcribed during this response."""
        return "".join(self._user_transcript)

    @property
    def audio(self) -> bytes:
        """What the model said aloud: s16le mono PCM at ``rate_hz``; empty when it wrote instead."""
        return b"".join(self._audio)

    @property
    def rate_hz(self) -> int:
        """Samples a second of ``audio``."""
        return self._rate_hz

    @property
    def audio_ms(self) -> float:
        """Milliseconds that ``audio`` takes to play."""
        return sum(map(len, self._audio)) * 500 / self._rate_hz

    def _forget(self) -> None:
        """Begins anew: what was gathered was not this reply."""
        for gathered in (self._text, self._transcript, self._user_transcript, self._audio, self.calls):
            gathered.clear()
        self._is_empty = True

    def _add(self, event: Event) -> None:
        match event:
            case ModelText(text=text):
                self._text.append(text)
            case ModelAudio(data=data, rate_hz=rate_hz):
                self._audio.append(data)
                self._rate_hz = rate_hz
            case OutputTranscript(text=text):
                self._transcript.append(text)
            case InputTranscript(text=text):
                self._user_transcript.append(text)
                return
            case ToolCall():
                self.calls.append(event)
            case Lagged():
                so_far = self.missed
                self.missed = (
                    event if so_far is None else Lagged(so_far.events + event.events, so_far.audio_ms + event.audio_ms)
                )
                return
            case ModelMedia():
                pass
            case _:
                return
        self._is_empty = False


class Turn(Reply):
    """The first response that begins after this turn was opened, event by event.

    Iterate over it for its events; the iteration ends with the response (its last event is the ``TurnComplete`` or
    what cut the response short) and goes on where it stopped when begun again. As a :class:`Reply` it gathers what
    was iterated over. Leaving the block early leaves the response alone: it goes on for the other consumers.

    One task at a time may iterate.
    """

    def __init__(self, runner: Runner, *, question: Callable[[], Awaitable[Receipt]] | None = None) -> None:
        super().__init__()
        self._runner = runner
        self._question = question
        self._cursor: Cursor[Event] | None = None
        self._first_turn = 0
        self._receipt: Receipt | None = None
        self._spoke_after_call = True
        self._was_interrupted = False
        self._shifted = 0

    async def __aenter__(self) -> Self:
        """Begins to listen; what is sent from now on is what the turn answers."""
        await trio.lowlevel.checkpoint()
        self._open()
        if self._question is not None:
            try:
                self._receipt = await self._question()
            except BaseException:
                self._close()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stops listening, without waiting for the end of the response. Never raises."""
        self._close()
        if self.state is None:
            self.state = "lost"

    def _close(self) -> None:
        if self._cursor is not None:
            self._cursor.close()
        self._runner.off_question(self._bind)

    def _open(self) -> None:
        lifecycle = self._runner.lifecycle
        self._cursor = self._runner.events.subscribe()
        if self._question is None:
            self._runner.on_question(self._bind)
        # Until something is asked: the user may simply speak, and then the next response to begin is the one.
        self._first_turn = lifecycle.stamp.turn + (1 if lifecycle.is_owed or lifecycle.is_speaking else 0)

    def _bind(self, question: Receipt) -> None:
        self._receipt = question

    def __aiter__(self) -> Self:
        """Returns itself: the turn is one stream, however often it is iterated over."""
        return self

    async def __anext__(self) -> Event:
        """Returns the next event of the response. Cancelled: none is lost.

        Raises:
            StopAsyncIteration: the response has ended.
            SessionLost: the session was lost; the reply's state is ``lost``.
        """
        assert self._cursor is not None, "a turn is used with `async with`"
        while self.state is None:
            try:
                event = await self._cursor.receive()
            except trio.EndOfChannel:
                break
            if self._is_ours(event):
                self._take(event)
                return event
        else:
            await trio.lowlevel.checkpoint()
            raise StopAsyncIteration
        self.state = "lost"
        if isinstance(self._runner.failure, SessionLost):
            raise self._runner.failure.fresh()
        raise StopAsyncIteration

    async def wait(self) -> Self:
        """Waits for the end of the response and returns the reply. Cancelled: nothing is lost; wait again.

        Raises:
            SessionLost: the session was lost first.
        """
        async for _ in self:
            pass
        return self

    def _is_ours(self, event: Event) -> bool:
        if isinstance(event, Lagged | SessionClosed | Reconnected):
            return True
        if self._receipt is None:
            return event.at.turn >= self._first_turn
        first = self._receipt._answer_turn
        if first is None or event.at.connection < self._receipt._connection:
            return False
        return event.at.turn >= first + self._shifted

    def _take(self, event: Event) -> None:
        self._add(event)
        match event:
            case ModelText() | ModelAudio() | OutputTranscript():
                self._spoke_after_call = True
            case ToolCall():
                self._spoke_after_call = False
            case Interrupted(reason="connection"):
                self.state = None if self._is_empty else "lost"
            case SessionClosed():
                self.state = "lost"
            case Interrupted():
                self._was_interrupted = True
            case Reconnected():
                self._reconnected(event)
            case TurnComplete():
                self._complete(event)
            case _:
                pass

    def _reconnected(self, event: Reconnected) -> None:
        question = self._receipt
        if not self._is_empty:
            self.state = "lost"
        elif question is None:
            # The new connection owes nothing to anybody but those who ask it.
            self._first_turn = event.at.turn
        elif question.state != "unsent" and question._connection < event.connection:
            # It went out on a connection that is gone, and goes out on no other.
            self.state = "lost"

    def _complete(self, event: TurnComplete) -> None:
        self.reason = None if event.reason in _NOT_A_REFUSAL else event.reason
        if self._was_interrupted and self._receipt is not None and self._shifted < self._receipt._shifts:
            # It was the turn of an older question, and ours is what interrupted it.
            self._shifted += 1
            self._was_interrupted, self._spoke_after_call = False, True
            self._forget()
        elif self._was_interrupted:
            self.state = "interrupted"
        elif self.reason is not None:
            self.state = "rejected"
        elif event.interaction_status == "IN_PROGRESS" or self._owes_more():
            return
        else:
            self.state = "empty" if self._is_empty else "completed"

    def _owes_more(self) -> bool:
        """Whether the answer to a tool's result is still to come, in a turn of its own.

        Vertex AI ends the turn with the call and begins another with the result; Google AI does both in one turn, and
        there something was said after the call (docs/protocol.md 5).
        """
        return not self._spoke_after_call and not self._runner.was_silenced(self.calls)
