"""The core dependencies are enough: to hold a conversation, and to refresh Application Default Credentials.

google-auth without its ``requests`` extra imports well and cannot refresh; only running it tells.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.core_only import core_distributions

pytestmark = pytest.mark.socket


def test_application_default_credentials_are_refreshed_with_the_core_dependencies_alone() -> None:
    program = Path(__file__).with_name("core_only.py")
    run = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stdout.split("\n")) == (0, ["completed", "Bearer from-adc", ""]), run.stderr


def test_the_core_is_what_the_project_file_says() -> None:
    core = core_distributions()
    assert {"trio", "trio-websocket", "attrs", "cattrs", "orjson", "pybase64", "numpy", "requests"} <= core
    assert core.isdisjoint({"google-genai", "pytest", "cyclopts", "rich", "websockets", "trustme"})
