"""Keep one logical session alive over many connections and tell everyone what arrived.

:func:`open_session` is the way in. Deciding is pure (``_lifecycle`` for connections, ``_outbox`` for messages,
``_setup`` for the first message), ``_runner`` does what they decide, ``_session`` is what programs hold, ``_turn``
binds a question to its answer.
"""

from __future__ import annotations

from gemlive.session._lifecycle import Status
from gemlive.session._open import open_session
from gemlive.session._outbox import OutboxStatistics
from gemlive.session._policy import ReconnectPolicy
from gemlive.session._receipt import Receipt, State
from gemlive.session._session import Session, SessionStatistics
from gemlive.session._setup import setup_message
from gemlive.session._turn import Reply, ReplyState, Turn

__all__ = [
    "OutboxStatistics",
    "Receipt",
    "ReconnectPolicy",
    "Reply",
    "ReplyState",
    "Session",
    "SessionStatistics",
    "State",
    "Status",
    "Turn",
    "open_session",
    "setup_message",
]
