"""Which URL may be dialled, decided from its text alone: values in, values out, nothing resolved.

A credential travels to whatever the base URL names, so the reading is strict: what two parsers could read differently
is refused instead of interpreted. ``wss`` reaches anything; ``ws`` only a literal loopback address or exactly
``localhost``, and the dialler checks once more that the connected peer really is loopback before a credential is
written.

No message here quotes the URL, and no exception leaves with it in a frame: what is wrong with it may be that it holds a
password. So a refusal is a value, one clause in words, and the caller raises.
"""

from __future__ import annotations

import ipaddress
import re

import attrs

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/]*)(?P<path>/.*)?", re.DOTALL)
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^\[\]:]*)(?::(?P<port>.*))?", re.DOTALL)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")

# google-genai's base URLs are http(s); the WebSocket schemes are what is really spoken.
_SECURE = {"wss": True, "https": True, "ws": False, "http": False}


@attrs.frozen
class BaseUrl:
    """Where to dial, read from a base URL that passed the policy.

    Attributes:
        secure: whether TLS is spoken.
        host: the host name or the canonical address, in lower case, without brackets.
        port: the TCP port, the scheme's default filled in.
        prefix: the path before ours, empty or beginning and not ending with a slash.
        is_loopback: whether the host is a literal loopback address or ``localhost``.
    """

    secure: bool
    host: str
    port: int
    prefix: str
    is_loopback: bool

    @property
    def authority(self) -> str:
        """Host and port as a Host header and a URL write them, without the scheme's default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme and authority, as in ``wss://example.com:8443``."""
        return f"{'wss' if self.secure else 'ws'}://{self.authority}"

    @property
    def is_google(self) -> bool:
        """Whether the host is under ``googleapis.com``, by label and not by the end of a string."""
        return self.host == "googleapis.com" or self.host.endswith(".googleapis.com")


def read_base_url(url: str) -> BaseUrl | str:
    """Reads a base URL and holds it to the policy; returns why it is refused, and what to write instead, in words.

    Args:
        url: ``wss://host[:port][/prefix]``, or ``ws://`` to loopback; ``https`` and ``http`` mean the same two.
    """
    try:
        return _read(url)
    except _RefusedError as exc:
        return str(exc)


def read_host(text: str) -> tuple[str] | str:
    """Returns a host in its one canonical form, as a tuple of one, or why it is refused in words.

    Canonical is a name in lower case, or an address without brackets.
    """
    try:
        return (_host(text),)
    except _RefusedError as exc:
        return str(exc)


def is_loopback_address(address: str) -> bool:
    """Whether an address, as a socket reports it, is loopback: 127.0.0.0/8, ::1, or one of the former mapped to v6."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        # Before 3.13 is_loopback does not look through the mapping.
        return ip.ipv4_mapped.is_loopback
    return ip.is_loopback


def is_loopback_host(host: str) -> bool:
    """Whether a host that passed the policy is ``localhost`` or a literal loopback address."""
    return host == "localhost" or is_loopback_address(host)


class _RefusedError(Exception):
    """Why a URL is refused; never leaves this module."""


def _read(url: str) -> BaseUrl:
    _check_text(url)
    parts = _URL.fullmatch(url)
    if parts is None or parts["scheme"].lower() not in _SECURE:
        raise _RefusedError("must begin with wss:// (or ws:// for a server on this machine)")
    secure = _SECURE[parts["scheme"].lower()]
    host, port = _authority(parts["authority"], default_port=443 if secure else 80)
    is_loopback = is_loopback_host(host)
    if not secure and not is_loopback:
        raise _RefusedError(
            f"plain ws:// to {host} would send the credential unencrypted; write wss://, "
            "or ws:// with 127.0.0.1, [::1] or localhost for a server on this machine",
        )
    return BaseUrl(secure, host, port, _prefix(parts["path"] or ""), is_loopback)


def _check_text(url: str) -> None:
    if not isinstance(url, str):
        raise _RefusedError(f"must be a str, not {type(url).__name__}")
    if not url.isascii():
        raise _RefusedError("has characters that are not ASCII; write the host as xn--..., the path percent-encoded")
    if not url.isprintable() or " " in url or "\\" in url:
        raise _RefusedError("has a space, a backslash or a control character in it")
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise _RefusedError("must not hold a user name or password; the credential is a setting of its own")
    if "?" in url or "#" in url:
        raise _RefusedError("must not have a query or a fragment; the credential is a setting of its own")


def _host(text: str) -> str:
    host = text.lower()
    if host.startswith("["):
        return _ipv6(host[1:-1])
    labels = host.split(".")
    if not host or any(not label for label in labels):
        raise _RefusedError("names no host, or one with an empty label or a dot at its end")
    # The rule of the WHATWG URL standard: a host whose last label is a number is an address, however it is written.
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4(host)
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _RefusedError("has a host that is no host name; a name outside ASCII is written in its xn-- form")
    return host


def _authority(authority: str, *, default_port: int) -> tuple[str, int]:
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise _RefusedError("has a host that cannot be read; an IPv6 address stands in brackets")
    port = parts["port"]
    if port is None:
        return _host(parts["host"]), default_port
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise _RefusedError("has a port that is no number from 1 to 65535")
    return _host(parts["host"]), int(port)


def _ipv4(host: str) -> str:
    try:
        ip = ipaddress.IPv4Address(host)
    except ValueError:
        pass
    else:
        return _specified(ip)
    raise _RefusedError(
        f"{host} is an address in a form that programs read differently; write it as four decimal numbers "
        "without leading zeros, as 127.0.0.1",
    )


def _ipv6(host: str) -> str:
    if "%" in host:
        raise _RefusedError("has an IPv6 zone; a zone is not part of a URL's host here")
    try:
        ip = ipaddress.IPv6Address(host)
    except ValueError:
        pass
    else:
        return _specified(ip)
    raise _RefusedError("has brackets around something that is no IPv6 address")


def _specified(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    # Python versions differ in how they write a mapped address.
    text = str(ip) if mapped is None else f"::ffff:{mapped}"
    if (mapped or ip).is_unspecified:
        raise _RefusedError(f"{text} is an address to listen on, not one to connect to; write 127.0.0.1 or [::1]")
    return text


def _prefix(path: str) -> str:
    if not _PATH.fullmatch(path):
        raise _RefusedError("has a character in its path that belongs percent-encoded")
    if any(segment in (".", "..") for segment in path.lower().replace("%2e", ".").split("/")):
        raise _RefusedError("has a . or .. segment in its path")
    return path.rstrip("/")
