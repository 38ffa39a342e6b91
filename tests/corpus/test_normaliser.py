"""The normaliser makes equal what may differ, and leaves alone what may not: otherwise the corpus proves nothing."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from tests.corpus import normaliser
from tests.corpus.normaliser import normalised


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"go_away": {"time_left": "5.5s"}}, {"goAway": {"timeLeft": "5.500s"}}),
        ({"inlineData": {"data": "-_8="}}, {"inline_data": {"data": "+/8="}}),
        ({"data": "-_8"}, {"data": "+/8="}),
        ({"triggerTokens": "25600"}, {"trigger_tokens": 25600}),
        ({"resumable": "true"}, {"resumable": True}),
        ({"serverContent": None, "toolCall": {}}, {"toolCall": {}}),
        ({"temperature": 1}, {"temperature": 1.0}),
    ],
)
def test_spellings_of_the_same_are_made_equal(one: Any, other: Any) -> None:
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"text": "1"}, {"text": 1}),
        ({"text": "a-b"}, {"text": "a+b"}),
        ({"args": {"z": None}}, {"args": {}}),
        ({"args": {"some_key": 1}}, {"args": {"someKey": 1}}),
        ({"response": {"n": "1"}}, {"response": {"n": 1}}),
        ({"data": "audio"}, {"data": None}),
        ({"ids": ["c1", 2]}, {"ids": ["c1"]}),
        ({"functionCalls": []}, {}),
        ({"turnComplete": False}, {}),
    ],
)
def test_what_says_something_else_stays_different(one: Any, other: Any) -> None:
    assert normalised(one) != normalised(other)


def test_it_imports_nothing_of_what_it_judges() -> None:
    tree = ast.parse(Path(normaliser.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"__future__", "base64", "re", "decimal", "typing"}
