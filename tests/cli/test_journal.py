"""What the emulator wrote down is told once, in order."""

from __future__ import annotations

from gemlive.cli._journal import Journal
from gemlive.emulator import Close, ConnectionRecord, Conversation, HeardTurn, SaidTurn
from gemlive.families import family_for
from gemlive.types import FunctionCall, Setup

MODEL = "models/gemini-3.8-live"


def conversation(number: int = 1) -> Conversation:
    setup, family = Setup(model=MODEL), family_for(MODEL)
    return Conversation(
        number=number,
        backend="google_ai",
        version="v1beta",
        family=family,
        setup=setup,
        connections=[ConnectionRecord(number=1, opened_at=0.0)],
    )


def told(journal: Journal, *conversations: Conversation) -> list[str]:
    return [news.text for news in journal.news(conversations)]


def test_a_conversation_is_told_from_its_beginning_to_its_end() -> None:
    notes = conversation()
    notes.heard.append(HeardTurn(connection=1, text="hello"))
    notes.said.append(SaidTurn(connection=1, text="hi", audio_s=0.25, complete=True))
    notes.connections[0].close, notes.connections[0].closed_by = Close(1000, "bye"), "client"
    assert told(Journal(), notes) == [
        "begins: models/gemini-3.8-live, as Google AI",
        "hears hello",
        "says hi (0.2 s)",
        "is closed by the client: 1000: bye",
    ]


def test_nothing_is_told_twice() -> None:
    journal, notes = Journal(), conversation()
    told(journal, notes)
    assert told(journal, notes) == []


def test_what_came_since_is_told() -> None:
    journal, notes = Journal(), conversation()
    told(journal, notes)
    notes.heard.append(HeardTurn(connection=1, video_frames=2, results=("f",)))
    notes.said.append(SaidTurn(connection=1, calls=(FunctionCall(name="f"),), interrupted=True))
    assert told(journal, notes) == [
        "hears 2 video frames and the answers of f",
        "says nothing; calls f; is interrupted",
    ]


def test_turns_are_told_in_turn() -> None:
    notes = conversation()
    for text in ("a", "b"):
        notes.heard.append(HeardTurn(connection=1, text=text))
        notes.said.append(SaidTurn(connection=1, text=text.upper(), complete=True))
    assert told(Journal(), notes)[1:] == ["hears a", "says A", "hears b", "says B"]


def test_a_resumed_conversation_is_told_as_such() -> None:
    journal, notes = Journal(), conversation()
    told(journal, notes)
    notes.connections.append(ConnectionRecord(number=2, opened_at=1.0))
    assert told(journal, notes) == ["is resumed: models/gemini-3.8-live, as Google AI"]


def test_a_conversation_that_the_emulator_forgot_is_forgotten() -> None:
    journal = Journal()
    told(journal, conversation(1))
    told(journal, conversation(2))
    assert len(told(journal, conversation(1))) == 1


def test_a_dial_that_led_to_no_conversation_is_told_when_it_ends() -> None:
    journal, dial = Journal(), ConnectionRecord(number=1, opened_at=0.0)
    assert list(journal.news([], [dial])) == []
    dial.close, dial.closed_by = Close(1007, "bad"), "server"
    news = list(journal.news([], [dial]))
    assert [(entry.conversation, entry.text) for entry in news] == [
        (None, "never began, is closed by the server: 1007: bad")
    ]


def test_a_dial_that_led_to_a_conversation_is_told_with_it_only() -> None:
    journal, notes = Journal(), conversation()
    assert [entry.event for entry in journal.news([], notes.connections)] == []
    assert [entry.event for entry in journal.news([notes], notes.connections)] == ["conversation_opened"]
    notes.connections[0].close = Close(1000)
    assert [entry.event for entry in journal.news([notes], notes.connections)] == ["connection_closed"]


def test_a_program_is_told_the_same_as_values() -> None:
    notes = conversation()
    notes.said.append(SaidTurn(connection=1, text="hi", complete=True))
    news = list(Journal().news([notes]))
    assert [entry.event for entry in news] == ["conversation_opened", "said"]
    assert news[1].values == {"text": "hi", "audio_s": 0, "calls": [], "interrupted": False, "complete": True}
