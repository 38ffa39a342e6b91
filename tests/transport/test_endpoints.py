"""Endpoints: where they lead, what they refuse, how they name models."""

from __future__ import annotations

import copy
import ssl
from typing import Any

import pytest
import trio
import trio.testing

from gemlive.errors import ConfigError
from gemlive.transport import GoogleAI, VertexAI

GOOGLE_AI = "wss://generativelanguage.googleapis.com/ws/google.ai.generativelanguage"
SERVICE = "GenerativeService.BidiGenerateContent"
VERTEX = "ws/google.cloud.aiplatform"
METHOD = "LlmBidiService/BidiGenerateContent"


async def refresh(host: str, port: int) -> trio.abc.Stream:
    raise AssertionError("nothing is dialled here")


async def token() -> str:
    raise AssertionError("nothing is dialled here")


class Credentials:
    """What google-auth's look like."""

    token = None
    valid = False

    def refresh(self, request: object) -> None:
        raise AssertionError("nothing is refreshed here")


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        (GoogleAI("k"), f"{GOOGLE_AI}.v1beta.{SERVICE}"),
        (GoogleAI("k", api_version="v1"), f"{GOOGLE_AI}.v1.{SERVICE}"),
        (GoogleAI(token="auth_tokens/t", api_version="v1alpha"), f"{GOOGLE_AI}.v1alpha.{SERVICE}Constrained"),
        (GoogleAI("auth_tokens/t"), f"{GOOGLE_AI}.v1beta.{SERVICE}Constrained"),
        (VertexAI("p", "us-central1"), f"wss://us-central1-aiplatform.googleapis.com/{VERTEX}.v1beta1.{METHOD}"),
        (VertexAI("p", "global"), f"wss://aiplatform.googleapis.com/{VERTEX}.v1beta1.{METHOD}"),
        (VertexAI("p"), f"wss://aiplatform.googleapis.com/{VERTEX}.v1beta1.{METHOD}"),
        (VertexAI("p", "eu"), f"wss://aiplatform.eu.rep.googleapis.com/{VERTEX}.v1beta1.{METHOD}"),
        (VertexAI("p", "us", api_version="v1"), f"wss://aiplatform.us.rep.googleapis.com/{VERTEX}.v1.{METHOD}"),
        (VertexAI(api_key="k"), f"wss://aiplatform.googleapis.com/{VERTEX}.v1beta1.{METHOD}"),
        (
            GoogleAI("k", base_url="http://127.0.0.1:8790/pre/"),
            f"ws://127.0.0.1:8790/pre/ws/google.ai.generativelanguage.v1beta.{SERVICE}",
        ),
        (
            VertexAI("p", "l", token="t", base_url="https://gateway.example"),
            f"wss://gateway.example/{VERTEX}.v1beta1.{METHOD}",
        ),
    ],
)
def test_an_endpoint_leads_where_the_service_is(endpoint: GoogleAI | VertexAI, url: str) -> None:
    assert endpoint.url == url


@pytest.mark.parametrize(
    ("endpoint", "given", "sent"),
    [
        (GoogleAI("k"), "m", "models/m"),
        (GoogleAI("k"), "models/m", "models/m"),
        (GoogleAI("k"), "tunedModels/m", "tunedModels/m"),
        (VertexAI("p", "l"), "m", "projects/p/locations/l/publishers/google/models/m"),
        (VertexAI("p", "l"), "x/m", "projects/p/locations/l/publishers/x/models/m"),
        (VertexAI("p", "l"), "publishers/x/models/m", "projects/p/locations/l/publishers/x/models/m"),
        (VertexAI("p", "l"), "projects/a/locations/b/models/c", "projects/a/locations/b/models/c"),
        (VertexAI("p", "l"), "models/m", "models/m"),
        (VertexAI("p"), "m", "projects/p/locations/global/publishers/google/models/m"),
        (VertexAI(api_key="k"), "m", "publishers/google/models/m"),
        (VertexAI(api_key="k"), "x/m", "publishers/x/models/m"),
    ],
)
def test_a_model_is_named_as_the_service_names_it(endpoint: GoogleAI | VertexAI, given: str, sent: str) -> None:
    assert endpoint.model_name(given) == sent


@pytest.mark.parametrize(
    "model", ["", "..", "a/../b", "m?x=1", "m&x", "m#x", "m\n", "m\x00", "a b", "/m", "m/", "a//b", "m\\x", "m\u2028"]
)
@pytest.mark.parametrize("endpoint", [GoogleAI("k"), VertexAI("p", "l")])
def test_a_model_that_could_change_a_path_is_refused(endpoint: GoogleAI | VertexAI, model: str) -> None:
    with pytest.raises(ConfigError) as caught:
        endpoint.model_name(model)
    assert caught.value.field == "model"


def test_vertex_asks_for_audio_by_default_except_in_express_mode() -> None:
    assert VertexAI("p", "l").default_response_modalities == ("AUDIO",)
    assert VertexAI(api_key="k").default_response_modalities is None
    assert GoogleAI("k").default_response_modalities is None


def test_an_endpoint_says_which_service_it_is() -> None:
    assert (GoogleAI("k").backend, VertexAI("p").backend) == ("google_ai", "vertex")


NOT_VERIFYING = ssl.create_default_context()
NOT_VERIFYING.check_hostname = False
NOT_VERIFYING.verify_mode = ssl.CERT_NONE


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({}, "api_key"),
        ({"api_key": ""}, "api_key"),
        ({"api_key": "  "}, "api_key"),
        ({"api_key": "a\nb"}, "api_key"),
        ({"api_key": "a\r\nX-Evil: 1"}, "api_key"),
        ({"api_key": "a b"}, "api_key"),
        ({"api_key": "schlüssel"}, "api_key"),
        ({"api_key": b"k"}, "api_key"),
        ({"token": "k"}, "token"),
        ({"token": "auth_tokens/a b"}, "token"),
        ({"api_key": "k", "token": "auth_tokens/t"}, "token"),
        ({"api_key": "k", "api_version": "beta"}, "api_version"),
        ({"api_key": "k", "api_version": "v1/../x"}, "api_version"),
        ({"api_key": "k", "base_url": "ws://example.com"}, "base_url"),
        ({"api_key": "k", "base_url": "wss://u:p@example.com"}, "base_url"),
        ({"api_key": "k", "proxy": "socks5://x"}, "proxy"),
        ({"api_key": "k", "proxy": "http://x", "connect": refresh}, "proxy"),
        ({"api_key": "k", "proxy": "http://x", "base_url": "ws://localhost"}, "proxy"),
        ({"api_key": "k", "connect": refresh, "base_url": "ws://localhost"}, "connect"),
        ({"api_key": "k", "connect": "tunnel"}, "connect"),
        ({"api_key": "k", "ssl_context": True}, "ssl_context"),
        ({"api_key": "k", "ssl_context": NOT_VERIFYING}, "ssl_context"),
        ({"api_key": "k", "ssl_context": NOT_VERIFYING, "base_url": "wss://localhost", "connect": refresh}, "connect"),
    ],
)
def test_what_is_wrong_with_google_ai_is_told_by_its_field(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        GoogleAI(**settings)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({}, "project"),
        ({"location": "l"}, "project"),
        ({"project": "a/b"}, "project"),
        ({"project": ""}, "project"),
        ({"project": "p", "location": "evil.example/x"}, "location"),
        ({"project": "p", "location": "l@evil"}, "location"),
        ({"project": "p", "location": ""}, "location"),
        ({"project": "p", "token": "t", "credentials": Credentials()}, "token"),
        ({"project": "p", "token": token, "api_key": "k"}, "api_key"),
        ({"project": "p", "token": ""}, "token"),
        ({"project": "p", "token": "a\nb"}, "token"),
        ({"project": "p", "api_key": "k"}, "api_key"),
        ({"project": "p", "credentials": "key.json"}, "credentials"),
        ({"project": "p", "base_url": "wss://gateway.example"}, "base_url"),
        ({"project": "p", "base_url": "ws://127.0.0.1:8790"}, "base_url"),
    ],
)
def test_what_is_wrong_with_vertex_is_told_by_its_field(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        VertexAI(**settings)
    assert caught.value.field == field


def test_credentials_that_are_found_by_themselves_go_to_google_only() -> None:
    assert VertexAI("p", base_url="wss://x.googleapis.com").url.startswith("wss://x.googleapis.com/")
    with pytest.raises(ConfigError, match=r"gateway\.example is not Google's"):
        VertexAI("p", base_url="wss://gateway.example")
    VertexAI("p", base_url="wss://gateway.example", credentials=Credentials())


def test_a_domain_scoped_project_is_a_project() -> None:
    assert VertexAI("example.com:p", "l").model_name("m").startswith("projects/example.com:p/")


def test_white_space_round_a_key_is_not_part_of_it() -> None:
    assert GoogleAI(" k\n")._credentials == GoogleAI("k")._credentials


def test_an_endpoint_cannot_be_changed() -> None:
    endpoint = GoogleAI("k")
    with pytest.raises(AttributeError):
        endpoint.backend = "vertex"  # type: ignore[misc]


def test_a_copy_of_an_endpoint_reaches_the_same() -> None:
    assert copy.copy(VertexAI("p", "l", token="t")).url == VertexAI("p", "l", token="t").url


def test_a_connect_that_stays_here_reaches_a_local_server_without_tls() -> None:
    async def connect(host: str, port: int) -> trio.abc.Stream:
        raise AssertionError

    connect.is_loopback = True  # type: ignore[attr-defined]
    endpoint = GoogleAI("k", base_url="ws://localhost", connect=connect)
    assert endpoint.connect is connect
    assert endpoint.proxy is None
    assert endpoint.ssl_context is None
