from __future__ import annotations

from collections.abc import Mapping

import pytest

from gemlive.emulator._model import named_calls

FUNCTIONS = {"get_weather": None, "a.b": None, "stop": None}


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("nothing to do", []),
        ("call unknown_function", []),
        ("recall get_weather", []),
        ("call get_weather", [("get_weather", {})]),
        ("Please CALL get_weather.", [("get_weather", {})]),
        ("call a.b now", [("a.b", {})]),
        ('call get_weather {"city": "Oslo"} please', [("get_weather", {"city": "Oslo"})]),
        ('call get_weather {"city": {"name": "Oslo"}}', [("get_weather", {"city": {"name": "Oslo"}})]),
        ("call get_weather {broken", [("get_weather", {})]),
        ("call get_weather [1]", [("get_weather", {})]),
        ('call get_weather {"a": 1} and call stop', [("get_weather", {"a": 1}), ("stop", {})]),
        ("call get_weather " + "[" * 100_000, [("get_weather", {})]),
    ],
)
def test_the_declared_functions_that_a_text_names_are_called(
    text: str, calls: list[tuple[str, Mapping[str, object]]]
) -> None:
    assert named_calls(text, FUNCTIONS) == calls


def test_a_text_of_nothing_but_calls_makes_a_few() -> None:
    assert len(named_calls("call stop " * 10_000, FUNCTIONS)) == 16
