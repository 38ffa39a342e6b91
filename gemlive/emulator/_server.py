"""The server: accepts connections, on a socket or in memory, and gives each a line and a conversation.

Task tree::

    serve() ── nursery ─┬─ the accept loop (a socket) or nothing (in memory)
                        ├─ one task a connection ── trio-websocket's reader
                        │                       └── Dialogue: reader, model, teller, timers; the line's writer
                        └─ the one that raises what a script raised

Leaving the block ends every connection with a Close frame, within ``_line.CLOSE_S``.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import h11
import trio
import trio.abc
import trio_websocket
import wsproto.utilities

from gemlive.emulator import _model
from gemlive.emulator._admission import House
from gemlive.emulator._close import GOING_AWAY, Close
from gemlive.emulator._dialogue import Dialogue
from gemlive.emulator._faulty import FaultyStream
from gemlive.emulator._line import CLOSE_S, Line, Opcode
from gemlive.emulator._pace import Pace
from gemlive.emulator._pipe import pipe
from gemlive.emulator._reception import Reception, note_request, reject, request_of
from gemlive.emulator._record import ConnectionRecord, Conversation
from gemlive.emulator._registry import Registry
from gemlive.emulator._route import Credential, Route
from gemlive.emulator._script import Behaviour, Model, Script, script_of
from gemlive.families import Family
from gemlive.transport import GoogleAI, VertexAI
from gemlive.types import ServerMessage

# What a network, or a client that speaks no HTTP or no WebSocket, does to a connection. Anything else is our mistake,
# and must not be hidden.
_CLIENTS_FAULT = (
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio_websocket.ConnectionClosed,
    trio_websocket.HandshakeError,
    wsproto.utilities.ProtocolError,
    h11.ProtocolError,
    OSError,
)
_IN_MEMORY_URL = "ws://localhost"


class Server:
    """A running server, as the block of :func:`serve` or :func:`serve_in_memory` has it.

    Attributes:
        url: where clients connect: ``ws://…`` or ``wss://…``. In memory a name that only :attr:`connect` reaches.
        connect: what replaces the network, for an endpoint's ``connect``; None on a socket.
        conversations: the conversations in the order of their first setup.
        connections: every dial, also those that led to no conversation.
    """

    def __init__(
        self,
        *,
        script: Script,
        pace: Pace,
        opcode: Opcode,
        house: House,
        families: Sequence[Family] | None,
        client_ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.url = _IN_MEMORY_URL
        self.connect: Callable[[str, int], Awaitable[trio.abc.Stream]] | None = None
        self._registry = Registry()
        self.conversations: list[Conversation] = self._registry.conversations
        self.connections: list[ConnectionRecord] = self._registry.connections
        self._reception = Reception(self._registry, house, families)
        self._script = script
        self._model: Model = script.model or _model.answer
        self._pace = pace
        self._opcode: Opcode = opcode
        self._house = house
        self._client_ssl_context = client_ssl_context
        self._lines: dict[int, Line] = {}
        self._dialogues: dict[int, Dialogue] = {}
        self._line_left = trio.Event()
        self._is_leaving = False
        self.failure: Exception | None = None
        self._failed = trio.Event()

    @property
    def endpoint(self) -> GoogleAI:
        """This server as Google AI, with a key that it accepts."""
        return GoogleAI(self._key, base_url=self.url, ssl_context=self._client_ssl_context, connect=self.connect)

    @property
    def vertex_endpoint(self) -> VertexAI:
        """This server as Vertex AI, with a token that it accepts."""
        return VertexAI(
            "emulated-project",
            "us-central1",
            token=self._key,
            base_url=self.url,
            ssl_context=self._client_ssl_context,
            connect=self.connect,
        )

    @property
    def _key(self) -> str:
        return next(iter(self._house.api_keys or ()), "any-key")

    async def go_away(self, time_left_s: float | None = None) -> None:
        """Announces the end of every open connection; each is closed when its time is over.

        Args:
            time_left_s: seconds until then; None for what the family of each gives.
        """
        for dialogue in self._dialogues.values():
            dialogue.go_away_soon(time_left_s)
        await trio.lowlevel.checkpoint()

    async def raw(self, message: Mapping[str, object] | bytes | str) -> None:
        """Sends a message on every open connection, outside of any turn, without waiting for clients that do not read.

        Args:
            message: JSON to be, or a frame as it is, whether or not it is JSON.
        """
        for dialogue in self._dialogues.values():
            dialogue.send_soon(message if isinstance(message, bytes | str) else ServerMessage(extra=message))
        await trio.lowlevel.checkpoint()

    def drop(self, *, reset: bool = False) -> None:
        """Cuts every open connection without a Close frame.

        Args:
            reset: as a TCP reset, by which the clients lose what they have not read yet.
        """
        for line in list(self._lines.values()):
            line.end(None, by="server", resets=reset)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Closes every open connection with this Close frame."""
        for line in list(self._lines.values()):
            line.end(Close(code, reason), by="server")

    # --- what the context managers below do with it ---

    def dialled(self) -> ConnectionRecord:
        """Returns the record of a connection that is being made in memory.

        Raises:
            ConnectionRefusedError: the script refuses it.
        """
        record = self._registry.new_connection()
        if self._script.behaviour(record.number).refuse_connection:
            record.end(Close(1006), by="server")
            raise ConnectionRefusedError("the emulator refuses this connection, as its script says")
        return record

    async def attend(self, stream: trio.abc.Stream) -> None:
        """Serves one connection to its end. What the client does wrong stays here."""
        await self.attend_as(self._registry.new_connection(), stream)

    async def attend_as(self, record: ConnectionRecord, stream: trio.abc.Stream) -> None:
        """Serves one connection that has its record already."""
        behaviour = self._script.behaviour(record.number)
        wire = FaultyStream(stream)
        if behaviour.refuse_connection:
            record.end(Close(1006), by="server")
            wire.resets = True
            await wire.cut()
            return
        wire.withholds_close = behaviour.silent_at == "close"
        if behaviour.drop_after_bytes is not None:
            wire.bytes_left = behaviour.drop_after_bytes
        try:
            if behaviour.silent_at == "tcp":
                await trio.sleep_forever()
            async with trio.open_nursery() as nursery:
                await self._upgrade(nursery, wire, record, behaviour)
                nursery.cancel_scope.cancel()
            if behaviour.silent_at == "close" and record.closed_by == "client":
                await wire.drain()  # never answered, never hung up: it is for the client to lose patience
        except* _CLIENTS_FAULT:
            pass
        finally:
            record.end(Close(1006), by="network")
            await wire.cut()

    async def _upgrade(
        self, nursery: trio.Nursery, wire: FaultyStream, record: ConnectionRecord, behaviour: Behaviour
    ) -> None:
        request = await request_of(nursery, wire)
        if request is None:
            return
        route, credential = note_request(request, record)
        await trio.sleep(behaviour.upgrade_after_s)
        if behaviour.silent_at == "upgrade":
            await wire.ended.wait()
            return
        if behaviour.upgrade_status is not None:
            await reject(request, behaviour.upgrade_status, behaviour)
            return
        if route is None:
            await reject(request, 404)
            return
        line = Line(await request.accept(), wire, record, behaviour, self._opcode)
        self._lines[record.number] = line
        try:
            if self._is_leaving:
                line.end(GOING_AWAY, by="server")
            await line.run(partial(self._converse, route, credential, behaviour))
        finally:
            del self._lines[record.number]
            self._line_left.set()
            self._line_left = trio.Event()
            if self.failure is not None:
                self._failed.set()  # only now, so that the client was told

    async def _converse(self, route: Route, credential: Credential | None, behaviour: Behaviour, line: Line) -> None:
        if behaviour.silent_at == "setup":
            while await line.receive() is not None:
                pass
            return
        admitted = await self._reception.admit(line, route, credential, behaviour)
        if admitted is None:
            return
        dialogue = Dialogue(
            line,
            admitted.conversation,
            admitted.memory,
            model=self._model,
            behaviour=behaviour,
            pace=self._pace,
            names=self._registry,
            on_failure=self._fail,
        )
        self._dialogues[line.record.number] = dialogue
        try:
            await dialogue.run()
        finally:
            del self._dialogues[line.record.number]

    def _fail(self, failure: Exception) -> None:
        self.failure = self.failure or failure

    async def raise_failure(self) -> None:
        """Waits for a script to fail and raises what it raised."""
        await self._failed.wait()
        assert self.failure is not None
        raise self.failure

    async def leave(self) -> None:
        """Ends all connections, each with a Close frame, and waits for them. Not to be cancelled, but bounded."""
        self._is_leaving = True
        for line in list(self._lines.values()):
            line.end(GOING_AWAY, by="server")
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 2 * CLOSE_S):
            while self._lines:
                await self._line_left.wait()


@asynccontextmanager
async def serve(
    script: Script | Model | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    ssl_context: ssl.SSLContext | None = None,
    client_ssl_context: ssl.SSLContext | None = None,
    pace: bool = False,
    frames: Opcode = "binary",
    api_keys: Collection[str] | None = None,
    models: Collection[str] | None = None,
    families: Sequence[Family] | None = None,
) -> AsyncIterator[Server]:
    """Serves the Live API on a socket for as long as the block lasts.

    Leaving the block ends every connection within a few seconds, whatever the clients do. What a script raises comes
    out of the block as it is, after its client was closed with 1011; the block is cancelled.

    Args:
        script: the model that answers, or a :class:`Script`; None for the default model, which says what it heard.
        host: the address to listen on.
        port: the port; 0 for one that is free, which :attr:`Server.url` then has.
        ssl_context: TLS for the server's side; the URL is then ``wss://``.
        client_ssl_context: TLS for the clients' side, for the endpoints of :class:`Server`: a context that trusts the
            server's certificate. None for the machine's usual authorities.
        pace: whether the real service's timing is kept; otherwise everything is said at once.
        frames: what server messages travel in. The service sends binary frames (docs/protocol.md 1.3).
        api_keys: the API keys and tokens that are valid; None: any.
        models: the bare names of the models that exist; None: any.
        families: the model families to play, as ``families.load_families`` returns them; None for the packaged ones.

    Raises:
        OSError: the address cannot be listened on.
    """
    server = Server(
        script=script_of(script),
        pace=Pace(pace),
        opcode=frames,
        house=House(api_keys=api_keys, models=models),
        families=families,
        client_ssl_context=client_ssl_context,
    )
    async with _running(server) as nursery:
        listener = await _listener(host, port)
        server.url = _url(listener, host, is_secure=ssl_context is not None)
        listening: trio.abc.Listener[trio.abc.Stream] = (
            listener if ssl_context is None else trio.SSLListener(listener, ssl_context, https_compatible=True)
        )
        accepting = partial(trio.serve_listeners, server.attend, [listening], handler_nursery=nursery)
        await nursery.start(accepting)
        yield server


@asynccontextmanager
async def serve_in_memory(
    script: Script | Model | None = None,
    *,
    pace: bool = False,
    frames: Opcode = "binary",
    api_keys: Collection[str] | None = None,
    models: Collection[str] | None = None,
    families: Sequence[Family] | None = None,
) -> AsyncIterator[Server]:
    """Serves the Live API without a socket: each dial through an endpoint of the server is a new stream pair.

    So the whole stack runs under trio's virtual clock. The pairs hold 64 KiB each way and end as TCP connections do.
    Everything else is as with :func:`serve`.
    """
    server = Server(
        script=script_of(script),
        pace=Pace(pace),
        opcode=frames,
        house=House(api_keys=api_keys, models=models),
        families=families,
    )
    async with _running(server) as nursery:
        server.connect = _Dialler(server, nursery)
        yield server


class _Dialler:
    """Connects to a server in memory."""

    is_loopback = True  # what it returns ends in this process

    def __init__(self, server: Server, nursery: trio.Nursery) -> None:
        self._server = server
        self._nursery = nursery

    async def __call__(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if self._nursery.cancel_scope.cancel_called:
            raise ConnectionRefusedError("the emulator has been left")
        record = self._server.dialled()
        near, far = pipe()
        self._nursery.start_soon(self._server.attend_as, record, far)
        return near


@asynccontextmanager
async def _running(server: Server) -> AsyncIterator[trio.Nursery]:
    """Opens the nursery of a server. One exception comes out of it plain, and a script's before any other."""
    own: BaseException | None = None
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.raise_failure)
            try:
                yield nursery
            except BaseException as raised:
                own = raised
                raise
            finally:
                await server.leave()
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        error = _plain(group, own)
    if server.failure is not None and _is_echo(error):
        # What the block raised is most often the echo of it: its client was closed with 1011.
        raise server.failure
    if error is not None:
        raise error


def _is_echo(error: BaseException | None) -> bool:
    """Tells whether nothing but ordinary errors and cancellations came out of the block."""
    if isinstance(error, BaseExceptionGroup):
        error = error.split(trio.Cancelled)[1]
    return error is None or isinstance(error, Exception | trio.Cancelled)


def _plain(group: BaseExceptionGroup[BaseException], own: BaseException | None) -> BaseException:
    """Returns the one exception of a group; a group that the block itself raised stays as it is."""
    if isinstance(own, BaseExceptionGroup) and len(group.exceptions) == 1:
        return own  # trio makes copies of groups as it sorts out what was cancelled, so it is not found by identity
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def _listener(host: str, port: int) -> trio.SocketListener:
    first, *others = await trio.open_tcp_listeners(port, host=host)
    for other in others:
        # A name that is several addresses would have a different port on each.
        await other.aclose()
    return first


def _url(listener: trio.SocketListener, host: str, *, is_secure: bool) -> str:
    port: int = listener.socket.getsockname()[1]
    if host in ("127.0.0.1", "::1") and is_secure:
        host = "localhost"  # what certificates for one's own machine are made out to
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - every address of the machine; clients on it use this one
        host = "127.0.0.1"
    return f"{'wss' if is_secure else 'ws'}://{f'[{host}]' if ':' in host else host}:{port}"
