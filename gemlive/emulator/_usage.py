"""Counts tokens, roughly as the service does: what matters is that the numbers are plausible and always the same."""

from __future__ import annotations

import math

import attrs

from gemlive.types import ModalityTokenCount

AUDIO_TOKENS_PER_S = 25
VIDEO_TOKENS_PER_FRAME = 258
_CHARACTERS_PER_TOKEN = 4  # the usual rule of thumb for English


def text_tokens(text: str) -> int:
    """Returns about how many tokens a text is; 0 for no text."""
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


def audio_tokens(duration_s: float) -> int:
    """Returns how many tokens so many seconds of audio are (docs/protocol.md 6)."""
    return round(duration_s * AUDIO_TOKENS_PER_S)


@attrs.define
class Tally:
    """The tokens of one response and of what the model read for it, by modality.

    Attributes:
        prompt_text: text read: instruction, tools, history, the turn.
        prompt_audio: audio read.
        prompt_video: video frames read.
        response_text: text said, or the words of a transcript that was asked for.
        response_audio: audio said.
        thought_tokens: thought; outside the total (docs/protocol.md 4.8).
    """

    prompt_text: int = 0
    prompt_audio: int = 0
    prompt_video: int = 0
    response_text: int = 0
    response_audio: int = 0
    thought_tokens: int = 0

    @property
    def prompt_tokens(self) -> int:
        """Everything that was read."""
        return self.prompt_text + self.prompt_audio + self.prompt_video

    @property
    def response_tokens(self) -> int:
        """Everything that was said."""
        return self.response_text + self.response_audio

    @property
    def prompt_details(self) -> tuple[ModalityTokenCount, ...]:
        """What was read by modality, those that occurred."""
        return _details(TEXT=self.prompt_text, AUDIO=self.prompt_audio, IMAGE=self.prompt_video)

    @property
    def response_details(self) -> tuple[ModalityTokenCount, ...]:
        """What was said by modality, those that occurred."""
        return _details(TEXT=self.response_text, AUDIO=self.response_audio)


def _details(**counts: int) -> tuple[ModalityTokenCount, ...]:
    return tuple(ModalityTokenCount(modality=name, token_count=count) for name, count in counts.items() if count)
