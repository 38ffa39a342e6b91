"""Calls on a session that is there: how each is made, and what must be true after it was cancelled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

import gemlive
from gemlive import emulator
from gemlive.broadcast import Cursor
from gemlive.emulator import Behaviour, Script, Server, serve_in_memory
from gemlive.session import Status
from gemlive.types import (
    ActivityStart,
    ClientContent,
    ClientMessage,
    Content,
    ContextUpdate,
    Event,
    FunctionDeclaration,
    FunctionResponse,
    Part,
    RealtimeInput,
    SessionClosed,
    ToolCall,
    ToolResponse,
)
from tests.faults.cancel_points import GRACE_S, PIECE_BYTES, Trial, Where, check_frames, task_names
from tests.faults.streams import Network

MODEL = "gemini-live-2.5-flash-preview"
TEXT = gemlive.SessionConfig(
    model=MODEL, response_modalities=("TEXT",), tools=(FunctionDeclaration(name="f", behavior="BLOCKING"),)
)
MANUAL = attrs.evolve(TEXT, vad="manual")
ADAPTABLE = gemlive.SessionConfig(model="gemini-3.8-live", vad="manual")
"""A model whose context can be updated; manual, so that the ear has nothing to do."""

ACT = "act"
ACT_PCM = bytes([7, 0] * 16)
SESSION: tuple[Where, ...] = ("connected", "blocked", "reconnecting", "closing")
EXTRA = {"usageMetadata": {"totalTokenCount": 7}}  # a message of the server that brings an event and no turn


async def check_closed(trial: Trial, session: gemlive.Session) -> None:
    """The session ends by itself, and says that it is closed."""
    try:
        await session.send_text("still there?")
        trial.problems.append("a session that was closed accepted a text")
    except trio.ClosedResourceError:
        pass
    with trio.move_on_after(GRACE_S) as patience:
        await session.aclose()
    trial.expect(not patience.cancelled_caught, "the session does not end")
    trial.expect(session.status is Status.CLOSED, f"the session was closed, and is {session.status}")


async def check_usable(trial: Trial, session: gemlive.Session) -> None:
    """The session answers a question, and all its places are free."""
    with trio.move_on_after(GRACE_S) as patience:
        reply = await session.ask("still there?")
        trial.expect(reply.state == "completed", f"the session's next answer was {reply.state}")
    trial.expect(not patience.cancelled_caught, "the session does not answer any more")
    waiting = session.statistics().sending.messages_waiting
    trial.expect(waiting == 0, f"{waiting} messages wait, and the session has answered")
    # Nothing public tells a lost place before the 64th message waits for it in vain.
    free = session._runner._places.value
    trial.expect(free == 64, f"{free} places are free, and nothing waits")


@attrs.define
class Stage:
    """A session in the state in which the call is made.

    Attributes:
        trial: the run.
        server: the emulator.
        network: between the two.
        session: the session.
        around: tasks that outlive the session.
        cursor: a cursor of the session that nobody reads but the call; like the session's own, it is empty at the call.
        told: one more, for comparison.
        receipt: a receipt that is not final yet.
        turn: a turn whose answer is still to come.
        call_id: a call that waits for its answer.
    """

    trial: Trial
    server: Server
    network: Network
    session: gemlive.Session
    around: trio.Nursery
    cursor: Cursor[Event] = attrs.field(init=False)
    told: Cursor[Event] = attrs.field(init=False)
    receipt: gemlive.Receipt = attrs.Factory(gemlive.Receipt)
    turn: gemlive.Turn | None = None
    call_id: str | None = None


Prepare = Callable[[Stage], Awaitable[None]]


@attrs.frozen(kw_only=True)
class OnSession:
    """A call on a session.

    Attributes:
        act: makes the call.
        where: in which states it makes sense.
        config: the session's configuration.
        before: prepares the server's side of it, while the session is connected.
        ready: prepares it in the state in which it is made.
        check: looks at what only this call promises.
        fills: whether all places for messages are taken first, so that a send has to wait.
        arrived: recognises what the call sends, in the emulator's record; None where it sends nothing.
        may_have_sent: whether a cancelled call may have sent it (``ask``); otherwise it has no effect.
        ends: whether the call ends the session.
    """

    act: Callable[[Stage], Awaitable[object]]
    where: tuple[Where, ...] = SESSION
    config: gemlive.SessionConfig = TEXT
    before: Prepare | None = None
    ready: Prepare | None = None
    check: Prepare | None = None
    fills: bool = True
    arrived: Callable[[ClientMessage], bool] | None = None
    may_have_sent: bool = False
    ends: bool = False

    async def play(self, trial: Trial) -> None:
        """Brings a session into the state, makes the call, and looks at what is left."""
        is_slow = trial.where == "reconnecting"
        connections = (Behaviour(), Behaviour(upgrade_after_s=1)) if is_slow else ()
        async with serve_in_memory(Script(model=answer, connections=connections)) as server:
            network = Network(server.connect, piece_bytes=PIECE_BYTES)
            server.connect = network
            async with trio.open_nursery() as around:
                async with gemlive.open_session(
                    self.config, endpoint=server.endpoint, reconnect=gemlive.ReconnectPolicy(base_s=0)
                ) as session:
                    await wait_all_tasks_blocked()
                    stage = Stage(trial, server, network, session, around)
                    await self._on_stage(stage)
                network.up.release()
                around.cancel_scope.cancel()
            await self._check_after(stage)
            check_frames(trial, network, may_end_torn=trial.where == "closing")

    async def _on_stage(self, stage: Stage) -> None:
        trial, session = stage.trial, stage.session
        if self.before is not None:
            await self.before(stage)
        await _bring(stage, fills=self.fills)
        if self.ready is not None:
            await self.ready(stage)
        await wait_all_tasks_blocked()
        while session.statistics().receiving.cursors[0].events:
            await session.receive()
        stage.cursor, stage.told = session.subscribe(), session.subscribe()
        tasks = task_names()
        await trial.call(lambda: self.act(stage))
        await wait_all_tasks_blocked()
        if trial.where == "connected" and trial.was_cancelled and session.status is Status.CONNECTED:
            trial.expect(task_names() == tasks, f"tasks before: {tasks}, after: {task_names()}")
        if self.ends or trial.where == "closing":
            await check_closed(trial, session)
            return
        if self.check is not None:
            await self.check(stage)
        await check_usable(trial, session)

    async def _check_after(self, stage: Stage) -> None:
        trial = stage.trial
        told = [event async for event in stage.told]
        trial.expect(isinstance(told[-1], SessionClosed), f"the last event is {told[-1]}")
        for whose in (stage.session, stage.cursor):
            with suppress(trio.ClosedResourceError):
                seen = [event async for event in whose]
                is_all = seen == told or [trial.result, *seen] == told
                trial.expect(is_all, f"the call was given {trial.result}, its cursor then {seen}; told were {told}")
        if self.arrived is None:
            return
        messages = [one.message for talk in stage.server.conversations for one in talk.messages]
        times = sum(map(self.arrived, messages))
        trial.expect(times <= 1, f"what was sent once arrived {times} times")
        if trial.was_cancelled and not self.may_have_sent:
            trial.expect(not times, "a send that was cancelled had an effect")
        if isinstance(trial.result, gemlive.Receipt):
            state = trial.result.state
            trial.expect(state not in ("unsent", "uncertain"), f"the receipt ended as {state}")
            has_left = state in ("written", "covered")
            trial.expect(has_left is (times == 1), f"the receipt says {trial.result}; it arrived {times} times")


async def answer(turn: emulator.Turn) -> None:
    if turn.text.endswith("call"):
        await turn.call("f")
    await turn.say("Here.")


async def _bring(stage: Stage, *, fills: bool) -> None:
    """Brings the session into the state."""
    match stage.trial.where:
        case "blocked":
            stage.network.up.stall()
            await stage.session.send_client_content("fill", turn_complete=False)
            await wait_all_tasks_blocked()
            stage.around.start_soon(release, stage.network)
        case "reconnecting":
            stage.server.drop()
            await wait_all_tasks_blocked()
            assert stage.session.status is Status.RECONNECTING
            stage.network.up.piece_bytes = 2**8  # enough that what has piled up is written in many pieces
        case "closing":
            stage.network.up.stall()
            stage.receipt = await stage.session.send_client_content("fill", turn_complete=False)
            await wait_all_tasks_blocked()
            stage.around.start_soon(stage.session.aclose)
            fills = False
        case _:
            fills = False
    stage.around.start_soon(_say_something, stage)
    if fills:
        for _ in range(64):
            await stage.session.send_client_content("fill", turn_complete=False)


async def release(network: Network) -> None:
    await trio.sleep(1)
    network.up.piece_bytes = 2**10  # what has piled up does not make a point of every piece
    network.up.release()


async def _say_something(stage: Stage) -> None:
    await trio.sleep(2)
    await stage.server.raw(EXTRA)


def says(message: ClientMessage, text: str = ACT) -> bool:
    if isinstance(message, RealtimeInput):
        return message.text == text
    if not isinstance(message, ClientContent):
        return False
    return text in [part.text for content in message.turns or () for part in content.parts or ()]


async def _ask_for_call(stage: Stage) -> None:
    """Makes the model call a function and wait for the answer."""
    async with stage.session.subscribe() as events:
        await stage.session.send_text("call")
        async for event in events:
            if isinstance(event, ToolCall):
                stage.call_id = event.calls[0].id
                return


async def _answer_again(stage: Stage) -> None:
    """A cancelled answer was not given, so it can still be given; by now the call is one of the past."""
    if stage.trial.was_cancelled:
        await stage.session.send_tool_response(FunctionResponse(id=stage.call_id, name="f", response={}))


async def _begin_activity(stage: Stage) -> None:
    await stage.session.activity_start()
    await (await stage.session.send_audio(bytes(64))).written()


async def _send_and_keep(stage: Stage) -> None:
    if stage.trial.where != "closing":
        stage.receipt = await stage.session.send_text(ACT)


async def _open_turn(stage: Stage) -> None:
    stage.turn = await stage.session.turn().__aenter__()
    if stage.trial.where != "closing":
        await stage.session.send_text(ACT)


async def _check_turn(stage: Stage) -> None:
    """What a cancelled step of a turn would have given is still there."""
    assert stage.turn is not None
    if stage.turn.state is None:
        with trio.move_on_after(GRACE_S) as patience:
            await stage.turn.wait()
        stage.trial.expect(not patience.cancelled_caught, "the turn does not end")
    stage.trial.expect(stage.turn.text == "Here.", f"the turn has {stage.turn.text!r}, state {stage.turn.state}")


async def _in_block(opened: Any) -> None:
    async with opened:
        pass


def _audio(message: ClientMessage) -> bool:
    return isinstance(message, RealtimeInput) and message.audio is not None and message.audio.data == ACT_PCM


ON_SESSION: dict[str, OnSession] = {
    "session.Session.send_audio": OnSession(act=lambda s: s.session.send_audio(ACT_PCM), arrived=_audio),
    "session.Session.send_audio_at_rate": OnSession(
        act=lambda s: s.session.send_audio_at_rate(ACT_PCM, 16000), arrived=_audio
    ),
    "session.Session.send_video": OnSession(
        act=lambda s: s.session.send_video(b"jpeg"),
        arrived=lambda message: isinstance(message, RealtimeInput) and message.video is not None,
    ),
    "session.Session.send_text": OnSession(act=lambda s: s.session.send_text(ACT), arrived=says),
    "session.Session.send_client_content": OnSession(
        act=lambda s: s.session.send_client_content(ACT, turn_complete=False), arrived=says
    ),
    "session.Session.send_raw": OnSession(
        act=lambda s: s.session.send_raw(
            ClientContent(turns=(Content(role="user", parts=(Part(text=ACT),)),), turn_complete=False)
        ),
        arrived=says,
    ),
    "session.Session.activity_start": OnSession(
        act=lambda s: s.session.activity_start(),
        config=MANUAL,
        arrived=lambda message: isinstance(message, RealtimeInput) and message.activity_start == ActivityStart(),
    ),
    "session.Session.activity_end": OnSession(
        act=lambda s: s.session.activity_end(),
        config=MANUAL,
        before=_begin_activity,
        # While reconnecting, the activity is gone with its audio, and its end with it; there is nothing to count.
        arrived=lambda message: isinstance(message, RealtimeInput) and message.activity_end is not None,
    ),
    "session.Session.audio_stream_end": OnSession(
        act=lambda s: s.session.audio_stream_end(),
        arrived=lambda message: isinstance(message, RealtimeInput) and bool(message.audio_stream_end),
    ),
    "session.Session.update_context": OnSession(
        act=lambda s: s.session.update_context(system_instruction=ACT),
        config=ADAPTABLE,
        arrived=lambda message: isinstance(message, ContextUpdate),
    ),
    "session.Session.send_tool_response": OnSession(
        act=lambda s: s.session.send_tool_response(FunctionResponse(id=s.call_id, name="f", response={ACT: ACT})),
        before=_ask_for_call,
        check=_answer_again,
        arrived=lambda message: (
            isinstance(message, ToolResponse) and ACT in ((message.function_responses or ())[0].response or {})
        ),
    ),
    "session.Session.ask": OnSession(act=lambda s: s.session.ask(ACT), arrived=says, may_have_sent=True),
    "session.Session.receive": OnSession(act=lambda s: s.session.receive(), fills=False),
    "session.Session.__aiter__": OnSession(act=lambda s: anext(aiter(s.session)), fills=False),
    "session.Session.aclose": OnSession(act=lambda s: s.session.aclose(), ends=True, fills=False),
    "session.Receipt.written": OnSession(act=lambda s: s.receipt.written(), ready=_send_and_keep, fills=False),
    "session.Receipt.wait": OnSession(act=lambda s: s.receipt.wait(), ready=_send_and_keep, fills=False),
    "session.Turn.__anext__": OnSession(
        act=lambda s: anext(s.turn),  # type: ignore[arg-type]
        ready=_open_turn,
        check=_check_turn,
        fills=False,
    ),
    "session.Turn.wait": OnSession(
        act=lambda s: s.turn.wait(),  # type: ignore[union-attr]
        ready=_open_turn,
        check=_check_turn,
        fills=False,
    ),
    # Entering and leaving are one call: that is how they come, and together they are the checkpoint that trio asks of
    # an async context manager.
    "session.Turn.__aenter__": OnSession(act=lambda s: _in_block(s.session.turn()), fills=False),
    "session.Turn.__aexit__": OnSession(act=lambda s: _in_block(s.session.turn()), fills=False),
    "broadcast.Cursor.__aenter__": OnSession(act=lambda s: _in_block(s.cursor), fills=False),
    "broadcast.Cursor.__aexit__": OnSession(act=lambda s: _in_block(s.cursor), fills=False),
    "broadcast.Cursor.aclose": OnSession(act=lambda s: s.cursor.aclose(), fills=False),
    "broadcast.Cursor.receive": OnSession(act=lambda s: s.cursor.receive(), fills=False),
    "broadcast.Cursor.__anext__": OnSession(act=lambda s: anext(s.cursor), fills=False),
}
