"""What all wire classes have in common: where unknown keys stay, and how a field's name is written on the wire.

A wire class is a frozen attrs class with snake_case fields. ``codec`` reads it and writes it by two rules that stand
here and nowhere else: the name on the wire is :func:`camel` of the field's name, and what differs from that is said in
the field's metadata, by :func:`named`, :func:`duration`, :data:`INT64_AS_TEXT` or :data:`NOT_ON_THE_WIRE`.

``None`` means absent, on the way in and on the way out; ``null`` is read as absent and never written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

WIRE_NAME = "gemlive.wire_name"
"""Metadata key: the name on the wire where :func:`camel` does not give it; None where the field is not sent at all."""

WIRE_FORM = "gemlive.wire_form"
"""Metadata key: ``"duration"`` or ``"int64_as_text"``, where the type alone does not say how the value is written."""


def camel(name: str) -> str:
    """Returns the lowerCamelCase name of a snake_case one: ``top_k`` is ``topK``."""
    head, *tail = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in tail)


def named(wire_name: str) -> dict[str, object]:
    """Returns the metadata of a field whose name on the wire is ``wire_name``."""
    return {WIRE_NAME: wire_name}


def duration(wire_name: str) -> dict[str, object]:
    """Returns the metadata of a field that holds seconds and is written as ``"2.200s"`` under ``wire_name``."""
    return {WIRE_NAME: wire_name, WIRE_FORM: "duration"}


INT64_AS_TEXT: dict[str, object] = {WIRE_FORM: "int64_as_text"}
"""The metadata of a 64-bit integer that the service writes as a JSON string (docs/protocol.md 2)."""

NOT_ON_THE_WIRE: dict[str, object] = {WIRE_NAME: None}
"""The metadata of a field that is about a message and not in it."""


class _Empty(Mapping[str, object]):
    """The mapping without entries: one object for all, immutable, and the same one again after a copy or a pickle."""

    __slots__ = ()

    def __getitem__(self, key: str) -> object:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "{}"

    def __reduce__(self) -> str:
        return "EMPTY"


EMPTY: Mapping[str, object] = _Empty()
"""The default of ``extra``, and of ``FunctionCall.args``: equal to ``{}``, and not written to the wire."""


def hidden(value: object) -> str:
    """Returns what a ``repr`` shows of a secret: whether there is one."""
    return "None" if value is None else "'***'"


def sized(value: bytes | None) -> str:
    """Returns what a ``repr`` shows of binary data: how much there is."""
    return "None" if value is None else f"<{len(value)} bytes>"


def keys_only(value: Mapping[str, object]) -> str:
    """Returns what a ``repr`` shows of data that nobody has checked for secrets: its keys."""
    return f"<{', '.join(map(str, value)) or 'empty'}>"


@attrs.frozen(kw_only=True, repr=False)
class Wire:
    """The base of every wire class.

    Attributes:
        extra: the keys that this version does not know at this level, and the keys whose value has the wrong shape,
            as parsed from JSON. Written back as they are; a key here wins over the field of the same name, so that
            nothing is lost between reading and writing. Keys put here by a program are sent unchecked.
    """

    extra: Mapping[str, object] = attrs.field(default=EMPTY, repr=keys_only)

    def __repr__(self) -> str:
        """Shows the fields that are set; binary data as its size, secrets not at all."""
        shown = []
        for attribute in attrs.fields(type(self)):
            value = getattr(self, attribute.name)
            if value is None or (value is attribute.default):
                continue
            render = attribute.repr if callable(attribute.repr) else repr
            shown.append(f"{attribute.name}={render(value)}")
        return f"{type(self).__name__}({', '.join(shown)})"
