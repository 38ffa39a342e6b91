"""From an endpoint to a connected, encrypted stream: DNS, TCP, proxy, TLS, each within its own deadline.

We dial ourselves because a library's ``connect`` hides which step failed: every step here has a name, a deadline and a
typed error, and a certificate that does not fit is said at once and in words. Errors are computed as values and raised
outside the ``except`` block, so that no foreign exception hangs on to them.
"""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
import trio

from gemlive.errors import ConnectError, ConnectTimeout, Step, TlsError
from gemlive.transport._endpoints import Route
from gemlive.transport._policy import is_loopback_address
from gemlive.transport._proxy import open_tunnel
from gemlive.transport._race import interleave, race
from gemlive.transport._seclusion import broken
from gemlive.transport._timeouts import Timeouts

T = TypeVar("T")

_MODERN_TLS = frozenset({"TLSv1.2", "TLSv1.3"})

# OpenSSL's names for bytes that are no TLS record; which one it is depends on its version and on the bytes.
_NOT_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
)

_UNKNOWN_AUTHORITY = (
    "no authority known here signed it (a proxy that opens TLS, perhaps); "
    "load its authority with ssl_context.load_verify_locations"
)
_WRONG_HOST = "it is for another host; connect to a name that stands in it"

# X509_V_ERR_* of OpenSSL's x509_vfy.h.
_CERTIFICATE_PROBLEMS = {
    2: _UNKNOWN_AUTHORITY,
    9: "it is not valid yet; check the clock of this machine",
    10: "it has expired; the server needs a new one, or check the clock of this machine",
    18: "it is self-signed; load it with ssl_context.load_verify_locations if it is yours",
    19: _UNKNOWN_AUTHORITY,
    20: _UNKNOWN_AUTHORITY,
    21: _UNKNOWN_AUTHORITY,
    62: _WRONG_HOST,
    64: _WRONG_HOST,
}


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
        return await _encrypted(stream, route, timeouts) if route.base.secure else stream
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def within(step: Step, timeout_s: float, waiting_for: str, do: Callable[[], Awaitable[T | ConnectError]]) -> T:
    """Runs one step within its deadline, and raises what it returns if that is an error.

    Args:
        step: the step's name.
        timeout_s: its deadline in seconds.
        waiting_for: what the step does, for the message of a timeout.
        do: the step; returns its result, or its error as a value.

    Raises:
        ConnectTimeout: the deadline passed.
        ConnectError: the step returned it.
    """
    result: T | ConnectError = ConnectTimeout(step=step, timeout_s=timeout_s, waiting_for=waiting_for)
    with trio.move_on_after(timeout_s):
        result = await do()
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
        return await open_tunnel(stream, proxy, base.host, base.port)

    await within("proxy", timeouts.proxy_s, f"the tunnel through the proxy {proxy.host}:{proxy.port}", do)


async def _encrypted(stream: trio.abc.Stream, route: Route, timeouts: Timeouts) -> trio.abc.Stream:
    host = route.base.host
    # https_compatible: an end without close_notify is the peer's habit and no attack, for WebSocket frames say where
    # a message ends.
    secure = trio.SSLStream(stream, route.context(), server_hostname=host, https_compatible=True)

    async def do() -> ConnectError | None:
        try:
            await secure.do_handshake()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            return _tls_error(exc, host)
        version = secure.version()
        if version not in _MODERN_TLS:
            return TlsError(f"{host} speaks {version} at best; TLS 1.2 is the least that is accepted")
        return None

    await within("tls", timeouts.tls_s, f"the TLS handshake with {host}", do)
    return secure


def _tls_error(error: trio.BrokenResourceError | trio.ClosedResourceError, host: str) -> ConnectError:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return TlsError(f"the certificate of {host} is not accepted: {_certificate_problem(cause)}")
    if not isinstance(cause, ssl.SSLError) or isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return ConnectError(
            f"{host} ended the connection during the TLS handshake; does it speak TLS 1.2 or later on this port?",
            step="tls",
        )
    if cause.reason in _NOT_TLS:
        return TlsError(
            f"{host} answered with something that is not TLS; check the port, or write ws:// if it is a server on this "
            "machine without TLS"
        )
    return TlsError(f"the TLS handshake with {host} failed: {cause.reason or 'no reason given'}")


def _certificate_problem(error: ssl.SSLCertVerificationError) -> str:
    """Says what is wrong with a certificate and what to do, from OpenSSL's code for it."""
    return _CERTIFICATE_PROBLEMS.get(error.verify_code, error.verify_message)


def _told(error: OSError | trio.BrokenResourceError | trio.ClosedResourceError) -> str:
    """Says in words what the operating system reported."""
    if not isinstance(error, OSError):
        return broken(error)
    return error.strerror or str(error) or type(error).__name__
