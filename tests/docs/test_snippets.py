"""Every Python block of README.md and docs/ runs, each in a process of its own, offline, warnings as errors.

A block is a complete program unless an HTML comment on the line before its fence says otherwise:

``<!-- snippet: session -->``
    may await, and finds ``session``, ``server`` and ``config``: a session with an emulator in memory.
``<!-- snippet: continues -->``
    goes on in the namespace of the block before it (and, without a mark, as that one does).
``<!-- snippet: fragment: REASON -->``
    cannot be run here, for the reason given; it is compiled, so that at least it is Python.

Any other mark is an error: no block is left out silently. ``tests/docs/run_snippets.py`` says what surrounds them.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parents[2]
RUNNER = Path(__file__).with_name("run_snippets.py")
TIMEOUT_S = 60
FENCE = re.compile(r"^```(?:python|py)\b[^\n]*\n(.*?)^```[ ]*$", re.DOTALL | re.MULTILINE)
MARK = re.compile(r"<!-- snippet: ([^\n]*?) -->\s*\Z")


@attrs.frozen(kw_only=True)
class Snippet:
    """One Python block of a page; ``before`` are the blocks whose namespace it goes on in."""

    page: str
    line: int
    source: str
    mode: str
    before: tuple[Snippet, ...] = ()


def _snippets(page: str, text: str) -> list[Snippet]:
    """Returns the Python blocks of a page in their order; raises ValueError for a mark that is not known."""
    found: list[Snippet] = []
    for fence in FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 1
        marked = MARK.search(text, 0, fence.start())
        mode, _, reason = (marked[1] if marked else "program").partition(": ")
        before: tuple[Snippet, ...] = ()
        if mode == "continues" and found and found[-1].mode != "fragment":
            mode, before = found[-1].mode, (*found[-1].before, found[-1])
        if mode not in ("program", "session", "fragment") or (mode == "fragment") != bool(reason.strip()):
            raise ValueError(f"{page}:{line}: what does this mark of a snippet mean: {marked and marked[0]!r}")
        found.append(Snippet(page=page, line=line, source=fence[1], mode=mode, before=before))
    return found


def _all_snippets() -> list[Snippet]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [
        snippet
        for page in pages
        for snippet in _snippets(page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("snippet", _all_snippets(), ids=lambda snippet: f"{snippet.page}:{snippet.line}")
def test_a_snippet_of_the_documentation_runs(snippet: Snippet, tmp_path: Path) -> None:
    if snippet.mode == "fragment":
        compile(snippet.source, snippet.page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        return
    blocks = [
        attrs.asdict(block, filter=lambda field, _: field.name != "before") for block in (*snippet.before, snippet)
    ]
    (tmp_path / "snippets.json").write_text(json.dumps(blocks), encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-W", "error", str(RUNNER), "snippets.json"],
        cwd=tmp_path,  # what an example writes is gone afterwards
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"


def test_a_block_without_a_mark_is_a_program() -> None:
    (snippet,) = _snippets("page", "Text\n\n```python\nx = 1\n```\n")
    assert (snippet.line, snippet.mode, snippet.source) == (3, "program", "x = 1\n")


def test_a_continuing_block_takes_the_blocks_before_it_along() -> None:
    text = "<!-- snippet: session -->\n```python\na\n```\n<!-- snippet: continues -->\n```python\nb\n```\n"
    first, second = _snippets("page", text)
    assert (second.mode, second.before) == ("session", (first,))


@pytest.mark.parametrize(
    "mark",
    ["skip", "fragment", "fragment: ", "session: why", "continues", "sesion"],
)
def test_a_mark_that_means_nothing_is_refused(mark: str) -> None:
    with pytest.raises(ValueError, match=r"page:2: what does this mark"):
        _snippets("page", f"<!-- snippet: {mark} -->\n```python\nx\n```\n")


def test_a_fragment_gives_its_reason() -> None:
    (snippet,) = _snippets("page", "<!-- snippet: fragment: needs a microphone -->\n```python\nx\n```\n")
    assert snippet.mode == "fragment"


def test_blocks_of_other_languages_are_left_alone() -> None:
    assert _snippets("page", "```sh\nls\n```\n\n```text\nx\n```\n") == []
