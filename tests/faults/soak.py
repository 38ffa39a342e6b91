"""A day of conversation under the virtual clock, counted at both ends.

What happens, in virtual time:

- each second the program sends a piece of microphone audio, numbered, whatever the state of the connection;
- each minute it sends a text, numbered;
- the model answers a text with one message of audio a second, numbered, until the minute is over;
- every ten minutes the server announces the end of the connection, 144 times; one announcement in six comes too late
  for a good moment, and the hand-over is forced in the middle of a turn;
- 50 times the network is cut, in a direction and in the middle of a frame that a seed decides.

It runs in Vertex AI's transparent mode, where the server says with each resumption handle which messages it covers, for
there docs/session.md says *once*: the session itself sends again what the saved state does not hold, and nothing else,
and the program does nothing about it. (Without an index nobody can promise that; there it is *at most once, and told*,
which tests/faults/every_byte.py checks.) What "once" counts is the conversation that the server goes on with: a text
that arrived after the state to which a cut throws the server back arrives twice, and is in the conversation once. So
the model itself keeps count: in every turn the texts in its history must be the numbers without gap or repetition, and
the texts of the turn the next ones. That history is the emulator's memory, which a resumption handle restores.

Memory is what the C allocator has given out, at hours 4 and 24 (``--tracemalloc``: what tracemalloc has traced; the
same question at four times the price). Two things that are data and no leak are bounded, for they would hide one. The
emulator keeps notes and snapshots for assertions, by its own constants, which a day does not fill; they are lowered
here, and the messages are counted each minute before they are dropped. And the lists of connections are shortened,
which the emulator keeps for ever.

By itself: ``python -m tests.faults.soak``, with ``PYTHONMALLOC=malloc`` so that every object is the allocator's.
"""

from __future__ import annotations

import ctypes
import gc
import json
import math
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import attrs
import trio
from trio.testing import MockClock

import gemlive
from gemlive.emulator import Behaviour, Conversation, Script, Server, Turn, _record, _registry, serve_in_memory
from gemlive.types import GoAway, Interrupted, ModelAudio, RealtimeInput, Reconnected, ResumptionUpdate, Setup
from tests.faults.streams import Network

HOURS = 24
GO_AWAYS = 144
CUTS = 50
MEASURED_AT_H = (4, 24)
ANSWER_MESSAGES = 60
"""Of how many messages of audio an answer consists. Between the last of them and the next text the model is idle for a
second, in which a hand-over finds its moment."""

_MODEL = "gemini-live-2.5-flash-native-audio"
_SAMPLES = 160  # 10 ms at 16 kHz
_PIECE_MS = 10.0
_SEED = 20261120
_MAX_COMPLAINTS = 20


@attrs.define
class Counts:
    """What was counted.

    Attributes:
        texts_sent: texts that the session accepted.
        texts_known: the number of the last text that the model was told; all before it once and in order.
        texts_again: texts that arrived once more, since the server went on from a state before them.
        audio_sent: pieces of microphone audio that the session accepted.
        audio_received: how many of them arrived.
        audio_again: how many arrived once more.
        audio_dropped: how many the session says that it dropped.
        spoken: messages of audio that the model sent.
        heard: how many of them came out of the session.
        go_aways: announcements that came out of the session.
        cuts: times that the network was cut.
        reconnects: connections after the first.
        resumed: how many of them went on from the newest resumption handle, by what the server was shown.
        cut_short: turns that ended with their connection.
        conversations: conversations at the server: one, if nothing was forgotten.
        memory_bytes: what was in use at the hours of ``MEASURED_AT_H``.
        seconds: how long it took, in real seconds.
        complaints: what was wrong, as it happened.
    """

    texts_sent: int = 0
    texts_known: int = 0
    texts_again: int = 0
    audio_sent: int = 0
    audio_received: int = 0
    audio_again: int = 0
    audio_dropped: float = 0
    spoken: int = 0
    heard: int = 0
    go_aways: int = 0
    cuts: int = 0
    reconnects: int = 0
    resumed: int = 0
    cut_short: int = 0
    conversations: int = 0
    memory_bytes: list[int] = attrs.Factory(list)
    seconds: float = 0
    complaints: list[str] = attrs.Factory(list)

    def expect(self, is_so: object, otherwise: str) -> None:
        """Notes what is wrong, as far as it is worth reading."""
        if not is_so and len(self.complaints) < _MAX_COMPLAINTS:
            self.complaints.append(f"{trio.current_time():.3f} s: {otherwise}")


def run(*, hours: float = HOURS, memory: Callable[[], int]) -> Counts:
    """Plays the day.

    Args:
        hours: how much of it, for trying things out.
        memory: returns the bytes in use.
    """
    started = time.perf_counter()
    with _lowered_bounds():
        counts = trio.run(_Soak(hours, memory).run, clock=MockClock(autojump_threshold=0))
    counts.seconds = time.perf_counter() - started
    return counts


@contextmanager
def _lowered_bounds() -> Iterator[None]:
    """Lets the emulator keep less, so that what it keeps does not grow for longer than a few minutes."""
    bounds = ((_record, "MAX_MESSAGES", 512), (_record, "MAX_TURNS", 64), (_registry, "MAX_HANDLES", 64))
    before = [getattr(module, name) for module, name, _ in bounds]
    for module, name, value in bounds:
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name, _), value in zip(bounds, before, strict=True):
            setattr(module, name, value)


class _Soak:
    """One day.

    The two ends share nothing but numbers: what the program sends is counted by the emulator's record (``_count``),
    what the model says by the session's events (``_listen``).
    """

    def __init__(self, hours: float, memory: Callable[[], int]) -> None:
        self._end_s = hours * 3600
        self._memory = memory
        self._counts = Counts()
        self._random = random.Random(_SEED)
        # One byte for each piece: sets of numbers would be the largest thing that grows.
        self._arrived = bytearray(int(self._end_s) + 1)
        self._texts_arrived = bytearray(int(self._end_s / 60) + 1)
        self._seen = 0
        self._newest: str | None = None
        self._presented: list[tuple[float, str | None]] = []
        self._expected: list[tuple[float, str | None]] = []

    async def run(self) -> Counts:
        config = gemlive.SessionConfig(model=_MODEL, transparent_resumption=True)
        # The server says goodbye when it is told to here, and never of its own accord.
        script = Script(model=self._answer, connections=[Behaviour(go_away_after_s=math.inf)])
        async with serve_in_memory(script) as server:
            network = Network(server.connect, keeps=False)
            server.connect = network
            async with (
                trio.open_nursery() as nursery,
                gemlive.open_session(config, endpoint=server.vertex_endpoint) as session,
            ):
                nursery.start_soon(self._listen, session)
                nursery.start_soon(self._speak, session)
                nursery.start_soon(self._write, session)
                nursery.start_soon(self._announce, server)
                nursery.start_soon(self._cut, network)
                nursery.start_soon(self._look, server)
                # The last turn ends and the last hour is measured; then nothing is under way.
                await trio.sleep(self._end_s + 1)
                self._count(server)
                self._counts.audio_dropped = session.statistics().sending.audio_ms_dropped / _PIECE_MS
                nursery.cancel_scope.cancel()
        counts = self._counts
        counts.conversations = len(server.conversations)
        counts.reconnects = len(self._expected)
        counts.resumed = sum(newest is not None and newest == self._shown(at) for at, newest in self._expected)
        counts.audio_received = sum(map(bool, self._arrived))
        return counts

    def _shown(self, at: float) -> str | None:
        """Returns the handle that the server was shown last at a time."""
        return [handle for shown_at, handle in self._presented if shown_at <= at][-1]

    # --- the program ---

    async def _speak(self, session: gemlive.Session) -> None:
        for number in range(int(self._end_s)):
            await session.send_audio(_numbered(number))
            self._counts.audio_sent += 1
            await trio.sleep_until(number + 1)

    async def _write(self, session: gemlive.Session) -> None:
        for number in range(int(self._end_s / 60)):
            await session.send_text(f"{number + 1}")
            self._counts.texts_sent += 1
            await trio.sleep_until((number + 1) * 60)

    async def _listen(self, session: gemlive.Session) -> None:
        last = -1
        async for event in session:
            match event:
                case ModelAudio(data=data):
                    number = _number(data)
                    self._counts.expect(number > last, f"the model's audio {number} came after {last}")
                    last = number
                    self._counts.heard += 1
                case GoAway():
                    self._counts.go_aways += 1
                case Interrupted(reason="connection"):
                    self._counts.cut_short += 1
                case ResumptionUpdate(handle=handle, resumable=True) if handle:
                    self._newest = handle
                case Reconnected(resumed=resumed, uncertain=uncertain):
                    self._counts.expect(resumed, "a connection did not go on from a handle")
                    self._counts.expect(
                        not uncertain, f"{len(uncertain)} messages are uncertain, and there is an index"
                    )
                    self._expected.append((trio.current_time(), self._newest))
                case _:
                    pass

    # --- the network and the server ---

    async def _announce(self, server: Server) -> None:
        for number in range(GO_AWAYS):
            # In the middle of a minute: while the model speaks, and so that it will be idle before the deadline.
            await trio.sleep_until((number + 0.5) * self._end_s / GO_AWAYS + 30)
            await server.go_away(5 if number % 6 == 5 else 50)

    async def _cut(self, network: Network) -> None:
        for number in range(CUTS):
            # Nowhere near the end of a connection that is announced, so that each of both is one.
            minute = int((number + self._random.random()) * self._end_s / CUTS / 60)
            at = minute * 60 + self._random.uniform(0, 60)
            if abs((at - 30) % (self._end_s / GO_AWAYS) - 0.5 * self._end_s / GO_AWAYS) < 60:
                at += 150
            await trio.sleep_until(at)
            flow = self._random.choice([network.up, network.down])
            await flow.cut_in(self._random.randrange(1, 500)).wait()
            self._counts.cuts += 1

    async def _answer(self, turn: Turn) -> None:
        """Answers a turn, after a look at what the model knows."""
        texts = [part.text or "" for content in turn.history if content.role == "user" for part in content.parts or ()]
        numbers = [int(word) for text in [*texts, turn.text] for word in text.split()]
        first = numbers[0] if numbers else 0
        is_in_order = numbers == list(range(first, first + len(numbers)))
        self._counts.expect(is_in_order, f"the model knows these texts: {numbers[-10:]}")
        # The history holds the last 200; before that it begins with the first.
        self._counts.expect(first == 1 or len(texts) == 200, f"what the model knows begins with {first}")
        self._counts.texts_known = numbers[-1] if numbers else 0
        for message in range(ANSWER_MESSAGES):
            if message:
                await trio.sleep(1)
            await turn.speak(_numbered(self._counts.spoken))
            self._counts.spoken += 1

    # --- counting ---

    async def _look(self, server: Server) -> None:
        for minute in range(1, int(self._end_s / 60) + 1):
            await trio.sleep_until(minute * 60)
            self._count(server)
            if minute % 60 == 0 and minute // 60 in MEASURED_AT_H:
                gc.collect()
                self._counts.memory_bytes.append(self._memory())

    def _count(self, server: Server) -> None:
        """Takes in what the emulator received since the last time."""
        for conversation in server.conversations:
            for entry in _since(conversation, self._seen):
                match entry.message:
                    case Setup(session_resumption=resumption):
                        self._presented.append((entry.at, None if resumption is None else resumption.handle))
                    case RealtimeInput(audio=audio) if audio is not None:
                        number = _number(audio.data or b"")
                        self._counts.audio_again += self._arrived[number] > 0
                        self._arrived[number] = 1
                    case message:
                        number = _text_number(message)
                        self._counts.texts_again += self._texts_arrived[number - 1] > 0
                        self._texts_arrived[number - 1] = 1
            self._seen = conversation.messages_dropped + len(conversation.messages)
            del conversation.connections[:-2]
        del server.connections[:-2]


def _since(conversation: Conversation, seen: int) -> Sequence[_record.Received]:
    missed = conversation.messages_dropped - seen
    assert missed <= 0, f"{missed} messages were dropped before they were counted"
    return conversation.messages[seen - conversation.messages_dropped :]


def _text_number(message: object) -> int:
    turns = getattr(message, "turns", None) or ()
    return int("".join(part.text or "" for content in turns for part in content.parts or ()))


def _numbered(number: int) -> bytes:
    """Returns audio that says a number and is too quiet for anybody to hear: one bit of it a sample."""
    pcm = bytearray(2 * _SAMPLES)
    pcm[0:40:2] = bytes(number >> place & 1 for place in range(20))
    return bytes(pcm)


def _number(pcm: bytes) -> int:
    return sum(bit << place for place, bit in enumerate(pcm[0:40:2]))


# --- memory ----------------------------------------------------------------------------------------------------------


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "top",
        )
    ]


def allocated_bytes() -> int:
    """Returns what the C library's allocator has given out and not got back; AttributeError where it does not tell."""
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = _Mallinfo2
    told = mallinfo2()
    return int(told.uordblks + told.hblkhd)


def traced_bytes() -> int:
    """Returns what tracemalloc has traced and not seen freed."""
    return tracemalloc.get_traced_memory()[0]


def main(arguments: Sequence[str]) -> None:
    """Plays the day and prints the counts as JSON."""
    is_traced = "--tracemalloc" in arguments
    hours = [float(one) for one in arguments if not one.startswith("--")]
    if is_traced:
        tracemalloc.start()
    counts = run(hours=hours[0] if hours else HOURS, memory=traced_bytes if is_traced else allocated_bytes)
    print(json.dumps(attrs.asdict(counts), indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
