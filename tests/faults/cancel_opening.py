"""Calls that need no session, or open one, and calls on a transport: how each is made, and what must be left of it."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from functools import cache, partial

import attrs
import trio
import trustme
from trio.testing import wait_all_tasks_blocked

import gemlive
from gemlive import audio
from gemlive.emulator import Behaviour, Script, Server, serve, serve_in_memory
from gemlive.transport import Transport, open_transport
from tests.faults.cancel_points import GRACE_S, PIECE_BYTES, Trial, Where, check_frames
from tests.faults.cancel_session import ACT, EXTRA, MODEL, TEXT, answer, release, says
from tests.faults.streams import Network


@attrs.frozen(kw_only=True)
class Alone:
    """A call that needs no session, or opens one.

    Attributes:
        play: everything: the surroundings, the call, and the look at what is left.
        where: in which states it is made.
    """

    play: Callable[[Trial], Awaitable[None]]
    where: tuple[Where, ...] = ("alone",)


async def _open_session(trial: Trial) -> None:
    """Opens a session, lets it come into a state, and leaves it."""
    where = trial.where
    if where == "on a socket":
        await _open_on_a_socket(trial)
        return
    connections = (Behaviour(), Behaviour(upgrade_after_s=1)) if where == "reconnecting" else ()
    async with serve_in_memory(Script(model=answer, connections=connections)) as server:
        network = Network(server.connect, piece_bytes=PIECE_BYTES)
        server.connect = network

        async def act() -> None:
            async with gemlive.open_session(
                TEXT, endpoint=server.endpoint, reconnect=gemlive.ReconnectPolicy(base_s=0)
            ) as session:
                if where == "connected":
                    await session.ask(ACT)
                elif where == "blocked":
                    network.up.stall()
                    await session.send_text(ACT)
                    await trio.sleep(1)
                elif where == "reconnecting":
                    server.drop()
                    await trio.sleep(0.5)
                    await session.send_text(ACT)
                elif where == "closing":
                    network.up.stall()
                    await session.send_text(ACT)
                    await session.aclose()

        started = trio.current_time()
        await trial.call(act)
        took_s = trio.current_time() - started
        trial.expect(took_s <= 1 + 5 + 1e-6, f"it took {took_s:g} s")
        trial.expect(trial.error is None, f"it raised {trial.error!r}")
        network.up.release()
        check_frames(trial, network, may_end_torn=where in ("blocked", "closing"))
        await check_server(trial, server)


async def _open_on_a_socket(trial: Trial) -> None:
    """The same over TLS and TCP, with their descriptors."""
    async with serve(answer, ssl_context=_server_tls(), client_ssl_context=_client_tls()) as server:

        async def act() -> None:
            async with gemlive.open_session(TEXT, endpoint=server.endpoint) as session:
                await session.ask(ACT)

        await trial.call(act)
        trial.expect(trial.error is None, f"it raised {trial.error!r}")
        await check_server(trial, server)


async def check_server(trial: Trial, server: Server) -> None:
    """The server still takes a session and answers it."""
    async with gemlive.open_session(TEXT, endpoint=server.endpoint) as session:
        reply = await session.ask("still there?")
    trial.expect(reply.state == "completed", f"the server's next answer was {reply.state}")


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


@cache
def _server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _authority().issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@cache
def _client_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    _authority().configure_trust(context)
    return context


async def _paced(trial: Trial) -> None:
    pieces = audio.paced(bytes(6400), rate_hz=16000, chunk_ms=100)
    first = await anext(pieces)
    await trial.call(lambda: anext(pieces))
    rest = [piece async for piece in pieces]
    given = [trial.result] if isinstance(trial.result, bytes) else []
    trial.expect(b"".join([first, *given, *rest]) == bytes(6400), "a cancelled step took a piece with it")


# --- calls on a transport --------------------------------------------------------------------------------------------

_SETUP = (
    '{"setup":{"model":"models/%s","generationConfig":{"responseModalities":["TEXT"]}}}' % MODEL  # noqa: UP031 - JSON
)
_ASK = '{"clientContent":{"turns":[{"role":"user","parts":[{"text":"%s"}]}],"turnComplete":true}}'


@attrs.frozen(kw_only=True)
class OnTransport:
    """A call on a transport.

    Attributes:
        act: makes the call.
        where: in which states it makes sense.
        ends: whether the call ends the connection.
    """

    act: Callable[[Transport], Awaitable[object]]
    where: tuple[Where, ...] = ("connected", "blocked", "closing")
    ends: bool = False

    async def play(self, trial: Trial) -> None:
        """Opens a transport, makes the call and looks at what is left."""
        async with serve_in_memory(answer) as server:
            network = Network(server.connect, piece_bytes=PIECE_BYTES)
            server.connect = network
            async with open_transport(server.endpoint) as transport, trio.open_nursery() as around:
                await transport.send([_SETUP])
                await transport.receive()
                if trial.where == "blocked":
                    network.up.stall()
                    around.start_soon(release, network)
                elif trial.where == "closing":
                    network.up.stall()
                    around.start_soon(transport.aclose)
                around.start_soon(_say_after, server)
                await wait_all_tasks_blocked()
                await trial.call(lambda: self.act(transport))
                if self.ends or trial.where == "closing":
                    await _check_transport_closed(trial, transport)
                else:
                    await _check_transport_usable(trial, transport)
                around.cancel_scope.cancel()
            check_frames(trial, network, may_end_torn=trial.where == "closing" or self.ends)
            times = sum(says(one.message) for talk in server.conversations for one in talk.messages)
            trial.expect(times <= 1, f"what was sent once arrived {times} times")


async def _say_after(server: Server) -> None:
    await trio.sleep(2)
    await server.raw(EXTRA)


async def _check_transport_usable(trial: Trial, transport: Transport) -> None:
    with trio.move_on_after(GRACE_S) as patience:
        await transport.send([_ASK % "still there?"])
        while not any(b"turnComplete" in frame for frame in await transport.receive() if isinstance(frame, bytes)):
            pass
    trial.expect(not patience.cancelled_caught, "the transport does not answer any more")


async def _check_transport_closed(trial: Trial, transport: Transport) -> None:
    with trio.move_on_after(GRACE_S) as patience:
        await transport.aclose()
        for call in (transport.receive, partial(transport.send, [_ASK % ACT])):
            try:
                await call()
                trial.problems.append("a transport that was closed takes calls")
            except trio.ClosedResourceError:
                pass
    trial.expect(not patience.cancelled_caught, "the transport does not end")


async def _open_transport(trial: Trial) -> None:
    async with serve_in_memory(answer) as server:
        network = Network(server.connect, piece_bytes=PIECE_BYTES)
        server.connect = network

        async def act() -> None:
            async with open_transport(server.endpoint) as transport:
                if trial.where == "blocked":
                    network.up.stall()
                if trial.where != "connecting":
                    await transport.send([_SETUP])
                    await transport.receive()

        with trio.move_on_after(1):  # a peer that does not read would keep the body waiting for ever
            await trial.call(act)
        network.up.release()
        check_frames(trial, network, may_end_torn=trial.where == "blocked")
        await check_server(trial, server)


OPENING: dict[str, Alone | OnTransport] = {
    "session.open_session": Alone(
        play=_open_session, where=("connecting", "connected", "blocked", "reconnecting", "closing", "on a socket")
    ),
    "audio.paced": Alone(play=_paced),
    "transport.open_transport": Alone(play=_open_transport, where=("connecting", "connected", "blocked")),
    "transport.Transport.send": OnTransport(act=lambda t: t.send([_ASK % ACT])),
    "transport.Transport.receive": OnTransport(act=lambda t: t.receive()),
    "transport.Transport.aclose": OnTransport(act=lambda t: t.aclose(), ends=True),
}
