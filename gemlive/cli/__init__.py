"""The program ``gemlive``: talk to the Gemini Live API, or to a local server that plays its part, from a shell.

The one room that reads the environment, the command line and the terminal. A command says what happens to an
``Output``, which tells a person (``_screen``) or a program (``_json_lines``); everything a person is shown passes
``_escape``. How it ends is decided in ``_exit`` alone::

    argv --> _app --> _demo | _chat | _say | _serve --> Output --> stdout
                          |
                          '--- open_session, emulator.serve
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit code: 0 done, 1 failed, 2 misuse, 130 on Ctrl-C.

    Args:
        argv: the command line without the program's name; None takes that of the process.
    """
    try:
        from gemlive.cli._app import start

        code = start(sys.argv[1:] if argv is None else list(argv))
    except ModuleNotFoundError as error:
        if error.name != "cyclopts":
            raise
        print(
            "error: the program needs an extra of the library; install it with: pip install 'gemlive[cli]'",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:  # while it starts, or a second one on the way out
        code = 130
    if argv is None and code == 130:
        # A further one would strike in the interpreter's own end, which has nowhere to report it to.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code


__all__ = ["main"]
