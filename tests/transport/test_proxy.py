"""An HTTP proxy: how its address is read, and what it may answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from gemlive.errors import ConnectError
from gemlive.transport._proxy import Proxy, open_tunnel
from gemlive.transport._secret import Secret
from tests.transport.peers import read_request

PROXY = Proxy("proxy.example", 3128)


def read(url: str) -> Proxy:
    proxy = Proxy.read(Secret(url))
    assert isinstance(proxy, Proxy)
    return proxy


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://proxy.example:3128", "proxy.example", 3128),
        ("http://Proxy.Example/", "proxy.example", 80),
        ("HTTP://10.0.0.1:8080", "10.0.0.1", 8080),
        ("http://[::1]:8080", "::1", 8080),
    ],
)
def test_a_proxy_url_is_read(url: str, host: str, port: int) -> None:
    assert (read(url).host, read(url).port) == (host, port)


@pytest.mark.parametrize(
    "url",
    [
        "https://proxy.example",
        "socks5://proxy.example",
        "proxy.example:3128",
        "http://proxy.example:0",
        "http://proxy.example:99999",
        "http://proxy.example/path",
        "http://proxy.example?x",
        "http://127.1:80",
        "http://",
        "http://a\r\nb",
        "http://u:p@p@x",
    ],
)
def test_what_is_no_url_of_an_http_proxy_is_refused_without_quoting_it(url: str) -> None:
    problem = Proxy.read(Secret(url))
    assert isinstance(problem, str)
    assert "p@p" not in problem


def test_user_and_password_go_into_a_basic_authorization_and_nowhere_else() -> None:
    proxy = read("http://us%40er:pass%3Aword@proxy.example")
    assert b"\r\nProxy-Authorization: Basic dXNAZXI6cGFzczp3b3Jk\r\n" in proxy.request("host:443")
    assert "word" not in repr(proxy)
    assert "dXNAZXI6" not in repr(proxy)


def test_without_a_user_nothing_is_said_about_one() -> None:
    assert PROXY.request("h:1") == b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n"


async def tunnel(
    answer: Callable[[trio.abc.Stream], Awaitable[None]] | bytes, host: str = "far.example"
) -> tuple[bytes, ConnectError | None]:
    ours, theirs = trio.testing.memory_stream_pair()
    requests: list[bytes] = []

    async def proxy() -> None:
        requests.append(await read_request(theirs))
        if isinstance(answer, bytes):
            await theirs.send_all(answer)
        else:
            await answer(theirs)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(proxy)
        error = await open_tunnel(ours, PROXY, host, 443)
    return requests[0], error


async def test_a_tunnel_that_is_opened_is_no_error() -> None:
    request, error = await tunnel(b"HTTP/1.0 200 OK\r\nVia: x\r\n\r\n")
    assert error is None
    assert request.startswith(b"CONNECT far.example:443 HTTP/1.1\r\n")


async def test_an_ipv6_host_stands_in_brackets() -> None:
    request, _ = await tunnel(b"HTTP/1.1 200 OK\r\n\r\n", host="2001:db8::1")
    assert request.startswith(b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n")


@pytest.mark.parametrize(
    ("answer", "words", "retryable"),
    [
        (b"HTTP/1.1 407 No\r\n\r\n", "other credentials (HTTP 407)", False),
        (b"HTTP/1.1 403 No\r\n\r\n", "refused a tunnel to far.example:443 with HTTP 403", False),
        (b"HTTP/1.1 502 No\r\n\r\n", "HTTP 502", True),
        (b"SOCKS", "not HTTP/1.1", True),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "sent 5 bytes into the tunnel", False),
    ],
)
async def test_a_tunnel_that_is_refused_is_told(answer: bytes, words: str, retryable: bool) -> None:
    _, error = await tunnel(answer)
    assert error is not None
    assert error.step == "proxy"
    assert words in str(error)
    assert "proxy.example:3128" in str(error)
    assert error.retryable is retryable


async def test_a_proxy_that_hangs_up_is_told() -> None:
    _, error = await tunnel(lambda stream: stream.aclose())
    assert error is not None
    assert "closed the connection without an answer" in str(error)


async def test_a_proxy_that_does_not_take_the_request_is_told(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.aclose()
    error = await open_tunnel(ours, PROXY, "far.example", 443)
    assert error is not None
    assert "closed the connection before it had the request" in str(error)
