"""Which server and model a command talks to."""

from __future__ import annotations

import pytest

from gemlive.cli._defaults import MODEL
from gemlive.cli._endpoint import find_endpoint, find_model, place
from gemlive.cli._exit import Misuse

LOCAL = "ws://127.0.0.1:8790"
KEY = {"GEMINI_API_KEY": "k" * 20}


@pytest.mark.parametrize("url", [LOCAL, "ws://localhost:8790", "ws://[::1]:8790", "wss://127.0.0.1:8790"])
def test_a_server_on_this_machine_needs_no_key(url: str) -> None:
    assert place(find_endpoint(url, {})) == url


def test_a_server_elsewhere_needs_one() -> None:
    with pytest.raises(Misuse, match=r"GEMINI_API_KEY is not set, and live\.example\.com is not on this machine"):
        find_endpoint("wss://live.example.com", {})


@pytest.mark.parametrize("name", ["GEMINI_API_KEY", "GOOGLE_API_KEY"])
def test_with_a_key_a_server_elsewhere_is_fine(name: str) -> None:
    assert place(find_endpoint("wss://live.example.com", {name: "k" * 20})) == "wss://live.example.com"


def test_a_url_is_spoken_to_as_google_ai_whatever_else_is_set() -> None:
    environ = {**KEY, "GOOGLE_GENAI_USE_VERTEXAI": "true", "GOOGLE_CLOUD_PROJECT": "p"}
    assert find_endpoint(LOCAL, environ).backend == "google_ai"


def test_a_url_wins_over_the_environment() -> None:
    assert place(find_endpoint(LOCAL, {**KEY, "GOOGLE_GEMINI_BASE_URL": "wss://live.example.com"})) == LOCAL


def test_without_a_url_the_environment_decides() -> None:
    environ = {"GOOGLE_GENAI_USE_VERTEXAI": "true", "GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_CLOUD_LOCATION": "us-central1"}
    assert find_endpoint(None, environ).backend == "vertex"


def test_without_url_and_key_one_is_told_what_works_without() -> None:
    with pytest.raises(Misuse, match=r"GEMINI_API_KEY.*gemlive demo, or gemlive serve"):
        find_endpoint(None, {})


def test_with_a_key_one_is_not_told_to_do_without() -> None:
    environ = {**KEY, "GOOGLE_GEMINI_BASE_URL": "ws://live.example.com"}
    with pytest.raises(Misuse, match="GOOGLE_GEMINI_BASE_URL") as caught:
        find_endpoint(None, environ)
    assert "gemlive demo" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://x", "ws://live.example.com", "ws://127.0.0.1:99999"])
def test_a_bad_url_is_refused_by_the_name_of_its_option(url: str) -> None:
    with pytest.raises(Misuse, match=r"^--url: "):
        find_endpoint(url, KEY)


def test_no_key_is_in_any_message() -> None:
    with pytest.raises(Misuse) as caught:
        find_endpoint("ws://live.example.com", {"GEMINI_API_KEY": "canary-canary"})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "environ", "model"),
    [
        ("a", {"GEMINI_MODEL": "b"}, "a"),
        (None, {"GEMINI_MODEL": "b"}, "b"),
        (None, {"GEMINI_MODEL": " "}, MODEL),
        (None, {}, MODEL),
    ],
)
def test_the_command_line_names_the_model_then_the_environment(
    option: str | None, environ: dict[str, str], model: str
) -> None:
    assert find_model(option, environ) == model
