"""What a server remembers of its conversations, for assertions: what came, what was heard, what was said.

These are notes and nothing else: no part of the emulator decides anything by them. They are bounded, so that a server
that runs for weeks does not grow; what was dropped is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeVar

import attrs
import trio

from gemlive.audio import INPUT_RATE_HZ, duration_s
from gemlive.emulator._close import Close
from gemlive.emulator._route import Backend
from gemlive.families import Family
from gemlive.types import ClientContent, ClientMessage, FunctionCall, RealtimeInput, Setup

MAX_MESSAGES = 50_000
"""Client messages that one conversation keeps: eleven minutes of audio in 20 ms chunks and some more."""

MAX_TURNS = 10_000
"""Turns of each side that one conversation keeps."""

MAX_MEDIA_BYTES = 64 * 2**20
"""Media that one conversation keeps in its messages: half an hour of 16 kHz speech."""

Party = Literal["client", "server", "network"]
"""Who ended a connection."""

_SECRET_HEADERS = frozenset({"authorization", "x-goog-api-key", "proxy-authorization", "cookie"})

M = TypeVar("M")


def _without_secrets(headers: Mapping[str, str]) -> str:
    return repr({name: "***" if name in _SECRET_HEADERS else value for name, value in headers.items()})


def _without_query(path: str) -> str:
    head, mark, _ = path.partition("?")
    return repr(head + mark + "***" if mark else head)


@attrs.define(eq=False, kw_only=True)
class ConnectionRecord:
    """One dial, also one that led to nothing.

    Attributes:
        number: counted from 1 over the life of the server.
        opened_at: when it was accepted, in seconds of trio's clock.
        path: the request target as it came, with its query; empty before the upgrade request was read.
        headers: the request's headers, names in lower case.
        close: how it ended, None while it has not; code 1006 stands for an end without a Close frame.
        closed_by: whose doing that was, None while it has not ended.
        closed_at: when, in seconds of trio's clock, None while it has not ended.
        ended: set when it has ended.
    """

    number: int
    opened_at: float
    path: str = attrs.field(default="", repr=_without_query)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=_without_secrets)
    close: Close | None = None
    closed_by: Party | None = None
    closed_at: float | None = None
    ended: trio.Event = attrs.field(factory=trio.Event, repr=False)

    def end(self, close: Close, *, by: Party) -> None:
        """Notes the end; only the first counts."""
        if not self.ended.is_set():
            self.close, self.closed_by, self.closed_at = close, by, trio.current_time()
            self.ended.set()


@attrs.frozen(kw_only=True)
class Received:
    """One client message.

    Attributes:
        connection: the number of the connection it came on.
        index: which message after ``setup`` it was on that connection, counted from 1; 0 for ``setup``.
        at: when it came, in seconds of trio's clock.
        message: the message.
    """

    connection: int
    index: int
    at: float
    message: ClientMessage


@attrs.frozen(kw_only=True)
class HeardTurn:
    """What one turn of the user consisted of.

    Attributes:
        connection: the number of the connection on which it was complete.
        text: what was written and, in brackets, that something was spoken, in order.
        audio_s: seconds of speech.
        video_frames: how many.
        results: the names of functions whose late answers came with it.
    """

    connection: int
    text: str = ""
    audio_s: float = 0
    video_frames: int = 0
    results: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class SaidTurn:
    """What one response consisted of, as far as it was sent.

    Attributes:
        connection: the number of the connection it was sent on.
        text: the answer as text, or what its audio says.
        audio_s: seconds of audio.
        thought: the thought summary, empty for none.
        calls: the functions that were called.
        interrupted: whether the user cut it short.
        complete: whether ``turnComplete`` was sent.
    """

    connection: int
    text: str = ""
    audio_s: float = 0
    thought: str = ""
    calls: tuple[FunctionCall, ...] = ()
    interrupted: bool = False
    complete: bool = False


@attrs.define(eq=False, kw_only=True)
class Conversation:
    """One conversation, over as many connections as resumed it.

    Attributes:
        number: counted from 1 over the life of the server.
        backend: the service that the client spoke to.
        version: the API version in the path of the latest connection.
        family: the family of the model.
        setup: the latest setup, with what ``contextUpdate`` changed.
        connections: the connections, in order.
        messages: the client's messages, in the order of their arrival.
        messages_dropped: how many of them are no longer kept.
        audio_received_bytes: how much audio came in ``realtimeInput``, silence included, as 16 kHz s16le.
        speech_dropped_bytes: how much was forgotten of utterances that were longer than five minutes.
        notices_dropped: how many ``voiceActivity`` messages were not sent to a client that did not read.
        heard: the turns of the user, the latest ``MAX_TURNS``.
        said: the responses, the latest ``MAX_TURNS``.
        turns_dropped: how many entries of the two are no longer kept.
    """

    number: int
    backend: Backend
    version: str
    family: Family = attrs.field(repr=lambda family: family.name)
    setup: Setup
    connections: list[ConnectionRecord] = attrs.field(factory=list)
    messages: list[Received] = attrs.field(factory=list)
    messages_dropped: int = 0
    audio_received_bytes: int = 0
    speech_dropped_bytes: int = 0
    notices_dropped: int = 0
    heard: list[HeardTurn] = attrs.field(factory=list)
    said: list[SaidTurn] = attrs.field(factory=list)
    turns_dropped: int = 0
    _media_bytes: int = attrs.field(default=0, init=False, repr=False)

    @property
    def model(self) -> str:
        """The model's name as the setup has it."""
        return self.setup.model or ""

    @property
    def audio_received_s(self) -> float:
        """Seconds of audio that came in ``realtimeInput``, silence included."""
        return duration_s(self.audio_received_bytes, rate_hz=INPUT_RATE_HZ)

    @property
    def path(self) -> str:
        """The request target of the latest connection, with its query: do not print it."""
        return self.connections[-1].path

    @property
    def headers(self) -> Mapping[str, str]:
        """The request headers of the latest connection, with their secrets: do not print them."""
        return self.connections[-1].headers

    @property
    def close(self) -> Close | None:
        """How the latest connection ended, None while it is open."""
        return self.connections[-1].close

    def received(self, kind: type[M]) -> tuple[M, ...]:
        """Returns the client's messages of one class, in the order of their arrival."""
        return tuple(entry.message for entry in self.messages if isinstance(entry.message, kind))

    def note_heard(self, turn: HeardTurn) -> None:
        """Adds a turn of the user."""
        self.heard.append(turn)
        if len(self.heard) > MAX_TURNS:
            del self.heard[0]
            self.turns_dropped += 1

    def note_said(self, turn: SaidTurn) -> None:
        """Adds a response."""
        self.said.append(turn)
        if len(self.said) > MAX_TURNS:
            del self.said[0]
            self.turns_dropped += 1

    def note(self, entry: Received) -> None:
        """Adds a message, at the cost of the oldest where there are too many."""
        self.messages.append(entry)
        self._media_bytes += _media_bytes(entry.message)
        while len(self.messages) > MAX_MESSAGES or self._media_bytes > MAX_MEDIA_BYTES:
            self._media_bytes -= _media_bytes(self.messages.pop(0).message)
            self.messages_dropped += 1


def _media_bytes(message: ClientMessage) -> int:
    match message:
        case RealtimeInput():
            blobs = [message.audio, message.video, *(message.media_chunks or ())]
        case ClientContent():
            blobs = [part.inline_data for content in message.turns or () for part in content.parts or ()]
        case _:
            return 0
    return sum(len(blob.data or b"") for blob in blobs if blob is not None)
