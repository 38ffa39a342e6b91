"""Every wire class as a Hypothesis strategy, made from the class itself: a field added there is drawn here at once."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any

import attrs
from hypothesis import strategies as st

from gemlive.types import (
    CLIENT_MESSAGES,
    EMPTY,
    WIRE_FORM,
    WIRE_NAME,
    ClientMessage,
    RawClientMessage,
    ServerMessage,
    Wire,
    camel,
)

INT64 = st.integers(min_value=-(2**63), max_value=2**63 - 1)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(max_size=12)

SCALARS = st.none() | st.booleans() | INT64 | FINITE | TEXT
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
JSON_OBJECTS = st.dictionaries(TEXT, JSON, max_size=3)

# Whole nanoseconds, for that is what the wire can say; up to a few weeks, so that a float can say it too.
DURATIONS = st.integers(min_value=0, max_value=4 * 10**15).map(lambda nanoseconds: nanoseconds / 1e9)


def wire_classes() -> list[type[Wire]]:
    """Returns every wire class that a message can hold, in the order in which they are met."""
    found: list[type[Wire]] = []
    waiting: list[Any] = [*CLIENT_MESSAGES.values(), ServerMessage]
    while waiting:
        cls = waiting.pop(0)
        if cls in found:
            continue
        found.append(cls)
        for hint in hints(cls).values():
            member = _member(hint)
            if attrs.has(member):
                waiting.append(member)
    return found


def hints(cls: Any) -> Mapping[str, Any]:
    """Returns the types of the fields that go to the wire, without None."""
    known = typing.get_type_hints(cls)
    return {field.name: _without_none(known[field.name]) for field in sent_fields(cls)}


def sent_fields(cls: type[Wire]) -> list[attrs.Attribute[Any]]:
    """Returns the fields that go to the wire, without ``extra``."""
    return [field for field in attrs.fields(cls) if field.name != "extra" and wire_name(field) is not None]


def wire_name(field: attrs.Attribute[Any]) -> str | None:
    """Returns the name on the wire, None for a field that stays here."""
    name: str | None = field.metadata.get(WIRE_NAME, camel(field.name))
    return name


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (member for member in typing.get_args(hint) if member is not type(None))
    return hint


def _member(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else hint


def values(hint: Any, form: str | None = None) -> st.SearchStrategy[Any]:
    """Returns values of a field by its type, never None."""
    if form == "duration":
        return DURATIONS
    if attrs.has(hint):
        return st.deferred(lambda: instances(hint))
    if typing.get_origin(hint) is tuple:
        return st.lists(values(_member(hint)), max_size=3).map(tuple)
    by_type: dict[Any, st.SearchStrategy[Any]] = {
        str: TEXT,
        bool: st.booleans(),
        int: INT64,
        float: FINITE,
        bytes: st.binary(max_size=48),
        object: JSON.filter(lambda value: value is not None),
        Mapping[str, object]: JSON_OBJECTS,
        Mapping[str, str]: st.dictionaries(TEXT, TEXT, max_size=3),
    }
    return by_type[hint]


_strategies: dict[object, st.SearchStrategy[Any]] = {}


def instances(cls: Any) -> st.SearchStrategy[Any]:
    """Returns instances of a wire class with up to four fields set, and now and then an unknown key beside them."""
    if cls not in _strategies:
        _strategies[cls] = _drawn(cls)
    return _strategies[cls]


def _drawn(cls: Any) -> st.SearchStrategy[Any]:
    types_of = hints(cls)
    fields = {field.name: field for field in sent_fields(cls)}
    taken = {folded(str(wire_name(field))) for field in fields.values()}
    keys = TEXT.filter(lambda key: folded(key) not in taken)
    extras = st.dictionaries(keys, JSON.filter(lambda value: value is not None), min_size=1, max_size=2)

    @st.composite
    def draw_one(draw: st.DrawFn) -> Any:
        chosen = draw(st.lists(st.sampled_from(sorted(fields)), max_size=4, unique=True)) if fields else []
        given = {name: draw(values(types_of[name], fields[name].metadata.get(WIRE_FORM))) for name in chosen}
        extra = draw(extras) if draw(st.integers(0, 9)) == 9 else EMPTY
        return cls(extra=extra, **given)

    return draw_one()


def folded(key: str) -> str:
    """Returns a key without case and underscores: what lenient reading goes by."""
    return key.replace("_", "").lower()


_TAKEN = {folded(name) for name in CLIENT_MESSAGES}


def _is_raw(raw: Mapping[str, object]) -> bool:
    keys = [key for key, value in raw.items() if value is not None]
    return len(keys) != 1 or folded(keys[0]) not in _TAKEN


RAW_CLIENT_MESSAGES: st.SearchStrategy[ClientMessage] = JSON_OBJECTS.filter(_is_raw).map(RawClientMessage)


def client_messages() -> st.SearchStrategy[ClientMessage]:
    """Returns every kind of client message."""
    return st.one_of(*(instances(cls) for cls in CLIENT_MESSAGES.values()), RAW_CLIENT_MESSAGES)


def server_messages() -> st.SearchStrategy[ServerMessage]:
    """Returns server messages without problems."""
    found: st.SearchStrategy[ServerMessage] = instances(ServerMessage)
    return found
