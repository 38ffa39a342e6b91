"""What came back in a conversation by voice, and when it is over: events in, facts out, nothing awaited.

The protocol has no "that was all". What there is: a turn ends with ``TurnComplete``; speech with a pause in it can give
several turns; a response that new speech interrupts ends with one too. So it is over when a turn has ended that
was not cut short, with all of the speech sent, and nothing has followed for a moment.
"""

from __future__ import annotations

from gemlive.types import (
    Event,
    GenerationComplete,
    InputTranscript,
    Interrupted,
    ModelAudio,
    ModelMedia,
    ModelText,
    OutputTranscript,
    ToolCall,
    TurnComplete,
    VoiceActivity,
)

SETTLE_S = 0.5
"""Seconds of quiet after the last turn: what belongs to it (usage, a handle) follows within a tenth of that."""


class Hearing:
    """Gathers what the model says.

    Attributes:
        rate_hz: samples a second of ``audio``.
        turns: how many turns have ended.
        interruptions: how many responses were cut short.
        all_speech_sent: set by the sender, once the last word is on its way.
        progress: how many events have come that bring the answer nearer; a clock that starts anew with each finds out
            whether the model still does anything.
    """

    def __init__(self, *, transcribes_only: bool = False) -> None:
        """``transcribes_only``: the model writes down what it hears, and seldom ends a turn (docs/protocol.md 5)."""
        self._transcribes_only = transcribes_only
        self._audio: list[bytes] = []
        self._response: list[bytes] = []
        self._is_cut_short = False
        self._is_answered = False
        self._answers_before = 0
        self.rate_hz = 24000
        self.turns = 0
        self.interruptions = 0
        self.progress = 0
        self.all_speech_sent = False

    @property
    def audio(self) -> bytes:
        """What the model said: s16le mono PCM, without the responses that were cut short."""
        return b"".join([*self._audio, *self._response])

    @property
    def is_answered(self) -> bool:
        """Whether nothing more is owed: a turn has ended since all of the speech was sent."""
        return self._is_answered

    @property
    def has_answer(self) -> bool:
        """Whether a turn has ended that was not cut short, and the model is not in the middle of another."""
        return self.turns - self.interruptions > self._answers_before and not self._response

    def begin(self) -> None:
        """Hears that something new is about to be said, to which an answer is owed."""
        self._answers_before = self.turns - self.interruptions
        self._is_answered = False
        self.all_speech_sent = False

    def take(self, event: Event) -> None:
        """Takes the next event of the session."""
        match event:
            case ModelAudio(data=data, rate_hz=rate_hz):
                self._response.append(data)
                self.rate_hz = rate_hz
                self._goes_on()
            case ModelText() | ModelMedia() | OutputTranscript() | ToolCall():
                self._goes_on()
            case InputTranscript() | VoiceActivity():
                self.progress += 1
            case Interrupted():
                # Nobody heard it to its end, and what was not played must not be.
                self._response.clear()
                self._is_cut_short = True
                self.interruptions += 1
                self.progress += 1
            case GenerationComplete() if self._transcribes_only:
                self._ended(is_idle=True)
            case TurnComplete():
                self._ended(is_idle=event.interaction_status != "IN_PROGRESS")
            case _:
                pass

    def _goes_on(self) -> None:
        self._is_answered = False
        self.progress += 1

    def _ended(self, *, is_idle: bool) -> None:
        self._audio.extend(self._response)
        self._response.clear()
        self._is_answered = self.all_speech_sent and is_idle and not self._is_cut_short
        self._is_cut_short = False
        self.turns += 1
        self.progress += 1


__all__ = ["SETTLE_S", "Hearing"]
