"""Runs the program as a user does: a process of its own, with an environment that says nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30
"""How long a process may take before the test fails; nothing here takes more than a few seconds."""

_NAMES = ("GOOGLE_", "GEMINI_", "GEMLIVE_", "NO_COLOR", "COLUMNS", "HTTPS_PROXY", "https_proxy", "PYTHON")


def bare_environment(**more: str) -> dict[str, str]:
    """Returns this process's environment without anything that the program heeds."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NAMES)}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "TERM": "xterm", **more}


def command(argv: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "gemlive", *argv]


def run(*argv: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs the program to its end."""
    return subprocess.run(
        command(argv),
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        env=bare_environment(**environ),
        check=False,
    )


@contextmanager
def started(*argv: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """Starts the program; whatever the test leaves of it is killed."""
    process = subprocess.Popen(
        command(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=bare_environment(**environ),
    )
    with bounded(process):
        yield process


@contextmanager
def bounded(process: subprocess.Popen[Any]) -> Iterator[None]:
    """Kills the process when the block ends, or when it takes too long: whoever reads from it then reads its end."""
    watchdog = threading.Timer(2 * PATIENCE_S, process.kill)
    watchdog.start()
    with process:
        try:
            yield
        finally:
            watchdog.cancel()
            process.kill()


@contextmanager
def serving(*argv: str) -> Iterator[str]:
    """Runs ``gemlive serve`` and gives its URL."""
    with started("serve", "--port", "0", "--json", *argv) as process:
        assert process.stdout is not None
        url: str = json.loads(process.stdout.readline())["url"]
        yield url
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, errors) == (130, "")


def records(text: str) -> list[dict[str, Any]]:
    """Returns the records of ``--json``."""
    return [json.loads(line) for line in text.splitlines()]
