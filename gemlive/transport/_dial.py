"""From an endpoint to a connected, encrypted stream: DNS, TCP, proxy, TLS, each within its own deadline.

We dial ourselves because a library's ``connect`` hides which step failed: every step here has a name, a deadline and a
typed error, and a certificate that does not fit is said at once and in words. Errors are computed as values and raised
outside the ``except`` block, so that no foreign exception hangs on to them.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
import trio

from gemlive.errors import ConnectError, ConnectTimeout, Step
from gemlive.transport._endpoints import Route
from gemlive.transport._policy import is_loopback_address
from gemlive.transport._proxy import open_tunnel
from gemlive.transport._race import interleave, race
from gemlive.transport._seclusion import broken, run_secluded
from gemlive.transport._timeouts import Timeouts
from gemlive.transport._tls import encrypt

T = TypeVar("T")


@attrs.frozen
class _Address:
    """One result of a host name lookup, as ``socket`` and ``connect`` take it."""

    family: int
    protocol: int
    sockaddr: tuple[object, ...]


async def dial(route: Route, timeouts: Timeouts) -> trio.abc.Stream:
    """Returns a stream to the server over which a credential may be sent.

    Cancellation: nothing stays open.

    Raises:
        ConnectError: a step failed; ``step`` says which.
        ConnectTimeout: a step did not end within its deadline.
        TlsError: the server's certificate does not fit, or it speaks no TLS.
    """
    stream = await _connected(route, timeouts)
    try:
        if route.proxy is not None:
            await _tunnel(stream, route, timeouts)
        if not route.base.secure:
            return stream
        host, context = route.base.host, route.context()
        return await within(
            "tls", timeouts.tls_s, f"the TLS handshake with {host}", lambda: encrypt(stream, host, context)
        )
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def attempt(
    step: Step, timeout_s: float, waiting_for: str, do: Callable[[], Awaitable[T | ConnectError]]
) -> T | ConnectError:
    """Runs one step within its deadline; returns what it returns, or ConnectTimeout.

    Args:
        step: the step's name.
        timeout_s: its deadline in seconds.
        waiting_for: what the step does, for the message of a timeout.
        do: the step; returns its result, or its error as a value.
    """
    with trio.move_on_after(timeout_s):
        return await do()
    return ConnectTimeout(step=step, timeout_s=timeout_s, waiting_for=waiting_for)


async def within(step: Step, timeout_s: float, waiting_for: str, do: Callable[[], Awaitable[T | ConnectError]]) -> T:
    """Does as :func:`attempt` does, and raises what is an error."""
    result = await attempt(step, timeout_s, waiting_for, do)
    if isinstance(result, ConnectError):
        raise result
    return result


async def _connected(route: Route, timeouts: Timeouts) -> trio.abc.Stream:
    if route.connect is not None:
        return await _connected_by(route.connect, route.base.host, route.base.port, timeouts)
    host, port = (route.proxy.host, route.proxy.port) if route.proxy is not None else (route.base.host, route.base.port)
    whose = f"{host}:{port}" if route.proxy is None else f"the proxy {host}:{port}"
    addresses = await within("dns", timeouts.dns_s, f"looking up {host}", lambda: _look_up(host, port))
    stream = await within(
        "tcp", timeouts.tcp_s, f"connecting to {whose}", lambda: _connect_to_any(addresses, whose, timeouts)
    )
    if route.must_be_loopback:
        await _check_loopback(stream, host)
    return stream


async def _connected_by(
    connect: Callable[[str, int], Awaitable[trio.abc.Stream]], host: str, port: int, timeouts: Timeouts
) -> trio.abc.Stream:
    async def do() -> trio.abc.Stream | ConnectError:
        try:
            return await connect(host, port)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            return ConnectError(f"connect could not reach {host}:{port}: {_told(exc)}", step="tcp")

    return await within("tcp", timeouts.tcp_s, f"connect to {host}:{port}", do)


async def _look_up(host: str, port: int) -> list[_Address] | ConnectError:
    try:
        found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    except OSError as exc:
        return ConnectError(
            f"the host name {host} could not be looked up ({_told(exc)}); check base_url and the network", step="dns"
        )
    if not found:
        return ConnectError(f"the host name {host} has no address", step="dns")
    addresses = [_Address(family, protocol, sockaddr) for family, _, protocol, _, sockaddr in found]
    return interleave(addresses, lambda address: address.family)


async def _connect_to_any(
    addresses: list[_Address], whose: str, timeouts: Timeouts
) -> trio.SocketStream | ConnectError:
    result = await race(addresses, lambda address: _connect_to(address, timeouts))
    if isinstance(result, list):
        told = "; ".join(dict.fromkeys(_told(error) for error in result))
        return ConnectError(f"no connection to {whose}: {told}; check host, port and network", step="tcp")
    return result


async def _connect_to(address: _Address, timeouts: Timeouts) -> trio.SocketStream:
    sock = trio.socket.socket(address.family, trio.socket.SOCK_STREAM, address.protocol)
    try:
        _bound_unacknowledged(sock, timeouts.pong_s)
        await sock.connect(address.sockaddr)
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)  # which sets TCP_NODELAY


def _bound_unacknowledged(sock: trio.socket.SocketType, timeout_s: float) -> None:
    """Lets the kernel end a connection whose bytes nobody acknowledges, where it can (Linux).

    Our own liveness check would find out too, but later: the kernel knows of each segment.
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None and math.isfinite(timeout_s):
        sock.setsockopt(socket.IPPROTO_TCP, option, min(max(int(timeout_s * 1000), 1), 2**31 - 1))


async def _check_loopback(stream: trio.SocketStream, host: str) -> None:
    """Refuses a peer that is not on this machine, whatever a hosts file or a name server made of ``localhost``."""
    try:
        peer = str(stream.socket.getpeername()[0])
    except OSError:
        peer = "nobody any more"
    if not is_loopback_address(peer):
        await trio.aclose_forcefully(stream)
        raise ConnectError(
            f"{host} led to {peer}, which is not this machine, and nothing else protects the credential; "
            "write wss:// with a verifying ssl_context",
            step="tcp",
            retryable=False,
        )


async def _tunnel(stream: trio.abc.Stream, route: Route, timeouts: Timeouts) -> None:
    proxy, base = route.proxy, route.base
    assert proxy is not None

    async def do() -> ConnectError | None:
        return await run_secluded(lambda: open_tunnel(stream, proxy, base.host, base.port))

    await within("proxy", timeouts.proxy_s, f"the tunnel through the proxy {proxy.host}:{proxy.port}", do)


def _told(error: OSError | trio.BrokenResourceError | trio.ClosedResourceError) -> str:
    """Says in words what the operating system reported."""
    if not isinstance(error, OSError):
        return broken(error)
    return error.strerror or str(error) or type(error).__name__
