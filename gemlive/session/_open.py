"""Entering and leaving a session: the one place where its nursery opens and closes.

Everything that a session starts lives in that nursery, and the body of ``async with`` is in it too, so that losing the
session cancels the body. What comes out is decided here: an exception of the body unchanged, a lost session as one
plain ``SessionLost``, never a group for a single failure.
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from gemlive.errors import ConfigError
from gemlive.families import family_for
from gemlive.session._policy import ReconnectPolicy
from gemlive.session._runner import Runner
from gemlive.session._session import Session
from gemlive.transport import Endpoint, Timeouts, endpoint_from_env
from gemlive.types import SessionConfig

_logger = logging.getLogger("gemlive.session")

_warned: set[str] = set()


@asynccontextmanager
async def open_session(
    config: SessionConfig,
    *,
    endpoint: Endpoint | None = None,
    reconnect: ReconnectPolicy = ReconnectPolicy(),  # noqa: B008 - frozen values
    timeouts: Timeouts = Timeouts(),  # noqa: B008
) -> AsyncIterator[Session]:
    """Opens a session and gives it to the body when the server has accepted its setup.

    The session reconnects by itself, as ``reconnect`` says; the first dial is made once and fails at once. Leaving the
    block sends what still waits, says goodbye, and ends everything that was started, always within
    ``timeouts.close_s``. If the session is lost meanwhile, the body is cancelled.

    Args:
        config: what the session is to be.
        endpoint: the server; None takes it from the environment (:func:`gemlive.endpoint_from_env`).
        reconnect: how hard to try when a connection ends.
        timeouts: how long each step may take.

    Raises:
        ConfigError: a setting cannot work; before any network.
        ConnectError: the first connection could not be made; its ``step`` says where it failed.
        SessionLost: the session ended, and neither the program nor the server's normal end was the cause. Once.

    An exception of the body comes out as it is. Cancelled, the session is closed without sending what waits.
    """
    if not isinstance(config, SessionConfig):
        raise ConfigError(
            "config", f"must be a SessionConfig, not {type(config).__name__}; see SessionConfig.from_dict"
        )
    if endpoint is None:
        endpoint = endpoint_from_env()
    family = config.family or family_for(config.model)
    if not family.is_known and config.model not in _warned:
        _warned.add(config.model)
        _logger.warning("model %r is of no family known here; nothing about it is checked beforehand", config.model)
    runner = Runner(config, endpoint, family, reconnect, timeouts, random.Random().uniform)  # noqa: S311 - jitter
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            session = Session(runner)
            await nursery.start(runner.run, nursery.cancel_scope)
            if runner.failure is None:
                is_done = False
                try:
                    yield session
                    is_done = True
                except BaseException as error:
                    # What is trio's goes the way of trio; the rest is kept out of the nursery, which would wrap it.
                    if _is_cancellation(error):
                        raise
                    failure = error
                finally:
                    await _leave(runner, timeouts, flush=is_done)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        failure = group.exceptions[0] if len(group.exceptions) == 1 else group
    if failure is not None:
        try:
            raise failure
        finally:
            del failure  # its traceback holds this frame
    if runner.failure is not None:
        try:
            raise runner.failure
        finally:
            # The cancellation of the body, which it caused, is not what it came from.
            runner.failure.__context__ = None


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(trio.Cancelled) is not None
    return isinstance(error, trio.Cancelled)


async def _leave(runner: Runner, timeouts: Timeouts, *, flush: bool) -> None:
    """Ends the session and waits for it, for as long as it may take."""
    runner.request_close(flush=flush)
    with trio.CancelScope(shield=True, deadline=trio.current_time() + timeouts.close_s):
        await runner.done.wait()
