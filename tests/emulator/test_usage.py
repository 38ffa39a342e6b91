from __future__ import annotations

from gemlive.emulator._usage import Tally, audio_tokens, text_tokens


def test_a_second_of_audio_is_25_tokens() -> None:
    assert audio_tokens(2) == 50


def test_no_text_is_no_token_and_any_text_is_one() -> None:
    assert (text_tokens(""), text_tokens("a"), text_tokens("a" * 9)) == (0, 1, 3)


def test_thoughts_lie_outside_the_total() -> None:
    tally = Tally(prompt_text=3, response_audio=5, thought_tokens=7)
    assert (tally.prompt_tokens, tally.response_tokens) == (3, 5)


def test_details_name_the_modalities_that_occurred() -> None:
    tally = Tally(prompt_text=3, prompt_video=258, response_text=2, response_audio=5)
    assert [(detail.modality, detail.token_count) for detail in tally.prompt_details] == [("TEXT", 3), ("IMAGE", 258)]
    assert [(detail.modality, detail.token_count) for detail in tally.response_details] == [("TEXT", 2), ("AUDIO", 5)]
