"""tests/ mirrors gemlive/: whoever looks for the tests of a file finds them without searching."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "gemlive"
UNMIRRORED = {"faults", "interop", "docs", "corpus", "data"}  # folders about many rooms at once
# tests/test_*.py about the project and not about a room
PROJECT_LEVEL = {"layers", "exports", "mirror", "repository", "secrets"}


def _subjects(test: Path) -> list[Path]:
    """Returns the places, any of which makes ``test`` the mirror of something."""
    *folders, name = test.relative_to(TESTS).with_suffix("").parts
    name = name.removeprefix("test_")
    place = PACKAGE.joinpath(*folders)
    if folders:
        return [place / f"_{name}.py", place / f"{name}.py"]
    return [place / f"{name}.py", place / name / "__init__.py"]


def _orphans() -> list[str]:
    found = []
    for test in sorted(TESTS.rglob("test_*.py")):
        folder, name = test.relative_to(TESTS).parts[0], test.stem.removeprefix("test_")
        if folder in UNMIRRORED or (test.parent == TESTS and name in PROJECT_LEVEL):
            continue
        if not any(subject.is_file() for subject in _subjects(test)):
            found.append(test.relative_to(TESTS).as_posix())
    return found


def test_every_test_file_has_the_file_it_tests() -> None:
    assert _orphans() == []


def test_the_mirror_of_a_file_in_a_room_is_underscored() -> None:
    assert _subjects(TESTS / "transport" / "test_dial.py")[0] == PACKAGE / "transport" / "_dial.py"


def test_the_mirror_of_a_room_that_is_one_file_has_its_name() -> None:
    assert _subjects(TESTS / "test_audio.py")[0] == PACKAGE / "audio.py"
