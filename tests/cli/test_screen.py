"""What stands on a person's terminal after what happened."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemlive.cli._output import Line, OutputClosed
from gemlive.cli._screen import Screen
from gemlive.cli._terminal import Terminal
from gemlive.types import Event, ModelText, OutputTranscript, TurnComplete, UnknownMessage

PIPE = Terminal()
TERMINAL = Terminal(types=True, shows=True, redraws=True)
COLORFUL = Terminal(types=True, shows=True, redraws=True, colors=True)


def screen(terminal: Terminal = PIPE, *, hidden: tuple[type[Event], ...] = ()) -> tuple[Screen, io.StringIO]:
    stream = io.StringIO()
    return Screen(terminal, stream=stream, hidden=hidden), stream


def looks_like(written: str) -> str:
    """Returns what a terminal shows of it: a line erased and begun anew is gone."""
    return re.sub(r"[^\n]*\r\x1b\[K", "", written)


def test_a_report_is_a_line() -> None:
    output, stream = screen()
    output.report("listening", "listening on ws://x", url="ws://x")
    assert stream.getvalue() == "listening on ws://x\n"


def test_a_labelled_line_has_its_text_in_a_column() -> None:
    output, stream = screen()
    output.report("sent", Line("sent", "all"))
    output.report("wrote", Line("wrote", "more"))
    assert stream.getvalue() == "sent        all\nwrote       more\n"


def test_a_report_without_a_line_is_for_programs() -> None:
    output, stream = screen()
    output.report("opened", url="ws://x")
    assert stream.getvalue() == ""


def test_pieces_of_speech_append_until_something_else_happens() -> None:
    output, stream = screen()
    output.show(OutputTranscript("Good "))
    output.show(OutputTranscript("morning."))
    output.show(TurnComplete())
    assert stream.getvalue() == "model       Good morning.\nturn over\n"


def test_a_piece_is_written_when_it_comes() -> None:
    output, stream = screen()
    output.show(OutputTranscript("Good "))
    assert stream.getvalue() == "model       Good "


def test_lines_of_server_text_do_not_begin_where_ours_do() -> None:
    output, stream = screen()
    output.show(ModelText("one\nerror: two\n"))
    output.close()
    assert stream.getvalue() == "model       one\n            error: two\n            \n"


def test_server_text_in_a_line_stays_on_it() -> None:
    output, stream = screen()
    output.show(UnknownMessage({"a\nwrote       b": 1}))
    assert stream.getvalue().count("\n") == 1


def test_hidden_events_are_not_shown() -> None:
    output, stream = screen(hidden=(TurnComplete,))
    output.show(TurnComplete())
    assert stream.getvalue() == ""


def test_a_turn_ends_its_line_also_where_its_end_is_hidden() -> None:
    output, stream = screen(hidden=(TurnComplete,))
    for _ in range(2):
        output.show(OutputTranscript("Hi"))
        output.show(TurnComplete())
    assert stream.getvalue() == "model       Hi\n" * 2


def test_a_pipe_gets_no_bar() -> None:
    output, stream = screen(PIPE)
    output.progress("sending", 1, 2)
    assert stream.getvalue() == ""


def test_a_bar_is_drawn_on_one_line_and_replaced() -> None:
    output, stream = screen(TERMINAL)
    output.progress("sending", 1, 4)
    output.progress("sending", 2, 4)
    assert re.fullmatch(r"sending     \[#+-+\] 2\.0 of 4\.0 s", looks_like(stream.getvalue()))


def test_a_bar_that_looks_the_same_is_not_drawn_again() -> None:
    output, stream = screen(TERMINAL)
    output.progress("sending", 1.001, 4)
    before = stream.getvalue()
    output.progress("sending", 1.002, 4)
    assert stream.getvalue() == before


def test_the_end_removes_the_bar() -> None:
    output, stream = screen(TERMINAL)
    output.progress("sending", 1, 2)
    output.progress("sending", 2, 2)
    assert looks_like(stream.getvalue()) == ""


def test_a_bar_fits_into_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    output, stream = screen(TERMINAL)
    output.progress("sending", 1, 2)
    assert len(looks_like(stream.getvalue())) < 30


def test_a_line_goes_above_the_bar() -> None:
    output, stream = screen(TERMINAL)
    output.progress("sending", 1, 2)
    output.report("x", "something")
    shown = looks_like(stream.getvalue()).split("\n")
    assert shown[0] == "something"
    assert shown[1].startswith("sending")


def test_speech_during_the_bar_is_said_with_the_next_line() -> None:
    output, stream = screen(TERMINAL)
    output.progress("sending", 1, 2)
    output.show(OutputTranscript("Good "))
    output.show(OutputTranscript("morning."))
    output.show(TurnComplete())
    output.progress("sending", 2, 2)
    assert looks_like(stream.getvalue()) == "model       Good morning.\nturn over\n"


def test_speech_during_the_bar_is_said_at_its_end_at_the_latest() -> None:
    output, stream = screen(TERMINAL)
    output.progress("sending", 1, 2)
    output.show(OutputTranscript("Good"))
    output.progress("sending", 2, 2)
    output.show(OutputTranscript(" morning."))
    assert looks_like(stream.getvalue()) == "model       Good morning."


def test_endless_speech_during_the_bar_is_not_kept() -> None:
    output, stream = screen(TERMINAL)
    output.progress("sending", 1, 2)
    for _ in range(30):
        output.show(OutputTranscript("a" * 100))
    assert len(re.findall("a" * 100, stream.getvalue())) >= 20


def test_a_prompt_is_for_somebody_who_types() -> None:
    output, stream = screen(PIPE)
    output.prompt()
    assert stream.getvalue() == ""


def test_a_typed_line_is_not_ended_twice() -> None:
    output, stream = screen(TERMINAL)
    output.prompt()
    output.typed()
    output.show(ModelText("Hi"))
    assert stream.getvalue() == "you         model       Hi"  # between them stands what the terminal echoed


def test_an_answer_begins_on_a_line_of_its_own_while_the_prompt_stands() -> None:
    output, stream = screen(TERMINAL)
    output.prompt()
    output.show(ModelText("Hi"))
    assert stream.getvalue() == "you         \nmodel       Hi"


def test_labels_are_coloured_on_a_terminal_that_has_colours() -> None:
    output, stream = screen(COLORFUL)
    output.show(ModelText("Hi"))
    assert stream.getvalue() == "\x1b[1;32mmodel       \x1b[0mHi"


def test_closing_leaves_the_terminal_at_the_beginning_of_a_line() -> None:
    output, stream = screen(TERMINAL)
    output.progress("sending", 1, 2)
    output.show(OutputTranscript("Good"))
    output.close()
    assert looks_like(stream.getvalue()) == "model       Good\n"


@given(st.text(st.characters(codec=None), max_size=50), st.booleans())
def test_no_control_of_a_server_reaches_the_terminal(text: str, bar: bool) -> None:
    output, stream = screen(COLORFUL)
    if bar:
        output.progress("sending", 1, 2)
    output.show(ModelText(text))
    output.show(TurnComplete(text))
    output.report("x", Line("label", text))
    output.close()
    ours = re.sub(r"\r\x1b\[K|\x1b\[[0-9;]*m", "", stream.getvalue())
    assert [character for character in ours if character < " " and character not in "\n\t"] == []


def test_closing_wipes_away_what_ctrl_c_echoed() -> None:
    output, stream = screen(TERMINAL)
    output.report("listening", "listening")
    stream.write("^C")
    output.close()
    assert looks_like(stream.getvalue()) == "listening\n"


def test_a_stream_that_cannot_be_written_is_told_with_the_reason() -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputClosed, match="stdout cannot be written: No space left on device"):
        Screen(PIPE, stream=Full()).report("x", "y")


def test_a_reader_that_left_is_told_as_such() -> None:
    class Left(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    with pytest.raises(OutputClosed):
        Screen(PIPE, stream=Left()).report("x", "y")
