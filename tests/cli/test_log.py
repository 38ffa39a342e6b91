"""The library's log is shown on stderr as GEMLIVE_LOG wants it, and only while the program runs."""

from __future__ import annotations

import logging
import warnings

import pytest

from gemlive.cli._exit import Misuse
from gemlive.cli._log import logging_to_stderr

LOGGER = logging.getLogger("gemlive.transport")


def log_all() -> None:
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        LOGGER.log(level, "at %s", logging.getLevelName(level))


@pytest.mark.parametrize(("value", "count"), [("debug", 4), ("INFO", 3), (" warning ", 2), ("error", 1), ("", 2)])
def test_the_level_decides_what_is_shown(value: str, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr({"GEMLIVE_LOG": value}):
        log_all()
    assert len(capsys.readouterr().err.splitlines()) == count


def test_a_warning_is_a_sentence_where_nobody_asked_for_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr({}):
        LOGGER.warning("two keys are set")
    assert capsys.readouterr().err == "warning: two keys are set\n"


def test_what_happens_in_a_session_is_not_told_twice(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr({}):
        logging.getLogger("gemlive.session").warning("session lost")
    assert capsys.readouterr().err == ""


def test_with_a_level_every_room_is_heard(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr({"GEMLIVE_LOG": "warning"}):
        logging.getLogger("gemlive.session").warning("session lost")
    assert "gemlive.session: session lost" in capsys.readouterr().err


def test_a_level_that_is_none_is_refused() -> None:
    with pytest.raises(Misuse, match="GEMLIVE_LOG is 'loud'"), logging_to_stderr({"GEMLIVE_LOG": "loud"}):
        pass


def test_server_text_in_the_log_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr({}):
        LOGGER.warning("closed: %s", "\x1b[2J")
    assert capsys.readouterr().err == "warning: closed: \\x1b[2J\n"


def test_a_traceback_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr({}):
        LOGGER.warning("failed", exc_info=ValueError("why"))
    assert capsys.readouterr().err.splitlines()[-1] == "ValueError: why"


def test_a_python_warning_is_one_line_without_source(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr({}), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: old\n"


def test_nothing_is_left_behind(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("gemlive")
    before = logger.level, list(logger.handlers), warnings.showwarning
    with logging_to_stderr({"GEMLIVE_LOG": "debug"}):
        pass
    assert (logger.level, logger.handlers, warnings.showwarning) == before
