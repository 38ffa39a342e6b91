"""The WebSocket upgrade: our request with the credential in it, and the server's answer to it.

trio-websocket composes the request, without any credential; the credential is spliced in as bytes on the way out, so
that no object, log record or exception of another library ever holds it. The answer is read here as well, because a
refusal has a status, headers and a body worth showing, at once and within limits, whatever shape it has.
"""

from __future__ import annotations

import base64
import email.utils
import functools
import hashlib
import importlib.metadata
import re
import time
import urllib.parse

import attrs
import trio

from gemlive.errors import ConnectError, UpgradeRejected
from gemlive.transport._credentials import Grant
from gemlive.transport._dial import attempt
from gemlive.transport._response import ENDED, Head, exchange, read_body
from gemlive.transport._secret import Secret

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_KEY = re.compile(rb"\r\nsec-websocket-key:[ \t]*([^\r\n]+?)[ \t]*\r\n", re.IGNORECASE)


@attrs.frozen
class Upgraded:
    """What an accepted upgrade leaves.

    Attributes:
        head: a response head that says 101 and nothing else, for trio-websocket to read.
        rest: the bytes that came after the server's head: its first frames.
    """

    head: bytes
    rest: bytes = attrs.field(repr=False)


async def upgrade(
    stream: trio.abc.Stream, request: bytes, grant: Grant, *, timeout_s: float
) -> Upgraded | ConnectError:
    """Sends the request with the credential and returns when the server has switched to WebSocket frames.

    Run it in seclusion: its frames hold the credential, and what the server answers to it. So what goes wrong is
    returned: ``UpgradeRejected`` for another status than 101 (which is never followed anywhere), ``ConnectTimeout``,
    or a plain ``ConnectError`` for no proper answer.

    Args:
        stream: the connected, encrypted stream.
        request: the head of the request as trio-websocket composed it.
        grant: what proves who we are.
        timeout_s: the deadline in seconds for request, answer, and the body of a refusal.
    """
    deadline = trio.current_time() + timeout_s
    head: Head | str | ConnectError = await attempt(
        "upgrade",
        timeout_s,
        "the server's answer to the WebSocket upgrade",
        lambda: exchange(stream, compose(request, grant)),
    )
    if isinstance(head, str):
        return ConnectError(f"the server {head}", step="upgrade", retryable=head.startswith(ENDED))
    if isinstance(head, ConnectError):
        return head
    if head.status != 101:
        body = bytearray()
        # A body that does not end is no reason to lose the status.
        with trio.move_on_at(deadline):
            await read_body(stream, head, body)
        return rejection(head, bytes(body), grant)
    problem = problem_of(head, request)
    if problem is not None:
        return ConnectError(f"the server accepted the upgrade {problem}", step="upgrade", retryable=False)
    return Upgraded(_plain_head(request), head.rest)


def compose(request: bytes, grant: Grant) -> bytes:
    """Returns the request with the grant in it. What it returns holds the credential, so call it in seclusion."""
    line, headers = request.removesuffix(b"\r\n\r\n").split(b"\r\n", 1)
    if grant.access_token is not None:
        method, target, version = line.split(b" ")
        token = urllib.parse.quote(grant.access_token.reveal(), safe="/").encode()
        line = b" ".join((method, target + b"?access_token=" + token, version))
    own = [("Content-Type", "application/json"), ("User-Agent", _user_agent()), *grant.headers]
    lines = [f"{name}: {value.reveal() if isinstance(value, Secret) else value}".encode("ascii") for name, value in own]
    return b"\r\n".join((line, headers, *lines, b"", b""))


def problem_of(head: Head, request: bytes) -> str | None:
    """Says what is wrong with a 101 answer to a request, None when nothing is (RFC 6455 section 4.1)."""
    if "websocket" not in head.tokens("upgrade") or "upgrade" not in head.tokens("connection"):
        return "without saying that it switches to WebSocket; is something between us that changes headers?"
    if head.get("sec-websocket-accept") != _accept(request):
        return "with a Sec-WebSocket-Accept that does not fit our key; is something between us that caches answers?"
    if head.get("sec-websocket-extensions"):
        return "with an extension that was not asked for"
    if head.get("sec-websocket-protocol"):
        return "with a subprotocol that was not asked for"
    return None


def rejection(head: Head, body: bytes, grant: Grant) -> UpgradeRejected:
    """Returns the error for an answer other than 101, with our credentials blotted out of what the server sent back."""
    retry_after_s = retry_after(head, now_s=time.time())
    headers = []
    for name, value in head.headers:
        # A redirect may carry our query along; where it leads is told by scheme and host.
        shown = _origin(value) if name == "location" else value
        for secret in grant.secrets:
            shown = secret.redact(shown)
        headers.append((name, shown))
    for secret in grant.secrets:
        body = secret.redact_bytes(body)
    return UpgradeRejected(head.status, headers, body, retry_after_s=retry_after_s)


def retry_after(head: Head, *, now_s: float) -> float | None:
    """Returns the seconds that a Retry-After header asks to wait, None when there is none that can be read.

    Args:
        head: the response.
        now_s: the wall clock in seconds since 1970, used when the response does not say when it was made.
    """
    text = head.get("retry-after") or ""
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    until = _timestamp(text)
    if until is None:
        return None
    sent = _timestamp(head.get("date") or "")
    return max(0.0, until - (now_s if sent is None else sent))


def _timestamp(date: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


def _origin(location: str) -> str:
    try:
        parts = urllib.parse.urlsplit(location)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""


def _accept(request: bytes) -> str:
    key = _KEY.search(request)
    assert key is not None, "trio-websocket always sends a key"
    return base64.b64encode(hashlib.sha1(key[1] + _GUID, usedforsecurity=False).digest()).decode()


def _plain_head(request: bytes) -> bytes:
    """Returns the 101 that trio-websocket is given to read, whose own reader stumbles over unusual ones."""
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {_accept(request)}\r\n\r\n"
    ).encode()


@functools.cache
def _user_agent() -> str:
    try:
        return f"gemlive/{importlib.metadata.version('gemlive')}"
    except importlib.metadata.PackageNotFoundError:
        return "gemlive"  # run from a source tree
