"""A Live server that speaks the protocol, for any client in any language: the peer of all tests, and a product.

It plays the service's part, and shares no code with the session that it is a peer to: frames follow the recordings
(docs/protocol.md), not what our own client would like to see. Three ways to use it::

    async with serve() as server:                     # a default model that says what it heard
    async with serve(model) as server:                # an async function of a Turn answers
    async with serve_in_memory(Script(model=model, connections=[Behaviour(drop_after_s=3), Behaviour()])) as server:

Data flow::

    client -> _pipe or a socket -> _faulty -> trio-websocket -> _line -> _dialogue -> _turn: the model
                                                                  ^                        |
                                                                  +------- _dialect <------+
"""

from __future__ import annotations

from gemlive.emulator._close import Close
from gemlive.emulator._memory import ToolResult
from gemlive.emulator._record import ConnectionRecord, Conversation, HeardTurn, Received, SaidTurn
from gemlive.emulator._script import Behaviour, Model, Script
from gemlive.emulator._server import Server, serve, serve_in_memory
from gemlive.emulator._turn import Turn

__all__ = [
    "Behaviour",
    "Close",
    "ConnectionRecord",
    "Conversation",
    "HeardTurn",
    "Model",
    "Received",
    "SaidTurn",
    "Script",
    "Server",
    "ToolResult",
    "Turn",
    "serve",
    "serve_in_memory",
]
