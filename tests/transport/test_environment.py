"""The endpoint that the environment describes, with google-genai's variables and precedence."""

from __future__ import annotations

import logging

import pytest

from gemlive.errors import ConfigError
from gemlive.transport import GoogleAI, VertexAI, endpoint_from_env
from gemlive.transport._credentials import ApiKey, EphemeralToken, GoogleAuth
from gemlive.transport._environment import bypasses_proxy
from gemlive.transport._secret import Secret

VERTEX = {"GOOGLE_GENAI_USE_VERTEXAI": "true"}
PROJECT = {"GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_CLOUD_LOCATION": "us-central1"}


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        ({"GEMINI_API_KEY": "gemini"}, "gemini"),
        ({"GOOGLE_API_KEY": "google"}, "google"),
        ({"GOOGLE_API_KEY": "google", "GEMINI_API_KEY": "gemini"}, "google"),
        ({"GOOGLE_API_KEY": "", "GEMINI_API_KEY": " gemini\n"}, "gemini"),
        ({"GEMINI_API_KEY": "gemini", **PROJECT}, "gemini"),
        ({"GEMINI_API_KEY": "gemini", "GOOGLE_GENAI_USE_VERTEXAI": "false"}, "gemini"),
        ({"GEMINI_API_KEY": "gemini", "GOOGLE_GENAI_USE_VERTEXAI": "yes"}, "gemini"),
        (
            {
                "GEMINI_API_KEY": "gemini",
                "GOOGLE_GENAI_USE_VERTEXAI": "1",
                "GOOGLE_GENAI_USE_ENTERPRISE": "0",
                **PROJECT,
            },
            "gemini",
        ),
    ],
)
def test_google_ai_with_the_key_that_goes_first(environ: dict[str, str], key: str) -> None:
    endpoint = endpoint_from_env(environ)
    assert isinstance(endpoint, GoogleAI)
    assert endpoint._credentials == ApiKey(Secret(key))


@pytest.mark.parametrize(
    "environ",
    [
        {**VERTEX, **PROJECT},
        {"GOOGLE_GENAI_USE_VERTEXAI": "1", **PROJECT},
        {"GOOGLE_GENAI_USE_ENTERPRISE": "TRUE", **PROJECT},
        {"GOOGLE_GENAI_USE_ENTERPRISE": "1", "GOOGLE_GENAI_USE_VERTEXAI": "0", **PROJECT},
        {**VERTEX, **PROJECT, "GOOGLE_API_KEY": "goes second"},
    ],
)
def test_vertex_with_project_and_location(environ: dict[str, str]) -> None:
    endpoint = endpoint_from_env(environ)
    assert isinstance(endpoint, VertexAI)
    assert isinstance(endpoint._credentials, GoogleAuth)
    assert endpoint.url.startswith("wss://us-central1-aiplatform.googleapis.com/")
    assert endpoint.model_name("m").startswith("projects/p/locations/us-central1/")


def test_vertex_without_a_location_is_global() -> None:
    endpoint = endpoint_from_env({**VERTEX, "GOOGLE_CLOUD_PROJECT": "p"})
    assert endpoint.model_name("m").startswith("projects/p/locations/global/")


def test_vertex_with_a_key_alone_is_express_mode() -> None:
    endpoint = endpoint_from_env({**VERTEX, "GOOGLE_API_KEY": "k"})
    assert isinstance(endpoint, VertexAI)
    assert endpoint._credentials == ApiKey(Secret("k"))
    assert endpoint.model_name("m") == "publishers/google/models/m"


def test_an_ephemeral_token_in_place_of_the_key_is_recognised() -> None:
    endpoint = endpoint_from_env({"GEMINI_API_KEY": "auth_tokens/t"})
    assert isinstance(endpoint._credentials, EphemeralToken)


@pytest.mark.parametrize(
    ("said", "google_ai", "vertex"),
    [({}, "v1beta", "v1beta1"), ({"GOOGLE_GENAI_API_VERSION": "beta"}, "v1beta", "v1beta1")]
    + [({"GOOGLE_GENAI_API_VERSION": version}, version, version) for version in ("v1", "v1alpha")],
)
def test_the_version_is_the_one_that_is_said(said: dict[str, str], google_ai: str, vertex: str) -> None:
    assert f".{google_ai}.GenerativeService" in endpoint_from_env({"GEMINI_API_KEY": "k", **said}).url
    assert f".{vertex}.LlmBidiService" in endpoint_from_env({**VERTEX, **PROJECT, **said}).url


def test_each_service_has_a_base_url_of_its_own() -> None:
    urls = {"GOOGLE_GEMINI_BASE_URL": "https://one.example/x/", "GOOGLE_VERTEX_BASE_URL": "http://localhost:8790"}
    assert endpoint_from_env({"GEMINI_API_KEY": "k", **urls}).url.startswith("wss://one.example/x/ws/")
    assert endpoint_from_env({**VERTEX, "GEMINI_API_KEY": "k", **urls}).url.startswith("ws://localhost:8790/ws/")


@pytest.mark.parametrize(
    ("environ", "field"),
    [
        ({}, "GEMINI_API_KEY"),
        ({"GEMINI_API_KEY": " "}, "GEMINI_API_KEY"),
        (PROJECT, "GEMINI_API_KEY"),
        (VERTEX, "GOOGLE_CLOUD_PROJECT"),
        ({**VERTEX, "GOOGLE_CLOUD_LOCATION": "l", "GOOGLE_API_KEY": "k"}, "GOOGLE_CLOUD_PROJECT"),
        ({"GEMINI_API_KEY": "a b"}, "GEMINI_API_KEY"),
        ({"GOOGLE_API_KEY": "a b", "GEMINI_API_KEY": "k"}, "GOOGLE_API_KEY"),
        ({"GEMINI_API_KEY": "k", "GOOGLE_GEMINI_BASE_URL": "ws://example.com"}, "GOOGLE_GEMINI_BASE_URL"),
        ({**VERTEX, "GEMINI_API_KEY": "k", "GOOGLE_VERTEX_BASE_URL": "ftp://x"}, "GOOGLE_VERTEX_BASE_URL"),
        ({**VERTEX, **PROJECT, "GOOGLE_VERTEX_BASE_URL": "wss://gateway.example"}, "GOOGLE_VERTEX_BASE_URL"),
        ({**VERTEX, **PROJECT, "GOOGLE_CLOUD_LOCATION": "a/b"}, "GOOGLE_CLOUD_LOCATION"),
        ({**VERTEX, "GOOGLE_CLOUD_PROJECT": "a/b"}, "GOOGLE_CLOUD_PROJECT"),
        ({"GEMINI_API_KEY": "k", "GOOGLE_GENAI_API_VERSION": "latest"}, "GOOGLE_GENAI_API_VERSION"),
        ({"GEMINI_API_KEY": "k", "HTTPS_PROXY": "socks5://x"}, "HTTPS_PROXY"),
        ({"GEMINI_API_KEY": "k", "https_proxy": "https://x"}, "https_proxy"),
    ],
)
def test_what_is_missing_or_wrong_is_told_by_its_variable(environ: dict[str, str], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        endpoint_from_env(environ)
    assert caught.value.field == field


def test_nothing_at_all_names_every_way_in() -> None:
    with pytest.raises(ConfigError) as caught:
        endpoint_from_env({})
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_CLOUD_PROJECT"):
        assert name in str(caught.value)


def test_the_process_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_GENAI_USE_ENTERPRISE", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_API_KEY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    assert isinstance(endpoint_from_env(), GoogleAI)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"GOOGLE_API_KEY": "one", "GEMINI_API_KEY": "two"}, "are both set; GOOGLE_API_KEY is used"),
        (
            {"GOOGLE_GENAI_USE_ENTERPRISE": "0", "GOOGLE_GENAI_USE_VERTEXAI": "1", "GEMINI_API_KEY": "k"},
            "GOOGLE_GENAI_USE_ENTERPRISE is followed",
        ),
    ],
)
def test_a_contradiction_is_warned_of_without_the_values(
    caplog: pytest.LogCaptureFixture, environ: dict[str, str], words: str
) -> None:
    endpoint_from_env(environ)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert words in caplog.text
    assert "two" not in caplog.text


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy.example:3128"}, ("proxy.example", 3128)),
        ({"HTTPS_PROXY": "proxy.example:3128"}, ("proxy.example", 3128)),
        ({"HTTPS_PROXY": "http://a.example", "https_proxy": "http://b.example"}, ("b.example", 80)),
        ({"HTTPS_PROXY": "http://a.example", "NO_PROXY": "googleapis.com"}, None),
        ({"HTTPS_PROXY": "http://a.example", "GOOGLE_GEMINI_BASE_URL": "ws://127.0.0.1:8790"}, None),
        ({"HTTPS_PROXY": "http://a.example", "GOOGLE_GEMINI_BASE_URL": "wss://localhost"}, None),
        ({"HTTP_PROXY": "http://a.example"}, None),
    ],
)
def test_the_proxy_is_the_one_for_https(environ: dict[str, str], proxy: tuple[str, int] | None) -> None:
    endpoint = endpoint_from_env({"GEMINI_API_KEY": "k", **environ})
    assert (endpoint.proxy and (endpoint.proxy.host, endpoint.proxy.port)) == proxy


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "bypasses"),
    [
        ("", "a.example", 443, False),
        ("*", "a.example", 443, True),
        ("a.example", "a.example", 443, True),
        (".example", "a.example", 443, True),
        ("*.example", "a.example", 443, True),
        ("example", "a.example", 443, True),
        ("ample", "a.example", 443, False),
        ("b.example, A.example ", "a.example", 443, True),
        ("a.example:443", "a.example", 443, True),
        ("a.example:8443", "a.example", 443, False),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False),
        ("10.1.2.3", "10.1.2.3", 443, True),
        ("10.1.2.3:443", "10.1.2.3", 443, True),
        ("::1", "::1", 443, True),
        ("[::1]:443", "::1", 443, True),
        ("[::1]:80", "::1", 443, False),
        ("2001:db8::/32", "2001:db8::7", 443, True),
        (",,", "a.example", 443, False),
        (".", "a.example", 443, False),
    ],
)
def test_no_proxy_lists_are_read_as_elsewhere(no_proxy: str, host: str, port: int, bypasses: bool) -> None:
    assert bypasses_proxy(host, port, no_proxy) is bypasses
