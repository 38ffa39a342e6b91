"""What a program can read from an exception: whose mistake, where, and whether to try again."""

from __future__ import annotations

import inspect
import traceback
from typing import get_args

import pytest

from gemlive import errors
from gemlive.errors import (
    CodecError,
    ConfigError,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    CredentialsError,
    GemliveError,
    Origin,
    SessionLost,
    SetupError,
    Step,
    TlsError,
    ToolError,
    UpgradeRejected,
)


def test_one_base_catches_every_exception_of_the_library() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, BaseException)]
    assert len(kinds) >= 12
    assert all(issubclass(kind, GemliveError) for kind in kinds)


@pytest.mark.parametrize("kind", [ConnectTimeout, TlsError, CredentialsError, UpgradeRejected, SetupError])
def test_every_way_to_fail_to_connect_is_a_connect_error(kind: type[Exception]) -> None:
    assert issubclass(kind, ConnectError)


@pytest.mark.parametrize("kind", [ConfigError, ConnectionLost, SessionLost, CodecError, ToolError])
def test_what_is_no_failure_to_connect_is_no_connect_error(kind: type[Exception]) -> None:
    assert not issubclass(kind, ConnectError)


def test_a_wrong_setting_names_itself_and_is_a_value_error() -> None:
    error = ConfigError("tools[0].name", "is missing; give the function a name")
    assert str(error) == "tools[0].name: is missing; give the function a name"
    assert error.field == "tools[0].name"
    assert isinstance(error, ValueError)


def test_a_failed_connection_says_where_and_whether_to_try_again() -> None:
    error = ConnectError("no such host", step="dns")
    assert (str(error), error.step, error.retryable, error.retry_after_s) == ("no such host", "dns", True, None)


@pytest.mark.parametrize("step", get_args(Step))
def test_a_timeout_names_the_setting_that_raises_it(step: Step) -> None:
    error = ConnectTimeout(step=step, timeout_s=2.5, waiting_for="the answer of 127.0.0.1:443")
    assert str(error) == (
        f"the answer of 127.0.0.1:443 took longer than 2.5 s (step {step}); "
        f"raise Timeouts.{step}_s if the network is known to be slow"
    )
    assert (error.step, error.timeout_s, error.retryable) == (step, 2.5, True)


def test_a_failed_handshake_is_not_retried() -> None:
    error = TlsError("the certificate is for example.com")
    assert (error.step, error.retryable) == ("tls", False)


@pytest.mark.parametrize("retryable", [True, False])
def test_missing_credentials_say_whether_to_try_again(retryable: bool) -> None:
    error = CredentialsError("the token server did not answer", retryable=retryable)
    assert (error.step, error.retryable) == ("upgrade", retryable)


@pytest.mark.parametrize(
    ("status", "retryable"),
    [*((status, False) for status in (301, 400, 401, 403, 404)), *((status, True) for status in (408, 429, 500, 503))],
)
def test_a_refused_upgrade_is_tried_again_only_if_it_may_succeed(status: int, retryable: bool) -> None:
    error = UpgradeRejected(status, [("server", "x")], b"{}")
    assert (error.step, error.status, error.retryable) == ("upgrade", status, retryable)
    assert (error.headers, error.body) == ((("server", "x"),), b"{}")
    assert f"HTTP {status}" in str(error)


def test_a_refused_upgrade_says_how_long_to_wait_and_shows_neither_headers_nor_body() -> None:
    error = UpgradeRejected(429, [("set-cookie", "secret")], b"secret", retry_after_s=30)
    assert error.retry_after_s == 30
    assert str(error) == "the server refused the WebSocket upgrade with HTTP 429; it asks to wait 30 s"
    assert "secret" not in repr(error)


def test_a_refused_setup_carries_the_close() -> None:
    error = SetupError("the server refused the setup", code=1007, reason="API key not valid.")
    assert (error.step, error.code, error.reason, error.retryable) == ("setup", 1007, "API key not valid.", False)


def test_an_unexpected_answer_to_the_setup_has_no_close() -> None:
    error = SetupError("the first message was no setupComplete")
    assert (error.code, error.reason) == (None, "")


@pytest.mark.parametrize("origin", get_args(Origin))
def test_a_lost_connection_says_who_ended_it_when_no_reason_does(origin: Origin) -> None:
    error = ConnectionLost(1006, "", origin=origin)
    assert str(error) == f"the connection ended with code 1006 ({origin})"
    assert (error.code, error.reason, error.origin) == (1006, "", origin)


def test_a_lost_connection_repeats_the_reason_that_was_given() -> None:
    assert str(ConnectionLost(1011, "try later", origin="peer")) == "the connection ended with code 1011: try later"


def lost() -> SessionLost:
    return SessionLost(
        "the session was lost",
        code=1008,
        reason="session not found",
        step="setup",
        connection=3,
        causes=["the handle is too old; start afresh"],
        retryable=True,
    )


def test_each_task_is_told_by_an_exception_of_its_own_that_is_equal() -> None:
    told = lost()
    try:
        raise told from ValueError("inside")
    except SessionLost:
        fresh = told.fresh()
    assert fresh is not told
    assert (str(fresh), vars(fresh)) == (str(told), vars(told))
    assert (fresh.__traceback__, fresh.__cause__, fresh.__context__) == (None, None, None)


def test_the_causes_of_a_loss_cannot_be_changed_afterwards() -> None:
    causes = ["the network ended"]
    error = SessionLost("lost", causes=causes)
    causes.append("something else")
    assert error.causes == ("the network ended",)


def test_a_frame_that_is_no_message_names_the_field() -> None:
    assert CodecError("unknown field", path="setup.session_resumption").path == "setup.session_resumption"
    assert CodecError("not JSON").path == ""


def test_what_a_tool_tells_the_model_cannot_be_changed_afterwards() -> None:
    details = {"city": "Paris"}
    error = ToolError("no such city", details=details)
    details["city"] = "Rome"
    assert (str(error), dict(error.details)) == ("no such city", {"city": "Paris"})
    with pytest.raises(TypeError):
        error.details["city"] = "Rome"  # type: ignore[index]


def test_a_tool_may_tell_nothing_but_the_text() -> None:
    assert dict(ToolError("no").details) == {}


@pytest.mark.parametrize("error", [lost(), UpgradeRejected(503, [], b""), ConfigError("voice", "is empty")])
def test_a_traceback_can_be_printed_with_its_locals(error: GemliveError) -> None:
    with pytest.raises(GemliveError) as caught:
        raise error
    text = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert str(error) in text
