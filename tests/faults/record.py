"""What one schedule left behind: plain values, for the checker to judge and for people to read.

What the emulator noted is passed on as it is; of the session there are only numbers, texts and tuples here, so that who
judges cannot look at what it judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import attrs

from gemlive.emulator import ConnectionRecord, Conversation
from tests.faults.schedule import Plan, Status
from tests.faults.wiretap import Offer

SendKind = Literal["text", "content", "history", "audio", "video", "mark", "tool"]


@attrs.define(kw_only=True)
class Sent:
    """One call of a ``send_*`` method.

    Attributes:
        key: what the message is known by on the wire; for a mark its name.
        kind: the class of the delivery contract.
        outcome: ``accepted``, ``cancelled``, or the name of the exception.
        order: the place among the accepted ones, counted from 1; 0 for the others.
        asked_at: when the method was called.
        at: when it returned or raised.
        audio_ms: milliseconds of audio.
        call_id: of a tool response, the id of its call.
        state: the last state of the receipt; empty without one.
        reason: why it was dropped.
        is_final: whether ``Receipt.wait`` returned.
    """

    key: str
    kind: SendKind
    outcome: str = ""
    order: int = 0
    asked_at: float = 0.0
    at: float = 0.0
    audio_ms: float = 0.0
    call_id: str = ""
    state: str = ""
    reason: str = ""
    is_final: bool = False


@attrs.frozen(kw_only=True)
class Seen:
    """One event, as the session's own cursor had it.

    Attributes:
        kind: the name of its class.
        at: when it was received.
        connection: its stamp.
        turn: its stamp.
        response: its stamp.
        values: its other fields; messages as their keys.
    """

    kind: str
    at: float
    connection: int
    turn: int
    response: int
    values: Mapping[str, object]


@attrs.frozen(kw_only=True)
class Got:
    """One thing that a further cursor gave.

    Attributes:
        event: which event of the session's own cursor it is, counted from 0; None for a ``Lagged``.
        lost: of a ``Lagged``, how many events.
        lost_audio_ms: of a ``Lagged``, how much audio.
        published: how many events had been published when it was taken, where that is known.
    """

    event: int | None
    lost: int = 0
    lost_audio_ms: float = 0.0
    published: int | None = None


@attrs.define(kw_only=True)
class Reader:
    """A further cursor.

    Attributes:
        kind: ``slow-consumer`` or ``stuck-consumer``.
        max_events: its bound.
        began: how many events had been published when it was made.
        got: what it gave.
        has_ended: whether it ended with the session.
    """

    kind: str
    max_events: int
    began: int
    got: list[Got] = attrs.field(factory=list)
    has_ended: bool = False


@attrs.frozen(kw_only=True)
class Asked:
    """One question, asked with a turn.

    Attributes:
        key: the text.
        state: how the reply ended; empty while it had not.
        said: what it said, as text.
        began_at: when it was asked.
        ended_at: when the reply was there.
    """

    key: str
    state: str
    said: str
    began_at: float
    ended_at: float


@attrs.define(kw_only=True)
class Dialled:
    """One attempt at a connection, as the wire had it.

    Attributes:
        ordinal: counted from 1.
        number: the number of the emulator's record; None where the emulator never heard of it.
        at: when it was made.
        tick: its place in the order of all dials and ends.
        closed_at: when the client closed its end, None where it did not.
        closed_tick: the place of that.
        cut_at: when a fault ended it, None where none did.
        heard_at: when the client last read a byte.
        is_secret: whether nothing can be seen, because of TLS.
        is_slowed: whether a fault made bytes wait.
        status: of the upgrade; None where no answer was read.
        sent: what the client handed over behind the upgrade request.
        passed: how much of it was taken.
        offers: when.
        went_silent_at: when it became a black hole.
    """

    ordinal: int
    number: int | None
    at: float
    tick: int
    closed_at: float | None = None
    closed_tick: int | None = None
    cut_at: float | None = None
    heard_at: float = 0.0
    is_secret: bool = False
    is_slowed: bool = False
    status: int | None = None
    sent: bytes = b""
    passed: int = 0
    offers: tuple[Offer, ...] = ()
    went_silent_at: float | None = None


@attrs.frozen(kw_only=True)
class Outcome:
    """What came out of the block.

    Attributes:
        name: of the exception's class; empty for none.
        is_group: whether it was an exception group.
        told: its message.
        step: of a failed connection.
        code: of a lost session.
        reason: of a lost session.
        retryable: whether trying again is said to make sense.
    """

    name: str = ""
    is_group: bool = False
    told: str = ""
    step: str = ""
    code: int | None = None
    reason: str = ""
    retryable: bool | None = None


@attrs.frozen(kw_only=True)
class Piece:
    """One piece of an answer that the model said.

    Attributes:
        text: the piece.
        connection: the emulator's number of the connection.
        is_sent: whether saying it came to an end.
    """

    text: str
    connection: int
    is_sent: bool


@attrs.frozen(kw_only=True)
class Mark:
    """A message that must be seen if a later one is: sent right behind one that is hard to read, or in a stall.

    Attributes:
        text: what it is known by.
        connection: the emulator's number of the connection.
        at: when it was sent.
    """

    text: str
    connection: int
    at: float


@attrs.frozen(kw_only=True)
class Run:
    """One schedule, run.

    Attributes:
        plan: the schedule.
        connections: the emulator's record of connections.
        conversations: the emulator's record of conversations.
        pieces: what the model said.
        marks: what the server sent to be seen.
        dials: the attempts at connections.
        sent: the calls of ``send_*``, in the order in which they ended.
        events: what the session's own cursor gave.
        readers: the further cursors.
        asked: the questions.
        outcome: what came out of the block.
        has_entered: whether the body began.
        has_failed_itself: whether the body raised an exception of its own, or passed one on.
        was_cancelled: whether the block was cancelled from outside.
        left_at: when leaving began.
        exited_at: when the block was left.
        has_read_on: whether the session's own cursor had not ended when the block was left.
        statistics: the session's counts at its end.
        jumps: when the clock jumped, and by how much.
        met: which faults were met in which status, in order.
        hung: what waited for ever; empty when nothing did.
    """

    plan: Plan
    connections: Sequence[ConnectionRecord]
    conversations: Sequence[Conversation]
    pieces: Sequence[Piece]
    marks: Sequence[Mark]
    dials: Sequence[Dialled]
    sent: Sequence[Sent]
    events: Sequence[Seen]
    readers: Sequence[Reader]
    asked: Sequence[Asked]
    outcome: Outcome
    has_entered: bool
    has_failed_itself: bool
    was_cancelled: bool
    left_at: float | None
    exited_at: float
    has_read_on: bool
    statistics: Mapping[str, float]
    jumps: Sequence[tuple[float, float]]
    met: Sequence[tuple[str, Status]]
    hung: str
