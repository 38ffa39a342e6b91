"""Each kind of credential, fresh before each dial, and what is told when there is none.

google-auth works in a thread, and a thread races the virtual clock: those tests use the real one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import exceptions
from google.oauth2.credentials import Credentials as UserCredentials
from trio.testing import MockClock

from gemlive.errors import ConfigError, CredentialsError
from gemlive.transport import VertexAI, open_transport
from gemlive.transport._credentials import Bearer, BearerProvider, GoogleAuth, Grant
from gemlive.transport._secret import Secret
from tests.transport.peers import read_request

errors: Any = exceptions  # their constructors are not typed


def bearer(grant: object) -> str:
    """Returns the token that a grant presents."""
    assert isinstance(grant, Grant)
    value = dict(grant.headers)["Authorization"]
    assert isinstance(value, Secret)
    return value.reveal().removeprefix("Bearer ")


# A token of the caller's, and a provider


async def test_a_static_token_is_presented_as_it_is() -> None:
    assert bearer(await Bearer(Secret("t")).grant()) == "t"


async def test_a_provider_is_asked_before_each_dial() -> None:
    tokens = iter(["one", "two"])

    async def provide() -> str:
        await trio.lowlevel.checkpoint()
        return next(tokens)

    credentials = BearerProvider(provide)
    assert [bearer(await credentials.grant()), bearer(await credentials.grant())] == ["one", "two"]


@pytest.mark.parametrize(
    ("returned", "words"),
    [("", "is empty"), ("a\nb", "control character"), (None, "returned None"), (7, "must be a str, not int")],
)
async def test_a_provider_that_returns_no_token_is_told(returned: object, words: str) -> None:
    async def provide() -> str:
        await trio.lowlevel.checkpoint()
        return returned  # type: ignore[return-value]

    error = await BearerProvider(provide).grant()
    assert isinstance(error, CredentialsError)
    assert words in str(error)


async def test_a_provider_that_fails_is_told_by_the_kind_of_failure_only() -> None:
    async def provide() -> str:
        await trio.lowlevel.checkpoint()
        raise ValueError("the secret is hunter2-hunter2")

    error = await BearerProvider(provide).grant()
    assert isinstance(error, CredentialsError)
    assert "raised ValueError" in str(error)
    assert "hunter2-hunter2" not in str(error)


async def test_a_provider_that_does_not_return_is_given_up(autojump_clock: MockClock) -> None:
    async def provide() -> str:
        await trio.sleep_forever()
        raise AssertionError

    error = await BearerProvider(provide).grant()
    assert isinstance(error, CredentialsError)
    assert error.retryable
    assert trio.current_time() == 10


async def test_a_missing_credential_fails_before_any_network() -> None:
    async def connect(host: str, port: int) -> trio.abc.Stream:
        pytest.fail("something was dialled")

    async def provide() -> str:
        await trio.lowlevel.checkpoint()
        raise KeyError

    with pytest.raises(CredentialsError) as caught:
        async with open_transport(VertexAI("p", token=provide, connect=connect)):
            pass
    assert caught.value.__context__ is None


# google-auth


@attrs.define
class Fake:
    """Credentials that refresh without a network."""

    token: str | None = None
    valid: bool = False
    error: Exception | None = None
    quota_project_id: str | None = None
    refreshed: int = 0
    pause: threading.Event | None = None

    def refresh(self, request: object) -> None:
        self.refreshed += 1
        if self.pause is not None:
            self.pause.wait(10)
        if self.error is not None:
            raise self.error
        self.token, self.valid = f"token {self.refreshed}".replace(" ", "-"), True


async def test_credentials_are_refreshed_when_they_are_not_valid_and_only_then() -> None:
    fake = Fake()
    credentials = GoogleAuth.of(fake)
    assert bearer(await credentials.grant()) == "token-1"
    assert bearer(await credentials.grant()) == "token-1"
    fake.valid = False
    assert bearer(await credentials.grant()) == "token-2"


async def test_credentials_that_expire_within_minutes_are_refreshed() -> None:
    real = UserCredentials(token="old", expiry=datetime.now(UTC).replace(tzinfo=None) + timedelta(minutes=3))  # type: ignore[no-untyped-call]
    assert not real.valid
    real.expiry = datetime.now(UTC).replace(tzinfo=None) + timedelta(minutes=5)
    assert real.valid


async def test_several_dials_share_one_refresh() -> None:
    fake = Fake(pause=threading.Event())
    credentials = GoogleAuth.of(fake)
    grants: list[object] = []

    async def ask() -> None:
        grants.append(await credentials.grant())

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        assert fake.pause is not None
        fake.pause.set()
    assert [bearer(grant) for grant in grants] == ["token-1"] * 5
    assert fake.refreshed == 1


async def test_a_cancelled_dial_does_not_start_a_second_refresh_beside_the_first() -> None:
    fake = Fake(pause=threading.Event())
    credentials = GoogleAuth.of(fake)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(credentials.grant)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert fake.token is None, "the dial is left before the thread has ended"
    assert fake.pause is not None
    fake.pause.set()
    assert bearer(await credentials.grant()) == "token-1"
    assert fake.refreshed == 1


async def test_a_quota_project_is_named() -> None:
    grant = await GoogleAuth.of(Fake(quota_project_id="payer")).grant()
    assert isinstance(grant, Grant)
    assert ("x-goog-user-project", "payer") in grant.headers


@pytest.mark.parametrize(
    ("raised", "words", "retryable"),
    [
        (errors.RefreshError("invalid_grant: revoked", {"secret": "hunter2-hunter2"}), "invalid_grant: revoked", False),
        (errors.RefreshError("try later", retryable=True), "try later", True),
        (errors.RefreshError("hunter2-hunter2 is wrong\n\tvery"), "*** is wrong very", False),
        (errors.TransportError("no route"), "could not be reached: no route", True),
        (ValueError("hunter2-hunter2"), "failed with ValueError", False),
        (errors.RefreshError("x" * 1000), "x" * 300 + "…", False),
    ],
)
async def test_a_refresh_that_fails_is_told_without_secrets(raised: Exception, words: str, retryable: bool) -> None:
    fake = Fake(token="hunter2-hunter2", error=raised)
    error = await GoogleAuth.of(fake).grant()
    assert isinstance(error, CredentialsError)
    assert words in str(error)
    assert "hunter2-hunter2" not in str(error)
    assert error.retryable is retryable
    assert error.__cause__ is None


async def test_a_refresh_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemlive.transport._credentials.CREDENTIALS_S", 0.01)
    fake = Fake(pause=threading.Event())
    error = await GoogleAuth.of(fake).grant()
    assert isinstance(error, CredentialsError)
    assert error.retryable
    assert fake.pause is not None
    fake.pause.set()


@pytest.mark.parametrize("token", ["", "a\nb"])
async def test_a_token_that_is_none_is_told(token: str) -> None:
    class Odd(Fake):
        def refresh(self, request: object) -> None:
            self.token = token

    error = await GoogleAuth.of(Odd()).grant()
    assert isinstance(error, CredentialsError)
    assert "google-auth returned a token that" in str(error)


async def test_without_google_auth_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "requests", None)
    error = await GoogleAuth.of(Fake()).grant()
    assert isinstance(error, ConfigError)
    assert "google-auth[requests]" in str(error)


# Application Default Credentials


@pytest.fixture(scope="module")
def key() -> str:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@asynccontextmanager
async def token_server(answer: Callable[[bytes], bytes]) -> AsyncIterator[str]:
    async def handler(stream: trio.SocketStream) -> None:
        request = await read_request(stream)
        body = answer(request)
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, handler, 0)
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/token"
        nursery.cancel_scope.cancel()


def service_account(path: Path, token_uri: str, key: str) -> None:
    path.write_text(
        json.dumps(
            {
                "type": "service_account",
                "project_id": "p",
                "private_key_id": "1",
                "private_key": key,
                "client_email": "robot@p.iam.example",
                "token_uri": token_uri,
            }
        )
    )


@pytest.mark.socket
async def test_application_default_credentials_are_refreshed_for_the_dial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    requests: list[bytes] = []

    def answer(request: bytes) -> bytes:
        requests.append(request)
        return b'{"access_token": "from-adc", "expires_in": 3600, "token_type": "Bearer"}'

    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
    async with token_server(answer) as uri:
        service_account(tmp_path / "adc.json", uri, key)
        endpoint = VertexAI("p", "us-central1")
        assert bearer(await endpoint._credentials.grant()) == "from-adc"
        assert bearer(await endpoint._credentials.grant()) == "from-adc"
    assert len(requests) == 1
    assert requests[0].startswith(b"POST /token HTTP/1.1\r\n")


@pytest.mark.socket
async def test_a_token_server_that_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
    async with token_server(lambda _: b"[]") as uri:
        service_account(tmp_path / "adc.json", uri, key)
        error = await VertexAI("p")._credentials.grant()
    assert isinstance(error, CredentialsError)


async def test_without_application_default_credentials_the_remedy_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))

    async def connect(host: str, port: int) -> trio.abc.Stream:
        pytest.fail("something was dialled")

    with pytest.raises(ConfigError) as caught:
        async with open_transport(VertexAI("p", connect=connect)):
            pass
    assert caught.value.field == "credentials"
    assert "gcloud auth application-default login" in str(caught.value)


def test_google_auths_own_credentials_fit_the_type() -> None:
    user = UserCredentials(token="t")  # type: ignore[no-untyped-call]
    assert VertexAI("p", credentials=user).default_response_modalities == ("AUDIO",)
