"""What the standard streams are: the one place that asks whether a person sits there."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from typing import Protocol, Self, TextIO

import attrs


class _Stream(Protocol):
    def isatty(self) -> bool: ...


def _is_terminal(stream: _Stream | None) -> bool:
    # None: the program was started without the stream, as a desktop does. ValueError: it has been closed.
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


@attrs.frozen(kw_only=True)
class Terminal:
    """What the standard streams allow.

    Attributes:
        types: somebody types into stdin, so a prompt makes sense.
        shows: somebody looks at stdout.
        redraws: a line on stdout can be drawn again, for progress.
        colors: stdout shows colours, and nobody asked for none (``NO_COLOR``, no-color.org).
    """

    types: bool = False
    shows: bool = False
    redraws: bool = False
    colors: bool = False

    @classmethod
    def look(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        stdin: _Stream | None = None,
        stdout: _Stream | None = None,
    ) -> Self:
        """Returns what the given streams are; those of the process where none are given."""
        environ = os.environ if environ is None else environ
        shows = _is_terminal(sys.stdout if stdout is None else stdout)
        redraws = shows and environ.get("TERM", "") not in ("", "dumb")
        return cls(
            types=_is_terminal(sys.stdin if stdin is None else stdin),
            shows=shows,
            redraws=redraws,
            colors=redraws and not environ.get("NO_COLOR"),
        )


def columns() -> int:
    """Returns how wide the terminal is now, 80 where nobody can tell; a person may resize it at any time."""
    return max(shutil.get_terminal_size((80, 24)).columns, 20)


def soften(stream: TextIO | None) -> None:
    r"""Makes ``stream`` write what its encoding lacks as ``\u....`` instead of failing in the middle of a line."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


__all__ = ["Terminal", "columns", "soften"]
