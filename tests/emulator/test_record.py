from __future__ import annotations

import pytest

from gemlive.emulator import Close, ConnectionRecord, Conversation, _record
from gemlive.emulator._record import Received
from gemlive.families import family_for
from gemlive.types import Blob, RealtimeInput, Setup


def conversation() -> Conversation:
    return Conversation(
        number=1, backend="google_ai", version="v1", family=family_for("x"), setup=Setup(model="models/x")
    )


def received(message: RealtimeInput) -> Received:
    return Received(connection=1, index=1, at=0, message=message)


def test_messages_are_found_by_their_class() -> None:
    notes = conversation()
    notes.note(received(RealtimeInput(text="hi")))
    notes.note(Received(connection=1, index=0, at=0, message=Setup(model="m")))
    assert notes.received(RealtimeInput) == (RealtimeInput(text="hi"),)


def test_too_many_messages_cost_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_record, "MAX_MESSAGES", 3)
    notes = conversation()
    for number in range(5):
        notes.note(received(RealtimeInput(text=str(number))))
    assert [message.text for message in notes.received(RealtimeInput)] == ["2", "3", "4"]
    assert notes.messages_dropped == 2


def test_too_much_media_costs_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_record, "MAX_MEDIA_BYTES", 100)
    notes = conversation()
    for _ in range(3):
        notes.note(received(RealtimeInput(audio=Blob(data=bytes(40)))))
    assert (len(notes.messages), notes.messages_dropped) == (2, 1)


async def test_only_the_first_end_of_a_connection_counts() -> None:
    record = ConnectionRecord(number=1, opened_at=0)
    record.end(Close(1000), by="client")
    record.end(Close(1006), by="network")
    assert (record.close, record.closed_by) == (Close(1000), "client")
