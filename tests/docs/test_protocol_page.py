"""docs/protocol.md and the classes of ``gemlive.types`` name the same keys and values.

The page is what the code cites; a key that one of the two lacks is either undocumented or unread.
"""

from __future__ import annotations

import enum
import re
from pathlib import Path

import attrs
import pytest

from gemlive import types

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
SECTION_14 = PAGE[PAGE.index("\n## 14. ") :]
ROWS = dict(re.findall(r"^\| (\w+) \| (.*) \|$", SECTION_14, flags=re.MULTILINE))
NAMED = set(re.findall(r"[A-Za-z_]\w*", " ".join(re.findall(r"`([^`\n]*)`", PAGE))))
OUTSIDE_SECTION_14 = set(
    re.findall(r"[A-Za-z_]\w*", " ".join(re.findall(r"`([^`\n]*)`", PAGE.removesuffix(SECTION_14))))
)


def _wire_classes() -> list[type[types.Wire]]:
    """Returns every wire class; attrs leaves the class it made a slotted one from among the subclasses as well."""
    found: list[type[types.Wire]] = []
    waiting = [types.Wire]
    while waiting:
        subclasses = waiting.pop().__subclasses__()
        waiting += subclasses
        found += [cls for cls in subclasses if "__slots__" in vars(cls) and cls.__module__.startswith("gemlive.")]
    return found


def _keys(cls: type[types.Wire]) -> list[str]:
    fields = [field for field in attrs.fields(cls) if field.name != "extra"]
    names = [field.metadata.get(types.WIRE_NAME, types.camel(field.name)) for field in fields]
    return [str(name) for name in names if name is not None]


def _enums() -> list[type[enum.StrEnum]]:
    return [value for value in vars(types).values() if isinstance(value, type) and issubclass(value, enum.StrEnum)]


def test_the_page_lists_every_wire_class_and_no_other() -> None:
    assert ROWS.keys() - {"class"} == {cls.__name__ for cls in _wire_classes()}


@pytest.mark.parametrize("cls", _wire_classes(), ids=lambda cls: cls.__name__)
def test_the_page_lists_the_keys_of_a_class_in_its_order(cls: type[types.Wire]) -> None:
    assert re.findall(r"`(\w+)`", ROWS[cls.__name__]) == _keys(cls)


def test_every_key_is_explained_before_it_is_listed() -> None:
    listed_only = {"functionIds", "resumed"}  # marked † there: third parties' inventions, which the page only quotes
    keys = {key for cls in _wire_classes() for key in _keys(cls)}
    assert keys - OUTSIDE_SECTION_14 == listed_only


@pytest.mark.parametrize("values", _enums(), ids=lambda values: values.__name__)
def test_the_page_names_every_value_of_an_enumeration(values: type[enum.StrEnum]) -> None:
    assert {value.value for value in values} - NAMED == set()


def test_every_section_that_the_code_cites_exists() -> None:
    sections = set(re.findall(r"^#{2,3} (\d+(?:\.\d+)?)\.? ", PAGE, flags=re.MULTILINE))
    citation = re.compile(r"docs/protocol\.md,?\s+(?:section\s+)?(\d+(?:\.\d+)?)")
    wrong = [
        f"{file.name}: {cited}"
        for file in sorted((ROOT / "gemlive").rglob("*.py"))
        for cited in citation.findall(file.read_text(encoding="utf-8"))
        if cited not in sections
    ]
    assert wrong == []
