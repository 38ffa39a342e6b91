"""Rules about the repository as a whole that a test can hold."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gemlive"
TOP_LEVEL = {"pyproject.toml", "gemlive", "tests", "benchmarks", "docs", "README.md", "LICENSE"}
# Written so that the patterns do not match their own source.
MACHINE_PATH = re.compile(r"(?<![\w.:/-])/(?:work|tmp|root|home/\w+|Users/\w+)/\S")
REGISTRY_HOST = re.compile(r"\b(?:pypi\.org|pythonhosted\.org|registry\.npmjs\.org)\b")
GOOGLE_API_KEY = re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b")
# Heavy, optional or of the test suite: none may be the price of `import gemlive`.
LAZY = ("numpy", "google.auth", "requests", "cyclopts", "rich", "pytest", "hypothesis", "google.genai")


def _tracked() -> list[Path]:
    # The owner of a clone in a container is often somebody else; git then refuses unless told.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout (a source distribution, perhaps): there is no list of tracked files to hold to")
    return [Path(name) for name in listing.stdout.decode().split("\0") if name]


def _tracked_texts() -> list[tuple[Path, str]]:
    texts = []
    for path in _tracked():
        try:
            texts.append((path, (ROOT / path).read_text(encoding="utf-8")))
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # not text, or deleted in the work tree and not yet in the index
    return texts


def _lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path}:{number}"
        for path, text in _tracked_texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def test_the_top_level_holds_what_the_design_names_and_nothing_else() -> None:
    assert {path.parts[0] for path in _tracked() if not path.parts[0].startswith(".")} == TOP_LEVEL


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    assert _lines_with(MACHINE_PATH) == []


def test_no_file_names_a_package_registry() -> None:
    assert _lines_with(REGISTRY_HOST) == []


def test_no_file_holds_an_api_key() -> None:
    assert _lines_with(GOOGLE_API_KEY) == []


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_the_library_prints_nothing() -> None:
    printing = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in sorted(PACKAGE.rglob("*.py"))
        if file.relative_to(PACKAGE).parts[0] != "cli"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == []


def test_importing_gemlive_imports_nothing_heavy() -> None:
    program = f"import gemlive, sys; print(*[name for name in {LAZY!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
