"""An HTTP proxy on the way to the server: its address, and the CONNECT exchange that opens a tunnel through it."""

from __future__ import annotations

import base64
import re
import urllib.parse

import attrs
import trio

from gemlive.errors import ConnectError
from gemlive.transport._policy import read_host
from gemlive.transport._response import exchange
from gemlive.transport._secret import Secret

_URL = re.compile(
    r"http://(?:(?P<userinfo>[^/?#@]*)@)?(?P<host>\[[^\[\]]+\]|[^\[\]/?#@:]+)(?::(?P<port>[0-9]{1,5}))?/?",
    re.IGNORECASE,
)


@attrs.frozen
class Proxy:
    """An HTTP proxy that tunnels.

    Attributes:
        host: its host name or address.
        port: its port.
    """

    host: str
    port: int
    _authorization: Secret | None = None

    @classmethod
    def read(cls, url: Secret) -> Proxy | str:
        """Reads ``http://[user:password@]host[:port]``, port 80 when there is none, user and password percent-encoded.

        Returns in words what is wrong, for this frame holds the password.
        """
        text = url.reveal()
        parts = _URL.fullmatch(text) if text.isascii() and text.isprintable() else None
        if parts is None:
            return "must be http://[user:password@]host[:port]; other kinds of proxy need connect="
        port = int(parts["port"] or 80)
        if not 1 <= port <= 65535:
            return "has a port that is no number from 1 to 65535"
        host = read_host(parts["host"])
        return host if isinstance(host, str) else cls(host[0], port, _basic(parts["userinfo"]))

    def request(self, authority: str) -> bytes:
        """Returns the CONNECT request for ``host:port``; it holds the proxy's password."""
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if self._authorization is not None:
            lines.append(f"Proxy-Authorization: {self._authorization.reveal()}")
        return "\r\n".join((*lines, "", "")).encode("ascii")


async def open_tunnel(stream: trio.abc.Stream, proxy: Proxy, host: str, port: int) -> ConnectError | None:
    """Asks the proxy on the stream for a tunnel; returns why there is none, or None when the stream is the tunnel.

    Run it in seclusion: its frames hold the proxy's password, and what the proxy answers to it.
    """
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    head = await exchange(stream, proxy.request(authority))
    if isinstance(head, str):
        return ConnectError(f"the proxy {proxy.host}:{proxy.port} {head}", step="proxy")
    if head.status == 407:
        return ConnectError(
            f"the proxy {proxy.host}:{proxy.port} wants other credentials (HTTP 407); "
            "write them into the proxy URL as http://user:password@host:port",
            step="proxy",
            retryable=False,
        )
    if not 200 <= head.status < 300:
        return ConnectError(
            f"the proxy {proxy.host}:{proxy.port} refused a tunnel to {authority} with HTTP {head.status}",
            step="proxy",
            # What the proxy forbids it will forbid again; what it could not reach it may reach later.
            retryable=head.status >= 500 or head.status in (408, 429),
        )
    if head.rest:
        return ConnectError(
            f"the proxy {proxy.host}:{proxy.port} sent {len(head.rest)} bytes into the tunnel before we spoke",
            step="proxy",
            retryable=False,
        )
    return None


def _basic(userinfo: str | None) -> Secret | None:
    """Returns the value of the authorization header, None without user and password."""
    if not userinfo:
        return None
    user, _, password = userinfo.partition(":")
    plain = f"{urllib.parse.unquote(user)}:{urllib.parse.unquote(password)}"
    return Secret("Basic " + base64.b64encode(plain.encode()).decode())
