"""What is new in the emulator's notes on its conversations since one last looked: notes in, news out.

The emulator writes down what it hears and says and tells nobody; looking again and again is cheap, for it is only
counting, and whoever watches can never hold up a conversation.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import attrs

from gemlive.cli._output import Value
from gemlive.emulator import ConnectionRecord, Conversation, HeardTurn, SaidTurn

_BACKENDS = {"google_ai": "Google AI", "vertex": "Vertex AI"}


@attrs.frozen
class News:
    """Something that happened in a conversation.

    Attributes:
        conversation: its number; None for a dial that led to none.
        event: what happened, in snake_case.
        text: the same for a person.
        values: what a program is told besides.
    """

    conversation: int | None
    event: str
    text: str
    values: dict[str, Value] = attrs.field(factory=dict)


@attrs.define
class _Seen:
    """How much of a conversation has been told."""

    opened: int = 0
    closed: int = 0
    heard: int = 0
    said: int = 0


class Journal:
    """Remembers how much has been told of each conversation."""

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}
        self._dials = 0
        self._strangers: list[ConnectionRecord] = []  # not yet in a conversation, and perhaps never

    def news(
        self, conversations: Sequence[Conversation], connections: Sequence[ConnectionRecord] = ()
    ) -> Iterator[News]:
        """Yields what happened since the last call, conversation by conversation, then the dials that led to none."""
        # What the emulator no longer keeps need not be remembered here.
        kept = {conversation.number for conversation in conversations}
        self._seen = {number: seen for number, seen in self._seen.items() if number in kept}
        for conversation in conversations:
            yield from _news(conversation, self._seen.setdefault(conversation.number, _Seen()))
        self._strangers += connections[self._dials :]
        self._dials = len(connections)
        if self._strangers:
            known = {id(record) for conversation in conversations for record in conversation.connections}
            self._strangers = [record for record in self._strangers if id(record) not in known]
            for record in [record for record in self._strangers if record.close is not None]:
                self._strangers.remove(record)
                yield _turned_away(record)


def _news(conversation: Conversation, seen: _Seen) -> Iterator[News]:
    for connection in conversation.connections[seen.opened :]:
        seen.opened += 1
        yield _opened(conversation, connection, seen.opened)
    # The notes bear no common clock; a turn of the user and the response of the same place belong together.
    pairs = itertools.zip_longest(conversation.heard[seen.heard :], conversation.said[seen.said :])
    for heard, said in pairs:
        if heard is not None:
            seen.heard += 1
            yield _heard(conversation.number, heard)
        if said is not None:
            seen.said += 1
            yield _said(conversation.number, said)
    for connection in [known for known in conversation.connections if known.close is not None][seen.closed :]:
        seen.closed += 1
        yield _closed(conversation.number, connection)


def _opened(conversation: Conversation, connection: ConnectionRecord, place: int) -> News:
    event, verb = ("conversation_opened", "begins") if place == 1 else ("conversation_resumed", "is resumed")
    return News(
        conversation.number,
        event,
        f"{verb}: {conversation.model}, as {_BACKENDS[conversation.backend]}",
        {"model": conversation.model, "backend": conversation.backend, "connection": connection.number},
    )


def _heard(number: int, heard: HeardTurn) -> News:
    what = [heard.text] if heard.text else []
    what += [f"{heard.video_frames} video frames"] if heard.video_frames else []
    what += [f"the answers of {', '.join(heard.results)}"] if heard.results else []
    return News(
        number,
        "heard",
        f"hears {' and '.join(what) or 'nothing'}",
        {
            "text": heard.text,
            "audio_s": round(heard.audio_s, 3),
            "video_frames": heard.video_frames,
            "results": list(heard.results),
        },
    )


def _said(number: int, said: SaidTurn) -> News:
    calls = [call.name or "" for call in said.calls]
    what = [f"{said.text or 'nothing'}" + (f" ({said.audio_s:.1f} s)" if said.audio_s else "")]
    what += [f"calls {', '.join(calls)}"] if calls else []
    what += ["is interrupted"] if said.interrupted else [] if said.complete else ["is cut off"]
    return News(
        number,
        "said",
        f"says {'; '.join(what)}",
        {
            "text": said.text,
            "audio_s": round(said.audio_s, 3),
            "calls": list[Value](calls),
            "interrupted": said.interrupted,
            "complete": said.complete,
        },
    )


def _turned_away(connection: ConnectionRecord) -> News:
    news = _closed(None, connection)
    return attrs.evolve(news, event="turned_away", text=f"never began, {news.text}")


def _closed(number: int | None, connection: ConnectionRecord) -> News:
    close = connection.close
    assert close is not None
    reason = f": {close.reason}" if close.reason else ""
    return News(
        number,
        "connection_closed",
        f"is closed by the {connection.closed_by or 'network'}: {close.code}{reason}",
        {
            "connection": connection.number,
            "code": close.code,
            "reason": close.reason,
            "by": connection.closed_by,
        },
    )


__all__ = ["Journal", "News"]
