"""One connection's part of a conversation: hears what the client sends, takes turns, remembers.

Three tasks share it. The *reader* takes every message at once and never waits for anybody: it hears, decides and wakes
the others. The *model* takes the turns, one after the other. The *teller* sends what neither may wait with (speech
began, speech ended). What the reader decides about a turn under way it does by cancelling that turn's scope.

Data flow::

    Line.receive -> reader -> Memory.pending -> model: Turn -> Line.send
                      |                           ^
                      +-- interrupt, tool answers +
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from gemlive.codec import decode_client
from gemlive.emulator import _close
from gemlive.emulator._close import Close
from gemlive.emulator._dialect import Dialect
from gemlive.emulator._ear import Hearing, SpeechEnded, SpeechStarted
from gemlive.emulator._line import Line
from gemlive.emulator._listener import Listener
from gemlive.emulator._memory import Heard, Memory, Spoken, ToolResult, Written, count, item_of, result_of
from gemlive.emulator._pace import Pace
from gemlive.emulator._record import Conversation, HeardTurn, Received, SaidTurn
from gemlive.emulator._script import Behaviour, Model
from gemlive.emulator._turn import Turn
from gemlive.emulator._usage import Tally, text_tokens
from gemlive.errors import CodecError
from gemlive.families import Family
from gemlive.types import (
    Blob,
    ClientContent,
    ClientMessage,
    Content,
    ContextUpdate,
    FunctionResponse,
    Part,
    RealtimeInput,
    ServerMessage,
    Setup,
    ToolResponse,
)

if TYPE_CHECKING:
    from gemlive.emulator._route import Backend

_NOTICES = 64
"""Notices of speech that may wait for a client that does not read; more are dropped, and counted. 30 s of hiccups."""


class Names(Protocol):
    """What makes ids: counted over the life of the server, so that no two conversations share one."""

    def call_id(self, backend: Backend, prefix: str) -> str:
        """Returns the id of a new function call."""

    def save(self, conversation: Conversation, memory: Memory) -> str:
        """Keeps a snapshot and returns the handle that restores it."""


class Dialogue:
    """The conversation on one connection, from the accepted setup to the end of the line.

    Args:
        line: the connection.
        conversation: the notes.
        memory: what is known so far; of this connection alone from here on.
        model: answers the turns.
        behaviour: how the connection behaves.
        pace: when things are said.
        names: makes ids and keeps snapshots.
    """

    def __init__(
        self,
        line: Line,
        conversation: Conversation,
        memory: Memory,
        *,
        model: Model,
        behaviour: Behaviour,
        pace: Pace,
        names: Names,
        on_failure: Callable[[Exception], None],
    ) -> None:
        self.line = line
        self.conversation = conversation
        self.pace = pace
        self.dialect = Dialect(conversation.backend, conversation.family, conversation.setup)
        self._memory = memory
        self._model = model
        self._behaviour = behaviour
        self._names = names
        self._on_failure = on_failure
        self._turn: Turn | None = None
        self._is_ready = False  # what is pending is a whole turn
        self._wake = trio.Event()
        self._cancelled_calls: set[str] = set()
        self._messages = 0
        self._listener = Listener(conversation.backend, self.setup)
        self._accounted = (0, 0)  # how much of what the listener received and dropped is in the notes
        self._tell, self._told = trio.open_memory_channel[ServerMessage](_NOTICES)

    # --- the tasks ---

    @property
    def setup(self) -> Setup:
        """The setup that is in force."""
        return self.conversation.setup

    async def run(self) -> None:
        """Carries the conversation on until cancelled, which the end of the line does."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for task in (self._read, self._take_turns, self._tell_notices, self._live_its_time):
                    nursery.start_soon(task)
                nursery.start_soon(self._misbehave, self._behaviour.close_after_s, self._behaviour.close_with)
                nursery.start_soon(self._misbehave, self._behaviour.drop_after_s, None)
        finally:
            if self._turn is not None:
                self._turn.note_unfinished()

    async def _read(self) -> None:
        while (frame := await self.line.receive()) is not None:
            try:
                message = decode_client(frame, strict=True)
            except CodecError as error:
                self.line.end(refused_frame(error), by="server")
                return
            self._messages += 1
            self.conversation.note(
                Received(
                    connection=self.line.record.number,
                    index=self._messages,
                    at=trio.current_time(),
                    message=message,
                )
            )
            self._hear(message)

    async def _take_turns(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._is_ready:
                self._is_ready = False
                heard = self._memory.take()
                if self.dialect.family.speech_to_text_only:
                    await self._transcribe(heard)
                else:
                    await self._take_turn(heard)

    async def _take_turn(self, heard: Heard) -> None:
        self._memory.turns += 1
        turn = self._turn = Turn(self, heard, number=self._memory.turns)
        self._note_heard(heard)
        self._memory.learn(heard)
        try:
            with turn.scope:
                if self.dialect.updates_resumption and not self.dialect.updates_while_talking:
                    await self.line.send(self.dialect.resumption_update(None))
                await turn.open_wire()
                await self._model(turn)
                await turn.finish()
            if turn.scope.cancelled_caught:
                await turn.cut_short()
        except Exception as error:
            self._on_failure(error)
            self.line.end(_close.INTERNAL_ERROR, by="server")
            await trio.sleep_forever()
        self._memory.open_calls |= turn.unanswered
        self._turn = None
        for result in turn.unwanted:
            self._take_up(result)
        if self.dialect.updates_resumption:
            await self.save_and_tell()

    async def _transcribe(self, heard: Heard) -> None:
        """Answers as a model that only transcribes: the words, and that they are complete (docs/protocol.md 5)."""
        if heard.is_spoken:
            self._note_heard(heard)
            self._memory.learn(heard)
            for message in (*self.dialect.heard(heard.transcript), self.dialect.generation_complete()):
                await self.line.send(message)
        # Speech without words has only its two ends; text, which such a model does not take, has nothing.
        if heard.is_spoken or not heard.items:
            await self.line.send(self.dialect.voice_activity("ACTIVITY_END", self._listener.offset_s))

    async def _tell_notices(self) -> None:
        async for message in self._told:
            await self.line.send(message)

    async def _live_its_time(self) -> None:
        """Ends the connection as the service does when its time is over: a warning, then the end."""
        family, behaviour = self.conversation.family, self._behaviour
        after_s = behaviour.go_away_after_s
        if after_s is None:
            after_s = family.connection_lifetime_s - family.go_away_s
        if after_s < math.inf:
            await trio.sleep(after_s)
            await self.go_away(behaviour.go_away_time_left_s)

    async def _misbehave(self, after_s: float | None, close: Close | None) -> None:
        if after_s is not None:
            await trio.sleep(after_s)
            self.line.end(close, by="server")

    # --- hearing: called by the reader, never waits ---

    def _hear(self, message: ClientMessage) -> None:
        match message:
            case ClientContent():
                self._hear_content(message)
            case RealtimeInput():
                self._hear_realtime(message)
            case ToolResponse():
                for response in message.function_responses or ():
                    self._hear_answer(response)
            case ContextUpdate():
                self._update_context(message)
            case _:
                # A second setup, or a message that no version of the protocol has.
                self.line.end(_close.INVALID_ARGUMENT, by="server")

    def _hear_content(self, message: ClientContent) -> None:
        family = self.conversation.family
        if family.speech_to_text_only:
            return  # accepted, and does nothing (docs/protocol.md 3.6)
        if family.client_content == "initial_history" and self._memory.has_realtime_input:
            self.line.end(_close.INVALID_ARGUMENT, by="server")
            return
        if message.turn_complete or not _waits_for_complete_content(family):
            self._interrupt()
        for content in message.turns or ():
            self._memory.read(content)
        if not message.turn_complete:
            return
        if self._memory.seeds_history:
            self._memory.seeds_history = False
            self._memory.learn(self._memory.take())
            return
        self._ready()

    def _hear_realtime(self, message: RealtimeInput) -> None:
        self._memory.has_realtime_input = True
        listener = self._listener
        if message.media_chunks and not self.conversation.family.media_chunks:
            self.line.end(_close.MEDIA_CHUNKS_GONE, by="server")
            return
        if not listener.is_manual and (message.activity_start is not None or message.activity_end is not None):
            self.line.end(_close.MANUAL_ACTIVITY_IN_AUTOMATIC_MODE, by="server")
            return
        for blob in (message.audio, message.video, *(message.media_chunks or ())[:1]):
            if blob is not None:
                self._hear_blob(blob)
        if message.text:
            self._hear_text(message.text)
        if message.activity_start is not None:
            self._hear_speech(listener.activity_start())
        if message.activity_end is not None:
            self._hear_speech(listener.activity_end())
        if message.audio_stream_end:
            self._hear_speech(listener.stream_end())

    def _hear_blob(self, blob: Blob) -> None:
        item = item_of(blob)
        if isinstance(item, Spoken):
            self._hear_speech(self._listener.audio(item.pcm))
        else:
            self._memory.hear(item)

    def _hear_text(self, text: str) -> None:
        self._memory.hear(Written(text))
        if not self._listener.hears_speech:
            self._interrupt()  # text is activity (docs/protocol.md 3.7, 5)
            self._ready()

    def _hear_speech(self, hearings: Sequence[Hearing]) -> None:
        received, dropped = self._listener.received_bytes, self._listener.dropped_bytes
        self.conversation.audio_received_bytes += received - self._accounted[0]
        self.conversation.speech_dropped_bytes += dropped - self._accounted[1]
        self._accounted = received, dropped
        for hearing in hearings:
            match hearing:
                case SpeechStarted():
                    self._speech_started(hearing)
                case SpeechEnded():
                    self._speech_ended(hearing)

    def _speech_started(self, started: SpeechStarted) -> None:
        config = self.setup.realtime_input_config
        if config is None or config.activity_handling != "NO_INTERRUPTION":
            self._interrupt()
        if self.dialect.signals_voice:
            self._notify(self.dialect.voice_activity("ACTIVITY_START", started.offset_s))

    def _speech_ended(self, ended: SpeechEnded) -> None:
        only_transcribes = self.conversation.family.speech_to_text_only
        if ended.pcm:
            self._memory.hear(Spoken(ended.pcm, ended.duration_s))
        if not self._memory.pending and not only_transcribes:
            self._nursery.start_soon(self._refuse_empty_activity)
            return
        # A transcriber tells the end of speech after its transcript, so the model's task does.
        if self.dialect.signals_voice and not only_transcribes:
            self._notify(self.dialect.voice_activity("ACTIVITY_END", ended.offset_s))
        self._ready()

    async def _refuse_empty_activity(self) -> None:
        """Answers an activity in which nothing happened, as the service does (docs/protocol.md 3.7)."""
        await self.line.send(ServerMessage(extra={"serverContent": {"turnComplete": True}, "usageMetadata": {}}))
        self.line.end(_close.EMPTY_ACTIVITY, by="server")

    def _hear_answer(self, response: FunctionResponse) -> None:
        call_id = response.id or self._call_named(response.name or "")
        if call_id is None or not self._is_open(call_id):
            if call_id in self._cancelled_calls:
                return  # it crossed our cancellation on the way
            if self._refuses_unknown_calls:
                self.line.end(_close.ENTITY_NOT_FOUND, by="server")
                return
        if response.will_continue:
            return  # the call stays open; what it says so far is context
        name = response.name or self._memory.open_calls.get(call_id or "", "")
        result = result_of(response, name)
        if self._turn is not None and call_id is not None and self._turn.answer(call_id, result):
            return
        self._memory.open_calls.pop(call_id or "", None)
        self._take_up(result)

    def _take_up(self, result: ToolResult) -> None:
        """Decides when an answer that nobody waits for becomes a turn (docs/protocol.md 5)."""
        when = result.scheduling if self.conversation.family.scheduling else None
        if when == "SILENT":
            self._memory.learn(Heard((result,)))
            return
        if when == "INTERRUPT":
            self._interrupt()
        self._memory.hear(result)
        self._ready()

    def _call_named(self, name: str) -> str | None:
        if self._turn is not None and (found := self._turn.call_named(name)) is not None:
            return found
        return next((key for key, called in self._memory.open_calls.items() if called == name), None)

    def _is_open(self, call_id: str) -> bool:
        return call_id in self._memory.open_calls or (self._turn is not None and call_id in self._turn.unanswered)

    @property
    def _refuses_unknown_calls(self) -> bool:
        """Older models and Vertex AI answer a result that nobody asked for; newer ones close (docs/protocol.md 3.8)."""
        return self.conversation.backend == "google_ai" and self.conversation.family.merges_transcript

    def _update_context(self, update: ContextUpdate) -> None:
        if not self.conversation.family.context_update:
            self.line.end(_close.unknown_name("contextUpdate"), by="server")
            return
        setup = self.setup
        if update.system_instruction is not None:
            setup = attrs.evolve(setup, system_instruction=update.system_instruction)
        if update.tools is not None:
            setup = attrs.evolve(setup, tools=update.tools.tools)
        self.conversation.setup = setup

    # --- deciding about turns ---

    def _ready(self) -> None:
        self._is_ready = True
        self._wake.set()

    def _interrupt(self) -> None:
        turn = self._turn
        if turn is not None and (not turn.is_over or turn.unanswered):
            turn.interrupted = True
            turn.scope.cancel()

    def _notify(self, message: ServerMessage) -> None:
        try:
            self._tell.send_nowait(message)
        except trio.WouldBlock:
            self.conversation.notices_dropped += 1

    def _note_heard(self, heard: Heard) -> None:
        self.conversation.note_heard(
            HeardTurn(
                connection=self.line.record.number,
                text=heard.text,
                audio_s=heard.audio_s,
                video_frames=len(heard.video),
                results=tuple(result.name for result in heard.results),
            )
        )

    # --- what turns need ---

    @property
    def history(self) -> tuple[Content, ...]:
        """What was said before what is being taken up now."""
        return self._memory.history

    def prompt(self, heard: Heard) -> Tally:
        """Returns what a response to ``heard`` has to read: the instruction, the history, the turn."""
        tally = attrs.evolve(self._memory.tally)
        tally.prompt_text += text_tokens(_text_of(self.setup.system_instruction))
        count(tally, heard)
        return tally

    def remember_said(self, said: SaidTurn) -> None:
        """Adds a response to the history, as far as it was sent."""
        if said.text:
            self._memory.remember(Content(role="model", parts=(Part(text=said.text),)), Heard((Written(said.text),)))

    def new_call_id(self) -> str:
        """Returns the id of a new call, in the form that the backend and family give it."""
        return self._names.call_id(self.conversation.backend, self.conversation.family.tool_call_id_prefix)

    def forget_calls(self, ids: list[str]) -> None:
        """Notes that answers to these calls are no longer wanted, though they may be on their way."""
        self._cancelled_calls.update(ids)

    async def save_and_tell(self) -> None:
        """Saves the conversation as it is and sends the handle that restores it."""
        handle = self._names.save(self.conversation, self._memory)
        await self.line.send(self.dialect.resumption_update(handle, last_index=self._messages))

    async def update_while_talking(self) -> None:
        """Sends a handle inside a turn, where the family does so."""
        if self.dialect.updates_while_talking:
            await self.save_and_tell()

    async def go_away(self, time_left_s: float | None = None) -> None:
        """Announces the end of the connection and sets its time; None for the family's own.

        Announced again, the earlier end holds.
        """
        left_s = self.conversation.family.go_away_s if time_left_s is None else time_left_s
        self._nursery.start_soon(self._end_after, left_s)
        await self.line.send(self.dialect.go_away(left_s))

    def go_away_soon(self, time_left_s: float | None = None) -> None:
        """Does as :meth:`go_away`, without waiting for a client that does not read; nothing when it is too late."""
        if self.line.has_ended:
            return
        self._nursery.start_soon(self.go_away, time_left_s)

    def send_soon(self, message: ServerMessage | bytes | str) -> None:
        """Sends a message outside of any turn, as :meth:`go_away_soon` does."""
        if self.line.has_ended:
            return
        self._nursery.start_soon(self.line.send, message)

    async def _end_after(self, left_s: float) -> None:
        await trio.sleep(left_s)
        # 3.8 was closed with a code of its own, three times, after 58 minutes (docs/protocol.md 6).
        is_long = self.conversation.family.connection_lifetime_s > 3000
        self.line.end(_close.DEADLINE_EXPIRED if is_long else _close.LIFETIME_OVER, by="server")


def _waits_for_complete_content(family: Family) -> bool:
    """Tells whether only a complete ``clientContent`` interrupts, as on 3.8, both forms (docs/protocol.md 3.6)."""
    return family.function_behavior_default == "NON_BLOCKING"


def refused_frame(error: CodecError) -> Close:
    """Returns how the service closes on a frame that is no message it knows (docs/protocol.md 8)."""
    text = str(error)
    return Close(1007, text if error.path or text.startswith("Invalid JSON") else _invalid_json(text))


def _invalid_json(text: str) -> str:
    return text if text.startswith("Request contains") else f"Invalid JSON payload received. {text}"


def _text_of(content: Content | None) -> str:
    return " ".join(part.text for part in (content.parts or ()) if part.text) if content is not None else ""
