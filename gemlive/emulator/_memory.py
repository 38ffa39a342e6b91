"""What the model knows: the history, and what it has heard since it last answered.

A resumption handle stands for a snapshot of this, and resuming restores it; so it holds values and nothing that is
alive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import attrs

from gemlive.audio import INPUT_RATE_HZ, duration_s, rate_of
from gemlive.emulator._usage import VIDEO_TOKENS_PER_FRAME, Tally, audio_tokens, text_tokens
from gemlive.emulator._voice import resample
from gemlive.types import Blob, Content, FunctionResponse, Part

MAX_HISTORY = 200
"""Contents that are remembered. Each snapshot holds as many, so this bounds what a long conversation costs; a script
that wants more can keep it."""

MAX_PENDING = 1000
"""Pieces that a turn of the user may have: a client may send content or video for hours and never ask for an answer."""

MAX_PENDING_BYTES = 32 * 2**20
"""Audio and video that they may hold together: a quarter of an hour of speech, or hundreds of frames."""

INPUT_RATES_HZ = range(4_000, 192_001)
"""Sample rates of input audio that are taken. Without a bound a rate of 1 Hz would make terabytes of one message."""


@attrs.frozen
class Written:
    """Text of the user."""

    text: str


@attrs.frozen
class Spoken:
    """Speech of the user, s16le mono 16 kHz."""

    pcm: bytes = attrs.field(repr=lambda pcm: f"<{len(pcm)} bytes>")
    duration_s: float

    @property
    def text(self) -> str:
        """What it is transcribed as: that it was speech, and how long."""
        return f"[speech, {self.duration_s:.1f} s]"


@attrs.frozen
class Seen:
    """A video frame or an image."""

    blob: Blob


@attrs.frozen
class ToolResult:
    """The answer to a function call.

    Attributes:
        id: the id of the call, None where the client left it out.
        name: the function's name.
        response: the answer as the client sent it.
        scheduling: when the client wants it to be taken up, a ``Scheduling``; None where it did not say.
    """

    id: str | None
    name: str
    response: Mapping[str, object]
    scheduling: str | None = None


Item: TypeAlias = Written | Spoken | Seen | ToolResult


@attrs.frozen
class Heard:
    """A turn of the user: everything since the last answer, in order.

    Attributes:
        items: the pieces.
    """

    items: tuple[Item, ...] = ()

    @property
    def text(self) -> str:
        """What was written, and in brackets that something was spoken, in order, separated by spaces."""
        return " ".join(item.text for item in self.items if isinstance(item, Written | Spoken) and item.text)

    @property
    def transcript(self) -> str:
        """What was spoken."""
        return " ".join(item.text for item in self.items if isinstance(item, Spoken))

    @property
    def is_spoken(self) -> bool:
        """Whether anything was spoken."""
        return any(isinstance(item, Spoken) for item in self.items)

    @property
    def audio(self) -> bytes:
        """Everything that was spoken, s16le mono 16 kHz."""
        return b"".join(item.pcm for item in self.items if isinstance(item, Spoken))

    @property
    def audio_s(self) -> float:
        """Seconds of speech."""
        return sum(item.duration_s for item in self.items if isinstance(item, Spoken))

    @property
    def video(self) -> tuple[Blob, ...]:
        """The video frames and images."""
        return tuple(item.blob for item in self.items if isinstance(item, Seen))

    @property
    def results(self) -> tuple[ToolResult, ...]:
        """Answers to calls that nobody was waiting for."""
        return tuple(item for item in self.items if isinstance(item, ToolResult))


@attrs.define
class Memory:
    """The state of a conversation.

    Attributes:
        history: what was said before, both sides; the last ``MAX_HISTORY`` contents.
        forgotten: how many contents before those are no longer kept.
        tally: its tokens, counted as prompt: every turn reads it all again (docs/protocol.md 4.8).
        pending: what was heard since the last answer; the latest of it, where it is more than the bounds above.
        dropped: how many pieces of it were dropped.
        open_calls: calls that were made, may still be answered, and that no turn waits for: id to function name.
        turns: how many turns the model has taken.
        has_realtime_input: whether any ``realtimeInput`` came; some families then take no more ``clientContent``.
        seeds_history: whether ``clientContent`` is still history to be learnt and not to be answered.
    """

    history: tuple[Content, ...] = ()
    forgotten: int = 0
    tally: Tally = attrs.field(factory=Tally)
    pending: tuple[Item, ...] = ()
    dropped: int = 0
    open_calls: dict[str, str] = attrs.field(factory=dict)
    turns: int = 0
    has_realtime_input: bool = False
    seeds_history: bool = False

    def snapshot(self) -> Memory:
        """Returns a copy that later changes do not reach."""
        return attrs.evolve(self, tally=attrs.evolve(self.tally), open_calls=dict(self.open_calls))

    def hear(self, *items: Item) -> None:
        """Adds to what is pending, at the cost of the oldest where it is too much."""
        self.pending += items
        while len(self.pending) > MAX_PENDING or sum(map(_media_bytes, self.pending)) > MAX_PENDING_BYTES:
            self.pending = self.pending[1:]
            self.dropped += 1

    def take(self) -> Heard:
        """Returns what is pending, which then is no longer."""
        heard, self.pending = Heard(self.pending), ()
        return heard

    def read(self, content: Content) -> None:
        """Takes in a turn of ``clientContent``. The model's own words answer what was pending before them."""
        items = tuple(items_of(content))
        if content.role in (None, "user"):
            self.hear(*items)
            return
        if content.role == "model":
            self.learn(self.take())
        self.remember(content, Heard(items))

    def learn(self, heard: Heard) -> None:
        """Adds a turn of the user to the history."""
        if heard.items:
            self.remember(Content(role="user", parts=(Part(text=heard.text),)), heard)

    def remember(self, content: Content, heard: Heard) -> None:
        """Adds to the history; ``heard`` says what it weighs."""
        self.forgotten += len(self.history) == MAX_HISTORY
        self.history = (*self.history, content)[-MAX_HISTORY:]
        count(self.tally, heard)


def count(tally: Tally, heard: Heard) -> None:
    """Adds what reading a turn costs."""
    tally.prompt_text += sum(text_tokens(item.text) for item in heard.items if isinstance(item, Written))
    tally.prompt_text += sum(text_tokens(str(dict(item.response))) for item in heard.results)
    tally.prompt_audio += audio_tokens(heard.audio_s)
    tally.prompt_video += VIDEO_TOKENS_PER_FRAME * len(heard.video)


def _media_bytes(item: Item) -> int:
    if isinstance(item, Spoken):
        return len(item.pcm)
    return len(item.blob.data or b"") if isinstance(item, Seen) else 0


def items_of(content: Content) -> Iterator[Item]:
    """Yields what a turn of ``clientContent`` brings, in order."""
    for part in content.parts or ():
        if part.text:
            yield Written(part.text)
        if part.inline_data is not None:
            yield item_of(part.inline_data)
        if part.function_response is not None:
            answer = part.function_response
            yield result_of(answer, answer.name or "")


def result_of(answer: FunctionResponse, name: str) -> ToolResult:
    """Returns the answer to a call of the function ``name``; its scheduling may stand inside (docs/protocol.md 3.8)."""
    response = answer.response or {}
    inside = response.get("scheduling")
    return ToolResult(answer.id, name, response, answer.scheduling or (inside if isinstance(inside, str) else None))


def item_of(blob: Blob) -> Spoken | Seen:
    """Returns audio as speech and everything else as something seen."""
    if (blob.mime_type or "").startswith("audio/"):
        pcm = input_pcm(blob)
        return Spoken(pcm, duration_s(pcm, rate_hz=INPUT_RATE_HZ))
    return Seen(blob)


def input_pcm(blob: Blob) -> bytes:
    """Returns audio at 16 kHz, whatever rate its MIME type names (docs/protocol.md 3.7).

    A rate outside ``INPUT_RATES_HZ`` is taken for 16 kHz: nobody means it.
    """
    rate_hz = rate_of(blob.mime_type or "", default=INPUT_RATE_HZ)
    data = blob.data or b""
    if rate_hz == INPUT_RATE_HZ or rate_hz not in INPUT_RATES_HZ:
        return data
    return resample(data, from_hz=rate_hz, to_hz=INPUT_RATE_HZ)
