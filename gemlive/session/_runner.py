r"""The acting half of a session: one task that makes connections, and three that live as long as each of them.

::

    senders -> Outbox -> writer -> Transport -> reader -> codec -> Lifecycle
                                                              \-> Broadcast -> cursors

What to do is decided in ``_lifecycle`` (connections) and ``_outbox`` (messages); here it is done. All state is changed
between awaits, by plain calls, so no lock is needed: a frame's events are published and taken in by the lifecycle in
one step, and whoever subscribes sees either both or neither.

The supervisor never raises what the network does: it keeps the failure as a value, cancels the session's nursery, and
``open_session`` raises it, plainly and once.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Literal

import attrs
import trio

from gemlive import codec
from gemlive.broadcast import Broadcast
from gemlive.errors import (
    CodecError,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    GemliveError,
    SessionLost,
    SetupError,
)
from gemlive.families import Family
from gemlive.session._closes import Remedy, meaning_of
from gemlive.session._lifecycle import End, Lifecycle, Retry, Status
from gemlive.session._outbox import MAX_MESSAGES, Batch, Carried, Dropped, Entry, Outbox, merge
from gemlive.session._policy import ReconnectPolicy
from gemlive.session._receipt import Receipt
from gemlive.session._setup import setup_message
from gemlive.transport import Endpoint, Timeouts, Transport, open_transport
from gemlive.types import (
    ActivityStart,
    CodeResult,
    Connected,
    Event,
    ExecutableCode,
    Grounding,
    InputDropped,
    InterimInputTranscript,
    Lagged,
    ModelAudio,
    ModelMedia,
    ModelText,
    ModelThought,
    OrphanedToolResult,
    OutputTranscript,
    RealtimeInput,
    Reconnected,
    Reconnecting,
    ResumptionUpdate,
    ServerMessage,
    ServerMessageError,
    SessionClosed,
    SessionConfig,
    Stamp,
    ToolCall,
    ToolCallCancellation,
    ToolResponse,
    UnknownMessage,
    UrlContext,
    Usage,
)
from gemlive.types import InputTranscript as _InputTranscript

_logger = logging.getLogger("gemlive.session")

_SIGN_S = 2.0
"""How long a question waits for the first sign of the answer to the one before: models begin within 0.3 to 3 s, and a
person who asks again within that time does not notice the rest of it."""

_DROP_REPORT_EVERY_S = 0.5
"""Dropped media is told in sums over this time: a report for each chunk of 20 ms would itself be a flood."""


@attrs.frozen
class _Left:
    """We left the connection ourselves."""


_Outcome = _Left | ConnectionLost | ConnectError


class Runner:
    """Keeps one session alive.

    Args:
        config: what the program wants.
        endpoint: the server.
        family: facts about the model.
        policy: how hard to try.
        timeouts: how long each step may take.
        uniform: the source of chance for jitter.
    """

    def __init__(
        self,
        config: SessionConfig,
        endpoint: Endpoint,
        family: Family,
        policy: ReconnectPolicy,
        timeouts: Timeouts,
        uniform: Callable[[float, float], float],
    ) -> None:
        self.config = config
        self.endpoint = endpoint
        self.family = family
        self.timeouts = timeouts
        self.setup = setup_message(config, endpoint, family)
        self.session_id: str | None = None
        self.failure: GemliveError | None = None
        self.done = trio.Event()
        self.lifecycle = Lifecycle(
            policy,
            family,
            uniform,
            handle=config.resumption_handle,
            resumption=config.resumption,
            # An ephemeral token is what it is; bearer tokens are asked for anew before each dial.
            renews_credentials=endpoint.backend == "vertex",
            now=trio.current_time(),
        )
        self.outbox = Outbox(keeps_journal=config.resumption, is_transparent=bool(config.transparent_resumption))
        self.events: Broadcast[Event] = Broadcast(size=_size, rank=_rank, lag=_lag)
        self._policy = policy
        self._places = trio.Semaphore(MAX_MESSAGES)
        self._work = trio.Event()
        self._news = trio.Event()
        self._wrote = trio.Event()
        self._closing = trio.Event()
        self._is_leaving = False
        self._dialling: trio.CancelScope | None = None
        self._conversing: trio.CancelScope | None = None
        self._started: trio.TaskStatus[None] | None = None
        self._unasked: list[Callable[[Receipt], None]] = []
        self._drops: list[Dropped] = []
        self._drops_told_at = -math.inf
        self._outage_audio_ms = 0.0
        self._aborted_turn = False
        # Half for saying what is left and half for saying goodbye, so that both together keep to close_s.
        self._half_close_s = timeouts.close_s / 2
        self._transport_timeouts = attrs.evolve(timeouts, close_s=self._half_close_s)

    # --- the way in for senders ----------------------------------------------------------------------------------

    def check_open(self) -> None:
        """Raises what a send raises when the session is over."""
        if self.failure is not None:
            if isinstance(self.failure, SessionLost):
                raise self.failure.fresh()
            raise SessionLost(str(self.failure))
        if self._closing.is_set() or self.lifecycle.status is Status.CLOSED:
            raise trio.ClosedResourceError("the session is closed; open a new one")

    async def send(self, entry: Entry, *, asks: bool = False) -> Receipt:
        """Waits for a place and accepts a message; cancelled before that, nothing happens."""
        await trio.lowlevel.checkpoint()
        self.check_open()
        try:
            self._places.acquire_nowait()
        except trio.WouldBlock:
            await self._places.acquire()
        try:
            self.check_open()
        except BaseException:
            self._places.release()
            raise
        entry.holds_slot = True
        entry.accepted_at = trio.current_time()
        entry.asks = asks
        self._accept(entry)
        if asks and entry.kind == "tool":
            self.lifecycle.answered(call_id for call_id, _, _ in entry.calls if call_id is not None)
        elif asks:
            self.lifecycle.asked()
            for bind in self._unasked:
                bind(entry.receipt)
            self._unasked.clear()
        return entry.receipt

    async def await_sign(self) -> None:
        """Waits, but not for long, until the model has begun to answer what it was asked.

        A question that comes before that is answered together with the one before, or alone; afterwards it is clear.
        """
        signs = self.events.subscribe(max_events=1)
        try:
            with trio.move_on_after(_SIGN_S):
                while self.lifecycle.awaits_sign and not self._closing.is_set():
                    await signs.receive()
        except trio.EndOfChannel:
            pass  # the session is over; whoever sends is told
        finally:
            signs.close()

    def on_question(self, bind: Callable[[Receipt], None]) -> None:
        """Tells ``bind``, once, the receipt of the next message that asks for an answer."""
        self._unasked.append(bind)

    def off_question(self, bind: Callable[[Receipt], None]) -> None:
        """Tells it no more."""
        if bind in self._unasked:
            self._unasked.remove(bind)

    async def send_media(self, entry: Entry) -> Receipt:
        """Accepts media without ever waiting for the network."""
        await trio.lowlevel.checkpoint()
        self.check_open()
        entry.accepted_at = trio.current_time()
        self._accept(entry)
        return entry.receipt

    def was_silenced(self, calls: Sequence[ToolCall]) -> bool:
        """Says whether all these calls were answered with the wish that the model should not react."""
        records = [self.lifecycle.calls.get(call.id or "") for one in calls for call in one.calls]
        return bool(records) and all(record is not None and record.is_silent for record in records)

    async def orphan(self, entry: Entry) -> Receipt:
        """Reports the answers to calls that the model does not know any more, instead of sending them."""
        await trio.lowlevel.checkpoint()
        self.check_open()
        entry.receipt._settle("dropped", final=True, reason="its call belongs to a connection that is gone")
        self.publish(_orphans(Carried(orphans=(entry,)), at=self.lifecycle.stamp))
        return entry.receipt

    def _accept(self, entry: Entry) -> None:
        self._note_dropped(self.outbox.accept(entry))
        self._work.set()

    def publish(self, events: Sequence[Event]) -> None:
        """Hands events to every cursor."""
        if events:
            self.events.publish(events)

    # --- the end ---------------------------------------------------------------------------------------------------

    def request_close(self, *, flush: bool) -> None:
        """Ends the session soon: says what is still to be said (``flush``), closes the connection, dials no more."""
        self._closing.set()
        self._work.set()
        if self._dialling is not None:
            self._dialling.cancel()
        if self._conversing is not None:
            if flush:
                self._conversing.deadline = min(self._conversing.deadline, trio.current_time() + self._half_close_s)
            else:
                self._conversing.cancel()

    # --- the supervisor ----------------------------------------------------------------------------------------------

    async def run(
        self, nursery_scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Makes connections until the session is over; ``task_status`` is told when the first one is ready."""
        self._started = task_status
        end = End(None, 1000, "the session was left")
        try:
            end = await self._supervise()
        finally:
            if self.failure is not None:
                # First the body, then the cursors: a loop over events inside the body must not run on as if all
                # were well.
                nursery_scope.cancel()
            self._finish(end)
        if self._started is not None:
            self._started.started()
            self._started = None

    async def _supervise(self) -> End:
        while True:
            is_first = self.lifecycle.stamp.connection == 0
            before = self.lifecycle.stamp.connection
            outcome = await self._connection()
            now = trio.current_time()
            if self._closing.is_set():
                return End(None, 1000, "the session was left", is_orderly=isinstance(outcome, _Left))
            step: Retry | End
            if isinstance(outcome, ConnectError):
                step = self.lifecycle.failed(outcome, now, is_first=is_first)
            elif isinstance(outcome, ConnectionLost):
                step = self.lifecycle.lost(outcome, now)
            else:
                step = self.lifecycle.hand_over(now)
            if self.lifecycle.stamp.connection != before:
                # This try had become a connection, and what it was saying is cut short.
                self.outbox.retire(now)
                cut_short = self.lifecycle.leave()
                self._aborted_turn = bool(cut_short)
                self._outage_audio_ms = 0.0
                self.publish(cut_short)
            if isinstance(step, End):
                if step.lost is not None:
                    step.lost.sent = self.outbox.recent()
                    is_first_failure = is_first and isinstance(outcome, ConnectError) and not self._policy.first_dial
                    self.failure = outcome if is_first_failure and isinstance(outcome, ConnectError) else step.lost
                    _logger.info("session lost: %s", self.failure)  # raised too; not a warning besides
                return step
            _logger.info(
                "connection %d ended (%s); try %d in %.2f s", self._number, step.reason, step.attempt, step.delay_s
            )
            self.publish(
                [
                    Reconnecting(
                        self._number, step.attempt, step.delay_s, step.code, step.reason, at=self.lifecycle.stamp
                    )
                ]
            )
            with trio.move_on_after(step.delay_s):
                await self._closing.wait()
            if self._closing.is_set():
                return End(None, step.code, step.reason)

    @property
    def _number(self) -> int:
        return self.lifecycle.stamp.connection

    def _finish(self, end: End) -> None:
        self._flush_drops()
        # What was written to a connection that did not end in good order may not have arrived.
        is_normal = end.lost is None and end.is_orderly and self.lifecycle.status is Status.CONNECTED
        self.lifecycle.closed()
        self.outbox.finish(is_normal=is_normal, reason=end.reason or "the session is over")
        lost = self.failure is not None
        self.publish([SessionClosed(end.code, end.reason, lost=lost, at=self.lifecycle.stamp)])
        self.events.close()
        self._closing.set()
        for _ in range(self._places.statistics().tasks_waiting):
            self._places.release()
        self.done.set()
        _logger.info("session closed after %d connections", self._number)

    # --- one connection ----------------------------------------------------------------------------------------------

    async def _connection(self) -> _Outcome:
        """Makes one connection and lives on it until it ends; says how, without raising."""
        outcome: _Outcome = _Left()
        with trio.CancelScope() as self._dialling:
            try:
                async with open_transport(self.endpoint, timeouts=self._transport_timeouts) as transport:
                    frames = await self._set_up(transport, self.lifecycle.dialling())
                    self._dialling = None
                    outcome = await self._converse(transport, frames)
            except (ConnectError, ConnectionLost) as error:
                # Kept beyond its time, a traceback keeps alive, and could show, what the frames in it hold.
                error.__cause__ = error.__context__ = None
                outcome = error.with_traceback(None)
        self._dialling = None
        return outcome

    async def _set_up(self, transport: Transport, handle: str | None) -> Sequence[str | bytes]:
        """Says what the session wants and waits for consent; returns the frames that came with it."""
        setup = setup_message(attrs.evolve(self.config, resumption_handle=handle), self.endpoint, self.family)
        refused: SetupError | None = None
        frames: Sequence[str | bytes] = ()
        with trio.move_on_after(self.timeouts.setup_s) as deadline:
            try:
                await transport.send([codec.encode(setup)])
                frames = await transport.receive()
            except ConnectionLost as error:
                refused = _refused(error)
        if refused is not None:
            raise refused
        if deadline.cancelled_caught:
            raise ConnectTimeout(
                step="setup", timeout_s=self.timeouts.setup_s, waiting_for="the server's setupComplete"
            )
        try:
            first = codec.decode(frames[0])
        except CodecError as error:
            refused = SetupError(f"the server's first message is not readable: {error}")
        else:
            if first.setup_complete is None:
                refused = SetupError(f"the server's first message must be setupComplete, but it is {_kinds(first)}")
            else:
                self.session_id = first.setup_complete.session_id
        if refused is not None:
            raise refused
        return frames

    def _connected(self) -> None:
        """Announces the connection, before any event of it."""
        now = trio.current_time()
        lifecycle = self.lifecycle
        self._flush_drops()
        lifecycle.connected(now)
        _logger.info("connection %d is ready", self._number)
        if self._number == 1:
            self.publish([Connected(1, at=lifecycle.stamp)])
        else:
            self._reconnected(now)
        if self._started is not None:
            self._started.started()
            self._started = None

    def _reconnected(self, now: float) -> None:
        handle = self.lifecycle.resuming_with
        carried = self.outbox.reconnected(
            now,
            policy=self._policy.uncertain,
            resumed_from=None if handle is None else handle.order,
            activity_start=self._activity_start,
        )
        self.lifecycle.forget()
        for one in carried.dropped:
            self._outage_audio_ms += one.audio_ms
        self._release(carried.freed)
        stamp = self.lifecycle.stamp
        events: list[Event] = [
            Reconnected(
                self._number,
                resumed=handle is not None,
                resumption_handle_age_s=None if handle is None else now - handle.issued_at,
                uncertain=carried.uncertain,
                dropped_audio_ms=self._outage_audio_ms,
                aborted_turn=self._aborted_turn,
                at=stamp,
            )
        ]
        events += _orphans(carried, at=stamp)
        # What the old connection was asked and did not answer, the new one will not answer by itself.
        self.lifecycle.is_asked = self.outbox.has_question
        self.publish(events)
        # After Reconnected, which comes before anything else of the new connection.
        self._drops += carried.dropped
        self._flush_drops()

    def _activity_start(self) -> Entry:
        message = RealtimeInput(activity_start=ActivityStart())
        return Entry(codec.encode(message), message, "mark", trio.current_time(), mark="activity_start")

    async def _converse(self, transport: Transport, frames: Sequence[str | bytes]) -> _Outcome:
        """Reads and writes until one of the two ends; returns why."""
        self._is_leaving = False
        outcomes: list[_Outcome] = []
        self._connected()
        self._take_in(frames)
        async with trio.open_nursery() as nursery:
            self._conversing = scope = nursery.cancel_scope
            if self._closing.is_set():
                scope.cancel()

            async def read() -> None:
                try:
                    while True:
                        self._take_in(await transport.receive())
                except ConnectionLost as error:
                    outcomes.append(error)
                scope.cancel()

            async def write() -> None:
                try:
                    await self._write(transport)
                except ConnectionLost:
                    # The reader is told too, after what the server said before: that is often why it closed.
                    return
                outcomes.append(_Left())
                scope.cancel()

            nursery.start_soon(read)
            nursery.start_soon(write)
            nursery.start_soon(self._await_hand_over)
            if self.config.transparent_resumption:
                nursery.start_soon(self._retire_media)
        self._conversing = None
        return outcomes[0] if outcomes else _Left()

    def _take_in(self, frames: Sequence[str | bytes]) -> None:
        """Turns what arrived in one read into events, and publishes them in one go."""
        lifecycle = self.lifecycle
        published: list[Event] = []
        for frame in frames:
            stamp = lifecycle.stamp
            try:
                message = codec.decode(frame)
            except CodecError as error:
                published.append(ServerMessageError((str(error),), at=stamp))
                continue
            events = codec.events(message, stamp)
            turn, handle = stamp.turn, lifecycle.handle
            lifecycle.received(events, trio.current_time())
            for event in events:
                if isinstance(event, ToolCallCancellation):
                    self._release(self.outbox.calls_cancelled(event.ids))
            if lifecycle.stamp.turn != turn:
                self.outbox.turn_completed()
            if lifecycle.handle is not handle and lifecycle.handle is not None:
                self.outbox.handle_issued(lifecycle.handle.covers)
            published.extend(events)
        self.publish(published)
        if lifecycle.hand_over_at is not None:
            self._news.set()

    async def _write(self, transport: Transport) -> None:
        """Writes what waits, in batches; returns when the connection is to be left."""
        while not self._is_leaving:
            batch = self.outbox.take(trio.current_time())
            self._taken(batch)
            if batch.entries:
                await transport.send([entry.frame for entry in batch.entries])
                self.outbox.wrote(trio.current_time(), order=self.lifecycle.tick())
                self._wrote.set()
                if self.lifecycle.hand_over_at is not None:
                    self._news.set()
            elif self._closing.is_set():
                return
            else:
                self._work = trio.Event()
                await self._work.wait()

    async def _retire_media(self) -> None:
        """Makes the receipts of written media final when it is too old to be sent again."""
        while True:
            self._wrote = trio.Event()
            at = self.outbox.retires_at
            if at is None:
                await self._wrote.wait()
            else:
                await trio.sleep_until(at)
                self.outbox.retire(trio.current_time())

    async def _await_hand_over(self) -> None:
        """Leaves the connection at the best moment after a GoAway, and at its deadline at the latest."""
        while not self.lifecycle.can_hand_over():
            self._news = trio.Event()
            at = self.lifecycle.hand_over_at
            with trio.move_on_at(math.inf if at is None else at) as deadline:
                await self._news.wait()
            if deadline.cancelled_caught:
                break
        # Not by cancelling: a batch that is being written is finished first, so that it need not become uncertain.
        self._is_leaving = True
        self._work.set()
        if self._conversing is not None:
            limit = trio.current_time() + self._half_close_s
            self._conversing.deadline = min(self._conversing.deadline, limit)

    # --- counting ----------------------------------------------------------------------------------------------------

    def _taken(self, batch: Batch) -> None:
        for entry in batch.entries:
            if entry.asks and entry.kind == "tool":
                self.lifecycle.answer_left()
            elif entry.asks:
                entry.receipt._connection = self._number
                entry.receipt._answer_turn, entry.receipt._shifts = self.lifecycle.question_left()
        self._note_dropped(batch.dropped)
        self._release(batch.freed)

    def _release(self, places: int) -> None:
        for _ in range(places):
            self._places.release()

    def _note_dropped(self, dropped: Sequence[Dropped]) -> None:
        for one in dropped:
            self._outage_audio_ms += one.audio_ms
        self._drops += dropped
        if self._drops and trio.current_time() - self._drops_told_at >= _DROP_REPORT_EVERY_S:
            self._flush_drops()

    def _flush_drops(self) -> None:
        if not self._drops:
            return
        self._drops_told_at = trio.current_time()
        stamp = self.lifecycle.stamp
        self.publish([InputDropped(one.audio_ms, one.video_frames, one.reason, at=stamp) for one in merge(self._drops)])
        self._drops = []


# --- values ----------------------------------------------------------------------------------------------------------


def _refused(error: ConnectionLost) -> SetupError:
    """Returns the error of a connection that ended before its setup was complete."""
    meaning = meaning_of(error.code, error.reason)
    said = f": {error.reason}" if error.reason else ""
    return SetupError(
        f"the server closed with code {error.code} instead of accepting the setup{said}. {meaning.cause}",
        code=error.code,
        reason=error.reason,
        retryable=meaning.remedy is not Remedy.FATAL,
    )


def _kinds(message: ServerMessage) -> str:
    names = [
        field.name
        for field in attrs.fields(ServerMessage)
        if field.name not in ("extra", "problems") and getattr(message, field.name) is not None
    ]
    return " and ".join([*names, *(str(key)[:40] for key in message.extra)]) or "an empty object"


def _orphans(carried: Carried, *, at: Stamp) -> list[Event]:
    events: list[Event] = []
    for entry in carried.orphans:
        assert isinstance(entry.message, ToolResponse)
        for response in entry.message.function_responses or ():
            events.append(OrphanedToolResult(response.id, response.name, response.response, at=at))
    return events


_OVERHEAD_BYTES = 256
"""About what an event object and its place in a queue take."""


def _size(event: Event) -> int:
    match event:
        case ModelAudio(data=data) | ModelMedia(data=data):
            return len(data) + _OVERHEAD_BYTES
        case ModelText(text=text) | ModelThought(text=text) | _InputTranscript(text=text) | OutputTranscript(text=text):
            return 2 * len(text) + _OVERHEAD_BYTES
        case _:
            return 4 * _OVERHEAD_BYTES


Rank = Literal[0, 1, 2, 3]


def _rank(event: Event) -> Rank:
    """Returns how late an event is dropped from a cursor that lags; the table of docs/session.md."""
    match event:
        case ModelAudio() | ModelMedia():
            return 0
        case InterimInputTranscript() | Usage() | ModelThought() | InputDropped() | ServerMessageError():
            return 1
        case ModelText() | _InputTranscript() | OutputTranscript():
            return 2
        case Grounding() | UrlContext() | ExecutableCode() | CodeResult() | UnknownMessage() | ResumptionUpdate():
            return 1
        case _:
            # Tool calls, interruptions, turn and lifecycle events: without one of these a consumer does wrong things.
            return 3


def _lag(so_far: Event | None, dropped: Event) -> Event:
    events, audio_ms = 1, 0.0
    if isinstance(so_far, Lagged):
        events, audio_ms = so_far.events + 1, so_far.audio_ms
    if isinstance(dropped, ModelAudio):
        audio_ms += dropped.duration_ms
    return Lagged(events, audio_ms, at=dropped.at)
