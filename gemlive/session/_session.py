"""What a program holds of a session: methods to send with, cursors to receive from, and its state to look at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import attrs
import trio

from gemlive import audio, codec
from gemlive.broadcast import BroadcastStatistics, Cursor
from gemlive.errors import CodecError, ConfigError
from gemlive.families import Family
from gemlive.session._lifecycle import Status
from gemlive.session._outbox import MAX_AUDIO_BYTES, Entry, Kind, OutboxStatistics
from gemlive.session._receipt import Receipt
from gemlive.session._runner import Runner
from gemlive.session._setup import content_of, tools_of
from gemlive.session._turn import Reply, Turn
from gemlive.types import (
    ActivityEnd,
    ActivityStart,
    Blob,
    ClientContent,
    ClientMessage,
    Content,
    ContextTools,
    ContextUpdate,
    Event,
    FunctionDeclaration,
    FunctionResponse,
    RawClientMessage,
    RealtimeInput,
    Setup,
    Tool,
    ToolResponse,
)

DEFAULT_MAX_EVENTS = 4096
"""About a minute of 16 ms audio messages: a consumer that is further behind than that is not slow but stuck."""

DEFAULT_MAX_BYTES = 8 * 2**20
"""Almost three minutes of 24 kHz audio, which a model can produce well ahead of its playing."""

Turns = str | Content | Mapping[str, object] | Sequence[str | Content | Mapping[str, object]]


@attrs.frozen
class SessionStatistics:
    """Counts of a session.

    Attributes:
        connections: how many there have been.
        sending: the way out.
        receiving: the cursors.
    """

    connections: int
    sending: OutboxStatistics
    receiving: BroadcastStatistics


class Session:
    """One conversation, over as many connections as it takes. Made by :func:`gemlive.open_session` only.

    Any number of tasks may send at the same time. Every ``send_*`` method returns when the message is *accepted*, with
    a :class:`Receipt` that later says what became of it. Cancelled before that, it has no effect; accepted, a message
    is never half sent. Within a connection everything leaves in the order in which it was accepted. All of them raise
    :class:`SessionLost` when the session was lost and :class:`trio.ClosedResourceError` when it ended otherwise.

    Iterating over the session gives its events, from before the first connection to the end of the session. One task
    at a time may do so (:class:`trio.BusyResourceError`); others use :meth:`subscribe`.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        # Before the first connection, so that nothing is missed however late the program begins to iterate.
        self._cursor = runner.events.subscribe(max_events=DEFAULT_MAX_EVENTS, max_bytes=DEFAULT_MAX_BYTES)
        self._asking = trio.StrictFIFOLock()
        self._is_history_due = runner.setup.history_config is not None

    def __repr__(self) -> str:
        return f"<Session {self.status.value}, connection {self.connection}, model {self._runner.config.model}>"

    # --- looking -----------------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """Where the session is now. Each change of it is an event too."""
        return self._runner.lifecycle.status

    @property
    def connection(self) -> int:
        """The number of the connection in use, or of the last one; counted from 1."""
        return self._runner.lifecycle.stamp.connection

    @property
    def family(self) -> Family:
        """Facts about the model."""
        return self._runner.family

    @property
    def session_id(self) -> str | None:
        """The server's name for the session, for support requests; None on Google AI, which gives none."""
        return self._runner.session_id

    @property
    def resumption_handle(self) -> str | None:
        """The newest handle with which another process could go on with this conversation; None without one. Secret."""
        handle = self._runner.lifecycle.handle
        return None if handle is None else handle.value

    def statistics(self) -> SessionStatistics:
        """Returns the counts: what waits, what was written, what was dropped, how far each cursor is."""
        return SessionStatistics(self.connection, self._runner.outbox.statistics(), self._runner.events.statistics())

    # --- receiving -----------------------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[Event]:
        """Iterates over the events; ends with the session and for no other reason."""
        return self._cursor.__aiter__()

    async def receive(self) -> Event:
        """Returns the next event of the session's own cursor. Cancelled: none is lost.

        Raises:
            trio.EndOfChannel: the session is over and every event was delivered.
            trio.BusyResourceError: another task is receiving from this cursor.
        """
        return await self._cursor.receive()

    def subscribe(self, *, max_events: int = DEFAULT_MAX_EVENTS, max_bytes: int = DEFAULT_MAX_BYTES) -> Cursor[Event]:
        """Returns a further cursor that gets every event from now on, independently of all others.

        A cursor that is not read loses its oldest media first, then its oldest other events, and is told so by one
        exact ``Lagged``; it never delays the session or another cursor. Close it (``async with``) when done.

        Args:
            max_events: how many events may wait.
            max_bytes: how many bytes they may take.
        """
        return self._runner.events.subscribe(max_events=max_events, max_bytes=max_bytes)

    # --- asking --------------------------------------------------------------------------------------------------

    async def ask(self, text: str) -> Reply:
        """Sends a text and returns the model's whole response to it, bound by order.

        The first response that begins after the text; if the model is in the middle of another one, that one is let
        pass, and if it was asked something and has not begun to answer, the text waits for that sign, two seconds at
        most. Questions of several tasks are asked one after the other. There is no timer: use ``trio.fail_after``.
        Cancelled: the text may have been sent, and the response goes to the other consumers only.

        Raises:
            ValueError: the text is empty.
            SessionLost: the session was lost before the response was complete.
            trio.ClosedResourceError: the session is closed.
        """
        async with self._asking:
            if text:
                await self._runner.await_sign()
            async with Turn(self._runner, question=lambda: self.send_text(text)) as turn:
                await turn.wait()
        return turn

    def turn(self) -> Turn:
        """Returns a turn: ``async with session.turn() as turn``, send something, ``async for event in turn``.

        It is bound to the first response that begins after the block was entered.
        """
        return Turn(self._runner)

    # --- sending: realtime ---------------------------------------------------------------------------------------

    async def send_audio(self, pcm: bytes | bytearray | memoryview) -> Receipt:
        """Sends microphone audio: s16le mono at 16 kHz, 20 to 100 ms of it at a time.

        Never waits for the network. Audio that has waited 2 s, or what exceeds 4 MiB waiting, is dropped, oldest
        first, and told by ``InputDropped``. An empty chunk sends nothing.

        Raises:
            ValueError: half a sample, or more than 4 MiB at once (use :func:`gemlive.audio.paced`).
        """
        return await self.send_audio_at_rate(pcm, audio.INPUT_RATE_HZ)

    async def send_audio_at_rate(self, pcm: bytes | bytearray | memoryview, rate_hz: int) -> Receipt:
        """Sends audio at another sample rate, which the server resamples; otherwise like :meth:`send_audio`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        data = bytes(pcm)
        if len(data) % audio.SAMPLE_WIDTH_BYTES:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise ValueError(f"{len(data)} bytes are not whole 16-bit samples; send an even number of bytes")
        if len(data) > MAX_AUDIO_BYTES:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise ValueError(
                f"{len(data)} bytes of audio at once are more than {MAX_AUDIO_BYTES}; "
                "send a recording in real time with `async for chunk in gemlive.audio.paced(pcm, rate_hz=...)`"
            )
        if not data:
            await trio.lowlevel.cancel_shielded_checkpoint()
            self._runner.check_open()
            receipt = Receipt()
            receipt._settle("dropped", final=True, reason="an empty chunk has nothing to send")
            return receipt
        message = RealtimeInput(audio=Blob(data=data, mime_type=audio.mime_type(rate_hz)))
        entry = Entry(
            codec.encode(message), None, "audio", 0.0, audio_ms=len(data) * 500 / rate_hz, media_bytes=len(data)
        )
        return await self._runner.send_media(entry)

    async def send_video(self, data: bytes | bytearray | memoryview, mime_type: str = "image/jpeg") -> Receipt:
        """Sends one encoded video frame (JPEG or PNG), about one a second, 768 pixels at the longer side.

        Never waits for the network: a frame that still waits when the next one comes, or for 2 s, is dropped.

        Raises:
            ValueError: the frame is empty or larger than 4 MiB.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        frame = bytes(data)
        if not 0 < len(frame) <= MAX_AUDIO_BYTES:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise ValueError(f"a video frame has 1 to {MAX_AUDIO_BYTES} bytes, not {len(frame)}; scale the image down")
        message = RealtimeInput(video=Blob(data=frame, mime_type=mime_type))
        return await self._runner.send_media(Entry(codec.encode(message), None, "video", 0.0, media_bytes=len(frame)))

    async def activity_start(self) -> Receipt:
        """Says that the user began to speak; only with ``vad="manual"``.

        Raises:
            ConfigError: the server detects speech itself.
        """
        await self._require_manual("activity_start", True)
        return await self._send(RealtimeInput(activity_start=ActivityStart()), "mark", mark="activity_start")

    async def activity_end(self) -> Receipt:
        """Says that the user stopped speaking, and asks for the answer; only with ``vad="manual"``.

        Raises:
            ConfigError: the server detects speech itself.
        """
        await self._require_manual("activity_end", True)
        return await self._send(RealtimeInput(activity_end=ActivityEnd()), "mark", mark="activity_end", asks=True)

    async def audio_stream_end(self) -> Receipt:
        """Says that no audio comes for now, as when the microphone is switched off; the next audio reopens the stream.

        Raises:
            ConfigError: the program marks activities itself (``vad="manual"``).
        """
        await self._require_manual("audio_stream_end", False)
        return await self._send(RealtimeInput(audio_stream_end=True), "mark", mark="audio_stream_end")

    # --- sending: content ----------------------------------------------------------------------------------------

    async def send_text(self, text: str) -> Receipt:
        """Sends what the user wrote, and asks for the answer, by the channel that the model's family accepts.

        Raises:
            ValueError: the text is empty.
        """
        await self._require(bool(text), "a text has at least one character, and this one has none")
        if self._runner.family.text_channel == "realtime":
            return await self._send(RealtimeInput(text=text), "content", asks=True)
        return await self.send_client_content(text)

    async def send_client_content(self, turns: Turns | None = None, *, turn_complete: bool = True) -> Receipt:
        """Appends content to the conversation, in order.

        Args:
            turns: a text, a content, plain data in camelCase or snake_case, or a sequence of these; None appends
                nothing.
            turn_complete: whether the model is to answer now.

        Raises:
            ConfigError: the plain data is no content.
        """
        contents: tuple[Content, ...] | None = None
        problem: ConfigError | None = None
        try:
            if turns is not None:
                several = [turns] if isinstance(turns, str | Content | Mapping) else turns
                contents = tuple(content_of(one, field=f"turns[{index}]") for index, one in enumerate(several))
        except ConfigError as error:
            problem = error
        if problem is not None:
            await trio.lowlevel.checkpoint()
            raise problem
        asks = turn_complete and not self._is_history_due
        message = ClientContent(turns=contents, turn_complete=turn_complete)
        receipt = await self._send(message, "content", asks=asks, is_history=self._is_history_due)
        if turn_complete:
            self._is_history_due = False
        return receipt

    async def update_context(
        self,
        *,
        system_instruction: str | Content | Mapping[str, object] | None = None,
        tools: Sequence[Tool | FunctionDeclaration | Mapping[str, object]] | None = None,
    ) -> Receipt:
        """Replaces the system instruction or the tools from now on; later connections are set up with them too.

        Args:
            system_instruction: None leaves it as it is.
            tools: None leaves them as they are, empty takes all away.

        Raises:
            ConfigError: the model's family has no such message, nothing was given, or the plain data is wrong.
        """
        await trio.lowlevel.checkpoint()
        if not self._runner.family.context_update and self._runner.family.is_known:
            model = self._runner.config.model
            raise ConfigError("update_context", f"is not offered by {model}; open a new session with the new settings")
        if system_instruction is None and tools is None:
            raise ConfigError("update_context", "needs a system_instruction, tools, or both")
        update = ContextUpdate(
            system_instruction=None
            if system_instruction is None
            else content_of(system_instruction, field="system_instruction"),
            tools=None if tools is None else ContextTools(tools=tools_of(tools, field="tools")),
        )
        receipt = await self._send(update, "content")
        changed: dict[str, Any] = {}
        if system_instruction is not None:
            changed["system_instruction"] = system_instruction
        if tools is not None:
            changed["tools"] = tuple(tools)
        self._runner.config = attrs.evolve(self._runner.config, **changed)
        return receipt

    async def send_tool_response(
        self, responses: FunctionResponse | Mapping[str, object] | Sequence[FunctionResponse | Mapping[str, object]]
    ) -> Receipt:
        """Answers function calls, one answer for each call id.

        A missing name is filled in from the call. An answer to a call that the server cancelled is not sent. An answer
        to a call of a connection that is gone is sent only if the resumed model knows the call; otherwise it becomes an
        ``OrphanedToolResult`` event.

        Args:
            responses: one or several; plain data in camelCase or snake_case is taken too.

        Raises:
            ValueError: no response, no id where the backend needs one, a call that was answered already, or a
                ``response`` that is no JSON object.
        """
        await trio.lowlevel.checkpoint()
        several = [responses] if isinstance(responses, FunctionResponse | Mapping) else list(responses)
        if not several:
            raise ValueError("a tool response answers at least one call; pass a FunctionResponse")
        answers = tuple(self._answer(_function_response(one)) for one in several)
        calls = self._runner.lifecycle.calls
        cancelled = [answer for answer in answers if answer.id in calls and calls[answer.id].is_cancelled]
        answers = tuple(answer for answer in answers if answer not in cancelled)
        if not answers:
            self._runner.check_open()
            receipt = Receipt()
            receipt._settle("dropped", final=True, reason="the server cancelled the call")
            return receipt
        records = [self._runner.lifecycle.calls.get(answer.id or "") for answer in answers]
        entry = self._entry(ToolResponse(function_responses=answers), "tool")
        entry.calls = tuple(
            (answer.id, answer.name, None if record is None else record.order)
            for answer, record in zip(answers, records, strict=True)
        )
        is_silent = all(answer.scheduling == "SILENT" for answer in answers)
        if any(record is not None and record.is_forgotten for record in records):
            return await self._runner.orphan(entry)
        last = [record for answer, record in zip(answers, records, strict=True) if record and not answer.will_continue]
        for record in last:
            # Before waiting for a place: of two tasks that answer the same call, one must be told.
            record.is_answered, record.is_silent = True, is_silent
        try:
            receipt = await self._runner.send(entry, asks=not is_silent)
        except BaseException:
            for record in last:
                record.is_answered = False
            raise
        for record in last:
            record.is_open = False
        return receipt

    async def send_raw(self, message: ClientMessage) -> Receipt:
        """Sends any client message as it is: the way out for what this version does not know.

        The delivery contract treats it by what it holds: audio and video as media, everything else as content.

        Raises:
            ValueError: it is a setup, which only the session sends, or it cannot be written as JSON.
        """
        is_setup = isinstance(message, Setup) or (isinstance(message, RawClientMessage) and "setup" in message.raw)
        await self._require(not is_setup, "the session sends the setup itself; use update_context or a new session")
        if isinstance(message, RealtimeInput) and message.audio is not None and message.audio.data:
            blob = message.audio
            rate_hz = audio.rate_of(blob.mime_type or "", default=audio.INPUT_RATE_HZ)
            size = len(message.audio.data)
            entry = Entry(codec.encode(message), None, "audio", 0.0, audio_ms=size * 500 / rate_hz, media_bytes=size)
            return await self._runner.send_media(entry)
        if isinstance(message, RealtimeInput) and message.video is not None:
            size = len(message.video.data or b"")
            return await self._runner.send_media(Entry(codec.encode(message), None, "video", 0.0, media_bytes=size))
        if isinstance(message, ToolResponse):
            return await self.send_tool_response(message.function_responses or ())
        asks = (isinstance(message, ClientContent) and bool(message.turn_complete)) or (
            isinstance(message, RealtimeInput) and message.text is not None
        )
        return await self._send(message, "content", asks=asks)

    # --- ending ----------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Ends the session: sends what waits, says goodbye, and returns when all is closed, within ``close_s``.

        Iteration ends and sends raise :class:`trio.ClosedResourceError` from then on. Leaving the block does the same.
        Cancelled: the session ends all the same, when the block is left.
        """
        self._runner.request_close(flush=True)
        await self._runner.done.wait()

    # --- within ------------------------------------------------------------------------------------------------------

    def _entry(self, message: ClientMessage, kind: Kind, **more: Any) -> Entry:
        return Entry(codec.encode(message), message, kind, 0.0, **more)

    async def _send(self, message: ClientMessage, kind: Kind, *, asks: bool = False, **more: Any) -> Receipt:
        return await self._runner.send(self._entry(message, kind, **more), asks=asks)

    async def _require(self, is_right: bool, otherwise: str) -> None:
        if not is_right:
            await trio.lowlevel.checkpoint()
            raise ValueError(otherwise)

    async def _require_manual(self, method: str, is_needed: bool) -> None:
        realtime = self._runner.setup.realtime_input_config
        detection = None if realtime is None else realtime.automatic_activity_detection
        if (detection is not None and detection.disabled is True) is not is_needed:
            await trio.lowlevel.checkpoint()
            # The server would close with 1007 (docs/protocol.md 3.7).
            needs = "needs SessionConfig(vad='manual')" if is_needed else "cannot be used with vad='manual'"
            raise ConfigError(method, f"{needs}, as only one side can decide when the user speaks")

    def _answer(self, answer: FunctionResponse) -> FunctionResponse:
        """Checks one answer and fills in what the call knows."""
        if answer.id is None:
            if self._runner.endpoint.backend == "google_ai":
                raise ValueError(f"the answer to {answer.name!r} has no id; Google AI needs the id of the call")
            return answer
        record = self._runner.lifecycle.calls.get(answer.id)
        if record is None:
            return answer
        if record.is_answered:
            raise ValueError(f"call {answer.id!r} was answered already; each call gets one answer")
        return answer if answer.name else attrs.evolve(answer, name=record.name)


def _function_response(value: FunctionResponse | Mapping[str, object]) -> FunctionResponse:
    if isinstance(value, FunctionResponse):
        return value
    try:
        return codec.structure(FunctionResponse, value)
    except CodecError as error:
        problem = str(error)
    raise ValueError(f"this is no function response: {problem}")
