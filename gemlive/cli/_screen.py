"""Say what happens to a person: labelled lines on stdout, speech as it comes, and a bar while something takes time.

This is the one way from text to terminal, so it is here that text is made harmless: whatever is not written in this
file passes the escaper, what the program says itself included.
"""

from __future__ import annotations

from typing import TextIO

from gemlive.cli._escape import escape, escape_line
from gemlive.cli._narrate import Narrator
from gemlive.cli._output import Line, Output, Piece, Value, stdout, write
from gemlive.cli._terminal import Terminal, columns
from gemlive.types import Event, TurnComplete

_COLUMN = 12  # the longest label, and a space
_MAX_HELD = 2000  # characters: a screenful; a server that says more while the bar stands gets lines of its own
_ERASE = "\r\x1b[K"
_PLAIN = "\x1b[0m"
_COLORS = {"you": "\x1b[1;36m", "model": "\x1b[1;32m", "lost": "\x1b[1;31m"}
_DIM = "\x1b[2m"


class Screen(Output):
    """Writes for people.

    Attributes:
        terminal: what stdout allows.
    """

    def __init__(
        self, terminal: Terminal, *, stream: TextIO | None = None, hidden: tuple[type[Event], ...] = ()
    ) -> None:
        """``hidden`` are the kinds of events of which a person need not hear in this command."""
        self.terminal = terminal
        self._stream = stdout() if stream is None else stream
        self._hidden = hidden
        self._narrator = Narrator()
        self._speaker: str | None = None  # whose line is open
        self._bar = ""  # what stands on the last line, to be erased before anything else is written
        self._held: list[Piece] = []  # what was said while the bar stands there: it has no place to go on

    def report(self, event: str, line: Line | str = "", /, **values: Value) -> None:
        """Writes one line; nothing if it is empty."""
        if line:
            self._tell(Line("", line) if isinstance(line, str) else line)

    def show(self, event: Event) -> None:
        """Writes what the narrator makes of the event."""
        words = list(self._narrator.tell(event))  # also of hidden ones: it counts
        if isinstance(event, self._hidden):
            if isinstance(event, TurnComplete):
                self._end_line()
            return
        for word in words:
            self._tell(word)

    def progress(self, label: str, done_s: float, total_s: float) -> None:
        """Draws a bar on the last line of a terminal; writes nothing elsewhere."""
        if not self.terminal.redraws:
            return
        if done_s >= total_s:
            self._remove_bar()
            return
        if not self._bar:
            self._end_line()
        bar = _bar(label, done_s, total_s, width=min(columns() - 3, 77))  # room for the ^C that a terminal echoes
        if bar != self._bar:
            self._bar = bar
            self._put(_ERASE + bar)

    def prompt(self) -> None:
        """Writes the label of the person's line, on a terminal."""
        if self.terminal.types and self.terminal.shows:
            self._end_line()
            self._put(self._label("you"))
            self._speaker = "you"

    def typed(self) -> None:
        """The person's Enter has ended the line."""
        self._speaker = None

    def close(self) -> None:
        """Removes the bar, ends the open line, and wipes away the ^C that a terminal may have echoed onto the next."""
        self._remove_bar()
        self._end_line()
        if self.terminal.redraws:
            self._put(_ERASE)

    def _tell(self, word: Line | Piece) -> None:
        if not self._bar:
            self._say(word)
        elif isinstance(word, Piece) and sum(len(piece.text) for piece in self._held) < _MAX_HELD:
            self._held.append(word)
        else:
            bar = self._bar
            self._remove_bar()
            self._say(word)
            self._end_line()
            self._bar = bar
            self._put(bar)

    def _remove_bar(self) -> None:
        if self._bar:
            self._put(_ERASE)
            self._bar = ""
        held, self._held = self._held, []
        for piece in held:
            self._say(piece)

    def _say(self, word: Line | Piece) -> None:
        if isinstance(word, Line):
            self._end_line()
            label = self._label(word.label) if word.label else ""
            self._put(f"{label}{escape_line(word.text)}".rstrip() + "\n")
            return
        if self._speaker != word.speaker:
            self._end_line()
            self._put(self._label(word.speaker))
            self._speaker = word.speaker
        # Lines of text from elsewhere never begin where ours do: they cannot pass for ours.
        self._put(escape(word.text).replace("\n", "\n" + " " * _COLUMN))

    def _end_line(self) -> None:
        if self._speaker is not None:
            self._speaker = None
            self._put("\n")

    def _label(self, label: str) -> str:
        padded = f"{escape_line(label):<{_COLUMN - 1}} "
        return f"{_COLORS.get(label, _DIM)}{padded}{_PLAIN}" if self.terminal.colors else padded

    def _put(self, text: str) -> None:
        write(self._stream, text)


def _bar(label: str, done_s: float, total_s: float, *, width: int) -> str:
    """Returns a bar of at most ``width`` columns, in ASCII so that every terminal shows it alike."""
    figures = f" {done_s:.1f} of {total_s:.1f} s"
    head = f"{label:<{_COLUMN - 1}} "
    cells = max(width - len(head) - len(figures) - 2, 0)
    full = int(cells * done_s / total_s)
    return f"{head}[{'#' * full}{'-' * (cells - full)}]{figures}"[:width]


__all__ = ["Screen"]
