"""The upgrade: what is sent with the credential in it, and every answer a server may think of."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from gemlive.errors import ConnectError, ConnectTimeout, UpgradeRejected
from gemlive.transport import Endpoint, GoogleAI, Timeouts, VertexAI, open_transport
from gemlive.transport._credentials import Grant
from gemlive.transport._response import Head
from gemlive.transport._secret import Secret
from gemlive.transport._upgrade import compose, rejection, retry_after
from tests.transport.peers import CANARY, Handler, accepting, answering, read_request, serving, silent

REQUEST = b"GET /ws/x HTTP/1.1\r\nHost: localhost\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"


async def refused(handler: Handler, *, timeouts: Timeouts | None = None) -> ConnectError:
    """Connects to a server that refuses, and returns the error."""
    async with serving(handler) as endpoint:
        with pytest.raises(ConnectError) as caught:
            async with open_transport(endpoint, timeouts=timeouts):
                pytest.fail("the upgrade was accepted")
    assert caught.value.step == "upgrade"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


# What is sent


async def request_of(make: Callable[..., Endpoint]) -> tuple[str, dict[str, str]]:
    """Returns the target and the headers that an endpoint's upgrade has on the wire."""
    requests: list[bytes] = []

    async def handler(stream: trio.abc.Stream) -> None:
        requests.append(await read_request(stream))
        await stream.aclose()

    async with serving(handler) as endpoint:
        with pytest.raises(ConnectError):
            async with open_transport(make(base_url="ws://localhost:8790/pre", connect=endpoint.connect)):
                pass
    line, *lines = requests[0].decode().removesuffix("\r\n\r\n").split("\r\n")
    names = [name.lower() for name, _, _ in (line.partition(": ") for line in lines)]
    assert len(names) == len(set(names))
    return line, {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


GOOGLE_AI = "/pre/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
VERTEX = "/pre/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent"


@attrs.define
class Quota:
    """Credentials that pay from another project."""

    token: str | None = "oauth"
    valid: bool = True
    quota_project_id: str | None = "payer"

    def refresh(self, request: object) -> None:
        raise AssertionError("the token is fresh")


@pytest.mark.parametrize(
    ("make", "line", "own"),
    [
        (lambda **to: GoogleAI("key", **to), f"GET {GOOGLE_AI} HTTP/1.1", {"x-goog-api-key": "key"}),
        (
            lambda **to: GoogleAI(token="auth_tokens/a-B_9", **to),
            f"GET {GOOGLE_AI}Constrained?access_token=auth_tokens/a-B_9 HTTP/1.1",
            {},
        ),
        (
            lambda **to: GoogleAI("auth_tokens/x&y=z", api_version="v1alpha", **to),
            f"GET {GOOGLE_AI.replace('v1beta', 'v1alpha')}Constrained?access_token=auth_tokens/x%26y%3Dz HTTP/1.1",
            {},
        ),
        (
            lambda **to: VertexAI("p", "l", token="oauth", **to),
            f"GET {VERTEX} HTTP/1.1",
            {"authorization": "Bearer oauth"},
        ),
        (lambda **to: VertexAI(api_key="key", **to), f"GET {VERTEX} HTTP/1.1", {"x-goog-api-key": "key"}),
    ],
)
async def test_a_credential_goes_where_the_service_takes_it(
    make: Callable[..., Endpoint], line: str, own: dict[str, str]
) -> None:
    sent_line, headers = await request_of(make)
    assert sent_line == line
    for name in ("host", "upgrade", "connection", "sec-websocket-key", "sec-websocket-version"):
        headers.pop(name)
    assert headers.pop("user-agent").startswith("gemlive")
    assert headers == {"content-type": "application/json", **own}


async def test_the_host_header_names_the_port() -> None:
    _, headers = await request_of(lambda **to: GoogleAI("key", **to))
    assert headers["host"] == "localhost:8790"


def test_the_query_and_the_headers_are_spliced_in_as_bytes() -> None:
    grant = Grant((("X-A", "1"), ("X-B", Secret("2"))), Secret("auth_tokens/t"))
    composed = compose(REQUEST, grant)
    assert composed.startswith(b"GET /ws/x?access_token=auth_tokens/t HTTP/1.1\r\nHost: localhost\r\n")
    assert composed.endswith(b"\r\nX-A: 1\r\nX-B: 2\r\n\r\n")


# Refusals with a status


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(400, False), (401, False), (403, False), (404, False), (408, True), (429, True), (500, True), (503, True)],
)
@pytest.mark.parametrize("framing", ["content-length", "chunked", "end of stream"])
async def test_a_refusal_has_status_headers_and_body(
    autojump_clock: MockClock, status: int, retryable: bool, framing: str
) -> None:
    body = b'{"error": {"code": %d}}' % status
    head, sent = {
        "content-length": (f"Content-Length: {len(body)}", body),
        "chunked": ("Transfer-Encoding: chunked", b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)),
        "end of stream": ("Connection: close", body),
    }[framing]
    answer = f"HTTP/1.1 {status} No\r\nX-Request-Id: 7\r\n{head}\r\n\r\n".encode() + sent
    error = await refused(answering(answer, then_close=framing == "end of stream"))
    assert isinstance(error, UpgradeRejected)
    assert (error.status, error.body, error.retryable) == (status, body, retryable)
    assert ("x-request-id", "7") in error.headers
    assert trio.current_time() == 0


async def test_a_success_that_is_no_upgrade_is_a_refusal(autojump_clock: MockClock) -> None:
    error = await refused(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"))
    assert isinstance(error, UpgradeRejected)
    assert (error.status, error.body) == (200, b"hi")


async def test_a_refusal_whose_body_does_not_end_keeps_what_came_within_the_deadline(autojump_clock: MockClock) -> None:
    async def handler(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 403 No\r\n\r\n")
        try:
            while True:
                await stream.send_all(b"x")
                await trio.sleep(1)
        except trio.BrokenResourceError:
            pass

    error = await refused(handler)
    assert isinstance(error, UpgradeRejected)
    assert error.body == b"x" * 10
    assert trio.current_time() == 10


async def test_a_redirect_is_not_followed_and_tells_no_more_than_the_host(autojump_clock: MockClock) -> None:
    answer = b"HTTP/1.1 307 Go\r\nLocation: https://u:p@evil.example/path?access_token=1\r\nContent-Length: 0\r\n\r\n"
    error = await refused(answering(answer))
    assert isinstance(error, UpgradeRejected)
    assert not error.retryable
    assert ("location", "https://evil.example") in error.headers


@pytest.mark.parametrize(
    ("location", "shown"), [("/elsewhere?x=1", ""), ("//host/x", "://host"), ("http://[x", ""), ("", "")]
)
def test_a_location_is_cut_to_scheme_and_host(location: str, shown: str) -> None:
    error = rejection(Head(302, (("location", location),)), b"", Grant())
    assert error.headers == (("location", shown),)


async def test_a_server_that_repeats_our_credential_does_not_get_it_into_the_error(autojump_clock: MockClock) -> None:
    async def handler(stream: trio.abc.Stream) -> None:
        request = await read_request(stream)
        assert CANARY.encode() in request
        key = CANARY.encode()
        await stream.send_all(b"HTTP/1.1 403 No\r\nX-Echo: " + key + b"\r\n\r\nyou sent: " + request)
        await stream.aclose()

    error = await refused(handler)
    assert isinstance(error, UpgradeRejected)
    assert ("x-echo", "***") in error.headers
    assert b"x-goog-api-key: ***" in error.body
    assert CANARY.encode() not in error.body


# Retry-After


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-7"}, None),
        ({"retry-after": "1.5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "Fri, 20 Nov 2026 10:00:30 GMT"}, 30.0),
        ({"retry-after": "Fri, 20 Nov 2026 09:00:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 20 Nov 2026 10:00:30 GMT", "date": "Fri, 20 Nov 2026 10:00:20 GMT"}, 10.0),
        ({"retry-after": "Fri, 20 Nov 99999 10:00:30 GMT"}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(headers: dict[str, str], seconds: float | None) -> None:
    head = Head(503, tuple(headers.items()))
    assert retry_after(head, now_s=1795168800) == seconds


async def test_retry_after_is_told(autojump_clock: MockClock) -> None:
    error = await refused(answering(b"HTTP/1.1 429 No\r\nRetry-After: 12\r\nContent-Length: 0\r\n\r\n"))
    assert error.retry_after_s == 12


# No proper answer


@pytest.mark.parametrize(
    ("answer", "words", "retryable"),
    [
        (b"", "closed the connection without an answer", True),
        (b"HTTP/1.1 10", "closed the connection in the middle of its answer", True),
        (b"SSH-2.0-x\r\n", "not HTTP/1.1", False),
        (b"HTTP/1.1 101 Go\r\n" + b"x: " + b"y" * 50_000, "more than 32 KiB", False),
        (b"HTTP/1.1 101 Go\r\n\r\n", "without saying that it switches to WebSocket", False),
    ],
)
async def test_no_proper_answer_is_told_at_once(
    autojump_clock: MockClock, answer: bytes, words: str, retryable: bool
) -> None:
    error = await refused(answering(answer))
    assert not isinstance(error, UpgradeRejected | ConnectTimeout)
    assert words in str(error)
    assert error.retryable is retryable
    assert trio.current_time() == 0


@pytest.mark.parametrize(
    ("headers", "accept", "words"),
    [
        ([], "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "Sec-WebSocket-Accept"),
        (["Sec-WebSocket-Extensions: permessage-deflate"], None, "an extension that was not asked for"),
        (["Sec-WebSocket-Protocol: chat"], None, "a subprotocol that was not asked for"),
    ],
)
async def test_an_accepted_upgrade_that_does_not_fit_is_refused_at_once(
    autojump_clock: MockClock, headers: list[str], accept: str | None, words: str
) -> None:
    async def handler(stream: trio.abc.Stream) -> None:
        await stream.send_all(accepting(await read_request(stream), *headers, accept=accept))
        await trio.sleep_forever()

    error = await refused(handler)
    assert words in str(error)
    assert not error.retryable
    assert trio.current_time() == 0


async def test_an_unusual_but_proper_acceptance_is_accepted(autojump_clock: MockClock) -> None:
    """Headers that trio-websocket's own reader stumbles over are no reason to fail."""

    async def handler(stream: trio.abc.Stream) -> None:
        answer = accepting(await read_request(stream), "X Odd: a\0b", "X-Long: " + "x" * 30_000)
        await stream.send_all(
            b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer.replace(b": Upgrade\r\n", b": keep-alive, UPGRADE\r\n")
        )
        await trio.sleep_forever()

    async with serving(handler) as endpoint, open_transport(endpoint) as transport:
        assert transport.close_info is None


@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 101 Go\r\nUpgrade:"])
async def test_a_server_that_does_not_answer_is_given_up_after_upgrade_s(
    autojump_clock: MockClock, answer: bytes | None
) -> None:
    error = await refused(
        silent if answer is None else answering(answer, then_close=False), timeouts=Timeouts(upgrade_s=3)
    )
    assert isinstance(error, ConnectTimeout)
    assert error.timeout_s == 3
    assert trio.current_time() == 3


async def test_a_server_that_does_not_read_is_given_up_after_upgrade_s(autojump_clock: MockClock) -> None:
    async with serving(silent, pair=trio.testing.lockstep_stream_pair) as endpoint:
        with pytest.raises(ConnectTimeout):
            async with open_transport(endpoint):
                pass
        assert trio.current_time() == 10


async def test_cancelling_the_upgrade_closes_the_stream(autojump_clock: MockClock) -> None:
    ended = trio.Event()

    async def handler(stream: trio.abc.Stream) -> None:
        while await stream.receive_some():
            pass
        ended.set()

    async with serving(handler) as endpoint:
        with trio.move_on_after(1) as scope:
            async with open_transport(endpoint):
                pass
        assert scope.cancelled_caught
        assert trio.current_time() == 1
        await ended.wait()
