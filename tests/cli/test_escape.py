"""Nothing that a terminal obeys comes out of the escaper, however the text was cut."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemlive.cli._escape import escape, escape_line

BIDI = set("\u061c\u200e\u200f") | {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
ANYTHING = st.text(st.characters(codec=None), max_size=200)


def obeyed(text: str, *, allowed: str) -> list[str]:
    """Returns the characters a terminal could act upon."""
    return [
        character
        for character in text
        if character not in allowed
        and (character in BIDI or unicodedata.category(character) in {"Cc", "Cs", "Cn", "Zl", "Zp"})
    ]


@settings(max_examples=300)
@given(ANYTHING)
def test_no_text_leaves_a_control_in_what_comes_out(text: str) -> None:
    assert obeyed(escape(text), allowed="\n\t") == []


@settings(max_examples=300)
@given(ANYTHING)
def test_a_line_holds_no_newline_either(text: str) -> None:
    assert obeyed(escape_line(text), allowed="\t") == []


@given(st.lists(ANYTHING, max_size=6))
def test_it_makes_no_difference_how_a_text_is_cut(pieces: list[str]) -> None:
    assert "".join(map(escape, pieces)) == escape("".join(pieces))


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), *sorted(map(ord, BIDI)), 0x2028, 0x2029, 0xD800])
def test_each_harmful_code_point_is_written_out(code: int) -> None:
    allowed = chr(code) in "\n\t"
    assert escape(chr(code)) == (chr(code) if allowed else f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


@pytest.mark.parametrize(
    "text",
    ["plain", "Grüße", "日本語", "שלום", "🇫🇷", "👩\u200d💻", "tab\tand\nnewline", "C:\\x1b"],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert escape(text) == text


@pytest.mark.parametrize(
    ("attack", "shown"),
    [
        ("\x1b[2J\x1b[H", r"\x1b[2J\x1b[H"),  # clears the screen
        ("\x1b]52;c;cm0gLXJm\x07", r"\x1b]52;c;cm0gLXJm\x07"),  # sets the clipboard
        ("\x1b]8;;http://evil\x1b\\text\x1b]8;;\x1b\\", "\\x1b]8;;http://evil\\x1b\\text\\x1b]8;;\\x1b\\"),  # a link
        ("\x9b31m", r"\x9b31m"),  # the C1 form of CSI
        ("safe\rgone", r"safe\x0dgone"),  # overwrites its own line
        ("ab\x08\x08cd", r"ab\x08\x08cd"),  # overwrites what stands before
        ("user\u202enimda", r"user\u202enimda"),  # reads backwards
        ("\U000e0080", r"\U000e0080"),  # not assigned
    ],
)
def test_an_attack_is_shown_and_not_obeyed(attack: str, shown: str) -> None:
    assert escape(attack) == shown
