"""Every exception the library raises, on the lowest floor so that every room can raise it.

The type answers whose mistake it was: :class:`ConfigError` is the caller's and comes before any network;
:class:`ConnectError` and its kinds say at which step reaching the server failed; :class:`SessionLost` ends a session
that something else than the program ended; :class:`CodecError` is a frame that is no message. What the *program* closed
raises :class:`trio.ClosedResourceError`, as everywhere in trio.

All of them carry plain values, never live objects: an exception outlives the connection it speaks of, and what it holds
is printed, logged and sent to error trackers. No message, value or ``repr`` here ever contains a credential.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

Step = Literal["dns", "tcp", "proxy", "tls", "upgrade", "setup", "open", "close"]
"""The steps of a connection, in their order. Each has a deadline of its own in ``Timeouts``."""

Origin = Literal["local", "peer", "network", "keepalive"]
"""Who ended a connection: this program, the server (a Close frame came), the network (the stream ended or broke
without one), or our own liveness check."""


class GemliveError(Exception):
    """The base of every exception that gemlive defines."""


class ConfigError(GemliveError, ValueError):
    """A setting is wrong; raised before any network is touched.

    Attributes:
        field: the setting's name as the caller wrote it, dotted where it is nested (``"base_url"``,
            ``"tools[0].name"``).
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class ConnectError(GemliveError):
    """Reaching the server failed at a named step.

    Attributes:
        step: where it failed.
        retryable: whether trying again, unchanged, could succeed.
        retry_after_s: seconds the server asked to wait, None when it did not ask.
    """

    def __init__(self, message: str, *, step: Step, retryable: bool = True, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.step: Step = step
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class ConnectTimeout(ConnectError):
    """A step did not end within its deadline.

    Attributes:
        timeout_s: the deadline in seconds.
    """

    def __init__(self, *, step: Step, timeout_s: float, waiting_for: str) -> None:
        super().__init__(
            f"{waiting_for} took longer than {timeout_s:g} s (step {step}); "
            f"raise Timeouts.{step}_s if the network is known to be slow",
            step=step,
        )
        self.timeout_s = timeout_s


class TlsError(ConnectError):
    """The TLS handshake failed: wrong certificate, wrong host name, or no TLS at the other end."""

    def __init__(self, message: str) -> None:
        super().__init__(message, step="tls", retryable=False)


class CredentialsError(ConnectError):
    """No usable credential could be had: the provider failed, timed out or returned something unusable."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message, step="upgrade", retryable=retryable)


class UpgradeRejected(ConnectError):
    """The server, or a proxy before it, answered the WebSocket upgrade with something else than 101.

    Attributes:
        status: the HTTP status.
        headers: the response headers, names in lower case.
        body: the response body, cut at 64 KiB.
    """

    def __init__(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, *, retry_after_s: float | None = None
    ) -> None:
        super().__init__(
            f"the server refused the WebSocket upgrade with HTTP {status}"
            + (f"; it asks to wait {retry_after_s:g} s" if retry_after_s is not None else ""),
            step="upgrade",
            # 4xx says that the request is wrong, and it will be wrong again; 408 and 429 say "not now".
            retryable=status in (408, 429) or status >= 500,
            retry_after_s=retry_after_s,
        )
        self.status = status
        self.headers = tuple(headers)
        self.body = body


class SetupError(ConnectError):
    """The server did not accept the session's setup: it closed, or answered with something else.

    Attributes:
        code: the close code, None when the server sent an unexpected message instead of closing.
        reason: the close reason as the server wrote it, at most 123 bytes, possibly empty.
    """

    def __init__(self, message: str, *, code: int | None = None, reason: str = "", retryable: bool = False) -> None:
        super().__init__(message, step="setup", retryable=retryable)
        self.code = code
        self.reason = reason


class ConnectionLost(GemliveError):
    """One connection ended. A session catches it and reconnects; only users of a bare transport see it.

    Attributes:
        code: the WebSocket close code; 1006 when no Close frame came.
        reason: the close reason, possibly empty.
        origin: who ended it.
    """

    def __init__(self, code: int, reason: str, *, origin: Origin) -> None:
        super().__init__(f"the connection ended with code {code}" + (f": {reason}" if reason else f" ({origin})"))
        self.code = code
        self.reason = reason
        self.origin: Origin = origin


class SessionLost(GemliveError):
    """The session is over, and neither the program nor the server's normal end was the cause.

    Attributes:
        code: the last close code; None when no connection got that far.
        reason: the last close reason or error, possibly empty.
        step: the step in which the last connection failed.
        connection: the number of the last connection, counted from 1.
        causes: what may have caused it, the most probable first, each one sentence with its remedy.
        retryable: whether opening a new session, unchanged, could succeed.
        sent: which kinds of messages were written last, the oldest first, with their numbers (``"37 audio"``); what
            was in them is not told.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        reason: str = "",
        step: Step = "open",
        connection: int = 0,
        causes: Sequence[str] = (),
        retryable: bool = False,
        sent: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.sent = tuple(sent)
        self.code = code
        self.reason = reason
        self.step: Step = step
        self.connection = connection
        self.causes = tuple(causes)
        self.retryable = retryable

    def fresh(self) -> SessionLost:
        """Returns an equal exception without a traceback: each task that is told raises one of its own."""
        return SessionLost(
            str(self),
            code=self.code,
            reason=self.reason,
            step=self.step,
            connection=self.connection,
            causes=self.causes,
            retryable=self.retryable,
            sent=self.sent,
        )


class CodecError(GemliveError):
    """A frame is not a message: not one JSON object within the limits, or (strict reading) it has an unknown field.

    Attributes:
        path: the snake_case path of the field at fault, empty when the frame as a whole is.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class ToolError(GemliveError):
    """A tool refused to do what the model asked; the text is what the model is told.

    Attributes:
        details: plain values that go to the model beside the text.
    """

    def __init__(self, message: str, *, details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.details: Mapping[str, object] = MappingProxyType(dict(details or {}))


__all__ = [
    "CodecError",
    "ConfigError",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionLost",
    "CredentialsError",
    "GemliveError",
    "Origin",
    "SessionLost",
    "SetupError",
    "Step",
    "TlsError",
    "ToolError",
    "UpgradeRejected",
]
