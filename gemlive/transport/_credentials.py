"""What proves to the server who calls: five kinds of credential, each turned into the headers of one upgrade.

A grant is asked for before each dial, so that a session that reconnects for hours never presents an old token. Nothing
here raises with a credential in a frame: providers and google-auth are called where their frames stay
(``_seclusion``, a thread), and what went wrong comes back as a value.

Where each kind goes on the wire: docs/protocol.md, "Credentials".
"""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable
from typing import Protocol

import attrs
import trio

from gemlive.errors import ConfigError, CredentialsError
from gemlive.transport._seclusion import run_secluded
from gemlive.transport._secret import Secret, wrap
from gemlive.transport._token_request import TokenRequest

EPHEMERAL_PREFIX = "auth_tokens/"
"""An ephemeral token is a resource name; SDKs tell it from an API key by this beginning."""

CREDENTIALS_S = 10.0
"""Seconds a token provider or google-auth may take: a refresh is one request, and the dial waits for it."""

CLOUD_SCOPE = "https://www.googleapis.com/auth/cloud-platform"

TokenProvider = Callable[[], Awaitable[str]]
"""An async function that returns a bearer token; called before each dial, cancelled after 10 s."""


class GoogleCredentials(Protocol):
    """What is used of a ``google.auth.credentials.Credentials``; any of its subclasses fits."""

    @property
    def token(self) -> str | None:
        """The access token, None before the first refresh."""

    @property
    def valid(self) -> bool:
        """Whether there is a token that does not expire within the next minutes."""

    def refresh(self, request: object) -> None:
        """Gets a new token over the network; blocks."""


@attrs.frozen
class Grant:
    """What one upgrade request carries beside the WebSocket's own headers.

    Attributes:
        headers: names and values; what is a credential is wrapped.
        access_token: a token that travels in the query, None when none does.
        secrets: what to blot out of the server's answers, should they repeat it.
    """

    headers: tuple[tuple[str, Secret | str], ...] = ()
    access_token: Secret | None = None
    secrets: tuple[Secret, ...] = ()


class Credentials(abc.ABC):
    """One kind of credential."""

    @property
    def is_found_by_itself(self) -> bool:
        """Whether the credential comes from the machine and not from the caller, as Application Default ones do."""
        return False

    @abc.abstractmethod
    async def grant(self) -> Grant | CredentialsError | ConfigError:
        """Returns what the next upgrade carries, or the error that says why there is none; raises neither."""


@attrs.frozen
class ApiKey(Credentials):
    """An API key, of Google AI or of Vertex AI's express mode."""

    _key: Secret

    async def grant(self) -> Grant:
        """Returns the key as the ``x-goog-api-key`` header."""
        await trio.lowlevel.checkpoint()
        return Grant((("x-goog-api-key", self._key),), secrets=(self._key,))


@attrs.frozen
class EphemeralToken(Credentials):
    """A short-lived token that a server of yours minted for one client."""

    _token: Secret

    async def grant(self) -> Grant:
        """Returns the token for the query: the header forms were seen refused."""
        await trio.lowlevel.checkpoint()
        bare = Secret(self._token.reveal().removeprefix(EPHEMERAL_PREFIX))
        return Grant(access_token=self._token, secrets=(bare,))


@attrs.frozen
class Bearer(Credentials):
    """An OAuth access token that somebody else keeps fresh."""

    _token: Secret

    async def grant(self) -> Grant:
        """Returns the token as the ``Authorization`` header."""
        await trio.lowlevel.checkpoint()
        return _bearer_grant(self._token)


@attrs.frozen
class BearerProvider(Credentials):
    """An OAuth access token that an async function of the caller returns."""

    _provide: TokenProvider = attrs.field(repr=False)  # a partial shows its arguments

    async def grant(self) -> Grant | CredentialsError:
        """Asks the provider, in seclusion and with a deadline."""

        async def ask() -> Secret | str:
            try:
                wrapped = wrap(await self._provide())
            except Exception as exc:
                # Its text is the provider's and may quote the token, so only the kind is told.
                return f"raised {type(exc).__name__}"
            return f"returned a token that {wrapped}" if isinstance(wrapped, str) else wrapped or "returned None"

        with trio.move_on_after(CREDENTIALS_S):
            answer = await run_secluded(ask)
            if isinstance(answer, Secret):
                return _bearer_grant(answer)
            return CredentialsError(f"the token provider {answer}; await it by itself, it must return an access token")
        return CredentialsError(f"the token provider took longer than {CREDENTIALS_S:g} s", retryable=True)


@attrs.frozen(eq=False)
class GoogleAuth(Credentials):
    """Credentials of google-auth, refreshed in a thread; Application Default Credentials when none are given."""

    _credentials: list[GoogleCredentials] = attrs.field(repr=False)
    _is_found_by_itself: bool
    # One thread at a time: whoever comes second waits and finds the token fresh. An abandoned thread keeps its place
    # until its request has ended, so that two never refresh one object.
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), repr=False, init=False)

    @classmethod
    def of(cls, credentials: GoogleCredentials | None) -> GoogleAuth:
        """Wraps a credentials object, or None for Application Default Credentials."""
        return cls([] if credentials is None else [credentials], credentials is None)

    @property
    def is_found_by_itself(self) -> bool:
        """Whether these are Application Default Credentials."""
        return self._is_found_by_itself

    async def grant(self) -> Grant | CredentialsError | ConfigError:
        """Returns the token, refreshed if it is missing or about to expire."""
        with trio.move_on_after(CREDENTIALS_S):
            return await trio.to_thread.run_sync(self._grant_in_thread, abandon_on_cancel=True, limiter=self._limiter)
        return CredentialsError(
            f"google-auth took longer than {CREDENTIALS_S:g} s to get a token; check the network to the token server",
            retryable=True,
        )

    def _grant_in_thread(self) -> Grant | CredentialsError | ConfigError:
        try:
            import requests  # noqa: F401 (google-auth imports without it, and then cannot refresh)
            from google.auth import exceptions
        except ImportError as exc:
            return ConfigError("credentials", f"google-auth cannot be used ({exc}); install google-auth[requests]")
        try:
            if not self._credentials:
                self._credentials.append(_default_credentials())
            credentials = self._credentials[0]
            if not (credentials.token and credentials.valid):
                with TokenRequest(timeout_s=CREDENTIALS_S) as request:
                    credentials.refresh(request)
        except exceptions.DefaultCredentialsError as exc:
            return ConfigError(
                "credentials",
                f"no Application Default Credentials ({self._told(exc)}); run `gcloud auth application-default login`, "
                "set GOOGLE_APPLICATION_CREDENTIALS, or pass token= or credentials=",
            )
        except exceptions.TransportError as exc:
            return CredentialsError(f"the token server could not be reached: {self._told(exc)}", retryable=True)
        except exceptions.RefreshError as exc:
            return CredentialsError(
                f"the token server refused to refresh the credentials: {self._told(exc)}; "
                "run `gcloud auth application-default login` again or check the service account",
                retryable=bool(exc.retryable),
            )
        except Exception as exc:
            # Not one of google-auth's own, so nobody has vouched for its text.
            return CredentialsError(f"google-auth failed with {type(exc).__name__}; refresh the credentials by hand")
        return self._granted(credentials)

    def _granted(self, credentials: GoogleCredentials) -> Grant | CredentialsError:
        token = wrap(credentials.token)
        if not isinstance(token, Secret):
            return CredentialsError(f"google-auth returned a token that {token or 'is None'}; check the credentials")
        grant = _bearer_grant(token)
        project = getattr(credentials, "quota_project_id", None)
        if isinstance(project, str) and project.isascii() and project.isprintable() and project:
            return attrs.evolve(grant, headers=(*grant.headers, ("x-goog-user-project", project)))
        return grant

    def _told(self, error: Exception) -> str:
        """Returns what a google-auth error says first, without the credentials it may quote, in one short line."""
        text = str(error.args[0]) if error.args else type(error).__name__
        for credentials in self._credentials:
            for name in ("token", "refresh_token", "client_secret", "id_token"):
                value = getattr(credentials, name, None)
                if isinstance(value, str):
                    text = Secret(value).redact(text)
        text = " ".join(text.split())
        return text if len(text) <= 300 else text[:300] + "…"


def _default_credentials() -> GoogleCredentials:
    import google.auth

    credentials, _ = google.auth.default(scopes=[CLOUD_SCOPE])
    found: GoogleCredentials = credentials
    return found


def _bearer_grant(token: Secret) -> Grant:
    return Grant((("Authorization", Secret("Bearer " + token.reveal())),), secrets=(token,))
