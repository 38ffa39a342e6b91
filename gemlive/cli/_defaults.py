"""What holds when the command line says nothing. One place, since ``--help`` and the commands must agree."""

from __future__ import annotations

MODEL = "gemini-3.8-live"
"""Generally available since September 2026, on both services (docs/protocol.md, "Model families")."""

HOST = "127.0.0.1"
"""This machine only: the local server asks nobody for a key."""

PORT = 8790

TIMEOUT_S = 30.0
"""Seconds in which the model must say something: the slowest first words in the field took a good ten."""
