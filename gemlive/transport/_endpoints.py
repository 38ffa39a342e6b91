"""The two services that speak the Live API, and how to reach them: where, as whom, and over what.

An endpoint is a frozen value made before any network, so that everything wrong with it is a ``ConfigError`` here. Its
URL never holds a credential. Hosts, paths and model names: docs/protocol.md, "Endpoints" and "Model names".
"""

from __future__ import annotations

import abc
import re
import ssl
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

import attrs
import trio

from gemlive.errors import ConfigError
from gemlive.transport._credentials import (
    EPHEMERAL_PREFIX,
    ApiKey,
    Bearer,
    BearerProvider,
    Credentials,
    EphemeralToken,
    GoogleAuth,
    GoogleCredentials,
    TokenProvider,
)
from gemlive.transport._policy import BaseUrl, read_base_url
from gemlive.transport._proxy import Proxy
from gemlive.transport._secret import Secret, wrap

T = TypeVar("T")

Backend = Literal["google_ai", "vertex"]
"""Which service, and so which dialect, an endpoint speaks to."""

Connect = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""Called with host and port instead of DNS, TCP and proxy; returns a connected stream, or raises OSError or
ConnectError. It counts as loopback only if it has an attribute ``is_loopback`` that is True."""

_VERSION = re.compile(r"v[0-9]{1,3}[a-z0-9]{0,16}")
_LOCATION = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,127}")
_MULTI_REGIONS = frozenset({"us", "eu"})


@attrs.frozen(eq=False)
class Route:
    """How to reach an endpoint.

    Attributes:
        base: where to dial.
        path: the request path, without a query.
        ssl_context: the caller's TLS settings, None for the defaults.
        proxy: the HTTP proxy to tunnel through, None for none.
        connect: what replaces DNS, TCP and proxy, None for nothing.
    """

    base: BaseUrl
    path: str
    ssl_context: ssl.SSLContext | None
    proxy: Proxy | None
    connect: Connect | None
    _made_context: list[ssl.SSLContext] = attrs.field(factory=list, repr=False, init=False)

    @property
    def must_be_loopback(self) -> bool:
        """Whether the connected peer has to be on this machine: nothing else would protect the credential."""
        return not self.base.secure or (self.ssl_context is not None and not _verifies(self.ssl_context))

    @property
    def connect_is_loopback(self) -> bool:
        """Whether the ``connect`` callable says that what it returns ends on this machine."""
        return getattr(self.connect, "is_loopback", False) is True

    def context(self) -> ssl.SSLContext:
        """Returns the TLS settings to use; the default ones are made once, for reading the authorities takes 15 ms."""
        if self.ssl_context is not None:
            return self.ssl_context
        if not self._made_context:
            self._made_context.append(ssl.create_default_context())
        return self._made_context[0]


class Endpoint(abc.ABC):
    """A service to connect to: where, as whom, and over what.

    Attributes:
        backend: which service it is, and so which dialect it speaks.
        default_response_modalities: what a setup asks for on this endpoint when the configuration names nothing;
            None leaves the field out.
    """

    __slots__ = ()

    backend: Backend
    default_response_modalities: tuple[str, ...] | None
    _route: Route
    _credentials: Credentials

    @property
    def url(self) -> str:
        """The WebSocket URL, without any credential."""
        return self._route.base.origin + self._route.path

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """The caller's TLS settings; None means the defaults: the system's authorities, TLS 1.2 at least."""
        return self._route.ssl_context

    @property
    def proxy(self) -> Proxy | None:
        """The HTTP proxy to tunnel through, None for none."""
        return self._route.proxy

    @property
    def connect(self) -> Connect | None:
        """What replaces DNS, TCP and proxy, None for nothing."""
        return self._route.connect

    @abc.abstractmethod
    def model_name(self, model: str) -> str:
        """Returns the model's full name as the setup message carries it.

        Raises:
            ConfigError: the name is empty, or has characters that could change the meaning of a path.
        """

    def __repr__(self) -> str:
        if not hasattr(self, "_credentials"):
            # Half made: a traceback with locals shows it when the constructor refuses an argument.
            return f"{type(self).__name__}(...)"
        kind = type(self._credentials).__name__
        return f"{type(self).__name__}(url={self.url!r}, credentials={kind}(***))"


@attrs.frozen(eq=False, init=False, repr=False)
class GoogleAI(Endpoint):
    """The Gemini API of Google AI, reached with an API key or an ephemeral token.

    Args:
        api_key: the key; an ephemeral token is recognised here too, by its prefix ``auth_tokens/``.
        token: an ephemeral token, for a client that must not hold the key.
        api_version: the version in the path; ``v1``, ``v1beta`` and ``v1alpha`` exist.
        base_url: where to connect instead of Google: ``wss://host[:port][/prefix]``, or ``ws://`` to loopback.
        ssl_context: TLS settings; one that does not verify the server is accepted for loopback only.
        proxy: ``http://[user:password@]host:port`` of an HTTP proxy.
        connect: what replaces DNS, TCP and proxy, see :data:`Connect`.

    Raises:
        ConfigError: an argument is missing, wrong, or does not go with another.
    """

    backend: Backend
    default_response_modalities: tuple[str, ...] | None
    _route: Route
    _credentials: Credentials

    def __init__(
        self,
        api_key: str | Secret | None = None,
        *,
        token: str | Secret | None = None,
        api_version: str = "v1beta",
        base_url: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | Secret | None = None,
        connect: Connect | None = None,
    ) -> None:
        # Nothing may raise before the raw credentials are out of this frame.
        key, ephemeral, api_key, token = wrap(api_key), wrap(token), None, None
        where, base_url = _where(base_url), None
        way, proxy = _way(proxy), None
        credentials = _google_ai_credentials(key, ephemeral)
        service = f"google.ai.generativelanguage.{_checked(_VERSION, api_version, 'api_version')}.GenerativeService"
        method = "Constrained" if isinstance(credentials, EphemeralToken) else ""
        route = _route(
            where or read_base_url("wss://generativelanguage.googleapis.com"),
            f"/ws/{service}.BidiGenerateContent{method}",
            ssl_context=ssl_context,
            proxy=way,
            connect=connect,
        )
        self.__attrs_init__("google_ai", None, route, credentials)

    def model_name(self, model: str) -> str:
        """Returns ``models/NAME``; names that begin with ``models/`` or ``tunedModels/`` stay as they are."""
        model = _checked_model(model)
        return model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"


@attrs.frozen(eq=False, init=False, repr=False)
class VertexAI(Endpoint):
    """The Gemini API of Vertex AI: a project and a location with OAuth, or an API key alone (express mode).

    Give at most one of ``credentials``, ``token`` and ``api_key``; with none of them Application Default Credentials
    are looked for when the first connection is dialled.

    Args:
        project: the Google Cloud project; not with ``api_key``.
        location: the region, ``us`` or ``eu`` for a multi-region, ``global`` by default; not with ``api_key``.
        credentials: a google-auth credentials object; refreshed in a thread before each dial.
        token: an OAuth access token, or an async function that returns one and is asked before each dial.
        api_key: an API key of express mode.
        api_version: the version in the path; ``v1beta1`` and ``v1`` exist.
        base_url: where to connect instead of Google: ``wss://host[:port][/prefix]``, or ``ws://`` to loopback. It
            needs a credential given beside it: what is found on the machine is sent to Google only.
        ssl_context: TLS settings; one that does not verify the server is accepted for loopback only.
        proxy: ``http://[user:password@]host:port`` of an HTTP proxy.
        connect: what replaces DNS, TCP and proxy, see :data:`Connect`.

    Raises:
        ConfigError: an argument is missing, wrong, or does not go with another.
    """

    backend: Backend
    default_response_modalities: tuple[str, ...] | None
    _route: Route
    _credentials: Credentials
    _parent: str

    def __init__(
        self,
        project: str | None = None,
        location: str | None = None,
        *,
        credentials: GoogleCredentials | None = None,
        token: str | Secret | TokenProvider | None = None,
        api_key: str | Secret | None = None,
        api_version: str = "v1beta1",
        base_url: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | Secret | None = None,
        connect: Connect | None = None,
    ) -> None:
        # Nothing may raise before the raw credentials are out of this frame.
        key, api_key = wrap(api_key), None
        bearer, token = (BearerProvider(token) if callable(token) else wrap(token)), None
        where, base_url = _where(base_url), None
        way, proxy = _way(proxy), None
        proof, credentials = _vertex_credentials(credentials, bearer, key), None
        parent, place = _parent(project, location, is_express=isinstance(proof, ApiKey))
        version = _checked(_VERSION, api_version, "api_version")
        route = _route(
            where or read_base_url(f"wss://{_vertex_host(place)}"),
            f"/ws/google.cloud.aiplatform.{version}.LlmBidiService/BidiGenerateContent",
            ssl_context=ssl_context,
            proxy=way,
            connect=connect,
        )
        if proof.is_found_by_itself and not route.base.is_google:
            raise ConfigError(
                "base_url",
                f"{route.base.host} is not Google's, and Application Default Credentials are sent to Google only; "
                "pass token= or credentials= beside base_url",
            )
        self.__attrs_init__("vertex", None if isinstance(proof, ApiKey) else ("AUDIO",), route, proof, parent)

    def model_name(self, model: str) -> str:
        """Returns the full resource name: ``NAME``, ``PUBLISHER/NAME`` and ``publishers/...`` are completed.

        Names that begin with ``projects/`` or ``models/`` stay as they are.
        """
        model = _checked_model(model)
        if model.startswith(("projects/", "models/")):
            return model
        if not model.startswith("publishers/"):
            publisher, _, name = model.rpartition("/")
            model = f"publishers/{publisher or 'google'}/models/{name}"
        return self._parent + model


def _google_ai_credentials(key: Secret | str | None, token: Secret | str | None) -> Credentials:
    if isinstance(key, str):
        raise ConfigError("api_key", key)
    if isinstance(token, str):
        raise ConfigError("token", token)
    if key is not None and token is not None:
        raise ConfigError("token", "goes without api_key; an ephemeral token takes its place")
    if token is not None and not token.startswith(EPHEMERAL_PREFIX):
        raise ConfigError(
            "token", f"is no ephemeral token, for those begin with {EPHEMERAL_PREFIX}; give a key as api_key="
        )
    if key is not None and key.startswith(EPHEMERAL_PREFIX):
        token = key
    if token is not None:
        return EphemeralToken(token)
    if key is None:
        raise ConfigError(
            "api_key",
            "is missing; create one at https://aistudio.google.com/apikey and pass it, or call endpoint_from_env() "
            "to read GEMINI_API_KEY (a local server takes any text)",
        )
    return ApiKey(key)


def _vertex_credentials(
    credentials: GoogleCredentials | None, token: BearerProvider | Secret | str | None, key: Secret | str | None
) -> Credentials:
    for field, value in (("token", token), ("api_key", key)):
        if isinstance(value, str):
            raise ConfigError(field, value)
    given = [
        name for name, value in (("credentials", credentials), ("token", token), ("api_key", key)) if value is not None
    ]
    if len(given) > 1:
        raise ConfigError(given[1], f"goes without {given[0]}; give one of credentials, token and api_key")
    if isinstance(key, Secret):
        return ApiKey(key)
    if isinstance(token, Secret):
        return Bearer(token)
    if isinstance(token, BearerProvider):
        return token
    if credentials is not None and not callable(getattr(credentials, "refresh", None)):
        raise ConfigError("credentials", f"must be a google-auth credentials object, not {type(credentials).__name__}")
    return GoogleAuth.of(credentials)


def _parent(project: str | None, location: str | None, *, is_express: bool) -> tuple[str, str]:
    """Returns what goes before ``publishers/...`` in a model name, and the location."""
    if is_express:
        if project is not None or location is not None:
            raise ConfigError("api_key", "goes without project and location; they are the key's own")
        return "", "global"
    if project is None:
        raise ConfigError("project", "is missing; name the Google Cloud project, or pass api_key= for express mode")
    place = "global" if location is None else _checked(_LOCATION, location, "location")
    return f"projects/{_checked(_PROJECT, project, 'project')}/locations/{place}/", place


def _vertex_host(location: str) -> str:
    if location == "global":
        return "aiplatform.googleapis.com"
    if location in _MULTI_REGIONS:
        return f"aiplatform.{location}.rep.googleapis.com"
    return f"{location}-aiplatform.googleapis.com"


def _where(base_url: str | None) -> BaseUrl | str | None:
    return None if base_url is None else read_base_url(base_url)


def _way(proxy: str | Secret | None) -> Proxy | str | None:
    url = wrap(proxy)
    return Proxy.read(url) if isinstance(url, Secret) else url


def _route(
    base: BaseUrl | str,
    path: str,
    *,
    ssl_context: ssl.SSLContext | None,
    proxy: Proxy | str | None,
    connect: Connect | None,
) -> Route:
    if isinstance(base, str):
        raise ConfigError("base_url", base)
    if isinstance(proxy, str):
        raise ConfigError("proxy", proxy)
    if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
        raise ConfigError("ssl_context", f"must be an ssl.SSLContext, not {type(ssl_context).__name__}")
    route = Route(base, base.prefix + path, ssl_context, proxy, connect)
    if connect is not None and not callable(connect):
        raise ConfigError("connect", "must be an async function of host and port")
    if connect is not None and route.proxy is not None:
        raise ConfigError("proxy", "goes without connect, which takes its place")
    if not base.secure and route.proxy is not None:
        raise ConfigError("proxy", "goes without ws://, which reaches this machine only; write wss:// or no proxy")
    if route.must_be_loopback and connect is not None and not route.connect_is_loopback:
        raise ConfigError(
            "connect",
            "does not say that it stays on this machine, and nothing else protects the credential; "
            "write wss:// with a verifying ssl_context, or set its attribute is_loopback to True if that is so",
        )
    if route.must_be_loopback and not base.is_loopback:
        raise ConfigError(
            "ssl_context",
            f"does not verify the server's certificate and host name, which is accepted for this machine only and not "
            f"for {base.host}; load the server's authority with load_verify_locations instead",
        )
    return route


def _verifies(context: ssl.SSLContext) -> bool:
    # Without the host name any certificate that any authority signed for anybody would do.
    return context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname


def _checked(pattern: re.Pattern[str], text: object, field: str) -> str:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise ConfigError(field, f"must be a name like those of Google Cloud, not {text!r:.80}")
    return text


def _checked_model(model: str) -> str:
    if not model:
        raise ConfigError("model", "is missing; name a model, for example gemini-3.8-live")
    if ".." in model or any(
        character in "?&#\\" or character.isspace() or not character.isprintable() for character in model
    ):
        raise ConfigError("model", f"{model!r:.80} has .., ?, &, #, a backslash, a space or a control character in it")
    if model.startswith("/") or model.endswith("/") or "//" in model:
        raise ConfigError("model", f"{model!r:.80} has an empty part between its slashes")
    return model
