"""A canary goes through everything, as every kind of credential, and is then looked for where it must not be."""

from __future__ import annotations

import base64
import copy
import json
import logging
import math
import pickle
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from gemlive.transport import Connect, Endpoint, GoogleAI, Secret, Timeouts, VertexAI, endpoint_from_env, open_transport
from gemlive.transport._secret import wrap
from tests.transport.peers import (
    CANARY,
    Handler,
    Pair,
    accepting,
    answering,
    bounded_pair,
    close,
    deaf,
    echo,
    raw,
    read_request,
    serving,
    silent,
    websocket,
)

BASIC = base64.b64encode(f"{CANARY}:".encode()).decode().rstrip("=")[:-1]
"""The canary as a user name in a Basic authorization."""

# The secret itself


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        ascii,
        "{}".format,
        "{!r}".format,
        "{:>20}".format,
        lambda secret: f"{secret}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031
        lambda secret: repr([secret]),
        lambda secret: repr({"key": secret}),
        lambda secret: repr(copy.copy(secret)),
        lambda secret: repr(copy.deepcopy(secret)),
        lambda secret: repr(attrs.make_class("Holder", ["secret"])(secret)),
        lambda secret: repr(attrs.asdict(attrs.make_class("Holder", ["secret"])(secret))),
        lambda secret: json.dumps({"key": secret}, default=str),
        lambda secret: repr(GoogleAI(secret)),
        lambda secret: repr(attrs.asdict(GoogleAI(secret))),
        lambda secret: repr(attrs.asdict(VertexAI("p", token=secret))),
        lambda secret: repr(GoogleAI(secret)._credentials),
    ],
)
def test_nothing_shows_it(show: Callable[[Secret], str]) -> None:
    shown = show(Secret(CANARY))
    assert CANARY not in shown
    assert "***" in shown


@pytest.mark.parametrize("holder", [Secret(CANARY), [Secret(CANARY)], GoogleAI(CANARY)], ids=type)
def test_it_cannot_be_pickled_nor_can_what_holds_it(holder: object) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(holder)


def test_it_does_not_turn_into_text_by_accident() -> None:
    secret = Secret(CANARY)
    with pytest.raises(TypeError):
        "Bearer " + secret  # type: ignore[operator]
    with pytest.raises(TypeError):
        len(secret)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert not hasattr(secret, "__dict__")


def test_two_of_the_same_text_are_equal() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


@pytest.mark.parametrize(
    ("text", "wrapped"),
    [
        (None, None),
        (" a\n", Secret("a")),
        (Secret("a"), Secret("a")),
        ("", "is empty"),
        (7, "must be a str, not int"),
    ],
)
def test_wrapping_strips_and_checks(text: object, wrapped: object) -> None:
    assert wrap(text) == wrapped


def test_redacting_blots_out_every_occurrence() -> None:
    assert Secret("s3cr3t-1").redact("a s3cr3t-1 s3cr3t-1") == "a *** ***"
    assert Secret("s3cr3t-1").redact_bytes(b"a s3cr3t-1") == b"a ***"


@pytest.mark.parametrize("short", ["", "a", "s3cr3t-"])
def test_what_is_too_short_to_be_a_credential_stays(short: str) -> None:
    assert Secret(short).redact(f"a {short}") == f"a {short}"
    assert Secret(short).redact_bytes(b"a" + short.encode()) == b"a" + short.encode()


# The canary


def shown_by(error: BaseException) -> str:
    """Everything that a log, an error tracker or a debugger's first look shows of an exception."""
    parts: list[str] = []
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        parts += [repr(current), str(current), repr(current.args), repr(vars(current))]
        parts += traceback.TracebackException.from_exception(current, capture_locals=True).format()
        waiting += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            waiting += current.exceptions
    return "\n".join(parts)


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No logger, at any level, has said it, in the text or beside it.

    But for one line of trio-websocket's: the reason of a Close frame, as the server wrote it, which never was ours.
    """
    caplog.set_level(logging.DEBUG)
    yield
    said = [record for record in caplog.records if CANARY in record.getMessage() + str(vars(record))]
    assert [record.getMessage() for record in said if " websocket closed " not in record.getMessage()] == []


@contextmanager
def hidden(*kinds: type[BaseException]) -> Iterator[None]:
    """The block raises one of these, and nothing of it shows the canary."""
    try:
        yield
    except kinds as error:
        text = shown_by(error)
        assert CANARY not in text, text
        assert BASIC not in text, text
        assert "Traceback" in text
    else:
        pytest.fail("nothing was raised")


async def provide() -> str:
    await trio.lowlevel.checkpoint()
    return CANARY


@attrs.define
class Google:
    """google-auth credentials with the canary in them."""

    token: str | None = None
    refresh_token: str = attrs.field(default=CANARY, repr=False)
    valid: bool = False

    def refresh(self, request: object) -> None:
        self.token = CANARY
        self.valid = True

    def __repr__(self) -> str:
        return "Google()"


Make = Callable[..., Endpoint]
KINDS: dict[str, Make] = {
    "api key": lambda **to: GoogleAI(CANARY, **to),
    "ephemeral token": lambda **to: GoogleAI(token="auth_tokens/" + CANARY, **to),
    "bearer": lambda **to: VertexAI("p", token=CANARY, **to),
    "provider": lambda **to: VertexAI("p", token=provide, **to),
    "express key": lambda **to: VertexAI(api_key=CANARY, **to),
}


@asynccontextmanager
async def reaching(
    make: Make, handler: Handler, pair: Callable[[], Pair] = trio.testing.memory_stream_pair
) -> AsyncIterator[Endpoint]:
    """Gives an endpoint of a kind whose every dial ends at the handler."""
    async with serving(handler, pair=pair) as endpoint:
        yield make(base_url="ws://localhost", connect=endpoint.connect)


async def echo_refusal(stream: trio.abc.Stream) -> None:
    request = await read_request(stream)
    lines = request.split(b"\r\n")
    await stream.send_all(b"HTTP/1.1 403 No\r\nLocation: " + lines[0].split()[1] + b"\r\nX-Echo: " + lines[-3])
    await stream.send_all(b"\r\n\r\n" + request)
    await stream.aclose()


async def echo_status(stream: trio.abc.Stream) -> None:
    await stream.send_all(b"HTTP/1.1 " + await read_request(stream))
    await stream.aclose()


async def wrong_accept(stream: trio.abc.Stream) -> None:
    await stream.send_all(accepting(await read_request(stream), accept="x"))
    await trio.sleep_forever()


async def crash(stream: trio.abc.Stream) -> None:
    await stream.aclose()


UPGRADES: dict[str, Handler] = {
    "refusal that repeats it": echo_refusal,
    "status line that repeats it": echo_status,
    "garbage": answering(b"SSH-2.0\r\n"),
    "wrong accept": wrong_accept,
    "end": crash,
    "silence": silent,
    "endless head": answering(b"HTTP/1.1 101 Go\r\nx: " + b"y" * 50_000),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("upgrade", UPGRADES)
async def test_no_failed_upgrade_shows_it(autojump_clock: MockClock, kind: str, upgrade: str) -> None:
    async with reaching(KINDS[kind], UPGRADES[upgrade]) as endpoint:
        with hidden(Exception):
            async with open_transport(endpoint):
                pass


@pytest.mark.parametrize("kind", KINDS)
async def test_no_timeout_in_the_middle_of_writing_it_shows_it(autojump_clock: MockClock, kind: str) -> None:
    async with reaching(KINDS[kind], silent, lambda: bounded_pair(100)) as endpoint:
        with hidden(Exception):
            async with open_transport(endpoint):
                pass


@pytest.mark.parametrize("kind", KINDS)
async def test_no_cancellation_in_the_middle_of_writing_it_shows_it(autojump_clock: MockClock, kind: str) -> None:
    async with reaching(KINDS[kind], silent, lambda: bounded_pair(100)) as endpoint:
        with trio.move_on_after(1) as scope, hidden(trio.Cancelled):
            async with open_transport(endpoint):
                pass
    assert scope.cancel_called


@pytest.mark.parametrize("kind", KINDS)
async def test_no_cancellation_at_any_step_of_connecting_shows_it(autojump_clock: MockClock, kind: str) -> None:
    class CancelAt(trio.abc.Instrument):
        def __init__(self, step: int, scope: trio.CancelScope) -> None:
            self.left, self.scope = step, scope

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()

    shows: list[bool] = []
    async with reaching(KINDS[kind], websocket(echo)) as endpoint:
        for step in range(1, 80):
            with trio.CancelScope() as scope:
                instrument = CancelAt(step, scope)
                trio.lowlevel.add_instrument(instrument)
                try:
                    async with open_transport(endpoint) as transport:
                        await transport.send(["x"])
                        await transport.receive()
                except trio.Cancelled as error:
                    shows.append(CANARY in shown_by(error))
                    raise
                finally:
                    trio.lowlevel.remove_instrument(instrument)
    assert len(shows) > 30
    assert not any(shows)


ENDS: dict[str, Handler] = {
    "close that repeats it": raw(lambda stream: stream.send_all(close(1007, f"bad key {CANARY}"))),
    "no close": raw(lambda stream: stream.aclose()),
    "silence": raw(deaf),
    "broken frame": raw(lambda stream: stream.send_all(b"\xff\xff")),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ENDS)
async def test_no_end_of_a_connection_shows_it(autojump_clock: MockClock, kind: str, end: str) -> None:
    async with reaching(KINDS[kind], ENDS[end]) as endpoint:
        with hidden(Exception):
            async with open_transport(endpoint) as transport:
                await transport.receive()
        assert CANARY not in repr(transport) + repr(transport.close_info) + repr(vars(transport))


@pytest.mark.parametrize("kind", KINDS)
async def test_no_connection_that_works_shows_it(autojump_clock: MockClock, kind: str) -> None:
    async with reaching(KINDS[kind], websocket(echo)) as endpoint, open_transport(endpoint) as transport:
        await transport.send(["x"])
        await transport.receive()
        shown = [endpoint, endpoint.url, transport, vars(transport), vars(transport._websocket)]  # type: ignore[attr-defined]
        assert CANARY not in "\n".join(map(repr, shown))


async def test_no_exception_of_the_block_shows_it(autojump_clock: MockClock) -> None:
    async with reaching(KINDS["api key"], websocket(echo)) as endpoint:
        with hidden(KeyError):
            async with open_transport(endpoint):
                raise KeyError


async def failing(host: str, port: int) -> trio.abc.Stream:
    await trio.lowlevel.checkpoint()
    raise OSError("no network")


async def never(host: str, port: int) -> trio.abc.Stream:
    await trio.sleep_forever()
    raise AssertionError


async def no_tls(host: str, port: int) -> trio.abc.Stream:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"this is not TLS")
    return ours


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("connect", [failing, never, no_tls])
async def test_no_failure_on_the_way_shows_it(autojump_clock: MockClock, kind: str, connect: Connect) -> None:
    endpoint = KINDS[kind](base_url="wss://localhost", connect=connect)
    with hidden(Exception):
        async with open_transport(endpoint):
            pass


async def raise_with_it() -> str:
    own = CANARY
    await trio.lowlevel.checkpoint()
    raise ValueError(own)


async def return_it_broken() -> str:
    await trio.lowlevel.checkpoint()
    return CANARY + "\n" + CANARY


async def sleep_with_it() -> str:
    own = CANARY
    await trio.sleep(math.inf)
    return own


@pytest.mark.parametrize("provider", [raise_with_it, return_it_broken, sleep_with_it])
async def test_no_failure_of_a_provider_shows_it(
    autojump_clock: MockClock, provider: Callable[[], Awaitable[str]]
) -> None:
    endpoint = VertexAI("p", token=provider)
    with hidden(Exception):
        async with open_transport(endpoint):
            pass


async def test_no_cancellation_of_a_provider_shows_it(autojump_clock: MockClock) -> None:
    endpoint = VertexAI("p", token=sleep_with_it)
    with trio.move_on_after(1), hidden(trio.Cancelled):
        async with open_transport(endpoint):
            pass


async def test_a_provider_with_arguments_does_not_show_them(autojump_clock: MockClock) -> None:
    async def ask(secret: str) -> str:
        await trio.lowlevel.checkpoint()
        raise KeyError

    endpoint = VertexAI("p", token=partial(ask, CANARY))
    with hidden(Exception):
        async with open_transport(endpoint):
            pass


class Refusing(Google):
    """Credentials whose refresh fails with the canary in its text."""

    def refresh(self, request: object) -> None:
        from google.auth import exceptions

        raise exceptions.RefreshError(f"{CANARY} was refused")  # type: ignore[no-untyped-call]


class Failing(Google):
    """Credentials whose refresh fails in a way of its own."""

    def refresh(self, request: object) -> None:
        own = CANARY
        raise ValueError(own)


@pytest.mark.parametrize("credentials", [Google(), Refusing(), Failing()])
async def test_no_google_credentials_show_it(credentials: Google) -> None:
    endpoint = VertexAI("p", credentials=credentials, connect=failing)
    with hidden(Exception):
        async with open_transport(endpoint):
            pass


class ProxySocket(trio.socket.SocketType):
    """A connection to a proxy that answers with what it got, or with nothing."""

    def __init__(self, *, answers: bool) -> None:
        self.answers = answers
        self.received = b""

    def setsockopt(self, *args: object) -> None: ...

    def close(self) -> None: ...

    async def connect(self, address: object) -> None:
        await trio.lowlevel.checkpoint()

    def getpeername(self) -> tuple[str, int]:
        return ("203.0.113.7", 80)

    @property
    def type(self) -> int:  # type: ignore[override]
        return trio.socket.SOCK_STREAM

    @property
    def did_shutdown_SHUT_WR(self) -> bool:  # noqa: N802
        return False

    async def send(self, data: memoryview) -> int:  # type: ignore[override]
        if not self.answers:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        self.received += bytes(data)
        return len(data)

    async def recv(self, *args: object) -> bytes:
        await trio.lowlevel.checkpoint()
        return b"HTTP/1.1 407 No\r\nX-Echo: " + self.received + b"\r\n\r\n"


class ProxyNetwork(trio.abc.SocketFactory, trio.abc.HostnameResolver):
    """A network that consists of such a proxy."""

    def __init__(self, *, answers: bool) -> None:
        self.answers = answers

    def socket(self, *args: object) -> ProxySocket:
        return ProxySocket(answers=self.answers)

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # type: ignore[no-untyped-def] # noqa: A002
        await trio.lowlevel.checkpoint()
        return [(trio.socket.AF_INET, trio.socket.SOCK_STREAM, 6, "", ("203.0.113.7", port))]

    async def getnameinfo(self, sockaddr, flags):  # type: ignore[no-untyped-def]
        raise AssertionError


@pytest.mark.parametrize("answers", [True, False])
async def test_no_failure_at_a_proxy_shows_its_password(autojump_clock: MockClock, answers: bool) -> None:
    network = ProxyNetwork(answers=answers)
    trio.socket.set_custom_socket_factory(network)
    trio.socket.set_custom_hostname_resolver(network)
    endpoint = GoogleAI(CANARY, proxy=f"http://user:{CANARY}@proxy.example")
    assert CANARY not in repr(endpoint) + repr(endpoint.proxy)
    with hidden(Exception):
        async with open_transport(endpoint, timeouts=Timeouts(proxy_s=1)):
            pass


async def test_no_cancellation_at_a_proxy_shows_its_password(autojump_clock: MockClock) -> None:
    network = ProxyNetwork(answers=False)
    trio.socket.set_custom_socket_factory(network)
    trio.socket.set_custom_hostname_resolver(network)
    endpoint = GoogleAI(CANARY, proxy=f"http://{CANARY}@proxy.example")
    with trio.move_on_after(1), hidden(trio.Cancelled):
        async with open_transport(endpoint):
            pass


# Misuse: what is refused is not quoted


BAD = CANARY + "\n" + CANARY
MISUSES: dict[str, Callable[[], object]] = {
    "key with a line break": lambda: GoogleAI(BAD),
    "key of another type": lambda: GoogleAI(CANARY.encode()),  # type: ignore[arg-type]
    "key as token": lambda: GoogleAI(token=CANARY),
    "key and token": lambda: GoogleAI(CANARY, token="auth_tokens/" + CANARY),
    "key with a bad version": lambda: GoogleAI(CANARY, api_version="?"),
    "key with a bad base URL": lambda: GoogleAI(CANARY, base_url="ws://example.com"),
    "password in the base URL": lambda: GoogleAI("k", base_url=f"wss://u:{CANARY}@example.com"),
    "key in the base URL": lambda: GoogleAI("k", base_url=f"wss://example.com/?key={CANARY}"),
    "key as the base URL": lambda: GoogleAI("k", base_url=CANARY),
    "password in a bad proxy": lambda: GoogleAI("k", proxy=f"socks5://u:{CANARY}@example.com"),
    "password in a proxy that does not fit": lambda: GoogleAI(
        "k", base_url="ws://localhost", proxy=f"http://u:{CANARY}@example.com"
    ),
    "bearer with a line break": lambda: VertexAI("p", token=BAD),
    "two credentials": lambda: VertexAI("p", token=CANARY, api_key=CANARY),
    "bearer without a project": lambda: VertexAI(token=CANARY),
    "express key with a project": lambda: VertexAI("p", api_key=CANARY),
    "environment: key with a line break": lambda: endpoint_from_env({"GEMINI_API_KEY": BAD}),
    "environment: bad base URL": lambda: endpoint_from_env(
        {"GEMINI_API_KEY": CANARY, "GOOGLE_GEMINI_BASE_URL": f"wss://u:{CANARY}@example.com"}
    ),
    "environment: bad proxy": lambda: endpoint_from_env(
        {"GEMINI_API_KEY": CANARY, "HTTPS_PROXY": f"socks5://u:{CANARY}@example.com"}
    ),
    "environment: bad version": lambda: endpoint_from_env({"GEMINI_API_KEY": CANARY, "GOOGLE_GENAI_API_VERSION": "?"}),
    "environment: no project": lambda: endpoint_from_env(
        {"GEMINI_API_KEY": CANARY, "GOOGLE_GENAI_USE_VERTEXAI": "1", "GOOGLE_CLOUD_LOCATION": "l"}
    ),
}


@pytest.mark.parametrize("misuse", MISUSES)
def test_no_refused_setting_shows_it(misuse: str) -> None:
    with hidden(Exception):
        MISUSES[misuse]()


def test_a_warning_about_two_keys_does_not_show_them() -> None:
    endpoint_from_env({"GEMINI_API_KEY": CANARY, "GOOGLE_API_KEY": CANARY})


def test_what_shows_too_much_is_found() -> None:
    """The instrument itself: a frame with the canary in a local, a text, and a log record are each seen."""

    def careless() -> None:
        own = CANARY
        raise ValueError(len(own))

    with pytest.raises(ValueError, match="15") as caught:
        careless()
    assert CANARY in shown_by(caught.value)
