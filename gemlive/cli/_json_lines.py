"""Say what happens to a program: one JSON object a line on stdout, and nothing else there.

Each object has ``event``, the snake_case name of what happened; a session's events bring their fields under the names
they have in ``gemlive.types``. What is absent is left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import TextIO, cast

import attrs

from gemlive.cli._output import Line, Output, Value, stdout, write
from gemlive.types import Event, ModelAudio

_SECRETS = frozenset({"handle", "new_handle"})


class JsonLines(Output):
    """Writes records to ``stream``, stdout by default."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stdout() if stream is None else stream

    def report(self, event: str, line: Line | str = "", /, **values: Value) -> None:
        """Writes one record; the line is for people and is left out."""
        self._write({"event": event, **values})

    def show(self, event: Event) -> None:
        """Writes one record."""
        self._write(record(event))

    def _write(self, values: Mapping[str, Value]) -> None:
        write(self._stream, encode(values))


def encode(values: Mapping[str, Value]) -> str:
    """Returns ``values`` as one line of printable ASCII, which a terminal cannot obey; newline included."""
    return json.dumps(values, ensure_ascii=True, allow_nan=False) + "\n"


def record(event: Event) -> dict[str, Value]:
    """Returns an event as plain data; media as the number of its bytes, a resumption handle as ``"***"``."""
    values: dict[str, Value] = {"event": _snake(type(event).__name__)}
    if isinstance(event, ModelAudio):
        values["duration_ms"] = round(event.duration_ms, 3)
    values.update(_fields(event))
    return values


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _fields(instance: attrs.AttrsInstance) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for field in attrs.fields(type(instance)):
        value = getattr(instance, field.name)
        if value is None or (field.name == "extra" and not value):
            continue
        found[field.name] = "***" if field.name in _SECRETS else _plain(value)
    return found


def _plain(value: object) -> Value:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no word for it
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"bytes": len(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if attrs.has(type(value)):
        return _fields(cast("attrs.AttrsInstance", value))
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(inner) for inner in value]
    return str(value)


__all__ = ["JsonLines", "encode", "record"]
