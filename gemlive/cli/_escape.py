"""Make text from elsewhere harmless before a terminal sees it.

A transcript, a tool's name or a close reason can hold any code point, and a terminal obeys some of them: it moves the
cursor over what was printed before, sets the clipboard, hides text, turns its order around. Everything the program
prints for people passes through here::

    server text --escape--> Screen --> terminal

The rule is decided for each code point alone. So it holds however a server cuts its text into pieces: no two harmless
pieces can make a harmful whole.
"""

from __future__ import annotations

import unicodedata

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Cc: controls (ESC, BEL, BS, CR, the C1 forms of CSI and OSC). Zl and Zp: other ways to end a line. Cs: a lone
# surrogate cannot be written at all. Cn: not assigned, so nobody can say what a terminal does with it.
_HARMFUL = frozenset({"Cc", "Cn", "Cs", "Zl", "Zp"})


def _visible(code: int) -> str:
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _is_harmful(character: str) -> bool:
    return character in _BIDI or unicodedata.category(character) in _HARMFUL


class _Table(dict[int, str]):
    """What ``str.translate`` looks code points up in.

    Only ASCII is kept: a server that sends every code point once must not make the table grow to a million entries.
    """

    def __init__(self, *, allowed: str) -> None:
        super().__init__((code, self.__missing__(code)) for code in range(0x80))
        self.update((ord(character), character) for character in allowed)

    def __missing__(self, code: int) -> str:
        character = chr(code)
        return _visible(code) if _is_harmful(character) else character


_TEXT = _Table(allowed="\n\t")
_LINE = _Table(allowed="\t")


def escape(text: str) -> str:
    r"""Returns ``text`` with every code point that a terminal could obey written out, as in ``\x1b``.

    Newline and tab stay; carriage return does not, since it lets text overwrite the beginning of its own line.
    ``escape(a) + escape(b) == escape(a + b)`` for all texts.
    """
    return text.translate(_TEXT)


def escape_line(text: str) -> str:
    r"""Returns ``text`` made harmless as :func:`escape` does, and on one line: a newline becomes ``\x0a``.

    For what stands inside a line of ours (a name, a reason): text of several lines could pass for output of ours.
    """
    return text.translate(_LINE)


__all__ = ["escape", "escape_line"]
