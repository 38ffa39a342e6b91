"""What a server is told to do: the model that answers, and how each connection behaves around it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from gemlive.emulator._close import INTERNAL_ERROR, Close
from gemlive.types import ServerMessage

if TYPE_CHECKING:
    from gemlive.emulator._turn import Turn

Model: TypeAlias = "Callable[[Turn], Awaitable[None]]"
"""An async function that is called with each turn and answers it. What it raises comes out of the server's block."""

SilentAt = Literal["tcp", "upgrade", "setup", "open", "close"]
"""The step at which a server falls silent, as the steps of a connection are called everywhere in gemlive."""


@attrs.frozen(kw_only=True)
class Behaviour:
    """How the server behaves on one connection; the defaults are those of a server that works.

    Attributes:
        refuse_connection: accepts no connection at all: the dial fails. (On a socket it is reset at once, for the
            operating system has accepted it already.)
        upgrade_after_s: answers the upgrade after so many seconds.
        upgrade_status: answers the upgrade with this HTTP status instead of 101.
        upgrade_headers: headers of that answer, such as ``("Retry-After", "7")``.
        upgrade_body: its body; None gives a JSON error in Google's form.
        silent_at: falls silent at a step, for good. ``"tcp"``: accepts and never reads. ``"upgrade"``: reads the
            upgrade and never answers. ``"setup"``: never answers the setup. ``"open"``: after ``setupComplete`` sends
            no byte more, not even a pong. ``"close"``: works, but never answers a Close frame.
        setup_after_s: answers the setup after so many seconds.
        refuse_setup: closes instead of answering the setup.
        refuse_resumption: closes instead of answering a setup that holds a resumption handle.
        stops_reading_after: reads nothing more after so many messages of the client (its setup is the first), so that
            the client's sends come to a halt.
        first_message: what is sent in place of ``setupComplete``: a message, JSON to be, or a frame as it is.
        close_after_setup: closes right after ``setupComplete``.
        close_after_s: closes this many seconds after ``setupComplete`` ...
        close_with: ... in this way.
        drop_after_messages: cuts the stream, without a Close frame, after so many messages to the client
            (``setupComplete`` is the first).
        drop_after_bytes: cuts the stream after so many bytes to the client, upgrade response included, wherever in a
            frame that is.
        drop_after_s: cuts the stream so many seconds after ``setupComplete``.
        go_away_after_s: sends ``goAway`` so many seconds after ``setupComplete``; None for the family's own time.
        go_away_time_left_s: what it says is left; None for the family's own. The connection is closed when it is over.
    """

    refuse_connection: bool = False
    upgrade_after_s: float = 0
    upgrade_status: int | None = None
    upgrade_headers: Sequence[tuple[str, str]] = ()
    upgrade_body: bytes | None = None
    silent_at: SilentAt | None = None
    setup_after_s: float = 0
    refuse_setup: Close | None = None
    refuse_resumption: Close | None = None
    stops_reading_after: int | None = None
    first_message: ServerMessage | Mapping[str, object] | str | bytes | None = None
    close_after_setup: Close | None = None
    close_after_s: float | None = None
    close_with: Close = INTERNAL_ERROR
    drop_after_messages: int | None = None
    drop_after_bytes: int | None = None
    drop_after_s: float | None = None
    go_away_after_s: float | None = None
    go_away_time_left_s: float | None = None


WELL_BEHAVED = Behaviour()
"""A connection on which nothing goes wrong."""


@attrs.frozen(kw_only=True)
class Script:
    """A model, and the behaviour of the server around it.

    Attributes:
        model: answers the turns; None for the default model, which says what it heard.
        connections: how each connection behaves: a function of its number (counted from 1 over the life of the server),
            or a sequence of which the last entry goes on for ever. Empty: all are well-behaved.
    """

    model: Model | None = None
    connections: Callable[[int], Behaviour] | Sequence[Behaviour] = ()

    def behaviour(self, connection: int) -> Behaviour:
        """Returns how the connection with this number behaves."""
        if callable(self.connections):
            return self.connections(connection)
        if not self.connections:
            return WELL_BEHAVED
        return self.connections[min(connection, len(self.connections)) - 1]


def script_of(script: Script | Model | None) -> Script:
    """Returns what a caller of ``serve`` passed as the one form of it."""
    return script if isinstance(script, Script) else Script(model=script)
