"""Where an upgrade request goes, and as whom it comes: read from its target and headers, nothing else.

The service answers on two forms of path, which differ in punctuation; any API version routes (docs/protocol.md 1.1).
Clients in the field double the leading slash and put a prefix before it, and the query never decides anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import attrs

Backend = Literal["google_ai", "vertex"]
"""Which of the two services is played: they differ in the dialect of their frames (docs/protocol.md 10)."""

_PATHS: Mapping[Backend, re.Pattern[str]] = {
    "google_ai": re.compile(
        r"/ws/google\.ai\.generativelanguage\.(?P<version>[^./]+)"
        r"\.GenerativeService\.BidiGenerateContent(?P<constrained>Constrained)?"
    ),
    "vertex": re.compile(
        r"/ws/google\.cloud\.aiplatform\.(?P<version>[^./]+)\.LlmBidiService/BidiGenerateContent(?P<constrained>)"
    ),
}


@attrs.frozen
class Route:
    """A service, a version and a method.

    Attributes:
        backend: the service.
        version: as the path has it, such as ``v1beta``.
        constrained: whether it is the method for ephemeral tokens.
    """

    backend: Backend
    version: str
    constrained: bool = False


@attrs.frozen
class Credential:
    """What a client presented. Its value is for comparing only and in no ``repr``.

    Attributes:
        kind: an API key, an ephemeral token, or an OAuth bearer token.
        value: the secret itself.
    """

    kind: Literal["key", "token", "bearer"]
    value: str = attrs.field(repr=False)


def route_of(target: str) -> Route | None:
    """Returns where a request target leads, None where the service has nothing."""
    path = target.partition("?")[0]
    for backend, pattern in _PATHS.items():
        found = pattern.search(path)
        if found is not None and found.end() == len(path):
            return Route(backend, found["version"], bool(found["constrained"]))
    return None


def credential_of(target: str, headers: Mapping[str, str]) -> Credential | None:
    """Returns what the client presented, None when that is nothing.

    Every place that some client uses is looked at (docs/protocol.md 1.2), headers before the query.

    Args:
        target: the request target with its query.
        headers: the request's headers, names in lower case.
    """
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if secret.strip() and scheme.lower() in ("bearer", "token"):
        return Credential("bearer" if scheme.lower() == "bearer" else "token", secret.strip())
    query = parse_qs(urlsplit("/" + target.lstrip("/")).query)
    key = headers.get("x-goog-api-key", "") or query.get("key", [""])[0]
    if key:
        return Credential("token" if key.startswith("auth_tokens/") else "key", key)
    token = query.get("access_token", [""])[0]
    return Credential("token", token) if token else None
