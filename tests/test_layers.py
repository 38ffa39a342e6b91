"""The floors of the house: a room imports only from floors strictly below its own, never from its own floor.

The table is the one of docs/architecture.md, and one test here compares the two. Imports are read from the source, so
those under ``TYPE_CHECKING`` and inside functions count as well: a lazy import is still a dependency.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gemlive"
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"errors"}),
    frozenset({"audio", "broadcast", "families"}),
    frozenset({"types"}),
    frozenset({"codec"}),
    frozenset({"transport"}),
    frozenset({"wirelog"}),
    frozenset({"session"}),
    frozenset({"live", "emulator"}),
    frozenset({"voice", "stores"}),
    frozenset({"testing", "cli"}),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FORBIDDEN = {("emulator", "session"), ("emulator", "live")}  # the peer must not share the client's mistakes
TOP = "gemlive"  # gemlive/__init__.py: above every floor, so no room may import it


def _room(file: Path) -> str:
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def _sources() -> list[Path]:
    return [file for file in sorted(PACKAGE.rglob("*.py")) if file.parent != PACKAGE or not file.name.startswith("__")]


def _imported_rooms(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Yields the line and the room of every import of ours; ``package`` is the dotted package the file is in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            # `from gemlive import audio` names a room only in its second half.
            modules = [(*base, alias.name) for alias in node.names]
        else:
            continue
        for module in modules:
            if module[0] == "gemlive":
                yield node.lineno, module[1] if len(module) > 1 and module[1] in FLOOR_OF else TOP


def _why_not(room: str, target: str) -> str:
    """Returns why ``room`` may not import ``target``, or an empty string if it may."""
    if target == room:
        return ""
    if target == TOP:
        return "the top level is above every floor"
    if (room, target) in FORBIDDEN:
        return f"{room} never imports {target}"
    if FLOOR_OF[target] >= FLOOR_OF[room]:
        return f"{room} is on floor {FLOOR_OF[room]}, {target} on floor {FLOOR_OF[target]}"
    return ""


def test_every_source_file_is_in_a_room_of_the_table() -> None:
    assert {_room(file) for file in _sources()} <= FLOOR_OF.keys()


@pytest.mark.parametrize("file", _sources(), ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_a_room_imports_only_from_floors_below(file: Path) -> None:
    package = ("gemlive", *file.relative_to(PACKAGE).parts[:-1])
    imports = _imported_rooms(ast.parse(file.read_text(encoding="utf-8")), package)
    wrong = [f"line {line}: {why}" for line, target in imports if (why := _why_not(_room(file), target))]
    assert wrong == []


@pytest.mark.parametrize(
    ("source", "rooms"),
    [
        ("import gemlive.codec", ["codec"]),
        ("from gemlive import audio, errors", ["audio", "errors"]),
        ("from gemlive.types import Setup", ["types"]),
        ("from ..codec import encode", ["codec"]),
        ("from .. import errors", ["errors"]),
        ("from ._dial import dial", ["transport"]),
        ("import gemlive", [TOP]),
        ("from gemlive import __version__", [TOP]),
        ("def f():\n    from gemlive.session import Session", ["session"]),
        ("if TYPE_CHECKING:\n    from gemlive.live import Live", ["live"]),
        ("import trio", []),
    ],
)
def test_no_form_of_import_escapes_the_check(source: str, rooms: list[str]) -> None:
    assert [room for _, room in _imported_rooms(ast.parse(source), ("gemlive", "transport"))] == rooms


def test_an_emulator_that_imports_the_session_would_be_caught() -> None:
    assert _why_not("emulator", "session")
    assert _why_not("codec", "transport")
    assert _why_not("audio", "broadcast")
    assert not _why_not("session", "transport")


def test_the_architecture_page_lists_exactly_these_floors() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", page, flags=re.MULTILINE)
    listed = [(int(floor), name) for floor, cell in rows for name in re.findall(r"`(\w+)/?`", cell)]
    assert sorted(listed) == sorted((floor, room) for room, floor in FLOOR_OF.items())
