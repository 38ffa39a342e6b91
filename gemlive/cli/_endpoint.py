"""Which server and which model a command talks to: by the command line, then by the environment."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from gemlive.cli._defaults import MODEL
from gemlive.cli._exit import Misuse
from gemlive.errors import ConfigError
from gemlive.transport import Endpoint, endpoint_from_env

_KEYS = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
_VERTEX_SWITCHES = ("GOOGLE_GENAI_USE_ENTERPRISE", "GOOGLE_GENAI_USE_VERTEXAI")
_BASE_URL = "GOOGLE_GEMINI_BASE_URL"
_NO_KEY = "not-a-key"  # what a local server is told; it takes any text
_WITHOUT_A_KEY = "without a key: gemlive demo, or gemlive serve and then --url ws://127.0.0.1:8790"


def find_endpoint(url: str | None, environ: Mapping[str, str] | None = None) -> Endpoint:
    """Returns the endpoint at ``url``, or the environment's where there is none.

    A URL is spoken to as Google AI is, with the environment's key. A server on this machine needs none.

    Raises:
        Misuse: the URL is refused, or a setting or a key is missing or wrong.
    """
    environ = os.environ if environ is None else environ
    if url is not None and not url.strip():
        raise Misuse("--url: is empty; write where the server is, such as ws://127.0.0.1:8790, or leave it out")
    try:
        return endpoint_from_env(environ) if url is None else _at(url, environ)
    except ConfigError as error:
        problem = str(error).removeprefix(f"{error.field}: ")
        if error.field == _BASE_URL and url is not None:
            raise Misuse(f"--url: {problem}") from None
        hint = f"; {_WITHOUT_A_KEY}" if url is None and not _has_key(environ) else ""
        raise Misuse(f"{error.field}: {problem}{hint}") from None


def _at(url: str, environ: Mapping[str, str]) -> Endpoint:
    # The variables and not the constructor, so that a proxy and the API version count here as well.
    settings = {name: value for name, value in environ.items() if name not in _VERTEX_SWITCHES}
    settings[_BASE_URL] = url
    if _has_key(environ):
        return endpoint_from_env(settings)
    endpoint = endpoint_from_env({**settings, _KEYS[1]: _NO_KEY})
    if not _is_on_this_machine(endpoint):
        raise Misuse(
            f"{_KEYS[1]} is not set, and {urlsplit(endpoint.url).hostname} is not on this machine; set the key"
        )
    return endpoint


def _has_key(environ: Mapping[str, str]) -> bool:
    return any(environ.get(name, "").strip() for name in _KEYS)


def _is_on_this_machine(endpoint: Endpoint) -> bool:
    host = urlsplit(endpoint.url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def place(endpoint: Endpoint) -> str:
    """Returns where the endpoint is, as a person would write it: without the path, which is always the same."""
    parts = urlsplit(endpoint.url)
    return f"{parts.scheme}://{parts.netloc}"


def find_model(model: str | None, environ: Mapping[str, str] | None = None) -> str:
    """Returns the model that the command line names, or ``GEMINI_MODEL``, or the default."""
    environ = os.environ if environ is None else environ
    return model or environ.get("GEMINI_MODEL", "").strip() or MODEL


__all__ = ["find_endpoint", "find_model", "place"]
