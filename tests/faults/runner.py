"""Runs one schedule: a session against the emulator in memory, under the virtual clock, with everything noted.

::

    plan ──> the body and its tasks ──> session ──> Tap ──> emulator ──> the model of the plan
      └────> actors: one for each dial, one for each connection, one for the end; they make the faults

The only chances in a run are trio's order of tasks and the session's jitter, and both are drawn from the seed: a seed
gives the same run on every machine, to the last step.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, NoReturn

import attrs
import trio
import trio.testing
import trustme

from gemlive.emulator import Behaviour, Close, Script, Turn, serve_in_memory
from gemlive.emulator._pipe import pipe
from gemlive.errors import ConnectError, GemliveError, SessionLost
from gemlive.session import Receipt, ReconnectPolicy, Session, open_session
from gemlive.transport import Endpoint, GoogleAI, Timeouts, VertexAI
from gemlive.types import (
    Connected,
    Event,
    FunctionDeclaration,
    FunctionResponse,
    Lagged,
    ModelAudio,
    Reconnected,
    Reconnecting,
    ResumptionUpdate,
    SessionConfig,
    ToolCall,
    ToolCallCancellation,
    UsageMetadata,
)
from tests.faults.keys import key_of
from tests.faults.record import Asked, Dialled, Got, Mark, Outcome, Piece, Reader, Run, Seen, SendKind, Sent
from tests.faults.schedule import KINDS, Action, Answer, Dial, Fault, Plan, Say, Status, plan
from tests.faults.wiretap import News, Tap

VIRTUAL_LIMIT_S = 40_000.0
"""Longer than any schedule takes, the jumps of its clock included: what has not ended then never will."""

MAX_DIALS = 60
"""More than any plan and policy can need: a session that dials more often spins."""

_LINGER_S = 250.0
_ACTION_S = 40.0
_CHUNK_BYTES = 640  # 20 ms
_LOUD = b"\x00\x20\x00\xe0"  # a square wave, far above any noise floor
_OVERSIZE_BYTES = 16 * 2**20 + 1
_PIECE = bytes(64 * 1024)


class BodyError(Exception):
    """What the body of a schedule raises where the plan says that it fails."""


class Spinning(BaseException):
    """A session dials without end."""


def run(seed: int) -> Run:
    """Runs the schedule of a seed."""
    return run_plan(plan(seed))


def run_plan(schedule: Plan) -> Run:
    """Runs a schedule."""
    with _chances_from(schedule.seed):
        clock = trio.testing.MockClock(autojump_threshold=0)
        return trio.run(_Laboratory(schedule, clock).run, clock=clock)


@contextmanager
def _chances_from(seed: int) -> Iterator[None]:
    """Draws everything that is left to chance from the seed."""
    import trio._core._run as scheduler

    class Seeded(random.Random):
        def __init__(self, x: int | float | str | bytes | bytearray | None = None) -> None:
            super().__init__(f"chance {seed}" if x is None else x)

    usual, random.Random = random.Random, Seeded  # type: ignore[misc]
    # As trio's own plugin for Hypothesis does it; there is no public way.
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    scheduler._r.seed(seed)
    try:
        yield
    finally:
        random.Random = usual  # type: ignore[misc]


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


@cache
def _contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Returns TLS for the client's side and for the server's."""
    client, server = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _authority().configure_trust(client)
    _authority().issue_cert("localhost").configure_cert(server)
    return client, server


class _Laboratory:
    """One run."""

    def __init__(self, schedule: Plan, clock: trio.testing.MockClock) -> None:
        self.plan = schedule
        self.setting = schedule.setting
        self.clock = clock
        self.session: Session | None = None
        self.taps: list[Tap] = []
        self.dialled: list[Dialled] = []
        self.sent: list[Sent] = []
        self.receipts: list[tuple[Sent, Receipt]] = []
        self.events: list[tuple[float, Event]] = []
        self.readers: list[Reader] = []
        self.raw_got: list[tuple[Reader, Event, int | None]] = []
        self.asked: list[Asked] = []
        self.pieces: list[Piece] = []
        self.marks: list[Mark] = []
        self.jumps: list[tuple[float, float]] = []
        self.met: list[tuple[str, Status]] = []
        self.outcome = Outcome()
        self.left_at: float | None = None
        self.exited_at = 0.0
        self.has_read_on = True
        self.was_cancelled = False
        self.has_failed_itself = False
        self._plans: dict[int, Dial] = {}
        self._numbers = 0
        self._ticks = 0
        self._keys = 0
        self._turns = 0
        self._calls = 0
        self._raw_calls = 0
        self._storm = 0
        self._pending: dict[int, list[Fault]] = {}
        self._answers: dict[str, Answer] = {}
        self._open_calls: dict[str, int] = {}
        self._handle: str | None = None
        self._seen_handles = 0
        self._laggards: list[str] = []
        self._quiet_s = 0.2
        self._murmuring = trio.Event()
        self._leaving = trio.Event()
        self._exited = trio.Event()
        self._progress = trio.Event()
        self._actors_busy = 0
        self._mouth = trio.Lock()
        self._speaks = False
        self._body_fails = False
        self._body_scope = trio.CancelScope()
        self._block_scope = trio.CancelScope()

    # --- the frame ---------------------------------------------------------------------------------------------------

    async def run(self) -> Run:
        hung = ""
        script = Script(model=self._answer_turn, connections=self._behaviour)
        with trio.move_on_after(VIRTUAL_LIMIT_S) as limit:
            async with serve_in_memory(script) as self.server, trio.open_nursery() as self.outer:
                self.outer.start_soon(self._closing)
                await self._block()
                await self._settle()
                self.outer.cancel_scope.cancel()
        if limit.cancelled_caught:
            hung = "the block was not left" if not self._exited.is_set() else "something goes on after the block"
        return self._record(hung)

    async def _block(self) -> None:
        try:
            with self._block_scope:
                async with open_session(
                    self._config(),
                    endpoint=self._endpoint(),
                    reconnect=self._policy(),
                    timeouts=Timeouts(close_s=self.setting.close_s),
                ) as session:
                    self.session = session
                    self.outer.start_soon(self._witness, session)
                    try:
                        await self._body(session)
                    finally:
                        self._leave()
        except BaseExceptionGroup as group:
            self.outcome = _outcome_of(group)
            if group.subgroup(trio.Cancelled) is not None:
                raise
        except Exception as error:
            self.outcome = _outcome_of(error)
        finally:
            self.exited_at = trio.current_time()
            self._exited.set()
        if self._block_scope.cancelled_caught:
            self.was_cancelled = True

    async def _settle(self) -> None:
        """Gives everything that ends with the session the time to end; virtual time, so it costs nothing."""
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        if self.session is not None:
            for method in (lambda: self.session.send_text("late"), lambda: self.session.send_audio(bytes(2))):
                await self._send("text", "late", method)
        for sent, receipt in self.receipts:
            with trio.move_on_after(0.001) as patience:
                await receipt.wait()
            sent.state, sent.reason, sent.is_final = receipt.state, receipt.reason, not patience.cancelled_caught
        await trio.sleep(60)  # a reader that pauses between events

    def _config(self) -> SessionConfig:
        setting = self.setting
        return SessionConfig(
            model=setting.model,
            response_modalities=None if setting.speaks else ("TEXT",),
            transcription=True if setting.speaks else None,
            vad="manual" if setting.is_manual else None,
            resumption=setting.resumption,
            resumption_handle=setting.handle,
            transparent_resumption=True if setting.transparent else None,
            history=True if setting.history else None,
            tools=(FunctionDeclaration(name="look", description="Looks out of the window."),),
        )

    def _policy(self) -> ReconnectPolicy:
        setting = self.setting
        return ReconnectPolicy(
            attempts=setting.attempts,
            window_attempts=setting.window_attempts,
            uncertain=setting.uncertain,
            lost_context=setting.lost_context,
            first_dial=setting.first_dial,
        )

    def _endpoint(self) -> Endpoint:
        is_tls = self.setting.is_tls
        common: dict[str, Any] = {
            "base_url": "wss://localhost" if is_tls else "ws://localhost",
            "ssl_context": _contexts()[0] if is_tls else None,
            "connect": _Cable(self._connect),
        }
        if self.setting.backend == "vertex":
            return VertexAI("a-project", "us-central1", token="a-token", **common)
        return GoogleAI("a-key", **common)

    # --- looking -----------------------------------------------------------------------------------------------------

    def status(self) -> Status | None:
        """Returns where the session is; None when it is over."""
        if self._exited.is_set():
            return None
        says = None if self.session is None else self.session.status.value
        if says == "closed":
            return None
        if self._leaving.is_set():
            return "closing"
        if says is None:
            return "connecting"
        return "connected" if says == "connected" else "reconnecting"

    def _meet(self, kind: str) -> None:
        status = self.status()
        if status is not None and kind:
            self.met.append((kind, status))

    @property
    def _tap(self) -> Tap | None:
        """The connection in use."""
        return self.taps[-1] if self.taps and self.taps[-1].is_live else None

    def _note_progress(self) -> None:
        self._progress.set()
        self._progress = trio.Event()

    def _next_key(self) -> int:
        self._keys += 1
        return self._keys

    # --- dialling ----------------------------------------------------------------------------------------------------

    async def _connect(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ordinal = len(self.dialled) + 1
        if ordinal > MAX_DIALS:
            raise Spinning(f"{ordinal} dials")
        dial = self.plan.dials[ordinal - 1] if ordinal <= len(self.plan.dials) else Dial()
        self._ticks += 1
        noted = Dialled(ordinal=ordinal, number=None, at=trio.current_time(), tick=self._ticks)
        self.dialled.append(noted)
        self._note_progress()
        kinds = {fault.kind for fault in dial.before}
        if "refused-connection" in kinds:
            self._meet("refused-connection")
            raise ConnectionRefusedError("the schedule refuses this connection")
        if "silent-tcp" in kinds:
            self._meet("silent-tcp")
            await trio.sleep_forever()
        tap = await self._tapped(dial, noted, is_silent="silent-tls" in kinds)
        self.taps.append(tap)
        self._pending[ordinal] = list(dial.before)
        for fault in dial.before:
            self.outer.start_soon(self._act_before, tap, fault)
        return tap

    async def _tapped(self, dial: Dial, noted: Dialled, *, is_silent: bool) -> Tap:
        if is_silent and self.setting.is_tls:
            self._meet("silent-tls")
            stream, self._nobody = pipe()
        else:
            self._numbers += 1
            noted.number = self._numbers
            self._plans[self._numbers] = dial
            if self.setting.is_tls:
                stream, far = pipe()
                secure = trio.SSLStream(far, _contexts()[1], server_side=True)
                self.outer.start_soon(self.server.attend, secure)
            else:
                assert self.server.connect is not None
                stream = await self.server.connect("localhost", 80)  # type: ignore[assignment]
        noted.is_secret = self.setting.is_tls
        return Tap(
            stream,
            ordinal=noted.ordinal,
            is_secret=noted.is_secret,
            tell=lambda news: self._on_news(noted.ordinal, news),
            fired=self._meet,
            closed=lambda: self._on_closed(noted),
        )

    def _on_closed(self, noted: Dialled) -> None:
        self._ticks += 1
        noted.closed_tick = self._ticks
        noted.closed_at = trio.current_time()

    def _behaviour(self, number: int) -> Behaviour:
        """Returns what the emulator does on a connection by itself, until it is set up."""
        dial = self._plans[number]
        does: dict[str, Any] = {"setup_after_s": dial.setup_after_s}
        for fault in dial.before:
            kind = fault.kind
            if kind in ("silent-upgrade", "silent-setup"):
                does["silent_at"] = kind.removeprefix("silent-")
            elif kind.startswith("http-"):
                does["upgrade_status"] = int(kind.split("-")[1])
                if kind.endswith("-after"):
                    does["upgrade_headers"] = (("Retry-After", f"{fault.number:.0f}"),)
            elif kind in ("handle-refused", "handle-failed") and fault.ending is not None:
                does["refuse_resumption"] = Close(fault.ending.code, fault.ending.reason)
            elif fault.ending is not None:
                does["refuse_setup"] = Close(fault.ending.code, fault.ending.reason)
            elif kind == "goaway-first":
                does["first_message"] = {"goAway": {"timeLeft": "30s"}}
            elif kind in ("malformed", "unknown", "wrong-typed"):
                does["first_message"] = fault.text
        return Behaviour(**does)

    def _on_news(self, ordinal: int, news: News) -> None:
        """Notes that a fault was met, at the moment at which it is."""
        tap = self._tap_of(ordinal)
        pending = self._pending.get(ordinal, [])
        for fault in list(pending):
            kind = fault.kind
            is_met = (
                (news == "request" and kind == "silent-upgrade")
                or (news == "first_out" and kind == "silent-setup")
                or (news == "head" and kind.startswith("http-") and tap.status == int(kind.split("-")[1]))
                or (news == "close" and fault.ending is not None)
                or (news == "first_in" and kind in ("goaway-first", "malformed", "unknown", "wrong-typed"))
            )
            if is_met:
                self._meet(kind)
            elif news == "first_out" and kind in ("drop-setup", "close-1006", "bad-frame", "oversize"):
                self._break_setup(tap, fault)
        if news in ("first_in", "close"):
            self._pending.pop(ordinal, None)

    def _tap_of(self, ordinal: int) -> Tap:
        return next(tap for tap in self.taps if tap.ordinal == ordinal)

    def _break_setup(self, tap: Tap, fault: Fault) -> None:
        match fault.kind:
            case "drop-setup":
                tap.cut_after("in", int(fault.number), fault.kind)
            case "close-1006":
                self._meet(fault.kind)
                tap.cut()
            case _:
                self._meet(fault.kind)
                tap.inject(*_broken_frames(fault))

    async def _act_before(self, tap: Tap, fault: Fault) -> None:
        """Makes a fault while a dial is under way."""
        kind = fault.kind
        if kind in ("drop-in", "drop-out"):
            tap.cut_after("in" if kind == "drop-in" else "out", int(fault.number), kind)
        elif kind == "drop-upgrade" and not self.setting.is_tls:
            tap.cut_after("in", int(fault.number), kind)
        elif kind == "trickle":
            self._meet(kind)
            tap.trickle(int(fault.number), 0.05)
            self._slowed(tap)
        elif kind in _BY_ACTORS:
            await self._steps(fault.steps)
            await self._do(fault, tap)

    # --- on a connection, and at the end -----------------------------------------------------------------------------

    async def _during(self, tap: Tap, faults: Sequence[Fault]) -> None:
        try:
            for fault in faults:
                await trio.sleep(fault.after_s)
                await self._steps(fault.steps)
                if not tap.is_live or self._leaving.is_set():
                    return
                await self._do(fault, tap)
        finally:
            self._actors_busy -= 1
            self._note_progress()

    async def _closing(self) -> None:
        await self._leaving.wait()
        for fault in self.plan.closing:
            await self._steps(fault.steps)
            if self.status() is None:
                return
            tap = self._tap
            if tap is None and fault.kind not in _WITHOUT_CONNECTION:
                continue
            await self._do(fault, tap)

    async def _steps(self, count: int) -> None:
        for _ in range(count):
            await trio.lowlevel.checkpoint()

    def _slowed(self, tap: Tap) -> None:
        self.dialled[tap.ordinal - 1].is_slowed = True

    async def _do(self, fault: Fault, tap: Tap | None) -> None:
        """Makes one fault now."""
        kind, number = fault.kind, fault.number
        if kind in _WITHOUT_CONNECTION:
            await self._do_program(fault)
            return
        assert tap is not None
        match kind:
            case "drop-in" | "drop-out":
                tap.cut_after("in" if kind == "drop-in" else "out", int(number), kind)
                await self._until(lambda: not tap.is_live, 30)
                return
            case "reset":
                self._meet(kind)
                tap.cut(resets=True)
                return
            case "goaway-storm":
                self._storm += 1
                if self._storm == 3:
                    self._meet(kind)
                await self._announce(number)
                await self._until(lambda: not tap.is_live, 100)
                return
            case "call":
                await self._raw_call(Answer(after_s=None))
                return
        if kind in _BY_CALLS:
            await self._do_call(fault, tap)
            return
        self._meet(kind)
        match kind:
            case "close-1006":
                self.server.drop()
            case "black-hole":
                tap.sink()
                self.dialled[tap.ordinal - 1].went_silent_at = trio.current_time()
                await self._until(lambda: not tap.is_live, 100)
            case "deaf":
                tap.hold("out")
                self._slowed(tap)
                await self._until(lambda: not tap.is_live, 100)
            case "stall":
                tap.hold("in", "out")
                self._slowed(tap)
                if self.session is not None and self.setting.is_manual:
                    self.outer.start_soon(self._speak, self.session, 1)
                for _ in range(4):
                    await self._mark()
                await trio.sleep(number)
                tap.release()
                await self._mark()
            case "trickle":
                tap.trickle(int(number), 0.05)
                self._slowed(tap)
                await self._until(lambda: not tap.is_live, 5)
                tap.release()
            case "pings":
                tap.inject(b"\x89\x00" * int(number))
            case "bad-frame" | "oversize":
                if not tap.is_secret:
                    tap.inject(*_broken_frames(fault))
            case "malformed" | "unknown" | "wrong-typed":
                await self._raw(fault.text)
                await self._mark()
                if tap.is_live and not self._leaving.is_set():
                    await trio.sleep(0.05)
                    await self._mark()
            case "handle-again" | "handle-unusable" | "handle-empty" | "handle-index":
                await self._raw({"sessionResumptionUpdate": self._update(fault)})
            case _ if kind.startswith("goaway"):
                await self._go_away(fault, tap)
            case _ if fault.ending is not None:
                self.server.close(fault.ending.code, fault.ending.reason)
            case _:
                raise AssertionError(f"nobody makes {kind}")

    async def _raw(self, message: Mapping[str, object] | str) -> None:
        with suppress(RuntimeError):  # the conversation is just ending
            await self.server.raw(message)

    async def _announce(self, time_left_s: float) -> None:
        with suppress(RuntimeError):  # likewise
            await self.server.go_away(time_left_s)

    async def _mark(self) -> None:
        """Sends something that must be seen if anything is that is sent later."""
        tap = self._tap
        number = None if tap is None else self.dialled[tap.ordinal - 1].number
        if number is not None and self.status() == "connected":
            self.marks.append(Mark(text=f"mark-{len(self.marks)}", connection=number, at=trio.current_time()))
            await self._raw({"mark": self.marks[-1].text})

    def _update(self, fault: Fault) -> Mapping[str, object]:
        match fault.kind:
            case "handle-again":
                return {"newHandle": self._handle, "resumable": True} if self._handle else {"resumable": False}
            case "handle-unusable":
                return {"newHandle": "an-unusable-handle", "resumable": False}
            case "handle-empty":
                return {"newHandle": "", "resumable": True}
            case _:
                handle = self._handle or ""
                return {
                    "newHandle": handle,
                    "resumable": bool(handle),
                    "lastConsumedClientMessageIndex": str(int(fault.number)),
                }

    async def _go_away(self, fault: Fault, tap: Tap) -> None:
        match fault.kind:
            case "goaway-zero":
                await self._announce(0)
            case "goaway-untimed":
                await self._raw({"goAway": {}})
            case "goaway-twice":
                await self._announce(fault.number)
                await trio.sleep(0.5)
                if tap.is_live:
                    await self._announce(fault.number / 2)
            case "goaway-silent":
                await self._raw({"goAway": {"timeLeft": f"{fault.number:.0f}s"}})
                await self._steps(20)
                tap.hold("in")
            case _:
                await self._announce(fault.number)
        await self._until(lambda: not tap.is_live, 100)

    async def _until(self, condition: Callable[[], bool], patience_s: float) -> None:
        with trio.move_on_after(patience_s):
            while not condition():
                await self._progress.wait()

    # --- faults of the program ---------------------------------------------------------------------------------------

    async def _do_program(self, fault: Fault) -> None:
        match fault.kind:
            case "clock-jump":
                self._meet(fault.kind)
                self.jumps.append((trio.current_time(), fault.number))
                self.clock.jump(fault.number)
            case "cancelled-block":
                self._meet(fault.kind)
                if self.left_at is None:
                    self.left_at = trio.current_time()
                self._block_scope.cancel()
            case "body-error":
                self._meet(fault.kind)
                self._body_fails = True
                self._body_scope.cancel()
            case "slow-consumer" | "stuck-consumer":
                self._consume(fault)
            case "flood":
                await self._flood(int(fault.number))
            case "cancelled-send":
                await self._cancel_sends(int(fault.number))
            case "answer-late" | "answer-twice":
                await self._do_call(fault, None)
            case _:
                raise AssertionError(f"nobody makes {fault.kind}")

    async def _flood(self, count: int) -> None:
        session = self.session
        if session is None:
            return
        for _ in range(count):
            self._meet_once("flood")
            if not await self._send_audio(session, loud=False):
                return
            await trio.sleep(0.002)

    def _meet_once(self, kind: str) -> None:
        status = self.status()
        if status is not None and (kind, status) not in self.met:
            self.met.append((kind, status))

    async def _cancel_sends(self, steps: int) -> None:
        session = self.session
        if session is None:
            return
        if steps >= 5 and self.status() != "closing":
            self._clog(session)
        self._meet("cancelled-send")
        for more in range(3):
            with trio.CancelScope() as scope:
                self.outer.start_soon(self._cancel_after, scope, (steps + more) % 7)
                await self._send_text(session)
        if not self.setting.is_manual:
            with trio.CancelScope() as scope:
                self.outer.start_soon(self._cancel_after, scope, steps % 3)
                await self._send_audio(session, loud=False)

    async def _cancel_after(self, scope: trio.CancelScope, steps: int) -> None:
        await self._steps(steps)
        scope.cancel()

    def _consume(self, fault: Fault) -> None:
        session = self.session
        if session is None:
            return
        is_slow = fault.kind == "slow-consumer"
        bound = 8 if is_slow else int(fault.number)
        cursor = session.subscribe(max_events=bound)
        reader = Reader(kind=fault.kind, max_events=bound, began=self._published(session))
        self.readers.append(reader)
        self._laggards.append(fault.kind)
        if is_slow:
            self.outer.start_soon(self._read_slowly, reader, cursor, fault.number)
        else:
            self.outer.start_soon(self._hardly_read, session, reader, cursor)

    @staticmethod
    def _published(session: Session) -> int:
        return session.statistics().receiving.published_events

    async def _read_slowly(self, reader: Reader, cursor: trio.abc.ReceiveChannel[Event], pause_s: float) -> None:
        async with cursor:
            async for event in cursor:
                self.raw_got.append((reader, event, None))
                if not self._exited.is_set():
                    with trio.move_on_after(pause_s):
                        await self._exited.wait()
        reader.has_ended = True

    async def _hardly_read(self, session: Session, reader: Reader, cursor: Any) -> None:
        pause_s = 0.7
        while not reader.has_ended:
            with trio.move_on_after(pause_s):
                await self._exited.wait()
            pause_s = min(pause_s * 2, 40.0)
            most = 10**9 if self._exited.is_set() else 3
            try:
                for _ in range(most):
                    published = self._published(session)
                    self.raw_got.append((reader, cursor.receive_nowait(), published))
            except trio.WouldBlock:
                await trio.lowlevel.checkpoint()
            except trio.EndOfChannel:
                reader.has_ended = True
        cursor.close()

    # --- tools -------------------------------------------------------------------------------------------------------

    async def _raw_call(self, answer: Answer, *, call_id: str | None = None) -> str:
        if call_id is None:
            self._raw_calls += 1
            call_id = f"raw-{self._raw_calls}"
        self._answers[call_id] = answer
        await self._raw({"toolCall": {"functionCalls": [{"id": call_id, "name": "look", "args": {}}]}})
        await self._until(lambda: call_id in self._open_calls, 0.05)
        return call_id

    async def _do_call(self, fault: Fault, tap: Tap | None) -> None:
        kind = fault.kind
        if tap is not None and self.status() == "closing" and kind in ("call-cancelled", "call-repeated"):
            self._meet(kind)
            call: Mapping[str, object] = {"toolCall": {"functionCalls": [{"id": "raw-0", "name": "look", "args": {}}]}}
            await self._raw(call)
            await self._raw({"toolCallCancellation": {"ids": ["raw-0"]}} if kind == "call-cancelled" else call)
            return
        if tap is None or self.status() != "connected":
            await self._answer_now(kind)
            return
        match kind:
            case "call-cancelled":
                call_id = await self._raw_call(Answer(after_s=0.2 * (fault.steps % 3)))
                await self._steps(fault.steps)
                self._meet(kind)
                await self._raw({"toolCallCancellation": {"ids": [call_id]}})
            case "call-repeated":
                call_id = await self._raw_call(Answer(after_s=0.01 * (fault.steps % 3)))
                await self._steps(fault.steps)
                self._meet(kind)
                await self._raw_call(Answer(after_s=0.3), call_id=call_id)
            case "answer-twice":
                await self._raw_call(Answer(after_s=0.0, times=2))
            case _:
                call_id = await self._raw_call(Answer(after_s=None))
                if call_id in self._open_calls and tap.is_live and self.status() == "connected":
                    if kind == "call-cut":
                        self._meet(kind)
                    tap.cut(resets=bool(fault.steps % 2))
                    if kind == "answer-late":
                        self.outer.start_soon(self._answer_later, call_id)

    async def _answer_later(self, call_id: str) -> None:
        asked_on = self._open_calls[call_id]
        session = self.session
        assert session is not None
        await self._until(lambda: session.connection > asked_on, 30)
        await self._answer(call_id, asked_on=asked_on)

    async def _answer_now(self, kind: str) -> None:
        """Answers a call that is open, in whatever status the session is."""
        call_id = next(iter(self._open_calls), None)
        if call_id is None:
            return
        asked_on = self._open_calls[call_id]
        for _ in range(2 if kind == "answer-twice" else 1):
            await self._answer(call_id, asked_on=asked_on)
        if kind == "answer-twice":
            self._meet(kind)

    async def _respond(self, call_id: str, answer: Answer) -> None:
        """Answers a call as the plan says."""
        if answer.after_s is None:
            return
        asked_on = self._open_calls.get(call_id, 0)
        with trio.move_on_after(answer.after_s):
            await self._exited.wait()
        for number in range(answer.times):
            await self._answer(call_id, asked_on=asked_on)
            if number:
                self._meet("answer-twice")

    async def _answer(self, call_id: str, *, asked_on: int) -> None:
        session = self.session
        assert session is not None
        if session.connection != asked_on or self.status() in ("reconnecting", "closing"):
            self._meet("answer-late")
        key = f"x{self._next_key()}"
        response = FunctionResponse(id=call_id, name="look" if self._keys % 2 else None, response={"key": key})
        await self._send("tool", key, lambda: session.send_tool_response(response), call_id=call_id)
        self._open_calls.pop(call_id, None)

    # --- the program -------------------------------------------------------------------------------------------------

    async def _body(self, session: Session) -> None:
        for task in self.plan.tasks[1:]:
            self.outer.start_soon(self._task, session, task)
        self.outer.start_soon(self._murmur, session)
        with self._body_scope:
            try:
                await self._perform(session, self.plan.tasks[0])
            except SessionLost:
                self.has_failed_itself = True
                raise
            await self._stay(session)
        if self._body_fails and not self._leaving.is_set():
            self._fail()
        if self.plan.says_goodbye:
            with trio.move_on_after(_ACTION_S):
                await self._send_text(session)
        if self.plan.ending == "aclose":
            self._leave()
            with self._body_scope:
                await session.aclose()
            if self._body_fails:
                self._fail()

    async def _stay(self, session: Session) -> None:
        """Waits until it is time to leave."""
        with trio.move_on_after(0 if self.plan.leaves == "at once" else _LINGER_S):
            while len(self.dialled) < len(self.plan.dials) or self._actors_busy:
                if self.plan.leaves == "while reconnecting" and self.status() == "reconnecting":
                    self._clog(session)
                    await self._steps(200)
                    return
                await self._progress.wait()

    def _clog(self, session: Session) -> None:
        """Sends more than there are places for, so that the last ones wait."""
        if self._takes_content:
            for _ in range(66):
                self.outer.start_soon(self._send_content, session)

    def _fail(self) -> NoReturn:
        self.has_failed_itself = True
        raise BodyError("the body failed, as planned")

    def _leave(self) -> None:
        if self.left_at is None:
            self.left_at = trio.current_time()
        if not self._leaving.is_set():
            # What the body scope did until here it has done; in `aclose` it may be cancelled again.
            self._body_scope = trio.CancelScope()
        self._leaving.set()
        self._note_progress()

    async def _task(self, session: Session, actions: Sequence[Action]) -> None:
        with suppress(SessionLost):
            await self._perform(session, actions)

    async def _perform(self, session: Session, actions: Sequence[Action]) -> None:
        for action in actions:
            await trio.sleep(action.pause_s)
            with trio.move_on_after(_ACTION_S):
                await self._act(session, action)

    async def _act(self, session: Session, action: Action) -> None:
        match action.kind:
            case "text":
                await self._send_text(session)
            case "ask":
                await self._ask(session)
            case "question":
                await self._question(session)
            case "content":
                await self._send_content(session)
            case "history":
                key = f"h{self._next_key()}"
                await self._send("history", key, lambda: session.send_client_content(key))
            case "audio":
                for _ in range(action.count):
                    await self._send_audio(session, loud=False)
            case "video":
                await self._send_video(session)
            case "speech":
                for _ in range(1 + action.count):
                    await self._send_audio(session, loud=True, size=5 * _CHUNK_BYTES)
                await self._send_audio(session, loud=False, size=48 * _CHUNK_BYTES)
            case "activity":
                await self._speak(session, action.count)
            case "stream_end":
                await self._send("mark", "audio_stream_end", session.audio_stream_end)
            case "await":
                await self._until(lambda: session.connection >= action.count, _ACTION_S)

    async def _speak(self, session: Session, count: int) -> None:
        """Marks an activity and sends its audio; a long one goes on over the end of a connection, if one comes."""
        async with self._mouth:
            if self._speaks and not await self._stop_speaking(session):
                return  # whoever spoke before was cancelled in the middle of it
            self._speaks = await self._send("mark", "activity_start", session.activity_start)
            if not self._speaks:
                return
            connection = session.connection
            for number in range(count):
                await self._send_audio(session, loud=True)
                if number == 1:
                    await self._until(lambda: session.connection != connection, 2)
            await self._stop_speaking(session)

    async def _stop_speaking(self, session: Session) -> bool:
        has_ended = await self._send("mark", "activity_end", session.activity_end)
        self._speaks = self._speaks and not has_ended
        return has_ended

    async def _murmur(self, session: Session) -> None:
        """Says something now and then, often after each new connection and rarely later."""
        number = 0
        while not self._leaving.is_set():
            with trio.move_on_after(self._quiet_s):
                await self._murmuring.wait()
                self._murmuring = trio.Event()
            self._quiet_s = min(self._quiet_s * 2, 30.0)
            number += 1
            with trio.move_on_after(_ACTION_S):
                if number % 4 == 1:
                    await self._send_text(session)  # which the model answers, so it is dear
                elif number % 2 or self.setting.is_manual:
                    await self._send_video(session)
                else:
                    await self._send_audio(session, loud=False)

    @property
    def _takes_content(self) -> bool:
        return not self.setting.speaks

    async def _send_text(self, session: Session) -> bool:
        key = f"t{self._next_key()}"
        return await self._send("text", key, lambda: session.send_text(key))

    async def _send_content(self, session: Session) -> None:
        key = f"c{self._next_key()}"
        await self._send("content", key, lambda: session.send_client_content(key, turn_complete=False))

    async def _send_video(self, session: Session) -> bool:
        key = f"v{self._next_key()}"
        return await self._send("video", key, lambda: session.send_video(key.encode()))

    async def _send_audio(self, session: Session, *, loud: bool, size: int = _CHUNK_BYTES) -> bool:
        number = self._next_key()
        pcm = number.to_bytes(4, "little") + (_LOUD if loud else bytes(4)) * (size // 4 - 1)
        return await self._send("audio", f"a{number}", lambda: session.send_audio(pcm), audio_ms=size / 32)

    async def _ask(self, session: Session) -> None:
        key = f"t{self._next_key()}"
        state, said, began_at = "", "", trio.current_time()
        try:
            async with session.turn() as turn:
                if await self._send("text", key, lambda: session.send_text(key)):
                    await turn.wait()
                state, said = turn.state or "", turn.text or turn.transcript
        except SessionLost:
            state = "lost"
            if self.plan.raises:
                raise
        finally:
            self._note_asked(key, state, said, began_at)

    def _note_asked(self, key: str, state: str, said: str, began_at: float) -> None:
        asked = Asked(key=key, state=state, said=said, began_at=began_at, ended_at=trio.current_time())
        self.asked.append(asked)

    async def _question(self, session: Session) -> None:
        key = f"q{self._next_key()}"
        state, said, began_at = "", "", trio.current_time()
        try:
            reply = await session.ask(key)
            state, said = reply.state or "", reply.text or reply.transcript
        except trio.ClosedResourceError:
            state = "lost"
        except SessionLost:
            state = "lost"
            if self.plan.raises:
                raise
        finally:
            self._note_asked(key, state, said, began_at)

    async def _send(self, kind: SendKind, key: str, method: Callable[[], Awaitable[Receipt]], **more: Any) -> bool:
        """Sends, notes how it ended, and says whether it was accepted."""
        sent = Sent(key=key, kind=kind, asked_at=trio.current_time(), **more)
        try:
            receipt = await method()
        except trio.Cancelled:
            sent.outcome = "cancelled"
            raise
        except (GemliveError, trio.ClosedResourceError, ValueError) as error:
            sent.outcome = type(error).__name__
            return False
        else:
            sent.outcome = "accepted"
            sent.order = len(self.receipts) + 1
            self.receipts.append((sent, receipt))
            return True
        finally:
            sent.at = trio.current_time()
            self.sent.append(sent)

    # --- the witness -------------------------------------------------------------------------------------------------

    async def _witness(self, session: Session) -> None:
        async for event in session:
            self.events.append((trio.current_time(), event))
            for kind in self._laggards:
                self._meet_once(kind)
            match event:
                case Connected() | Reconnected():
                    self._on_connected(event.at.connection)
                case Reconnecting():
                    self._note_progress()
                case ResumptionUpdate(handle=handle, resumable=resumable):
                    if handle and resumable is not False:
                        self._handle = handle
                case ToolCall(calls=calls):
                    for call in calls:
                        self._on_call(str(call.id), event.at.connection)
                case ToolCallCancellation(ids=ids):
                    for call_id in ids:
                        self._open_calls.pop(call_id, None)
                case _:
                    pass
        self.has_read_on = False

    def _on_connected(self, connection: int) -> None:
        self._note_progress()
        self._quiet_s = 0.2
        self._murmuring.set()
        tap = self._tap
        if tap is None or self._leaving.is_set():
            return
        if tap._trickle is not None:
            tap.release()
        left = self.plan.dials[tap.ordinal - 1 :]
        faults = left[0].during if left else ()
        if len(left) > 1 and not (faults and _ends(faults[-1])):
            # The dial was to fail and did not, or nothing was to end this connection: the plan goes on all the same.
            faults = (*faults, Fault(kind="reset", status="connected", after_s=0.4))
        if faults:
            self._actors_busy += 1
            self.outer.start_soon(self._during, tap, faults)

    def _on_call(self, call_id: str, connection: int) -> None:
        self._open_calls[call_id] = connection
        answer = self._answers.get(call_id) or self.plan.answers[self._calls % len(self.plan.answers)]
        self._calls += 1
        self.outer.start_soon(self._respond, call_id, answer)
        self._note_progress()

    # --- the model ---------------------------------------------------------------------------------------------------

    async def _answer_turn(self, turn: Turn) -> None:
        number = self._turns
        self._turns += 1
        turn.usage = UsageMetadata(total_token_count=1)
        reply = self.plan.replies[number % len(self.plan.replies)]
        await self._say(turn, f"r{number}.0[{turn.text}]")
        for index, say in enumerate(reply, 1):
            await trio.sleep(say.pause_s)
            await self._step(turn, say, f"r{number}.{index}")

    async def _step(self, turn: Turn, say: Say, text: str) -> None:
        match say.kind:
            case "say":
                await self._say(turn, text)
            case "think":
                await turn.think(text)
            case "call" if "look" in turn.functions:
                await turn.begin_calls([("look", {})])
            case "call_and_wait" if "look" in turn.functions:
                with trio.move_on_after(20):
                    await turn.call("look")
            case "handle" if self.setting.resumption:
                await turn.update_resumption()

    async def _say(self, turn: Turn, text: str) -> None:
        text = text.replace(" ", "_") + ";"
        number = len(self.pieces)
        self.pieces.append(Piece(text=text, connection=turn.connection, is_sent=False))
        if turn.speaks:
            await turn.speak(bytes(200), transcript=text)
        else:
            await turn.say(text)
        self.pieces[number] = attrs.evolve(self.pieces[number], is_sent=True)

    # --- the record --------------------------------------------------------------------------------------------------

    def _record(self, hung: str) -> Run:
        index_of = {id(event): number for number, (_, event) in enumerate(self.events)}
        for reader, event, published in self.raw_got:
            if isinstance(event, Lagged):
                got = Got(event=None, lost=event.events, lost_audio_ms=event.audio_ms, published=published)
            else:
                got = Got(event=index_of.get(id(event), -1), published=published)
            reader.got.append(got)
        for tap in self.taps:
            noted = self.dialled[tap.ordinal - 1]
            noted.cut_at, noted.heard_at, noted.status = tap.cut_at, tap.heard_at, tap.status
            noted.sent, noted.passed, noted.offers = bytes(tap.sent), tap.passed, tuple(tap.offers)
        statistics = {} if self.session is None else attrs.asdict(self.session.statistics().sending)
        return Run(
            plan=self.plan,
            connections=self.server.connections,
            conversations=self.server.conversations,
            pieces=self.pieces,
            marks=self.marks,
            dials=self.dialled,
            sent=self.sent,
            events=[_seen(at, event) for at, event in self.events],
            readers=self.readers,
            asked=self.asked,
            outcome=self.outcome,
            has_entered=self.session is not None,
            has_failed_itself=self.has_failed_itself,
            was_cancelled=self.was_cancelled,
            left_at=self.left_at,
            exited_at=self.exited_at,
            has_read_on=self.session is not None and self.has_read_on,
            statistics=statistics,
            jumps=self.jumps,
            met=self.met,
            hung=hung,
        )


class _Cable:
    """What an endpoint's ``connect`` is."""

    is_loopback = True  # what it returns ends in this process

    def __init__(self, connect: Callable[[str, int], Awaitable[trio.abc.Stream]]) -> None:
        self._connect = connect

    async def __call__(self, host: str, port: int) -> trio.abc.Stream:
        return await self._connect(host, port)


_BY_CALLS = frozenset(("call-cancelled", "call-cut", "call-repeated", "answer-late", "answer-twice"))
_WITHOUT_CONNECTION = frozenset(
    (
        *("clock-jump", "cancelled-block", "body-error", "slow-consumer", "stuck-consumer", "flood"),
        "cancelled-send",
    )
)
_BY_ACTORS = _WITHOUT_CONNECTION | {"reset", "stall", "answer-late", "answer-twice"}


def _ends(fault: Fault) -> bool:
    kind = KINDS.get(fault.kind)
    return kind is not None and (kind.ends or kind.name == "goaway-storm")


def _broken_frames(fault: Fault) -> Sequence[bytes]:
    """Returns bytes of a server that breaks the protocol of WebSocket, in pieces."""
    if fault.kind == "oversize":
        header = b"\x82\x7f" + _OVERSIZE_BYTES.to_bytes(8, "big")
        whole, rest = divmod(_OVERSIZE_BYTES, len(_PIECE))
        return [header, *[_PIECE] * whole, bytes(rest)]
    return [
        (
            b"\x83\x00",  # an opcode that is reserved
            b"\xc1\x02{}",  # a reserved bit: compression that nobody agreed on
            b"\x81\x82\x00\x00\x00\x00{}",  # a mask, which servers must not use
            b"\x81\x02\xff\xfe",  # text that is no UTF-8
            b"\x89\x7e\x00\x80" + bytes(128),  # a ping that is too long
            b"\x00\x02{}",  # a continuation of nothing
        )[int(fault.number)]
    ]


def _outcome_of(error: BaseException) -> Outcome:
    if isinstance(error, ConnectError):
        return Outcome(name=type(error).__name__, told=str(error), step=error.step, retryable=error.retryable)
    if isinstance(error, SessionLost):
        return Outcome(
            name=type(error).__name__,
            told=str(error),
            step=error.step,
            code=error.code,
            reason=error.reason,
            retryable=error.retryable,
        )
    is_group = isinstance(error, BaseExceptionGroup)
    return Outcome(name=type(error).__name__, is_group=is_group, told=f"{error!r}"[:2000])


_STAMPED = ("at",)


def _seen(at: float, event: Event) -> Seen:
    values: dict[str, object] = {}
    for field in attrs.fields(type(event)):
        if field.name in _STAMPED:
            continue
        value = getattr(event, field.name)
        if field.name == "uncertain":
            value = tuple(key_of(message) for message in value)
        elif isinstance(event, ToolCall):
            value = tuple(str(call.id) for call in event.calls)
        elif isinstance(event, ModelAudio) and field.name == "data":
            values["duration_ms"] = event.duration_ms
            value = len(event.data)
        values[field.name] = value
    stamp = event.at
    return Seen(
        kind=type(event).__name__,
        at=at,
        connection=stamp.connection,
        turn=stamp.turn,
        response=stamp.response,
        values=values,
    )
