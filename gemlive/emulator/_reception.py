"""The beginning of a connection: upgrade, credential, setup. What passes has a conversation, new or resumed."""

from __future__ import annotations

import json
from collections.abc import Sequence

import attrs
import trio
import trio_websocket

from gemlive.codec import decode_client
from gemlive.emulator import _close
from gemlive.emulator._admission import House, refusal
from gemlive.emulator._close import Close
from gemlive.emulator._dialect import Dialect
from gemlive.emulator._dialogue import refused_frame
from gemlive.emulator._faulty import FaultyStream
from gemlive.emulator._line import Line
from gemlive.emulator._memory import Memory
from gemlive.emulator._record import ConnectionRecord, Conversation, Received
from gemlive.emulator._registry import Registry
from gemlive.emulator._route import Credential, Route, credential_of, route_of
from gemlive.emulator._script import Behaviour
from gemlive.errors import CodecError
from gemlive.families import Family, family_for
from gemlive.types import ClientMessage, ServerMessage, Setup

MAX_MESSAGE_BYTES = 16 * 2**20
"""The largest message that a client may send; the library's own limit, and far above the field's traffic."""

UPGRADE_S = 10.0
"""How long a client may take for its upgrade request."""

_RECEIVE_BYTES = 64 * 2**10  # trio-websocket's 4 KiB take twice the time on large messages
_MESSAGES_WAITING = 16  # our reader takes them at once; a few may wait so that it is not woken for each
_PASSING_S = 0.5  # how long a resume waits for the old socket's end to be noticed before it counts as still open
_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


@attrs.frozen
class Admitted:
    """A connection whose setup was accepted and answered.

    Attributes:
        conversation: the notes, with this connection added.
        memory: what is known so far.
    """

    conversation: Conversation
    memory: Memory


async def request_of(nursery: trio.Nursery, wire: FaultyStream) -> trio_websocket.WebSocketRequest | None:
    """Returns the upgrade request, None where the client sends none.

    Args:
        nursery: where trio-websocket's reader runs, to the end of the connection.
        wire: the connection.
    """
    request: trio_websocket.WebSocketRequest | None = None
    async with trio.open_nursery() as waiting:

        @waiting.start_soon
        async def give_up() -> None:
            # trio-websocket waits for ever for the request of a client that hangs up or speaks no HTTP.
            with trio.move_on_after(UPGRADE_S):
                await wire.ended.wait()
            waiting.cancel_scope.cancel()

        request = await trio_websocket.wrap_server_stream(
            nursery,
            wire,
            message_queue_size=_MESSAGES_WAITING,
            max_message_size=MAX_MESSAGE_BYTES,
            receive_buffer_size=_RECEIVE_BYTES,
        )
        waiting.cancel_scope.cancel()
    return request


def note_request(
    request: trio_websocket.WebSocketRequest, record: ConnectionRecord
) -> tuple[Route | None, Credential | None]:
    """Writes down who asked for what, and returns where it leads and what was presented."""
    record.path = request.path
    # One value a name is enough here: no client repeats a header that matters.
    record.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.headers}
    return route_of(request.path), credential_of(request.path, record.headers)


async def reject(request: trio_websocket.WebSocketRequest, status: int, behaviour: Behaviour | None = None) -> None:
    """Answers an upgrade with an HTTP status, and with Google's form of an error as its body."""
    headers: Sequence[tuple[str, str]] = behaviour.upgrade_headers if behaviour is not None else ()
    body = behaviour.upgrade_body if behaviour is not None else None
    if body is None:
        name = _STATUS_NAMES.get(status, "UNKNOWN")
        error = {"code": status, "message": f"The upgrade was refused with status {status}.", "status": name}
        body = json.dumps({"error": error}, indent=2).encode()
        headers = [("Content-Type", "application/json; charset=UTF-8"), *headers]
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    await request.reject(status, extra_headers=encoded, body=body)


class Reception:
    """Hears the first message of a connection and decides on it.

    Args:
        registry: the conversations so far.
        house: what is accepted.
        families: the table of model families, None for the packaged one.
    """

    def __init__(self, registry: Registry, house: House, families: Sequence[Family] | None) -> None:
        self._registry = registry
        self._house = house
        self._families = families

    async def admit(
        self, line: Line, route: Route, credential: Credential | None, behaviour: Behaviour
    ) -> Admitted | None:
        """Returns the conversation that begins or goes on; None where the line has ended instead, as the line says."""
        setup = await self._setup(line)
        if setup is None:
            return None
        await trio.sleep(behaviour.setup_after_s)
        family = family_for(setup.model or "", families=self._families)
        close = behaviour.refuse_setup or refusal(setup, route, credential, family, self._house)
        if close is not None:
            line.end(close, by="server")
            return None
        admitted = await self._conversation(line, route, setup, family, behaviour)
        if isinstance(admitted, Close):
            line.end(admitted, by="server")
            return None
        admitted.conversation.connections.append(line.record)
        admitted.conversation.note(
            Received(connection=line.record.number, index=0, at=trio.current_time(), message=setup)
        )
        await self._confirm(line, admitted.conversation, behaviour)
        return admitted

    async def _setup(self, line: Line) -> Setup | None:
        frame = await line.receive()
        if frame is None:
            return None
        message: ClientMessage | None = None
        try:
            message = decode_client(frame, strict=True)
        except CodecError as error:
            line.end(refused_frame(error), by="server")
            return None
        if not isinstance(message, Setup):
            # Anything before setup (docs/protocol.md 3.1).
            line.end(_close.INVALID_ARGUMENT, by="server")
            return None
        return message

    async def _conversation(
        self, line: Line, route: Route, setup: Setup, family: Family, behaviour: Behaviour
    ) -> Admitted | Close:
        handle = setup.session_resumption.handle if setup.session_resumption is not None else None
        if not handle:
            return self._begun(route, setup, family)
        if behaviour.refuse_resumption is not None:
            return behaviour.refuse_resumption
        saved = self._registry.recall(handle, route)
        if saved is None:
            return _close.SESSION_NOT_FOUND
        conversation = saved.conversation
        with trio.move_on_after(_PASSING_S):
            await conversation.connections[-1].ended.wait()
        if conversation.close is None:
            return _close.INTERNAL_ERROR  # an earlier socket is still open (docs/protocol.md 6)
        if conversation.family.name != family.name:
            return _close.INVALID_ARGUMENT  # everything may change on resuming but the model (docs/protocol.md 6)
        conversation.setup, conversation.version = setup, route.version
        return Admitted(conversation, saved.memory.snapshot())

    def _begun(self, route: Route, setup: Setup, family: Family) -> Admitted:
        config = setup.history_config
        asks = config is not None and bool(config.initial_history_in_client_content)
        # Where the family does not know the field, a client that sends it expects an answer (docs/protocol.md 13).
        memory = Memory(seeds_history=asks and family.history_config)
        return Admitted(self._registry.new_conversation(route, family, setup), memory)

    async def _confirm(self, line: Line, conversation: Conversation, behaviour: Behaviour) -> None:
        first = behaviour.first_message
        if first is None:
            dialect = Dialect(conversation.backend, conversation.family, conversation.setup)
            await line.send(dialect.setup_complete(self._registry.session_id()))
        elif isinstance(first, ServerMessage | bytes | str):
            await line.send(first)
        else:
            await line.send(ServerMessage(extra=first))
        if behaviour.close_after_setup is not None:
            line.end(behaviour.close_after_setup, by="server")
