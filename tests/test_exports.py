"""What a room exports is what its ``__all__`` says, all of it, and what the documentation lists."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gemlive"
PAGE = ROOT / "docs" / "architecture.md"
TOP_LEVEL_NAMES = re.compile(r"^## Top-level names\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)


def _rooms() -> list[Path]:
    modules = [file for file in PACKAGE.glob("*.py") if not file.name.startswith("_")]
    return sorted([*modules, *PACKAGE.glob("*/__init__.py")])


def _module_name(file: Path) -> str:
    return "gemlive." + (file.parent.name if file.name == "__init__.py" else file.stem)


def _is_machinery(value: ast.expr) -> bool:
    """Tells whether a module-level value is a type variable or a logger, which nobody imports."""
    called = value.func if isinstance(value, ast.Call) else None
    name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
    return name in {"TypeVar", "ParamSpec", "TypeVarTuple", "getLogger"}


def _public_names(file: Path) -> set[str]:
    """Returns the public names a room's file defines, or (in an ``__init__``) takes from files of its own room."""
    names: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign) and not _is_machinery(node.value):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.ImportFrom) and file.name == "__init__.py":
            own = node.level == 1 or (node.module or "").startswith(f"{_module_name(file)}.")
            names.update((alias.asname or alias.name) for alias in node.names if own)
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("file", _rooms(), ids=_module_name)
def test_a_room_exports_exactly_its_public_names(file: Path) -> None:
    module = importlib.import_module(_module_name(file))
    exported: list[str] = list(module.__all__)
    assert len(exported) == len(set(exported))
    assert [name for name in exported if not hasattr(module, name)] == []
    assert _public_names(file) - set(exported) == set()


def test_the_architecture_page_lists_the_top_level_names() -> None:
    gemlive = importlib.import_module("gemlive")
    section = TOP_LEVEL_NAMES.search(PAGE.read_text(encoding="utf-8"))
    assert section is not None
    assert sorted(re.findall(r"`(\w+)`", section[1])) == sorted(set(gemlive.__all__) - {"__version__"})
