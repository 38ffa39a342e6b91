from __future__ import annotations

import pytest

from gemlive.emulator import _memory
from gemlive.emulator._memory import MAX_HISTORY, Heard, Memory, Seen, Spoken, ToolResult, Written, input_pcm, item_of
from gemlive.types import Blob, Content, FunctionResponse, Part


def said(role: str | None, *texts: str) -> Content:
    return Content(role=role, parts=tuple(Part(text=text) for text in texts))


def test_everything_the_user_wrote_since_the_last_answer_is_pending() -> None:
    memory = Memory()
    memory.read(said("user", "one", "two"))
    memory.read(said(None, "three"))
    assert Heard(memory.pending).text == "one two three"


def test_words_of_the_model_answer_what_was_pending() -> None:
    memory = Memory()
    memory.read(said("user", "My name is Alice."))
    memory.read(said("model", "Hello Alice."))
    assert memory.pending == ()
    assert [content.role for content in memory.history] == ["user", "model"]


def test_an_instruction_in_mid_session_is_history_and_not_a_question() -> None:
    memory = Memory()
    memory.read(said("user", "Hi"))
    memory.read(said("system", "Be brief."))
    assert Heard(memory.pending).text == "Hi"
    assert memory.history == (said("system", "Be brief."),)


def test_parts_of_every_kind_are_heard_in_order() -> None:
    memory = Memory()
    parts = (
        Part(text="look"),
        Part(inline_data=Blob(data=b"jpeg", mime_type="image/jpeg")),
        Part(inline_data=Blob(data=bytes(32000), mime_type="audio/pcm;rate=16000")),
        Part(function_response=FunctionResponse(name="f", response={"a": 1})),
    )
    memory.read(Content(role="user", parts=parts))
    heard = Heard(memory.pending)
    assert [type(item) for item in heard.items] == [Written, Seen, Spoken, ToolResult]
    assert heard.text == "look [speech, 1.0 s]"
    assert (heard.transcript, heard.audio_s, len(heard.video)) == ("[speech, 1.0 s]", 1.0, 1)


def test_a_snapshot_does_not_change_with_the_memory() -> None:
    memory = Memory()
    memory.learn(Heard((Written("before"),)))
    memory.open_calls["id"] = "f"
    snapshot = memory.snapshot()
    memory.learn(Heard((Written("after"),)))
    memory.open_calls.clear()
    assert [content.parts[0].text for content in snapshot.history if content.parts] == ["before"]
    assert snapshot.open_calls == {"id": "f"}
    assert snapshot.tally.prompt_text == 2


def test_a_long_history_loses_its_beginning_and_counts_it() -> None:
    memory = Memory()
    for number in range(MAX_HISTORY + 3):
        memory.learn(Heard((Written(str(number)),)))
    assert (len(memory.history), memory.forgotten) == (MAX_HISTORY, 3)


@pytest.mark.parametrize(
    ("mime_type", "samples"),
    [("audio/pcm", 1600), ("audio/pcm;rate=16000", 1600), ("audio/pcm;rate=8000", 3200), ("audio/pcm;rate=48000", 533)],
)
def test_audio_of_any_rate_is_brought_to_16_khz(mime_type: str, samples: int) -> None:
    assert len(input_pcm(Blob(data=bytes(3200), mime_type=mime_type))) == samples * 2


def test_an_absurd_rate_does_not_make_an_absurd_amount_of_audio() -> None:
    assert len(input_pcm(Blob(data=bytes(3200), mime_type="audio/pcm;rate=1"))) == 3200


def test_a_blob_without_data_or_type_is_something_seen() -> None:
    assert item_of(Blob()) == Seen(Blob())


def test_a_client_that_never_asks_for_an_answer_is_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_memory, "MAX_PENDING", 3)
    monkeypatch.setattr(_memory, "MAX_PENDING_BYTES", 100)
    memory = Memory()
    memory.hear(*(Written(str(number)) for number in range(5)))
    assert (Heard(memory.pending).text, memory.dropped) == ("2 3 4", 2)
    memory.hear(Seen(Blob(data=bytes(60))), Seen(Blob(data=bytes(60))))
    assert memory.pending == (Seen(Blob(data=bytes(60))),)
