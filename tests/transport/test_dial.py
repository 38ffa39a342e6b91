"""The steps to a connected stream, each with its name, its deadline and its error.

Real sockets only where marked.
"""

from __future__ import annotations

import math
import socket

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from gemlive.errors import ConnectError, ConnectTimeout
from gemlive.transport import Connect, GoogleAI, Timeouts, open_transport
from gemlive.transport._dial import _bound_unacknowledged, dial
from tests.transport.peers import read_request, silent


class Names(trio.abc.HostnameResolver):
    """A name service that answers with fixed addresses, after some time."""

    def __init__(self, *addresses: str, after_s: float = 0) -> None:
        self.addresses, self.after_s = addresses, after_s

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # type: ignore[no-untyped-def] # noqa: A002
        await trio.sleep(self.after_s)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.addresses]

    async def getnameinfo(self, sockaddr, flags):  # type: ignore[no-untyped-def]
        raise AssertionError


class Deaf(trio.socket.SocketType):
    """A socket to a network that answers nothing."""

    def __init__(self) -> None:
        self.is_closed = False

    def setsockopt(self, *args: object) -> None: ...

    async def connect(self, address: object) -> None:
        await trio.sleep_forever()

    def close(self) -> None:
        self.is_closed = True


class DeafNetwork(trio.abc.SocketFactory):
    """Makes such sockets."""

    def __init__(self) -> None:
        self.sockets: list[Deaf] = []

    def socket(self, *args: object) -> Deaf:
        self.sockets.append(Deaf())
        return self.sockets[-1]


@pytest.fixture
async def deaf_network() -> DeafNetwork:
    network = DeafNetwork()
    trio.socket.set_custom_socket_factory(network)
    return network


async def failure(endpoint: GoogleAI, timeouts: Timeouts | None = None) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        async with open_transport(endpoint, timeouts=timeouts):
            pytest.fail("connected")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


def reaching(stream: trio.abc.Stream, *, is_loopback: bool = True) -> Connect:
    async def connect(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return stream

    connect.is_loopback = is_loopback  # type: ignore[attr-defined]
    return connect


# Silence at each step


async def test_a_name_service_that_does_not_answer_is_given_up_after_dns_s(autojump_clock: MockClock) -> None:
    trio.socket.set_custom_hostname_resolver(Names(after_s=math.inf))
    error = await failure(GoogleAI("key"))
    assert isinstance(error, ConnectTimeout)
    assert (error.step, error.timeout_s, trio.current_time()) == ("dns", 5, 5)


async def test_a_network_that_does_not_answer_is_given_up_after_tcp_s(
    autojump_clock: MockClock, deaf_network: DeafNetwork
) -> None:
    trio.socket.set_custom_hostname_resolver(Names("203.0.113.1", "203.0.113.2"))
    error = await failure(GoogleAI("key"))
    assert isinstance(error, ConnectTimeout)
    assert (error.step, error.timeout_s, trio.current_time()) == ("tcp", 10, 10)
    assert [sock.is_closed for sock in deaf_network.sockets] == [True, True]


async def test_a_connect_that_does_not_return_is_given_up_after_tcp_s(autojump_clock: MockClock) -> None:
    async def connect(host: str, port: int) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    error = await failure(GoogleAI("key", connect=connect), Timeouts(tcp_s=2))
    assert isinstance(error, ConnectTimeout)
    assert (error.step, error.timeout_s, trio.current_time()) == ("tcp", 2, 2)


async def test_a_server_that_does_not_answer_in_tls_is_given_up_after_tls_s(autojump_clock: MockClock) -> None:
    ours, _theirs = trio.testing.memory_stream_pair()
    error = await failure(GoogleAI("key", connect=reaching(ours)), Timeouts(tls_s=4))
    assert isinstance(error, ConnectTimeout)
    assert (error.step, error.timeout_s, trio.current_time()) == ("tls", 4, 4)


async def test_a_server_that_does_not_read_in_tls_is_given_up_after_tls_s(autojump_clock: MockClock) -> None:
    ours, _theirs = trio.testing.lockstep_stream_pair()
    error = await failure(GoogleAI("key", connect=reaching(ours)))
    assert isinstance(error, ConnectTimeout)
    assert (error.step, trio.current_time()) == ("tls", 10)


async def test_infinity_waits_until_cancelled(autojump_clock: MockClock) -> None:
    trio.socket.set_custom_hostname_resolver(Names(after_s=math.inf))
    with trio.move_on_after(100_000) as scope:
        await dial(GoogleAI("key")._route, Timeouts(dns_s=math.inf))
    assert scope.cancelled_caught


# Failure at each step


async def test_a_name_that_does_not_exist_is_told_by_step() -> None:
    class Unknown(Names):
        async def getaddrinfo(self, *args, **options):  # type: ignore[no-untyped-def]
            await trio.lowlevel.checkpoint()
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    trio.socket.set_custom_hostname_resolver(Unknown())
    error = await failure(GoogleAI("key", base_url="wss://no.such.example"))
    assert (error.step, error.retryable) == ("dns", True)
    assert "no.such.example" in str(error)
    assert "Name or service not known" in str(error)


async def test_a_name_without_an_address_is_told_by_step() -> None:
    trio.socket.set_custom_hostname_resolver(Names())
    error = await failure(GoogleAI("key"))
    assert error.step == "dns"


@pytest.mark.parametrize("raised", [ConnectionRefusedError(111, "Connection refused"), trio.BrokenResourceError()])
async def test_a_connect_that_fails_is_told_by_step(raised: Exception) -> None:
    async def connect(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise raised

    error = await failure(GoogleAI("key", connect=connect))
    assert error.step == "tcp"
    assert "connect could not reach generativelanguage.googleapis.com:443" in str(error)


async def test_a_connect_error_of_connect_and_a_bug_in_it_stay_what_they_are() -> None:
    for raised in (ConnectError("the tunnel is closed", step="proxy", retryable=False), KeyError("bug")):

        async def connect(host: str, port: int, raised: Exception = raised) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            raise raised

        with pytest.raises(type(raised)) as caught:
            async with open_transport(GoogleAI("key", connect=connect)):
                pass
        assert caught.value is raised


async def test_a_failure_after_connecting_closes_the_stream() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"this is not TLS")
    await failure(GoogleAI("key", connect=reaching(ours)))
    with pytest.raises(trio.ClosedResourceError):
        await ours.send_all(b"x")


# Through a proxy


class Mute(Deaf):
    """A socket to a peer that takes everything and says nothing."""

    peer = "203.0.113.7"

    async def connect(self, address: object) -> None:
        await trio.lowlevel.checkpoint()

    def getpeername(self) -> tuple[str, int]:
        return (self.peer, 80)

    @property
    def type(self) -> socket.SocketKind:
        return socket.SOCK_STREAM

    @property
    def did_shutdown_SHUT_WR(self) -> bool:  # noqa: N802
        return False

    async def send(self, data: memoryview) -> int:  # type: ignore[override]
        await trio.lowlevel.checkpoint()
        return len(data)

    async def recv(self, *args: object) -> bytes:
        await trio.sleep_forever()
        raise AssertionError


class MuteNetwork(trio.abc.SocketFactory):
    """Makes such sockets."""

    def socket(self, *args: object) -> Mute:
        return Mute()


async def test_a_proxy_that_does_not_answer_is_given_up_after_proxy_s(autojump_clock: MockClock) -> None:
    trio.socket.set_custom_socket_factory(MuteNetwork())
    trio.socket.set_custom_hostname_resolver(Names("203.0.113.7"))
    error = await failure(GoogleAI("key", proxy="http://proxy.example"), Timeouts(proxy_s=6))
    assert isinstance(error, ConnectTimeout)
    assert (error.step, error.timeout_s, trio.current_time()) == ("proxy", 6, 6)
    assert "proxy.example:80" in str(error)


async def test_localhost_that_is_elsewhere_is_refused_before_a_byte_is_written(autojump_clock: MockClock) -> None:
    """A hosts file or a name server may say anything; the peer's address decides."""

    class Guarded(Mute):
        async def send(self, data: memoryview) -> int:  # type: ignore[override]
            raise AssertionError("a byte was written")

    class Network(trio.abc.SocketFactory):
        def socket(self, *args: object) -> Guarded:
            return Guarded()

    trio.socket.set_custom_socket_factory(Network())
    trio.socket.set_custom_hostname_resolver(Names("203.0.113.7"))
    error = await failure(GoogleAI("key", base_url="ws://localhost"))
    assert (error.step, error.retryable) == ("tcp", False)
    assert "localhost led to 203.0.113.7" in str(error)


# On real sockets


@pytest.mark.socket
async def test_nobody_listens() -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    sock.close()
    error = await failure(GoogleAI("key", base_url=f"ws://127.0.0.1:{port}"))
    assert (error.step, error.retryable) == ("tcp", True)
    assert "Connection refused" in str(error)


@pytest.mark.socket
async def test_a_real_connection_has_its_options_set() -> None:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, silent, 0)
        port = listeners[0].socket.getsockname()[1]
        stream = await dial(GoogleAI("key", base_url=f"ws://localhost:{port}")._route, Timeouts(pong_s=45))
        assert isinstance(stream, trio.SocketStream)
        assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 45_000
        await stream.aclose()
        nursery.cancel_scope.cancel()


def test_without_a_deadline_the_kernel_is_not_told_one() -> None:
    class Untouched(Deaf):
        def setsockopt(self, *args: object) -> None:
            raise AssertionError

    _bound_unacknowledged(Untouched(), math.inf)


@pytest.mark.socket
async def test_a_dial_goes_through_the_proxy_to_the_host() -> None:
    requests: list[bytes] = []

    async def proxy(stream: trio.abc.Stream) -> None:
        requests.append(await read_request(stream))
        await stream.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        requests.append(bytes(await stream.receive_some(3)))
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, proxy, 0)
        port = listeners[0].socket.getsockname()[1]
        error = await failure(GoogleAI("key", base_url="wss://far.example", proxy=f"http://localhost:{port}"))
        nursery.cancel_scope.cancel()
    assert error.step == "tls"
    assert requests[0].startswith(b"CONNECT far.example:443 HTTP/1.1\r\nHost: far.example:443\r\n")
    assert requests[1] == b"\x16\x03\x01", "the TLS handshake begins in the tunnel"
