"""What the tests of a session share: configurations, and the sessions that they open against the emulator in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from gemlive.emulator import Behaviour, Script, Server, Turn, serve_in_memory
from gemlive.session import Session, open_session
from gemlive.types import Event, SessionConfig

MODEL = "gemini-live-2.5-flash-preview"
"""A half-cascade model: it answers in text, so that what was said can be read off, and nothing comes unasked."""

TEXT = SessionConfig(model=MODEL, response_modalities=("TEXT",))


@asynccontextmanager
async def talking(
    script: Script | Callable[[Turn], Any] | None = None, config: SessionConfig = TEXT, **options: Any
) -> AsyncIterator[tuple[Session, Server]]:
    """Opens a session with an emulator in memory; ``options`` go to ``open_session``."""
    async with (
        serve_in_memory(script) as server,
        open_session(config, endpoint=server.endpoint, **options) as session,
    ):
        yield session, server


def behaving(*connections: Behaviour, model: Callable[[Turn], Any] | None = None) -> Script:
    """Returns a script whose connections behave as given, the last of them for ever."""
    return Script(model=model, connections=connections)


async def until(session: Session, kind: type[Event]) -> list[Event]:
    """Returns the session's events up to and with the first of a kind."""
    events: list[Event] = []
    with trio.fail_after(1000):
        async for event in session:
            events.append(event)
            if isinstance(event, kind):
                return events
    raise AssertionError(f"the session ended without {kind.__name__}: {events}")


def kinds(events: list[Event]) -> list[str]:
    """Returns the names of the events' classes."""
    return [type(event).__name__ for event in events]
