"""One turn, as a script sees it: what was heard, and the means to answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

import attrs
import trio

from gemlive.audio import OUTPUT_RATE_HZ, duration_s
from gemlive.emulator._admission import functions_of
from gemlive.emulator._close import Close
from gemlive.emulator._memory import Heard, ToolResult
from gemlive.emulator._pace import FASTER_THAN_PLAYED, FIRST_OUTPUT_S, INTERRUPTED_TO_COMPLETE_S
from gemlive.emulator._record import Conversation, SaidTurn
from gemlive.emulator._usage import Tally, audio_tokens, text_tokens
from gemlive.emulator._voice import synthesise
from gemlive.types import (
    Blob,
    Content,
    FunctionCall,
    FunctionDeclaration,
    GroundingMetadata,
    ServerMessage,
    Setup,
    UsageMetadata,
)

if TYPE_CHECKING:
    from gemlive.emulator._dialogue import Dialogue


class OpenCall:
    """A function call that the model made and that a turn may wait for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.answered = trio.Event()
        self.result: ToolResult | None = None
        self.is_wanted = False  # a script waits for it, or did

    def answer(self, result: ToolResult) -> None:
        """Takes the answer."""
        self.result = result
        self.answered.set()


class Turn:
    """A turn of the user, and the model's response to it.

    A script's function is called with one and answers it by calling methods here; when it returns, what is still
    missing (``generationComplete``, ``turnComplete`` with the usage) is sent. When the user interrupts, the function is
    cancelled wherever it waits, and ``interrupted`` and ``turnComplete`` are sent; so there is nothing to check, and
    :attr:`interrupted` is for ``finally`` blocks.

    Every method is a checkpoint. Cancelled, what was being sent is sent whole or not at all, message by message.

    Attributes:
        conversation: the notes on the whole conversation.
        connection: the number of the connection, counted from 1 over the life of the server.
        number: which turn of the conversation this is, counted from 1.
        text: what was written and, as ``[speech, 2.1 s]``, that something was spoken: everything since the last answer,
            in order, separated by spaces.
        audio: what was spoken, s16le mono 16 kHz; empty for nothing.
        audio_s: seconds of it, without the little that is kept from before its beginning.
        video: the video frames.
        results: answers to calls of earlier turns that nobody was waiting for.
        history: what was said before this turn, both sides, as far as it is remembered.
        setup: the setup that is in force.
        interrupted: whether the user has cut this response short.
        usage: the token counts to send with ``turnComplete``; None to count them.
        scope: what the server cancels when the user interrupts.
    """

    def __init__(self, dialogue: Dialogue, heard: Heard, *, number: int) -> None:
        self.conversation: Conversation = dialogue.conversation
        self.connection: int = dialogue.line.record.number
        self.number = number
        self.text: str = heard.text
        self.audio: bytes = heard.audio
        self.audio_s: float = heard.audio_s
        self.video: tuple[Blob, ...] = heard.video
        self.results: tuple[ToolResult, ...] = heard.results
        self.setup: Setup = dialogue.setup
        self.interrupted = False
        self.usage: UsageMetadata | None = None
        self.scope = trio.CancelScope()
        self.history: tuple[Content, ...] = dialogue.history
        self._dialogue = dialogue
        self._line = dialogue.line
        self._dialect = dialogue.dialect
        self._transcript = heard.transcript
        self._prompt = dialogue.prompt(heard)
        self._started_at = trio.current_time()
        self._grounding: GroundingMetadata | None = None
        self._calls: dict[str, OpenCall] = {}
        self._said = SaidTurn(connection=self.connection)
        self._begin_response()

    # --- what a script reads ---

    @property
    def functions(self) -> Mapping[str, FunctionDeclaration]:
        """The functions that the client declared, by name."""
        return {declared.name or "": declared for declared in functions_of(self.setup)}

    @property
    def speaks(self) -> bool:
        """Whether answers are audio."""
        return self._dialect.modality == "AUDIO"

    @property
    def thinks_first(self) -> bool:
        """Whether a real model of this family begins with a thought summary (docs/protocol.md 4.2)."""
        return self._dialect.family.thought_summary_first and self._dialect.backend == "google_ai"

    @property
    def reports_progress(self) -> bool:
        """Whether a real model of this family says a filler before it calls functions (docs/protocol.md 5)."""
        return self._dialect.family.idle_signal == "interaction_status"

    def blocks(self, name: str) -> bool:
        """Tells whether the model waits for the answer of a function before it goes on."""
        family = self._dialect.family
        declared = self.functions.get(name)
        behaviour = (declared.behavior if declared is not None else None) or family.function_behavior_default
        return not (family.non_blocking and behaviour == "NON_BLOCKING")

    # --- what a script does ---

    async def say(self, text: str) -> None:
        """Answers in the session's modality: with text, or with its sound and, where it is wanted, its transcript."""
        if self.speaks:
            await self.speak(text)
            return
        await self._open()
        await self._send_all(self._dialect.text(text))
        self._note(text=text, tokens=text_tokens(text))

    async def speak(self, what: str | bytes, *, transcript: str | None = None) -> None:
        """Answers with audio.

        Args:
            what: words, which are synthesised; or s16le mono 24 kHz audio.
            transcript: what the audio says; None for the words themselves, or for audio without a transcript.
        """
        if transcript is None:
            transcript = what if isinstance(what, str) else ""
        await self._open()
        pcm = synthesise(what) if isinstance(what, str) else what
        for utterance in self._dialect.speech(pcm, transcript):
            if utterance.audio_bytes:
                await self._in_time()
            if utterance.message is not None:
                await self._send(utterance.message)
            self._note(text=utterance.text, audio_bytes=utterance.audio_bytes)
        if self._dialect.backend == "vertex" and self._dialect.transcribes_output:
            self._tally.response_text += text_tokens(transcript)

    async def think(self, text: str) -> None:
        """Sends a thought summary."""
        await self._open()
        await self._send(self._dialect.thought(text))
        self._tally.thought_tokens += text_tokens(text)
        self._said = attrs.evolve(self._said, thought=self._said.thought + text)

    async def ground(self, grounding: GroundingMetadata) -> None:
        """Puts search results on the coming ``turnComplete``."""
        await trio.lowlevel.checkpoint()
        self._grounding = grounding

    async def call(self, name: str, args: Mapping[str, object] | None = None) -> Mapping[str, object]:
        """Calls a function of the client and returns its answer, as :meth:`begin_calls` and :meth:`wait_result`."""
        (call_id,) = await self.begin_calls([(name, args or {})])
        return await self.wait_result(call_id)

    async def begin_calls(self, calls: Sequence[tuple[str, Mapping[str, object]]]) -> tuple[str, ...]:
        """Calls functions of the client in one message and returns the ids, in the order of the calls.

        On Vertex AI this ends the turn on the wire, and what follows the answer is another (docs/protocol.md 5). A call
        that this turn does not wait for stays open when it ends; its answer then begins a new turn, which has it in
        :attr:`results`.
        """
        await self._open()
        made = [FunctionCall(id=self._dialogue.new_call_id(), name=name, args=args) for name, args in calls]
        self._calls |= {str(call.id): OpenCall(str(call.name)) for call in made}
        await self._send_all(self._dialect.tool_call(made))
        self._tally.response_text += sum(text_tokens(f"{call.name}{dict(call.args)}") for call in made)
        self._said = attrs.evolve(self._said, calls=(*self._said.calls, *made))
        if self._dialect.ends_turn_at_tool_call:
            await self.complete()
        return tuple(str(call.id) for call in made)

    async def wait_result(self, call_id: str) -> Mapping[str, object]:
        """Waits for the answer to a call of this turn and returns it as the client sent it.

        Raises:
            KeyError: this turn made no such call.
        """
        call = self._calls[call_id]
        call.is_wanted = True
        await call.answered.wait()
        assert call.result is not None
        self._prompt = attrs.evolve(self._prompt, prompt_text=self._prompt.prompt_text + _weight(call.result))
        self._tally.prompt_text += _weight(call.result)
        if not self._is_over:
            await self._dialogue.update_while_talking()
            await self._send_all(self._dialect.opening())
        return call.result.response

    async def complete(self, *, reason: str | None = None, status: str | None = None) -> None:
        """Ends the turn now: ``generationComplete``, and ``turnComplete`` with the usage once all was played.

        What is said after it begins another turn on the wire. Not needed at the end of a script's function.

        Args:
            reason: a ``TurnCompleteReason``.
            status: an ``InteractionStatus``; None for the family's ordinary one.
        """
        await self._send_all(self._dialect.after_answer(has_spoken=self._audio_bytes > 0))
        await self._send(self._dialect.generation_complete())
        await self._dialogue.pace.until(self._first_audio_at + self._said.audio_s)
        await self._turn_complete(reason=reason, status=status)

    async def go_away(self, time_left_s: float | None = None) -> None:
        """Announces the end of the connection, which then comes; None for the family's own time."""
        await self._dialogue.go_away(time_left_s)

    async def update_resumption(self, handle: str | None = None, *, resumable: bool = True) -> None:
        """Sends a resumption update.

        Args:
            handle: the handle to name, good or not; None to save the conversation and name a good one.
            resumable: whether the update says that the session can be resumed; without, it names no handle.
        """
        if handle is None and resumable:
            await self._dialogue.save_and_tell()
        else:
            await self._send(self._dialect.resumption_update(handle if resumable else None))

    async def raw(self, message: Mapping[str, object] | bytes | str) -> None:
        """Sends what no other method would: JSON to be, or a frame as it is, whether or not it is JSON."""
        await self._send(message if isinstance(message, bytes | str) else ServerMessage(extra=message))

    async def drop(self, *, reset: bool = False) -> NoReturn:
        """Cuts the connection without a Close frame, and does not return.

        Args:
            reset: as a TCP reset, by which the client loses what it has not read yet.
        """
        self._line.end(None, by="server", resets=reset)
        await trio.sleep_forever()

    async def close(self, code: int, reason: str = "") -> NoReturn:
        """Closes the connection, and does not return."""
        self._line.end(Close(code, reason), by="server")
        await trio.sleep_forever()

    # --- what the dialogue does with it ---

    @property
    def is_over(self) -> bool:
        """Whether ``turnComplete`` was sent and nothing after it."""
        return self._is_over

    def answer(self, call_id: str, result: ToolResult) -> bool:
        """Takes the answer to a call of this turn; False if it is none, or answered."""
        call = self._calls.get(call_id)
        if call is None or call.answered.is_set():
            return False
        call.answer(result)
        return True

    def call_named(self, name: str) -> str | None:
        """Returns the id of the oldest unanswered call of a function: an answer may come without an id."""
        return next(
            (key for key, call in self._calls.items() if call.name == name and not call.answered.is_set()), None
        )

    @property
    def unanswered(self) -> dict[str, str]:
        """The calls without an answer: id to name."""
        return {key: call.name for key, call in self._calls.items() if not call.answered.is_set()}

    @property
    def unwanted(self) -> list[ToolResult]:
        """The answers that came while nobody waited for them, and which nobody has taken since."""
        return [call.result for call in self._calls.values() if call.result is not None and not call.is_wanted]

    async def open_wire(self) -> None:
        """Sends what comes before a response, and what was heard."""
        await self._send_all(self._dialect.opening())
        await self._dialogue.update_while_talking()
        await self._send_all(self._dialect.before_answer(self._transcript))

    async def finish(self) -> None:
        """Ends the response if the script has not."""
        if not self._is_over:
            await self.complete()

    async def cut_short(self) -> None:
        """Tells the client that the response was interrupted."""
        cancelled = [key for key, name in self.unanswered.items() if self.blocks(name)]
        if cancelled:
            await self._send(self._dialect.cancellation(cancelled))
            self._dialogue.forget_calls(cancelled)
            for key in cancelled:
                del self._calls[key]
        if self._is_over:
            return
        self._said = attrs.evolve(self._said, interrupted=True)
        await self._send(self._dialect.interrupted())
        await self._dialogue.pace.pause(INTERRUPTED_TO_COMPLETE_S)
        await self._turn_complete()

    def note_unfinished(self) -> None:
        """Notes what was said so far, when the connection ended in the middle of it."""
        if not self._is_over and self._said != SaidTurn(connection=self.connection):
            self.conversation.note_said(self._said)

    # --- inside ---

    def _begin_response(self) -> None:
        self._said = SaidTurn(connection=self.connection)
        self._tally: Tally = attrs.evolve(self._prompt)
        self._first_audio_at = trio.current_time()
        self._is_over = False
        self._has_output = False
        self._audio_bytes = 0

    async def _open(self) -> None:
        """Makes sure that a response is open on the wire, and that the first output does not come too early."""
        await trio.lowlevel.checkpoint()
        if self._is_over:
            self._begin_response()
            self._started_at = trio.current_time()
            await self._send_all((*self._dialect.opening(), *self._dialect.before_answer("")))
        if not self._has_output:
            await self._dialogue.pace.until(self._started_at + FIRST_OUTPUT_S)
            self._has_output = True

    async def _in_time(self) -> None:
        """Waits until the next audio would be ready."""
        if not self._said.audio_s:
            self._first_audio_at = trio.current_time()
        await self._dialogue.pace.until(self._first_audio_at + self._said.audio_s / FASTER_THAN_PLAYED)

    def _note(self, *, text: str = "", audio_bytes: int = 0, tokens: int = 0) -> None:
        self._audio_bytes += audio_bytes
        audio_s = duration_s(self._audio_bytes, rate_hz=OUTPUT_RATE_HZ)
        self._said = attrs.evolve(self._said, text=self._said.text + text, audio_s=audio_s)
        self._tally.response_text += tokens
        self._tally.response_audio = audio_tokens(self._said.audio_s)

    async def _turn_complete(self, *, reason: str | None = None, status: str | None = None) -> None:
        usage = self.usage or self._dialect.usage(self._tally)
        message = self._dialect.turn_complete(usage, reason=reason, status=status, grounding=self._grounding)
        await self._send(message)
        self._is_over = True
        self._said = attrs.evolve(self._said, complete=True)
        self.conversation.note_said(self._said)
        self._dialogue.remember_said(self._said)
        self._grounding = None

    async def _send_all(self, messages: Iterable[ServerMessage]) -> None:
        for message in messages:
            await self._send(message)

    async def _send(self, message: ServerMessage | bytes | str) -> None:
        await self._line.send(message)


def _weight(result: ToolResult) -> int:
    return text_tokens(str(dict(result.response)))
