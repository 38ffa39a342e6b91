"""A recording is said and its answer heard, in memory and in virtual time."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from gemlive.audio import Wav
from gemlive.cli._exit import Failure
from gemlive.cli._json_lines import JsonLines
from gemlive.cli._speaking import Speaking, loud_end
from gemlive.emulator import Behaviour, Close, Model, Script, Server, Turn, serve_in_memory
from gemlive.session import open_session
from gemlive.transport import GoogleAI
from gemlive.types import RealtimeInput, SessionConfig

RATE_HZ = 16_000
LOUD = b"\x00\x20" * 160 + b"\x00\xe0" * 160  # 20 ms of a tone


def speech(*pattern: tuple[str, float]) -> Wav:
    """Returns a recording of ("loud" | "quiet", seconds) pieces."""
    pieces = [(LOUD if kind == "loud" else bytes(640)) * round(seconds * 50) for kind, seconds in pattern]
    return Wav(b"".join(pieces), RATE_HZ)


class Stage:
    """A session with a server in memory, and somebody who speaks to it."""

    def __init__(self, speaking: Speaking, server: Any, stream: io.StringIO) -> None:
        self.speaking = speaking
        self.server = server
        self._stream = stream

    @property
    def told(self) -> list[str]:
        return [json.loads(line)["event"] for line in self._stream.getvalue().splitlines()]

    @property
    def heard(self) -> list[str]:
        return [turn.text for turn in self.server.conversations[0].heard]


@asynccontextmanager
async def stage(
    script: Script | Model | None = None, *, pace: bool = False, timeout_s: float = 30, model: str = "gemini-3.8-live"
) -> AsyncIterator[Stage]:
    stream = io.StringIO()
    config = SessionConfig(model=model, transcription=True)
    async with (
        serve_in_memory(script, pace=pace) as server,
        open_session(config, endpoint=server.endpoint) as session,
    ):
        yield Stage(Speaking(session, JsonLines(stream), timeout_s=timeout_s), server, stream)


@pytest.mark.parametrize("pace", [True, False])
async def test_a_sentence_is_heard_and_answered(pace: bool, autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as on:
        hearing = await on.speaking.run(speech(("quiet", 0.2), ("loud", 1.0), ("quiet", 1.0)), pace=pace)
    assert on.heard == ["[speech, 1.0 s]"]
    assert hearing.turns == 1
    assert 0.9 < len(hearing.audio) / 48_000 < 1.3


async def test_pacing_takes_as_long_as_the_speech(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as on:
        before = trio.current_time()
        await on.speaking.run(speech(("loud", 2.0), ("quiet", 1.0)), pace=True)
        assert 3.0 <= trio.current_time() - before < 4.0


class Slow(trio.abc.Stream):
    """A connection on which each write takes its time."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep(0.1)
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


class SlowNetwork:
    """What an endpoint dials with to get such connections."""

    is_loopback = True

    def __init__(self, server: Server) -> None:
        self._server = server

    async def __call__(self, host: str, port: int) -> trio.abc.Stream:
        assert self._server.connect is not None
        return Slow(await self._server.connect(host, port))


async def test_without_pacing_a_recording_goes_as_fast_as_the_network_and_none_of_it_is_dropped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stream = io.StringIO()
    async with serve_in_memory() as server:
        endpoint = GoogleAI("any", base_url=server.url, connect=SlowNetwork(server))
        async with open_session(SessionConfig(model="gemini-3.8-live"), endpoint=endpoint) as session:
            speaking = Speaking(session, JsonLines(stream), timeout_s=30)
            await speaking.run(speech(("loud", 9.0), ("quiet", 1.0)), pace=False)
    sent = sum(len(m.audio.data) for m in server.conversations[0].received(RealtimeInput) if m.audio and m.audio.data)
    assert sent == 10 * 32_000


async def test_a_recording_without_silence_at_its_end_gets_some(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as on:
        await on.speaking.run(speech(("loud", 1.0)), pace=True)
        messages = on.server.conversations[0].received(RealtimeInput)
    assert sum(len(m.audio.data) for m in messages if m.audio) == 2 * 32_000
    assert messages[-1].audio_stream_end


async def test_two_sentences_are_two_turns(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as on:
        hearing = await on.speaking.run(speech(("loud", 1.0), ("quiet", 1.0), ("loud", 0.5)), pace=True)
    assert on.heard == ["[speech, 1.0 s]", "[speech, 0.5 s]"]
    assert hearing.turns == 2


async def test_an_answer_that_new_speech_interrupts_is_not_kept(autojump_clock: trio.testing.MockClock) -> None:
    async def long_winded(turn: Turn) -> None:
        await turn.speak("a very long sentence " * 5 if turn.number == 1 else "short")

    async with stage(long_winded, pace=True) as on:
        hearing = await on.speaking.run(speech(("loud", 1.0), ("quiet", 1.5), ("loud", 0.5)), pace=True)
    assert (hearing.turns, hearing.interruptions) == (2, 1)
    assert len(hearing.audio) / 48_000 < 1


async def test_several_recordings_add_up(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as on:
        first = len((await on.speaking.run(speech(("loud", 1.0)), pace=False)).audio)
        both = len((await on.speaking.run(speech(("loud", 1.0)), pace=False)).audio)
    assert both > 1.9 * first


async def test_silence_alone_fails_after_the_timeout(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(timeout_s=7) as on:
        before = trio.current_time()
        with pytest.raises(Failure, match="said nothing for 7 s; check that there is speech"):
            await on.speaking.run(speech(("quiet", 1.0)), pace=True)
        assert 8.0 <= trio.current_time() - before < 9.0


async def test_an_answer_to_the_beginning_alone_is_good_enough_when_nothing_follows(
    autojump_clock: trio.testing.MockClock,
) -> None:
    quiet_hum = Wav(b"".join((b"\x40\x00" * 160 + b"\xc0\xff" * 160) * 50 for _ in range(3)), RATE_HZ)
    recording = Wav(speech(("loud", 1.0), ("quiet", 1.0)).pcm + quiet_hum.pcm, RATE_HZ)
    async with stage(timeout_s=7) as on:
        assert (await on.speaking.run(recording, pace=True)).turns == 1


async def test_a_model_that_never_ends_its_turn_fails_after_the_timeout(autojump_clock: trio.testing.MockClock) -> None:
    async def stuck(turn: Turn) -> None:
        await turn.speak("well")
        await trio.sleep_forever()

    async with stage(stuck, timeout_s=7) as on:
        with pytest.raises(Failure):
            await on.speaking.run(speech(("loud", 1.0)), pace=True)


async def test_a_server_that_sends_anything_but_an_answer_fails_after_the_timeout(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def chatty(turn: Turn) -> None:
        while True:
            await turn.update_resumption()
            await trio.sleep(1)

    async with stage(chatty, timeout_s=7) as on:
        with trio.fail_after(20), pytest.raises(Failure):
            await on.speaking.run(speech(("loud", 1.0)), pace=True)


async def test_a_model_that_talks_longer_than_the_timeout_is_heard_out(autojump_clock: trio.testing.MockClock) -> None:
    async def slow(turn: Turn) -> None:
        for _ in range(5):
            await trio.sleep(6)
            await turn.speak("and")

    async with stage(slow, timeout_s=7) as on:
        assert (await on.speaking.run(speech(("loud", 1.0)), pace=True)).turns == 1


async def test_a_server_that_ends_the_session_is_told(autojump_clock: trio.testing.MockClock) -> None:
    goodbye = Script(connections=[Behaviour(close_after_s=0.5, close_with=Close(1000))])
    async with stage(goodbye) as on:
        with pytest.raises(Failure, match="the server ended the session"):
            await on.speaking.run(speech(("quiet", 2.0)), pace=True)


async def test_a_model_that_only_transcribes_is_heard_out(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(model="gemini-3.5-transcribe-live") as on:
        before = trio.current_time()
        await on.speaking.run(speech(("loud", 1.0)), pace=True)
        assert trio.current_time() - before < 5
    assert "input_transcript" in on.told


async def test_what_happens_is_told(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as on:
        await on.speaking.run(speech(("loud", 1.0)), pace=True)
    told = list(dict.fromkeys(on.told))
    assert [event for event in told if event in {"sending", "input_transcript", "turn_complete", "sent"}] == [
        "sending",
        "input_transcript",
        "turn_complete",
        "sent",
    ]


@pytest.mark.parametrize(
    ("pcm", "end"),
    [
        (b"", 0),
        (bytes(100), 0),
        (b"\x00\x10" + bytes(8), 2),
        (b"\x00\x10\x01\x00", 2),
        (bytes(2) + b"\x00\x80", 4),
        (b"\x01\x00", 2),
    ],
)
def test_the_end_of_what_is_loud_is_found(pcm: bytes, end: int) -> None:
    assert loud_end(pcm) == end
