"""Entering and leaving a session, in memory, under the virtual clock."""

from __future__ import annotations

import math
import traceback
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from gemlive.emulator import Behaviour, Close, Turn, serve_in_memory
from gemlive.errors import (
    ConfigError,
    ConnectError,
    ConnectTimeout,
    GemliveError,
    SessionLost,
    SetupError,
    UpgradeRejected,
)
from gemlive.session import ReconnectPolicy, Session, Status, open_session
from gemlive.transport import GoogleAI, Timeouts
from gemlive.types import Connected, Reconnecting, SessionClosed, SessionConfig, SetupComplete
from tests.session.peers import TEXT, behaving, kinds, talking, until

ONCE = ReconnectPolicy(attempts=0)


async def never_called(host: str, port: int) -> trio.abc.Stream:
    raise AssertionError("the network was touched")


async def test_a_wrong_setting_is_told_before_any_network(autojump_clock: MockClock) -> None:
    endpoint = GoogleAI("key", connect=never_called)
    with pytest.raises(ConfigError) as caught:
        async with open_session(SessionConfig(model="gemini-3.8-live", thinking=3), endpoint=endpoint):
            raise AssertionError("entered")
    assert caught.value.field == "thinking"


async def test_the_block_is_entered_when_the_setup_is_complete(autojump_clock: MockClock) -> None:
    async with talking() as (session, server):
        assert session.status is Status.CONNECTED
        assert server.conversations[0].setup is not None
        assert [await session.receive() for _ in range(2)] == [
            Connected(1, at=session._runner.lifecycle.stamp),
            SetupComplete(at=session._runner.lifecycle.stamp),
        ]


@pytest.mark.parametrize("step", ["upgrade", "setup"])
async def test_a_server_that_falls_silent_is_given_up_at_the_deadline_of_its_step(
    autojump_clock: MockClock, step: Any
) -> None:
    begun = trio.current_time()
    with pytest.raises(ConnectTimeout) as caught:
        async with talking(behaving(Behaviour(silent_at=step))):
            raise AssertionError("entered")
    allowed = getattr(Timeouts(), f"{step}_s")
    assert (caught.value.step, caught.value.timeout_s) == (step, allowed)
    assert trio.current_time() - begun <= allowed + Timeouts().close_s


@pytest.mark.parametrize(("step", "base_url"), [("tcp", None), ("tls", "wss://localhost:1")])
async def test_a_silent_network_is_given_up_at_the_deadline_of_its_step(
    autojump_clock: MockClock, step: Any, base_url: str | None
) -> None:
    held: list[trio.abc.Stream] = []

    async def connect(host: str, port: int) -> trio.abc.Stream:
        if step == "tcp":
            await trio.sleep_forever()
        ours, theirs = trio.testing.memory_stream_pair()
        held.append(theirs)
        return ours

    begun = trio.current_time()
    with pytest.raises(ConnectTimeout) as caught:
        async with open_session(TEXT, endpoint=GoogleAI("key", base_url=base_url, connect=connect)):
            raise AssertionError("entered")
    allowed = getattr(Timeouts(), f"{step}_s")
    assert (caught.value.step, caught.value.timeout_s) == (step, allowed)
    assert trio.current_time() - begun <= allowed + Timeouts().close_s


async def test_a_connection_that_is_accepted_and_never_read_is_given_up_at_the_upgrade(
    autojump_clock: MockClock,
) -> None:
    with pytest.raises(ConnectTimeout) as caught:
        async with talking(behaving(Behaviour(silent_at="tcp"))):
            raise AssertionError("entered")
    assert caught.value.step == "upgrade"


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
async def test_a_refused_upgrade_fails_the_first_dial_at_once(autojump_clock: MockClock, status: int) -> None:
    begun = trio.current_time()
    with pytest.raises(UpgradeRejected) as caught:
        async with talking(behaving(Behaviour(upgrade_status=status))):
            raise AssertionError("entered")
    assert (caught.value.status, caught.value.step) == (status, "upgrade")
    assert trio.current_time() == begun


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1000, ""),
        (1007, "API key not valid. Please pass a valid API key."),
        (1008, "models/x is not found for API version v1beta"),
        (1011, "Internal error encountered."),
    ],
)
async def test_a_close_instead_of_the_setup_is_a_setup_error(autojump_clock: MockClock, code: int, reason: str) -> None:
    with pytest.raises(SetupError) as caught:
        async with talking(behaving(Behaviour(refuse_setup=Close(code, reason)))):
            raise AssertionError("entered")
    assert (caught.value.code, caught.value.reason, caught.value.step) == (code, reason, "setup")


@pytest.mark.parametrize(
    ("first", "told"),
    [({"goAway": {"timeLeft": "3s"}}, "go_away"), ({"brandNew": 1}, "brandNew"), ({}, "empty"), ("{", "not readable")],
)
async def test_anything_but_setup_complete_as_the_first_message_is_a_setup_error(
    autojump_clock: MockClock, first: Any, told: str
) -> None:
    with pytest.raises(SetupError, match=told):
        async with talking(behaving(Behaviour(first_message=first))):
            raise AssertionError("entered")


async def test_the_first_dial_follows_the_policy_where_it_says_so(autojump_clock: MockClock) -> None:
    script = behaving(Behaviour(upgrade_status=503), Behaviour())
    async with talking(script, reconnect=ReconnectPolicy(first_dial=True)) as (session, _):
        assert session.connection == 1


async def test_a_policy_for_the_first_dial_gives_up_in_the_end(autojump_clock: MockClock) -> None:
    script = behaving(Behaviour(upgrade_status=503))
    with pytest.raises(SessionLost) as caught:
        async with talking(script, reconnect=ReconnectPolicy(first_dial=True, attempts=3)):
            raise AssertionError("entered")
    assert caught.value.step == "upgrade"


@pytest.mark.parametrize("close_s", [0.5, 5.0])
@pytest.mark.parametrize("step", ["open", "close"])
async def test_leaving_never_takes_longer_than_close_s(autojump_clock: MockClock, step: Any, close_s: float) -> None:
    script = behaving(Behaviour(silent_at=step))
    async with talking(script, timeouts=Timeouts(close_s=close_s)):
        begun = trio.current_time()
    assert trio.current_time() - begun <= close_s


async def test_leaving_while_reconnecting_does_not_wait_for_the_dial(autojump_clock: MockClock) -> None:
    script = behaving(
        Behaviour(close_after_setup=Close(1011, "Internal error encountered.")), Behaviour(silent_at="setup")
    )
    async with talking(script) as (session, _):
        await until(session, Reconnecting)
        await trio.sleep(1)
        begun = trio.current_time()
    assert trio.current_time() - begun <= 2.5  # the time for a goodbye, and none for the dial


async def test_a_cancelled_body_leaves_within_close_s_too(autojump_clock: MockClock) -> None:
    with trio.move_on_after(1) as scope:
        async with talking(behaving(Behaviour(silent_at="close"))):
            await trio.sleep(math.inf)
    assert scope.cancelled_caught
    assert trio.current_time() <= scope.deadline + 5


async def test_what_waits_is_sent_before_leaving(autojump_clock: MockClock) -> None:
    async with talking() as (session, server):
        for number in range(50):
            await session.send_client_content(str(number), turn_complete=False)
    said = [m.message.turns[0].parts[0].text for m in server.conversations[0].messages if m.index]  # type: ignore[union-attr,index]
    assert said == [str(number) for number in range(50)]


class BodyError(Exception):
    """What a body raises."""


async def test_an_exception_of_the_body_comes_out_as_it_is(autojump_clock: MockClock) -> None:
    error = BodyError("mine")
    with pytest.raises(BodyError) as caught:
        async with talking():
            raise error
    assert caught.value is error
    assert caught.value.__context__ is None


async def test_a_group_of_the_bodys_own_comes_out_as_that_group(autojump_clock: MockClock) -> None:
    group = ExceptionGroup("mine", [BodyError("a"), BodyError("b")])
    with pytest.raises(ExceptionGroup) as caught:
        async with talking():
            raise group
    assert caught.value is group


async def test_a_lost_session_cancels_the_body_and_comes_out_plainly(autojump_clock: MockClock) -> None:
    was_cancelled = False
    with pytest.raises(SessionLost) as caught:
        async with talking(behaving(Behaviour(close_after_s=1, close_with=Close(1008, ""))), reconnect=ONCE):
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                was_cancelled = True
                raise
    assert was_cancelled
    assert (caught.value.code, caught.value.step, caught.value.connection) == (1008, "open", 1)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


async def test_a_send_after_the_loss_raises_an_error_of_its_own(autojump_clock: MockClock) -> None:
    session: Session | None = None
    with pytest.raises(SessionLost) as caught:
        async with talking(behaving(Behaviour(close_after_s=1, close_with=Close(1008, "")))) as (session, _):
            await trio.sleep_forever()
    assert session is not None
    errors: list[BaseException] = []
    for _ in range(2):
        with pytest.raises(SessionLost) as again:
            await session.send_text("x")
        errors.append(again.value)
    assert len({id(error) for error in [*errors, caught.value]}) == 3
    assert {str(error) for error in errors} == {str(caught.value)}


async def test_a_send_after_a_normal_end_is_using_something_closed(autojump_clock: MockClock) -> None:
    async with talking() as (session, _):
        await session.aclose()
        assert session.status is Status.CLOSED
        with pytest.raises(trio.ClosedResourceError):
            await session.send_audio(bytes(640))


async def test_the_last_event_says_how_the_session_ended(autojump_clock: MockClock) -> None:
    async with talking() as (session, _):
        await session.aclose()
        events = await until(session, SessionClosed)
    assert kinds(events) == ["Connected", "SetupComplete", "SessionClosed"]
    assert events[-1] == SessionClosed(1000, "the session was left", at=events[-1].at)


async def test_the_error_of_the_first_dial_carries_no_frames_but_those_that_raise_it(
    autojump_clock: MockClock,
) -> None:
    with pytest.raises(SetupError) as caught:
        async with talking(behaving(Behaviour(refuse_setup=Close(1008, "")))):
            raise AssertionError("entered")
    files = {Path(frame.filename).name for frame in traceback.extract_tb(caught.value.__traceback__)}
    assert files <= {"test_open.py", "peers.py", "contextlib.py", "_open.py", "_server.py"}
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


async def test_an_error_of_the_script_does_not_look_like_one_of_the_session(autojump_clock: MockClock) -> None:
    async def broken(turn: Turn) -> None:
        raise BodyError(turn.text)

    with pytest.raises(BodyError, match="boo"):
        async with serve_in_memory(broken) as server, open_session(TEXT, endpoint=server.endpoint) as session:
            await session.ask("boo")


async def test_the_dial_itself_failing_is_a_connect_error(autojump_clock: MockClock) -> None:
    async def refuse(host: str, port: int) -> trio.abc.Stream:
        raise OSError("no route")

    endpoint = GoogleAI("key", connect=refuse)
    with pytest.raises(ConnectError) as caught:
        async with open_session(TEXT, endpoint=endpoint):
            raise AssertionError("entered")
    assert caught.value.step == "tcp"
    assert isinstance(caught.value, GemliveError)


async def test_something_that_is_no_configuration_is_refused(autojump_clock: MockClock) -> None:
    with pytest.raises(ConfigError, match="SessionConfig"):
        async with open_session({"model": "m"}, endpoint=GoogleAI("key")):  # type: ignore[arg-type]
            raise AssertionError("entered")


async def test_the_endpoint_is_taken_from_the_environment_when_none_is_given(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_ENTERPRISE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="GEMINI_API_KEY"):
        async with open_session(TEXT):
            raise AssertionError("entered")


async def test_timeouts_can_be_switched_off(autojump_clock: MockClock) -> None:
    fields = {field.name: math.inf for field in attrs.fields(Timeouts)}
    async with talking(timeouts=Timeouts(**fields)) as (session, _):
        assert (await session.ask("hello")).state == "completed"
