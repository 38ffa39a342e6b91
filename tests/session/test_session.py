"""Sending and receiving, in memory, under the virtual clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, assert_checkpoints

from gemlive.emulator import Server, Turn
from gemlive.errors import ConfigError
from gemlive.session import Session
from gemlive.types import (
    Blob,
    ClientContent,
    Content,
    Event,
    FunctionDeclaration,
    FunctionResponse,
    Lagged,
    ModelAudio,
    ModelText,
    Part,
    RawClientMessage,
    RealtimeInput,
    ResumptionUpdate,
    ServerMessageError,
    SessionClosed,
    SessionConfig,
    Setup,
    SetupComplete,
    ToolCall,
    TurnComplete,
    Usage,
)
from tests.session.peers import TEXT, kinds, talking, until

WITH_TOOL = attrs.evolve(TEXT, tools=(FunctionDeclaration(name="f"),))
MANUAL = attrs.evolve(TEXT, vad="manual")


async def echo(turn: Turn) -> None:
    await turn.say(f"You said {turn.text}.")


def received(server: Server) -> list[Any]:
    """Returns what the server received after the setup, in order."""
    return [one.message for conversation in server.conversations for one in conversation.messages if one.index]


# --- receiving -------------------------------------------------------------------------------------------------------


async def test_the_own_cursor_begins_before_the_first_connection(autojump_clock: MockClock) -> None:
    async with talking(echo) as (session, _):
        await trio.sleep(100)
        events = await until(session, SetupComplete)
    assert kinds(events) == ["Connected", "SetupComplete"]


async def test_every_consumer_sees_every_event_once_and_in_order(autojump_clock: MockClock) -> None:
    async def collect(events: Any, into: list[Event]) -> None:
        async for event in events:
            into.append(event)

    first: list[Event] = []
    second: list[Event] = []
    own: list[Event] = []
    async with trio.open_nursery() as nursery, talking(echo) as (session, _):
        nursery.start_soon(collect, session.subscribe(), first)
        nursery.start_soon(collect, session.subscribe(), second)
        nursery.start_soon(collect, session, own)
        for number in range(5):
            await session.ask(str(number))
        await session.aclose()
    assert first == second == own[2:]
    texts = "".join(event.text for event in first if isinstance(event, ModelText))
    assert texts == "You said 0.You said 1.You said 2.You said 3.You said 4."
    assert isinstance(first[-1], SessionClosed)


async def test_a_consumer_that_never_reads_delays_nobody_and_is_told_exactly(autojump_clock: MockClock) -> None:
    async with talking(echo) as (session, _):
        stuck = session.subscribe(max_events=3)
        witness = session.subscribe()
        for number in range(5):
            await session.ask(str(number))
        await session.aclose()
        seen = [event async for event in witness]
        told = [event async for event in stuck]
    lagged = told[0]
    assert isinstance(lagged, Lagged)
    assert lagged.events == len(seen) - 3
    assert told[1:] == [event for event in seen if not isinstance(event, ModelText | Usage | ResumptionUpdate)][-3:]


async def test_lost_speech_is_counted_in_milliseconds(autojump_clock: MockClock) -> None:
    async def speak(turn: Turn) -> None:
        await turn.speak(bytes(48_000 * 3))

    config = SessionConfig(model="gemini-3.8-live")
    async with talking(speak, config) as (session, _):
        stuck, witness = session.subscribe(max_bytes=40_000), session.subscribe()
        await session.ask("speak")
        await session.aclose()
        total = sum([event.duration_ms async for event in witness if isinstance(event, ModelAudio)])
        told = [event async for event in stuck]
    assert isinstance(told[0], Lagged)
    kept = sum(event.duration_ms for event in told if isinstance(event, ModelAudio))
    assert told[0].audio_ms + kept == pytest.approx(total)
    assert kept < total


async def test_a_second_loop_goes_on_where_the_first_stopped(autojump_clock: MockClock) -> None:
    async with talking(echo) as (session, _):
        await session.ask("a")
        first = await until(session, TurnComplete)
        await session.ask("b")
        second = await until(session, TurnComplete)
    texts = ["".join(e.text for e in events if isinstance(e, ModelText)) for events in (first, second)]
    assert texts == ["You said a.", "You said b."]


async def test_iteration_ends_with_the_session(autojump_clock: MockClock) -> None:
    async with talking(echo) as (session, _):
        await session.ask("a")
        await session.aclose()
        events = [event async for event in session]
        assert [event async for event in session] == []
    assert isinstance(events[-1], SessionClosed)


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (b"{not json", "JSON"),
        (b"[1, 2]", "object"),
        (b'{"goAway": {"timeLeft": {"seconds": 3}}}', "go_away.time_left"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
async def test_a_malformed_message_is_one_event_and_the_session_goes_on(
    autojump_clock: MockClock, frame: bytes, told: str
) -> None:
    async def model(turn: Turn) -> None:
        await turn.raw(frame)
        await turn.say("Still here.")

    async with talking(model) as (session, _):
        reply = await session.ask("hello")
        errors = [e for e in await until(session, TurnComplete) if isinstance(e, ServerMessageError)]
    assert reply.text == "Still here."
    assert len(errors) == 1
    assert told in errors[0].problems[0]


async def test_two_tasks_cannot_receive_from_one_cursor(autojump_clock: MockClock) -> None:
    async with talking() as (session, _), trio.open_nursery() as nursery:
        await until(session, SetupComplete)
        nursery.start_soon(session.receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await session.receive()
        nursery.cancel_scope.cancel()


async def test_the_stamp_tells_stale_speech_from_fresh(autojump_clock: MockClock) -> None:
    async def slow(turn: Turn) -> None:
        await turn.say(turn.text)
        if turn.text == "first":
            await trio.sleep_forever()

    async with talking(slow) as (session, _):
        await session.send_text("first")
        stale = (await until(session, ModelText))[-1]
        await session.send_text("second")
        after = [*await until(session, TurnComplete), *await until(session, TurnComplete)]
    fresh = next(event for event in after if isinstance(event, ModelText))
    assert isinstance(stale, ModelText)
    assert (stale.text, fresh.text) == ("first", "second")
    assert stale.at.response < fresh.at.response


# --- sending ---------------------------------------------------------------------------------------------------------


async def test_everything_arrives_in_the_order_of_acceptance(autojump_clock: MockClock) -> None:
    async with talking() as (session, server):
        for number in range(10):
            await session.send_audio(bytes([number, 0]) * 320)
            await session.send_client_content(str(number), turn_complete=False)
            await session.send_video(bytes([number]))
    order = []
    for message in received(server):
        if isinstance(message, ClientContent):
            order.append(f"text {message.turns[0].parts[0].text}")  # type: ignore[index]
        elif message.audio is not None:
            order.append(f"audio {message.audio.data[0]}")
        else:
            order.append(f"video {message.video.data[0]}")
    sent_videos = [entry for entry in order if entry.startswith("video")]
    assert [entry for entry in order if entry not in sent_videos] == [
        entry for number in range(10) for entry in (f"audio {number}", f"text {number}")
    ]
    assert sent_videos == sorted(sent_videos)


async def test_speech_goes_out_as_it_came_in_with_its_rate(autojump_clock: MockClock) -> None:
    async with talking() as (session, server):
        await session.send_audio(b"\x01\x02" * 320)
        await session.send_audio_at_rate(bytearray(b"\x03\x04" * 480), 24000)
    blobs = [message.audio for message in received(server)]
    assert blobs == [
        Blob(data=b"\x01\x02" * 320, mime_type="audio/pcm;rate=16000"),
        Blob(data=b"\x03\x04" * 480, mime_type="audio/pcm;rate=24000"),
    ]


async def test_text_goes_by_the_channel_of_the_family(autojump_clock: MockClock) -> None:
    async with talking(echo) as (session, server):
        await session.ask("a")
    assert received(server) == [
        ClientContent(turns=(Content(role="user", parts=(Part(text="a"),)),), turn_complete=True)
    ]
    async with talking(echo, SessionConfig(model="gemini-3.1-flash-live-preview")) as (session, server):
        await session.ask("a")
    assert received(server) == [RealtimeInput(text="a")]


async def test_marks_and_raw_messages_go_out_as_they_are(autojump_clock: MockClock) -> None:
    async with talking(config=MANUAL) as (session, server):
        await session.activity_start()
        await session.send_audio(bytes(640))
        await session.activity_end()
        await session.send_raw(RealtimeInput(text="raw"))
    marks = [
        next(name for name in ("activity_start", "audio", "activity_end", "text") if getattr(message, name) is not None)
        for message in received(server)
    ]
    assert marks == ["activity_start", "audio", "activity_end", "text"]


Send = Callable[[Session], Awaitable[object]]


@pytest.mark.parametrize(
    ("send", "error", "told"),
    [
        (lambda s: s.send_audio(b"\x00"), ValueError, "1 bytes are not whole 16-bit samples"),
        (lambda s: s.send_audio(bytes(4 * 2**20 + 2)), ValueError, r"audio\.paced"),
        (lambda s: s.send_video(b""), ValueError, "scale the image down"),
        (lambda s: s.send_text(""), ValueError, "at least one character"),
        (lambda s: s.send_client_content({"rolle": "user"}), ConfigError, r"turns\[0\]"),
        (lambda s: s.activity_start(), ConfigError, "vad='manual'"),
        (lambda s: s.activity_end(), ConfigError, "vad='manual'"),
        (lambda s: s.update_context(tools=[]), ConfigError, "not offered"),
        (lambda s: s.send_tool_response([]), ValueError, "at least one call"),
        (lambda s: s.send_tool_response({"name": "f", "response": {}}), ValueError, "needs the id"),
        (lambda s: s.send_tool_response({"id": "1", "respons": {}}), ValueError, "respons"),
        (lambda s: s.send_raw(Setup(model="m")), ValueError, "the session sends the setup"),
        (lambda s: s.send_raw(RawClientMessage({"setup": {}})), ValueError, "the session sends the setup"),
    ],
)
async def test_bad_input_is_told_at_once_and_nothing_is_sent(
    autojump_clock: MockClock, send: Send, error: type[Exception], told: str
) -> None:
    async with talking() as (session, server):
        with assert_checkpoints(), pytest.raises(error, match=told):
            await send(session)
        assert session.statistics().sending.messages_waiting == 0
    assert received(server) == []


async def test_a_stream_end_is_refused_where_the_program_marks_activities(autojump_clock: MockClock) -> None:
    async with talking(config=MANUAL) as (session, _):
        with pytest.raises(ConfigError, match="audio_stream_end"):
            await session.audio_stream_end()


async def test_an_empty_chunk_sends_nothing_and_says_so(autojump_clock: MockClock) -> None:
    async with talking() as (session, server):
        receipt = await session.send_audio(b"")
        assert (receipt.state, await receipt.wait()) == ("dropped", "dropped")
    assert received(server) == []


@pytest.mark.parametrize(
    "send",
    [
        lambda s: s.send_audio(bytes(640)),
        lambda s: s.send_audio(b""),
        lambda s: s.send_video(b"x"),
        lambda s: s.send_text("x"),
        lambda s: s.send_client_content("x"),
        lambda s: s.audio_stream_end(),
        lambda s: s.send_tool_response({"id": "1", "response": {}}),
        lambda s: s.send_raw(RealtimeInput(text="x")),
        lambda s: s.receive(),
        lambda s: s.ask("x"),
        lambda s: s.aclose(),
    ],
)
async def test_every_method_is_a_checkpoint(autojump_clock: MockClock, send: Send) -> None:
    async with talking(echo) as (session, _):
        with assert_checkpoints():
            await send(session)


async def test_a_send_cancelled_before_acceptance_has_no_effect(autojump_clock: MockClock) -> None:
    async with talking() as (session, server):
        with trio.CancelScope() as scope:
            scope.cancel()
            await session.send_text("never")
        assert scope.cancelled_caught
    assert received(server) == []


async def test_a_sixty_fifth_message_waits_for_a_place_and_cancelled_it_was_never_there(
    autojump_clock: MockClock,
) -> None:
    async with talking() as (session, server):
        for number in range(64):  # no checkpoint lets the writer run before the queue is full
            session._runner._places.acquire_nowait()
            session._runner._accept(
                attrs.evolve(session._entry(RealtimeInput(text=str(number)), "content"), holds_slot=True)
            )
        with trio.CancelScope() as scope:
            scope.cancel()
            await session.send_text("the 65th")
        await session.send_text("the 66th")
    texts = [m.text if isinstance(m, RealtimeInput) else m.turns[0].parts[0].text for m in received(server)]
    assert texts == [*(str(number) for number in range(64)), "the 66th"]


async def test_receipts_follow_the_message(autojump_clock: MockClock) -> None:
    async with talking(echo) as (session, _):
        receipt = await session.send_text("hello")
        assert receipt.state == "unsent"
        assert await receipt.written() == "written"
        assert await receipt.wait() == "covered"
        audio = await session.send_audio(bytes(640))
        assert await audio.wait() == "written"


async def test_without_resumption_written_is_all_that_can_be_known(autojump_clock: MockClock) -> None:
    async with talking(echo, attrs.evolve(TEXT, resumption=False)) as (session, _):
        receipt = await session.send_text("hello")
        assert await receipt.wait() == "written"


# --- tools -----------------------------------------------------------------------------------------------------------


async def call_f(turn: Turn) -> None:
    result = await turn.call("f", {})
    await turn.say(str(result))


async def test_a_call_is_answered_once(autojump_clock: MockClock) -> None:
    async with talking(call_f, WITH_TOOL) as (session, server):
        await session.send_text("go")
        call = (await until(session, ToolCall))[-1]
        assert isinstance(call, ToolCall)
        await session.send_tool_response({"id": call.calls[0].id, "response": {"output": 1}})
        with pytest.raises(ValueError, match="answered already"):
            await session.send_tool_response(FunctionResponse(id=call.calls[0].id, response={}))
        await until(session, TurnComplete)
    responses = received(server)[-1].function_responses
    assert responses == (FunctionResponse(id=call.calls[0].id, name="f", response={"output": 1}),)


async def test_a_streaming_answer_may_go_on(autojump_clock: MockClock) -> None:
    async with talking(call_f, WITH_TOOL) as (session, _):
        await session.send_text("go")
        call = (await until(session, ToolCall))[-1]
        assert isinstance(call, ToolCall)
        first = FunctionResponse(id=call.calls[0].id, response={}, will_continue=True)
        await session.send_tool_response(first)
        await session.send_tool_response(attrs.evolve(first, will_continue=None))


async def test_history_is_fed_in_without_an_answer(autojump_clock: MockClock) -> None:
    config = SessionConfig(model="gemini-3.1-flash-live-preview", history=True, transcription=True)
    async with talking(echo, config) as (session, _):
        await session.send_client_content(
            [
                {"role": "user", "parts": [{"text": "I am Ann."}]},
                Content(role="model", parts=(Part(text="Hello Ann."),)),
            ]
        )
        reply = await session.ask("Who am I?")
    assert reply.state == "completed"
    assert "Who am I?" in reply.transcript


async def test_only_the_first_content_is_history(autojump_clock: MockClock) -> None:
    config = SessionConfig(model="gemini-3.8-live", history=True)
    async with talking(echo, config) as (session, _):
        await session.send_client_content("I am Ann.")
        owed_before = session._runner.lifecycle.is_asked
        await session.send_client_content("Who am I?")
        assert (owed_before, session._runner.lifecycle.is_asked) == (False, True)


async def test_a_session_shows_what_it_is_and_no_secret(autojump_clock: MockClock) -> None:
    async with talking(echo) as (session, _):
        await session.ask("hello")
        await until(session, TurnComplete)
        await trio.testing.wait_all_tasks_blocked()
        handle = session.resumption_handle
        assert handle
        assert repr(session) == f"<Session connected, connection 1, model {TEXT.model}>"
        assert session.family.name == "half-cascade"
        assert session.session_id is None
