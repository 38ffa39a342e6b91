"""Where a command says what happens: to a person (``_screen``) or to a program (``_json_lines``).

    session event --show----.
    happening ------report---+--> Output --> stdout
    progress -----progress--'

Both forms are told the same things at the same moments; a command never asks which one it talks to.
"""

from __future__ import annotations

import abc
import sys
from collections.abc import Mapping
from typing import TextIO, TypeAlias

import attrs

from gemlive.types import Event

Value: TypeAlias = str | int | float | bool | Mapping[str, "Value"] | list["Value"] | None
"""What a happening may carry: what JSON can say."""


@attrs.frozen
class Line:
    """Something to tell a person, on a line of its own. The text may come from elsewhere: nobody trusts it.

    Attributes:
        label: what it is about, in a word or two; the labels stand in a column.
        text: the rest of the line.
    """

    label: str
    text: str = ""


@attrs.frozen
class Piece:
    """A piece of what somebody says; pieces of the same speaker append. The text is as little trusted.

    Attributes:
        speaker: ``"you"``, ``"model"`` or ``"thought"``; stands in the column of labels.
        text: may hold several lines.
    """

    speaker: str
    text: str


class OutputClosed(Exception):
    """Stdout takes nothing any more, so there is no sense in going on.

    Empty when nobody reads it, as in ``gemlive demo | head -3``: nobody needs to be told. Otherwise the text says why.
    """


class Output(abc.ABC):
    """What a command talks to. Used by one task at a time; no call waits for anything but the stream itself."""

    @abc.abstractmethod
    def report(self, event: str, line: Line | str = "", /, **values: Value) -> None:
        """Says that something happened.

        Args:
            event: the name of what happened, in snake_case.
            line: what a person is told; empty when a person need not know.
            values: what a program is told, by name.

        Raises:
            OutputClosed: stdout takes nothing any more. So do the other methods.
        """

    @abc.abstractmethod
    def show(self, event: Event) -> None:
        """Says what a session told."""

    def progress(self, label: str, done_s: float, total_s: float) -> None:  # noqa: B027  # a program needs none
        """Says how far something has come; each call replaces what the one before said, and the end removes it."""

    def prompt(self) -> None:  # noqa: B027  # a program needs none
        """Says that it is the person's turn to type."""

    def typed(self) -> None:  # noqa: B027  # a program does not type on our line
        """Hears that the person ended the line that the prompt began."""

    def close(self) -> None:  # noqa: B027  # nothing is left open by default
        """Leaves the stream at the beginning of a line."""


def write(stream: TextIO, text: str) -> None:
    """Writes ``text`` at once, unbuffered: a reader at the other end of a pipe sees each line when it happens.

    Raises:
        OutputClosed: nobody reads any more, or it cannot be written.
    """
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        raise OutputClosed from None
    except OSError as error:
        raise OutputClosed(f"stdout cannot be written: {error.strerror or error}") from None


def stdout() -> TextIO:
    """Returns standard output.

    Raises:
        OutputClosed: the program was started without one.
    """
    if sys.stdout is None:
        raise OutputClosed("there is no stdout to write to; open one")
    return sys.stdout


__all__ = ["Line", "Output", "OutputClosed", "Piece", "Value", "stdout", "write"]
