"""When a conversation by voice is over, told from its events."""

from __future__ import annotations

import pytest

from gemlive.cli._hearing import Hearing
from gemlive.types import (
    Event,
    GenerationComplete,
    InputTranscript,
    Interrupted,
    ModelAudio,
    OutputTranscript,
    TurnComplete,
    Usage,
    UsageMetadata,
    VoiceActivity,
)

A, B = ModelAudio(b"aa"), ModelAudio(b"bb")
DONE = TurnComplete()


def heard(*events: Event, sent_after: int = 0, transcribes_only: bool = False) -> Hearing:
    """Returns what was heard; the last word was sent before the event at ``sent_after``."""
    hearing = Hearing(transcribes_only=transcribes_only)
    for index, event in enumerate(events):
        hearing.all_speech_sent = index >= sent_after
        hearing.take(event)
    return hearing


def test_a_turn_that_ends_after_the_last_word_answers_it() -> None:
    assert heard(A, DONE).is_answered


def test_a_turn_that_ends_before_the_last_word_answers_something_else() -> None:
    assert not heard(A, DONE, InputTranscript("more"), sent_after=2).is_answered


def test_what_follows_by_itself_changes_nothing() -> None:
    assert heard(A, DONE, Usage(UsageMetadata()), InputTranscript("late")).is_answered


@pytest.mark.parametrize("more", [A, OutputTranscript("and")])
def test_an_answer_that_goes_on_is_not_over(more: Event) -> None:
    assert not heard(A, DONE, more).is_answered


def test_a_turn_cut_short_is_no_answer() -> None:
    assert not heard(A, Interrupted(), DONE).is_answered


def test_the_turn_after_the_one_cut_short_is() -> None:
    assert heard(A, Interrupted(), DONE, B, DONE).is_answered


def test_a_model_that_goes_on_by_itself_has_not_answered() -> None:
    assert not heard(A, TurnComplete(interaction_status="IN_PROGRESS")).is_answered


def test_a_model_that_only_transcribes_has_answered_when_it_is_done() -> None:
    assert heard(InputTranscript("x"), GenerationComplete(), transcribes_only=True).is_answered
    assert not heard(InputTranscript("x"), GenerationComplete()).is_answered


def test_the_audio_of_all_turns_is_kept_in_order() -> None:
    assert heard(A, DONE, B, DONE).audio == b"aabb"


def test_audio_that_was_interrupted_is_not_kept() -> None:
    assert heard(A, Interrupted(), DONE, B, DONE).audio == b"bb"


def test_audio_under_way_is_kept_too() -> None:
    assert heard(A, DONE, B).audio == b"aabb"


def test_there_is_an_answer_only_when_a_turn_ended_that_was_not_cut_short() -> None:
    assert heard(A, DONE, sent_after=9).has_answer
    assert not heard(A, Interrupted(), DONE).has_answer
    assert not heard(A, DONE, B).has_answer
    assert not heard().has_answer


@pytest.mark.parametrize("event", [A, VoiceActivity("ACTIVITY_START"), InputTranscript("x"), DONE, Interrupted()])
def test_what_brings_the_answer_nearer_counts_as_progress(event: Event) -> None:
    assert heard(event).progress == 1


def test_what_does_not_bring_it_nearer_does_not() -> None:
    assert heard(Usage(UsageMetadata())).progress == 0
