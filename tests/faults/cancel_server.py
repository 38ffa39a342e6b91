"""Calls on the emulator's side, by who runs a server and by a script: how each is made, and what must be left of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial

import attrs
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import gemlive
from gemlive import emulator
from gemlive.emulator import Server, serve, serve_in_memory
from gemlive.errors import SessionLost
from gemlive.types import FunctionResponse, GroundingMetadata, ToolCall
from tests.faults.cancel_opening import Alone, check_server
from tests.faults.cancel_points import Trial, Where, check_frames, task_names
from tests.faults.cancel_session import ACT, EXTRA, TEXT, answer, check_usable
from tests.faults.streams import Network


class _ScriptError(Exception):
    """What a script of these cases raises."""


@attrs.frozen(kw_only=True)
class OnServer:
    """A call on a server that has a session.

    Attributes:
        act: makes the call.
        where: in which states: ``connected``, or ``blocked``: with a client that does not read.
        ends: whether the call ends the session.
        leaves_tasks: whether it starts what goes on after it, such as the time until an announced end.
    """

    act: Callable[[Server], Awaitable[object]]
    where: tuple[Where, ...] = ("connected", "blocked")
    ends: bool = False
    leaves_tasks: bool = False

    async def play(self, trial: Trial) -> None:
        """Makes the call beside a session and looks at what is left."""
        with suppress(SessionLost, _ScriptError):
            async with _served(trial) as (server, session):
                await wait_all_tasks_blocked()
                tasks = task_names()
                await trial.call(lambda: self.act(server))
                if not self.ends:
                    await check_usable(trial, session)
                    is_clean = task_names() == tasks or self.leaves_tasks or not trial.was_cancelled
                    trial.expect(is_clean, "tasks are left of the call")


@asynccontextmanager
async def _served(trial: Trial, model: emulator.Model = answer) -> AsyncIterator[tuple[Server, gemlive.Session]]:
    """A session with a server; ``blocked``: the client does not read for a second, and what it has to read piles up."""
    async with serve_in_memory(model) as server:
        network = Network(server.connect, piece_bytes=2**14)
        server.connect = network
        async with (
            trio.open_nursery() as around,
            gemlive.open_session(
                TEXT, endpoint=server.endpoint, reconnect=gemlive.ReconnectPolicy(base_s=0, attempts=3)
            ) as session,
        ):
            around.start_soon(_answer_calls, session)
            await wait_all_tasks_blocked()
            if trial.where == "blocked":
                network.down.stall()
                await server.raw({**EXTRA, "padding": "x" * 2**18})
                await wait_all_tasks_blocked()
                around.start_soon(_release_down, network)
            yield server, session
            network.down.release()
            around.cancel_scope.cancel()
        check_frames(trial, network, may_end_torn=False)


async def _release_down(network: Network) -> None:
    await trio.sleep(1)
    network.down.release()


async def _answer_calls(session: gemlive.Session) -> None:
    async with session.subscribe() as events:
        async for event in events:
            if isinstance(event, ToolCall):
                answers = [FunctionResponse(id=one.id, name="f", response={}) for one in event.calls]
                with suppress(ValueError):
                    await session.send_tool_response(answers)


@attrs.frozen(kw_only=True)
class InTurn:
    """A call that a script makes to answer a turn.

    Attributes:
        act: makes the call.
        before: what the script does first.
        where: as in :class:`OnServer`.
    """

    act: Callable[[emulator.Turn], Awaitable[object]]
    before: Callable[[emulator.Turn], Awaitable[object]] | None = None
    where: tuple[Where, ...] = ("connected", "blocked")

    async def play(self, trial: Trial) -> None:
        """Asks for the turn, and then for another."""
        is_over = trio.Event()

        async def model(turn: emulator.Turn) -> None:
            if turn.text != ACT or trial.was_called:
                await answer(turn)
                return
            try:
                if self.before is not None:
                    await self.before(turn)
                await trial.call(lambda: self.act(turn))
            finally:
                is_over.set()

        async with _served(trial, model) as (_, session):
            await session.send_text(ACT)
            await is_over.wait()
            await wait_all_tasks_blocked()
            await check_usable(trial, session)


async def _attend(trial: Trial, *, as_record: bool = False) -> None:
    """Serves a connection that the test made; its client is a session."""
    async with serve_in_memory(answer) as server:
        near, far = memory_stream_pair()

        async def connect(host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            return near

        connect.is_loopback = True  # type: ignore[attr-defined]
        endpoint = gemlive.GoogleAI("any-key", base_url=server.url, connect=connect)

        async def converse() -> None:
            with suppress(SessionLost, gemlive.ConnectError):
                async with gemlive.open_session(
                    TEXT, endpoint=endpoint, reconnect=gemlive.ReconnectPolicy(attempts=0)
                ) as session:
                    await session.ask(ACT)

        async with trio.open_nursery() as around:
            around.start_soon(converse)
            if as_record:
                await trial.call(partial(server.attend_as, server.dialled(), far))
            else:
                await trial.call(partial(server.attend, far))
            # A client that dials no more ends by itself, whether it was served or not.
        await check_server(trial, server)


async def _serve_in_memory(trial: Trial) -> None:
    async def act() -> None:
        async with serve_in_memory(answer) as server:
            await check_server(trial, server)

    await trial.call(act)


async def _serve(trial: Trial) -> None:
    async def act() -> None:
        async with serve(answer) as server:
            await check_server(trial, server)

    await trial.call(act)


@contextmanager
def _script_errors() -> Iterator[None]:
    """Takes what a script has raised, also where it comes in a group with the cancellations that it caused."""
    try:
        yield
    except _ScriptError:
        pass
    except BaseExceptionGroup as group:
        failures = group.split(trio.Cancelled)[1]
        if failures is not None and failures.split(_ScriptError)[1] is not None:
            raise


async def _raise_failure(trial: Trial) -> None:
    """Waits for a script to fail, which it does when it is asked to."""

    async def model(turn: emulator.Turn) -> None:
        if turn.text == ACT:
            raise _ScriptError
        await answer(turn)

    with _script_errors():
        async with serve_in_memory(model) as server:

            async def fail() -> None:
                await trio.sleep(1)
                with suppress(SessionLost):
                    async with gemlive.open_session(
                        TEXT, endpoint=server.endpoint, reconnect=gemlive.ReconnectPolicy(attempts=0)
                    ) as session:
                        await session.ask(ACT)

            async with trio.open_nursery() as around:
                around.start_soon(fail)
                await trial.call(server.raise_failure)
                around.cancel_scope.cancel()
            await check_server(trial, server)


async def _begin_call(turn: emulator.Turn) -> None:
    await turn.begin_calls([("f", {})])


ON_SERVER: dict[str, Alone | OnServer | InTurn] = {
    "emulator.serve": Alone(play=_serve, where=("on a socket",)),
    "emulator.serve_in_memory": Alone(play=_serve_in_memory),
    "emulator.Server.attend": Alone(play=_attend),
    "emulator.Server.attend_as": Alone(play=partial(_attend, as_record=True)),
    "emulator.Server.go_away": OnServer(act=lambda s: s.go_away(30), leaves_tasks=True),
    "emulator.Server.raw": OnServer(act=lambda s: s.raw(EXTRA)),
    "emulator.Server.leave": OnServer(act=lambda s: s.leave(), ends=True),
    "emulator.Server.raise_failure": Alone(play=_raise_failure),
    "emulator.Turn.say": InTurn(act=lambda t: t.say("Here and there.")),
    "emulator.Turn.speak": InTurn(act=lambda t: t.speak(bytes(480), transcript="Here.")),
    "emulator.Turn.think": InTurn(act=lambda t: t.think("Hm.")),
    "emulator.Turn.ground": InTurn(act=lambda t: t.ground(GroundingMetadata(web_search_queries=(ACT,)))),
    "emulator.Turn.call": InTurn(act=lambda t: t.call("f")),
    "emulator.Turn.begin_calls": InTurn(act=_begin_call),
    "emulator.Turn.wait_result": InTurn(act=lambda t: t.wait_result(next(iter(t.unanswered))), before=_begin_call),
    "emulator.Turn.complete": InTurn(act=lambda t: t.complete()),
    "emulator.Turn.go_away": InTurn(act=lambda t: t.go_away(30)),
    "emulator.Turn.update_resumption": InTurn(act=lambda t: t.update_resumption()),
    "emulator.Turn.raw": InTurn(act=lambda t: t.raw(EXTRA)),
    "emulator.Turn.drop": InTurn(act=lambda t: t.drop()),
    "emulator.Turn.close": InTurn(act=lambda t: t.close(1011, "Internal error encountered.")),
    "emulator.Turn.open_wire": InTurn(act=lambda t: t.open_wire()),
    "emulator.Turn.finish": InTurn(act=lambda t: t.finish()),
    "emulator.Turn.cut_short": InTurn(act=lambda t: t.cut_short()),
}
