"""Every promise in docs/session.md stands beside a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "session.md").read_text("utf-8")


def _tests(name: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / "session" / name).read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", PAGE)
    assert len(named) >= 20
    assert [f"{file}::{test}" for file, test in named if test not in _tests(file)] == []


def test_tests_that_are_named_without_their_file_exist_too() -> None:
    known = {test for file in (ROOT / "tests" / "session").glob("test_*.py") for test in _tests(file.name)}
    bare = re.findall(r"`(test_\w+)`", PAGE)
    assert len(bare) >= 10
    assert [test for test in bare if test not in known] == []


def test_the_page_and_the_code_agree_on_the_ranks_of_lagging() -> None:
    source = (ROOT / "gemlive" / "session" / "_runner.py").read_text("utf-8")
    ranks = source[source.index("def _rank") :]
    rows = dict(re.findall(r"^\| ([0-2]) \| (.+?) \|$", PAGE, re.MULTILINE))
    for rank, row in rows.items():
        branch = re.search(rf"((?:.*\n)*?) +return {rank}\n", ranks[ranks.rindex("match") :])
        assert branch is not None
        for event in re.findall(r"`(\w+)`", row):
            assert f"{event}()" in branch[1], f"{event} is not of rank {rank} in the code"
