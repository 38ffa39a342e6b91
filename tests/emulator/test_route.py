from __future__ import annotations

import pytest

from gemlive.emulator._route import Credential, Route, credential_of, route_of

GOOGLE_AI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
VERTEX = "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent"


@pytest.mark.parametrize(
    ("target", "route"),
    [
        (GOOGLE_AI, Route("google_ai", "v1beta")),
        (GOOGLE_AI + "Constrained", Route("google_ai", "v1beta", constrained=True)),
        (GOOGLE_AI.replace("v1beta", "v1"), Route("google_ai", "v1")),
        ("/" + GOOGLE_AI, Route("google_ai", "v1beta")),
        ("/some/prefix" + GOOGLE_AI + "?key=a/b&x=/ws/", Route("google_ai", "v1beta")),
        (VERTEX, Route("vertex", "v1beta1")),
        ("//" + VERTEX + "?", Route("vertex", "v1beta1")),
    ],
)
def test_the_paths_of_both_services_lead_somewhere(target: str, route: Route) -> None:
    assert route_of(target) == route


@pytest.mark.parametrize(
    "target",
    [
        "",
        "/",
        GOOGLE_AI + "/",
        GOOGLE_AI + "s",
        GOOGLE_AI.replace("BidiGenerateContent", "BidiGenerateMusic"),
        GOOGLE_AI.replace(".Bidi", "/Bidi"),
        VERTEX.replace("/Bidi", ".Bidi"),
        VERTEX + "Constrained",
        "/?path=" + GOOGLE_AI,
    ],
)
def test_other_paths_lead_nowhere(target: str) -> None:
    assert route_of(target) is None


@pytest.mark.parametrize(
    ("target", "headers", "credential"),
    [
        ("/", {}, None),
        ("/", {"x-goog-api-key": ""}, None),
        ("/", {"authorization": "Bearer "}, None),
        ("/", {"x-goog-api-key": "k"}, Credential("key", "k")),
        ("//ws/x?key=k", {}, Credential("key", "k")),
        ("/?key=q", {"x-goog-api-key": "h"}, Credential("key", "h")),
        ("/?access_token=auth_tokens/t", {}, Credential("token", "auth_tokens/t")),
        ("/", {"x-goog-api-key": "auth_tokens/t"}, Credential("token", "auth_tokens/t")),
        ("/", {"authorization": "Token auth_tokens/t", "x-goog-api-key": "k"}, Credential("token", "auth_tokens/t")),
        ("/", {"authorization": "bearer o"}, Credential("bearer", "o")),
    ],
)
def test_a_credential_is_found_wherever_some_client_puts_it(
    target: str, headers: dict[str, str], credential: Credential | None
) -> None:
    assert credential_of(target, headers) == credential


def test_a_credential_shows_no_secret() -> None:
    assert "canary" not in repr(Credential("key", "canary"))
