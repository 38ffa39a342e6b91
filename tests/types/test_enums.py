"""The known enum values are their own strings on the wire."""

from __future__ import annotations

from enum import StrEnum

import pytest

from gemlive import codec, types
from gemlive.types import ServerContent, ServerMessage, ThinkingConfig, ThinkingLevel, TurnCompleteReason

ENUMS = [value for value in vars(types).values() if isinstance(value, type) and issubclass(value, StrEnum)]


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.__name__)
def test_a_member_is_called_what_it_is_on_the_wire(enum: type[StrEnum]) -> None:
    assert [member.name for member in enum] == [str(member).upper() for member in enum]


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.__name__)
def test_an_enum_says_what_it_is_about(enum: type[StrEnum]) -> None:
    assert enum.__doc__


def test_a_member_is_written_as_its_string() -> None:
    assert codec.unstructure(ThinkingConfig(thinking_level=ThinkingLevel.LOW)) == {"thinkingLevel": "LOW"}


def test_what_was_read_compares_equal_to_the_member() -> None:
    message = codec.decode('{"serverContent": {"turnCompleteReason": "BLOCKLIST"}}')
    assert message == ServerMessage(server_content=ServerContent(turn_complete_reason=TurnCompleteReason.BLOCKLIST))


def test_an_unknown_value_is_kept_as_it_came() -> None:
    message = codec.decode('{"serverContent": {"turnCompleteReason": "brand-New"}}')
    assert message.server_content == ServerContent(turn_complete_reason="brand-New")
    assert message.problems == ()
