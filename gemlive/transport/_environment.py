"""The endpoint that the environment describes, by google-genai's variables and in their precedence.

The variables and rules are those of google-genai 3.3.0 (read 2026-11-20), so that a program that ran with it runs with
this. Three differences: the version in Google AI's path stays ``v1beta`` when none is set; a Vertex project is not
looked up in the Application Default Credentials, which could mean waiting for the network; and where google-genai
sends no credential at all (Vertex AI, a base URL that is not Google's, no API key) this says so instead.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
from collections.abc import Callable, Mapping
from functools import partial

import attrs

from gemlive.errors import ConfigError
from gemlive.transport._endpoints import Endpoint, GoogleAI, VertexAI
from gemlive.transport._policy import read_base_url
from gemlive.transport._proxy import Proxy
from gemlive.transport._secret import Secret

logger = logging.getLogger("gemlive.transport")

_VARIABLES = {
    "api_version": "GOOGLE_GENAI_API_VERSION",
    "project": "GOOGLE_CLOUD_PROJECT",
    "location": "GOOGLE_CLOUD_LOCATION",
}

# An IPv6 address has colons of its own, so a port after one needs the brackets.
_WITH_PORT = re.compile(r"(\[[^\]]*\]|[^:]*):([0-9]{1,5})")


@attrs.frozen
class _Settings:
    """What the environment says, each value with the variable it came from; what may be a secret is wrapped."""

    use_vertex: bool
    key: tuple[str, Secret] | None
    project: str | None
    location: str | None
    api_version: str | None
    base_url: tuple[str, Secret] | None
    proxy: tuple[str, Secret] | None
    no_proxy: str


def endpoint_from_env(environ: Mapping[str, str] | None = None) -> Endpoint:
    """Returns the endpoint that google-genai would use with these environment variables.

    =================================================  ==============================================================
    ``GOOGLE_API_KEY``, ``GEMINI_API_KEY``             the API key; the first wins, with a warning if both are set
    ``GOOGLE_GENAI_USE_ENTERPRISE``                    ``true`` or ``1`` selects Vertex AI; wins over the next
    ``GOOGLE_GENAI_USE_VERTEXAI``                      the same, by its older name
    ``GOOGLE_CLOUD_PROJECT``, ``GOOGLE_CLOUD_LOCATION``  Vertex AI's project and location (``global`` by default); they
                                                       win over an API key, which alone means express mode
    ``GOOGLE_GENAI_API_VERSION``                       the version in the path
    ``GOOGLE_GEMINI_BASE_URL``, ``GOOGLE_VERTEX_BASE_URL``  where to connect instead, per service
    ``HTTPS_PROXY``, ``NO_PROXY``                      an HTTP proxy, and the hosts it is not used for
    =================================================  ==============================================================

    An empty variable counts as not set.

    Args:
        environ: the variables; None means those of the process.

    Raises:
        ConfigError: a variable is missing or wrong; ``field`` is its name.
    """
    settings, environ = _read(os.environ if environ is None else environ), None
    return _vertex(settings) if settings.use_vertex else _google_ai(settings)


def _read(environ: Mapping[str, str]) -> _Settings:
    use_vertex = _use_vertex(environ)
    return _Settings(
        use_vertex=use_vertex,
        key=_key(environ),
        project=environ.get("GOOGLE_CLOUD_PROJECT") or None,
        location=environ.get("GOOGLE_CLOUD_LOCATION") or None,
        api_version=environ.get("GOOGLE_GENAI_API_VERSION") or None,
        base_url=_first(environ, "GOOGLE_VERTEX_BASE_URL" if use_vertex else "GOOGLE_GEMINI_BASE_URL"),
        # The lower-case form first, as curl and the standard library have it.
        proxy=_first(environ, "https_proxy", "HTTPS_PROXY"),
        no_proxy=environ.get("no_proxy") or environ.get("NO_PROXY") or "",
    )


def _use_vertex(environ: Mapping[str, str]) -> bool:
    names = ("GOOGLE_GENAI_USE_ENTERPRISE", "GOOGLE_GENAI_USE_VERTEXAI")
    said = [environ[name].strip().lower() in ("true", "1") for name in names if environ.get(name)]
    if len(set(said)) > 1:
        logger.warning("%s and %s contradict each other; %s is followed", *names, names[0])
    return bool(said) and said[0]


def _key(environ: Mapping[str, str]) -> tuple[str, Secret] | None:
    names = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
    if all(environ.get(name) for name in names):
        logger.warning("%s and %s are both set; %s is used", *names, names[0])
    return _first(environ, *names)


def _first(environ: Mapping[str, str], *names: str) -> tuple[str, Secret] | None:
    return next(((name, Secret(environ[name].strip())) for name in names if environ.get(name, "").strip()), None)


def _google_ai(settings: _Settings) -> Endpoint:
    if settings.key is None:
        raise ConfigError(
            "GEMINI_API_KEY",
            "no endpoint in the environment; set GEMINI_API_KEY (or GOOGLE_API_KEY), or for Vertex AI "
            "GOOGLE_GENAI_USE_VERTEXAI=true with GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_LOCATION",
        )
    version = _version(settings, "v1beta")
    make = partial(GoogleAI, _checked_key(settings.key), api_version=version, base_url=_base_url(settings))
    return _through_proxy(settings, make)


def _vertex(settings: _Settings) -> Endpoint:
    make = partial(VertexAI, api_version=_version(settings, "v1beta1"), base_url=_base_url(settings))
    if settings.project is None and settings.location is None and settings.key is not None:
        return _through_proxy(settings, partial(make, api_key=_checked_key(settings.key)))
    if settings.project is None:
        raise ConfigError(
            "GOOGLE_CLOUD_PROJECT",
            "is not set; Vertex AI needs it and GOOGLE_CLOUD_LOCATION, or an API key alone for express mode",
        )
    if settings.key is not None:
        logger.info("%s is not used: GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_LOCATION go first", settings.key[0])
    return _through_proxy(settings, partial(make, settings.project, settings.location))


def _version(settings: _Settings, default: str) -> str:
    # google-genai's spelling for the preview version of either service.
    return default if settings.api_version in (None, "beta") else settings.api_version


def _checked_key(key: tuple[str, Secret]) -> Secret:
    name, secret = key
    problem = secret.problem()
    if problem is not None:
        raise ConfigError(name, problem)
    return secret


def _base_url(settings: _Settings) -> str | None:
    if settings.base_url is None:
        return None
    name, url = settings.base_url
    base = read_base_url(url.reveal())
    if isinstance(base, str):
        raise ConfigError(name, base)
    return base.origin + base.prefix


def _made(make: Callable[[], Endpoint], *, base_url: str) -> Endpoint:
    """Makes an endpoint; what is wrong with it is told by the variable it came from."""
    try:
        return make()
    except ConfigError as exc:
        error = exc
    variables = {**_VARIABLES, "base_url": base_url}
    raise ConfigError(variables.get(error.field, error.field), str(error).removeprefix(f"{error.field}: "))


def _through_proxy(settings: _Settings, make: Callable[..., Endpoint]) -> Endpoint:
    endpoint = _made(make, base_url="GOOGLE_VERTEX_BASE_URL" if settings.use_vertex else "GOOGLE_GEMINI_BASE_URL")
    base = endpoint._route.base
    if settings.proxy is None or base.is_loopback or bypasses_proxy(base.host, base.port, settings.no_proxy):
        return endpoint
    name, url = settings.proxy
    # "proxy:3128" is as common in this variable as "http://proxy:3128".
    url = url if "://" in url.reveal() else Secret("http://" + url.reveal())
    problem = Proxy.read(url)
    if isinstance(problem, str):
        raise ConfigError(name, problem)
    return make(proxy=url)


def bypasses_proxy(host: str, port: int, no_proxy: str) -> bool:
    """Whether a NO_PROXY list names the host: ``*``, names with or without a leading dot, addresses, networks, ports.

    A name stands for itself and for everything under it.
    """
    return any(_names(entry.strip().lower(), host, port) for entry in no_proxy.split(","))


def _names(entry: str, host: str, port: int) -> bool:
    with_port = _WITH_PORT.fullmatch(entry)
    if with_port is not None and int(with_port[2]) != port:
        return False
    name = (with_port[1] if with_port is not None else entry).strip("[]")
    if name == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False)
    except ValueError:
        pass  # one of the two is a name
    name = name.removeprefix("*").removeprefix(".")
    return bool(name) and (host == name or host.endswith("." + name))
