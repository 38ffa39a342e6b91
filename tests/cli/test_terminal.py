"""What the standard streams allow is told from the streams and the environment alone."""

from __future__ import annotations

import io

import pytest

from gemlive.cli._terminal import Terminal, soften


class Stream:
    def __init__(self, *, tty: bool) -> None:
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty


TTY, PIPE = Stream(tty=True), Stream(tty=False)


def test_a_terminal_shows_redraws_and_has_colors() -> None:
    found = Terminal.look({"TERM": "xterm"}, stdin=TTY, stdout=TTY)
    assert found == Terminal(types=True, shows=True, redraws=True, colors=True)


def test_a_pipe_allows_nothing() -> None:
    assert Terminal.look({"TERM": "xterm"}, stdin=PIPE, stdout=PIPE) == Terminal()


@pytest.mark.parametrize("term", ["", "dumb"])
def test_a_dumb_terminal_shows_and_does_not_redraw(term: str) -> None:
    assert Terminal.look({"TERM": term}, stdin=PIPE, stdout=TTY) == Terminal(shows=True)


@pytest.mark.parametrize(("value", "colors"), [("1", False), ("0", False), ("", True)])
def test_no_color_is_heeded_whatever_it_says_but_not_when_empty(value: str, colors: bool) -> None:
    assert Terminal.look({"TERM": "xterm", "NO_COLOR": value}, stdin=TTY, stdout=TTY).colors is colors


def test_a_closed_stream_is_no_terminal() -> None:
    closed = io.StringIO()
    closed.close()
    assert Terminal.look({"TERM": "xterm"}, stdin=closed, stdout=closed) == Terminal()


def test_a_softened_stream_writes_what_its_encoding_lacks_as_an_escape() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    soften(stream)
    stream.write("é")
    stream.flush()
    assert raw.getvalue() == b"\\xe9"
