"""What becomes of a message after it was accepted: the caller's half of the delivery contract."""

from __future__ import annotations

from typing import Literal

import trio

State = Literal["unsent", "written", "covered", "uncertain", "dropped"]
"""``unsent``: accepted, not a byte of it has left. ``written``: handed to the operating system whole. ``covered``: part
of a state of the conversation that the server saved. ``uncertain``: the connection ended before anybody could know.
``dropped``: will not be sent; the reason says why."""


class Receipt:
    """Says what became of one accepted message.

    Returned by every ``send_*`` method of a session. Holding or dropping it changes nothing. Any number of tasks may
    wait on it.

    Attributes:
        state: where the message is now.
        reason: why it was dropped; empty in every other state.
    """

    __slots__ = ("_answer_turn", "_connection", "_final", "_final_event", "_left", "_shifts", "reason", "state")

    def __init__(self) -> None:
        self.state: State = "unsent"
        self.reason = ""
        self._final = False
        # A receipt belongs to each 20 ms of audio and hardly any is waited for: events are made when someone asks.
        self._left: trio.Event | None = None
        # Of a message that asks for an answer: the connection on which it left, the turn that answers it there,
        # and how many turns later that may be if turns from there on are interrupted.
        self._connection = 0
        self._answer_turn: int | None = None
        self._shifts = 0
        self._final_event: trio.Event | None = None

    def __repr__(self) -> str:
        return f"<Receipt {self.state}{f': {self.reason}' if self.reason else ''}>"

    async def written(self) -> State:
        """Waits until the message has left the queue, and returns the state it then has.

        That is ``written``, or what came after it, or ``dropped``. Cancelled: nothing changes.
        """
        if self.state == "unsent":
            if self._left is None:
                self._left = trio.Event()
            await self._left.wait()
        else:
            await trio.lowlevel.checkpoint()
        return self.state

    async def wait(self) -> State:
        """Waits until the state cannot change any more, and returns it. Never raises for the state itself.

        Without session resumption that is as soon as the message is written; with it, when a later resumption handle
        covers the message, when a reconnect made it uncertain, or at the end of the session. Cancelled: nothing
        changes.
        """
        if self._final:
            await trio.lowlevel.checkpoint()
        else:
            if self._final_event is None:
                self._final_event = trio.Event()
            await self._final_event.wait()
        return self.state

    def _settle(self, state: State, *, final: bool, reason: str = "") -> None:
        """Moves the message on; only the outbox calls this."""
        assert not self._final, f"a message that ended {self.state} cannot become {state}"
        self.state = state
        self.reason = reason
        self._final = final
        if state != "unsent" and self._left is not None:
            self._left.set()
        if final and self._final_event is not None:
            self._final_event.set()
