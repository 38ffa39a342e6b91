"""Let people see the library's log: the one place in gemlive that sets up logging.

``GEMLIVE_LOG`` names the level. Without it only the warnings about settings in the environment are shown: what happens
in a session the commands tell by themselves.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping

from gemlive.cli._escape import escape_line
from gemlive.cli._exit import Misuse, say

VARIABLE = "GEMLIVE_LOG"
_LEVELS = ("debug", "info", "warning", "error")


class _Harmless(logging.Formatter):
    """Server text reaches the log as well; each line of a record passes the escaper, a traceback keeps its lines."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(escape_line(line) for line in super().format(record).split("\n"))


@contextlib.contextmanager
def logging_to_stderr(environ: Mapping[str, str]) -> Iterator[None]:
    """Shows the library's log and Python's warnings on stderr, as ``GEMLIVE_LOG`` wants it, until the block ends.

    Raises:
        Misuse: ``GEMLIVE_LOG`` names no level.
    """
    name = environ.get(VARIABLE, "").strip().lower()
    if name and name not in _LEVELS:
        raise Misuse(f"{VARIABLE} is {name!r}, which is no level; use one of {', '.join(_LEVELS)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _Harmless("%(asctime)s %(levelname)s %(name)s: %(message)s" if name else "warning: %(message)s")
    )
    logger = logging.getLogger("gemlive" if name else "gemlive.transport")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(name.upper() if name else logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


__all__ = ["VARIABLE", "logging_to_stderr"]
