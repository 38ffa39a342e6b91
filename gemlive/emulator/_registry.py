"""What outlives a connection: the conversations, their snapshots, and the counters that ids are made from.

Ids come from counters, so that a test sees the same ones each time, in the shapes that were recorded
(docs/protocol.md 4.4, 4.6).
"""

from __future__ import annotations

import uuid
from collections import Counter, OrderedDict

import attrs
import trio

from gemlive.emulator._memory import Memory
from gemlive.emulator._record import ConnectionRecord, Conversation
from gemlive.emulator._route import Backend, Route
from gemlive.families import Family
from gemlive.types import Setup

HANDLE_LIFETIME_S = 2 * 3600.0
"""How long a handle is good after the end of the session (docs/protocol.md 6)."""

MAX_HANDLES = 4096
"""Snapshots that are kept. Only the latest of a conversation matters, so this is for a few thousand conversations."""

MAX_CONVERSATIONS = 1000
"""Conversations that are kept for assertions; the oldest are forgotten, and counted."""

_NAMESPACE = uuid.UUID("6f4a1c0e-3b55-5d61-9c53-0d5f3f0a6f11")  # of our own, so that no id equals a real one


@attrs.frozen
class Saved:
    """A snapshot of a conversation, as a resumption handle stands for it.

    Attributes:
        conversation: the notes, which go on.
        memory: what was known.
    """

    conversation: Conversation
    memory: Memory


class Registry:
    """The memory of one server.

    Attributes:
        conversations: in the order of their first setup.
        connections: every dial.
        conversations_dropped: how many conversations are no longer kept.
    """

    def __init__(self) -> None:
        self.conversations: list[Conversation] = []
        self.connections: list[ConnectionRecord] = []
        self.conversations_dropped = 0
        self._numbers: Counter[str] = Counter()
        self._saved: OrderedDict[str, Saved] = OrderedDict()

    def new_connection(self) -> ConnectionRecord:
        """Returns the record of a connection that was just accepted."""
        record = ConnectionRecord(number=self._next("connection"), opened_at=trio.current_time())
        self.connections.append(record)
        if len(self.connections) > 10 * MAX_CONVERSATIONS:
            del self.connections[0]
        return record

    def new_conversation(self, route: Route, family: Family, setup: Setup) -> Conversation:
        """Returns the record of a conversation that begins."""
        conversation = Conversation(
            number=self._next("conversation"),
            backend=route.backend,
            version=route.version,
            family=family,
            setup=setup,
        )
        self.conversations.append(conversation)
        if len(self.conversations) > MAX_CONVERSATIONS:
            del self.conversations[0]
            self.conversations_dropped += 1
        return conversation

    def session_id(self) -> str:
        """Returns the name of a new session, as Vertex AI sends it."""
        return self._uuid("session")

    def call_id(self, backend: Backend, prefix: str) -> str:
        """Returns the id of a new function call: a prefix and a number, on Vertex AI a UUID."""
        return self._uuid("call") if backend == "vertex" else f"{prefix}{self._next('call')}"

    def save(self, conversation: Conversation, memory: Memory) -> str:
        """Keeps a snapshot and returns the handle that restores it."""
        handle = self._uuid("handle")
        self._saved[handle] = Saved(conversation, memory.snapshot())
        if len(self._saved) > MAX_HANDLES:
            self._saved.popitem(last=False)
        return handle

    def recall(self, handle: str, route: Route) -> Saved | None:
        """Returns what a handle stands for; None for one that is unknown, of the other service, or too old."""
        saved = self._saved.get(handle)
        if saved is None or saved.conversation.backend != route.backend:
            return None
        closed_at = saved.conversation.connections[-1].closed_at
        if closed_at is not None and trio.current_time() - closed_at > HANDLE_LIFETIME_S:
            return None
        return saved

    def _next(self, what: str) -> int:
        self._numbers[what] += 1
        return self._numbers[what]

    def _uuid(self, what: str) -> str:
        return str(uuid.uuid5(_NAMESPACE, f"{what}-{self._next(what)}"))
