"""One response, bound to a question by order."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock

from gemlive.emulator import Behaviour, Turn, serve_in_memory
from gemlive.errors import SessionLost
from gemlive.session import ReconnectPolicy, open_session
from gemlive.types import (
    FunctionDeclaration,
    FunctionResponse,
    ModelText,
    Reconnected,
    Reconnecting,
    SessionConfig,
    ToolCall,
    ToolResponse,
    TurnComplete,
)
from tests.session.peers import TEXT, behaving, talking, until


async def echo(turn: Turn) -> None:
    await turn.say(f"You said {turn.text}.")


async def test_a_question_gets_the_whole_answer(autojump_clock: MockClock) -> None:
    async with talking(echo) as (session, _):
        reply = await session.ask("hello")
    assert (reply.state, reply.text, reply.reason, reply.missed) == ("completed", "You said hello.", None, None)


async def test_questions_of_several_tasks_get_their_own_answers(autojump_clock: MockClock) -> None:
    answers: dict[str, str] = {}
    async with talking(echo) as (session, _):

        async def ask(text: str) -> None:
            answers[text] = (await session.ask(text)).text

        async with trio.open_nursery() as nursery:
            for text in ("a", "b", "c"):
                nursery.start_soon(ask, text)
    assert answers == {"a": "You said a.", "b": "You said b.", "c": "You said c."}


async def test_speech_comes_with_its_transcript_and_duration(autojump_clock: MockClock) -> None:
    config = SessionConfig(model="gemini-3.8-live", transcription=True)
    async with talking(echo, config) as (session, _):
        reply = await session.ask("hello")
    assert reply.transcript == "You said hello."
    assert reply.audio_ms == len(reply.audio) / 48 > 0


async def test_a_late_end_of_the_turn_before_is_not_the_answer(autojump_clock: MockClock) -> None:
    async with talking(echo) as (session, _):
        await session.send_text("first")
        reply = await session.ask("second")
    assert reply.text == "You said second."


async def test_an_interrupted_answer_says_so(autojump_clock: MockClock) -> None:
    async def slow(turn: Turn) -> None:
        await turn.say("One moment. ")
        await trio.sleep(10)
        await turn.say("Done.")

    async with talking(slow) as (session, _):

        async def interrupt() -> None:
            await trio.sleep(1)
            await session.send_text("stop")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(interrupt)
            reply = await session.ask("hello")
            nursery.cancel_scope.cancel()
    assert (reply.state, reply.text) == ("interrupted", "One moment. ")


async def test_a_refused_answer_says_why(autojump_clock: MockClock) -> None:
    async def refuse(turn: Turn) -> None:
        await turn.raw({"serverContent": {"turnComplete": True, "turnCompleteReason": "RESPONSE_REJECTED"}})
        await trio.sleep_forever()

    async with talking(refuse) as (session, _):
        reply = await session.ask("hello")
    assert (reply.state, reply.reason) == ("rejected", "RESPONSE_REJECTED")


async def test_an_empty_answer_says_so(autojump_clock: MockClock) -> None:
    async def silent(turn: Turn) -> None:
        await trio.lowlevel.checkpoint()

    async with talking(silent) as (session, _):
        assert (await session.ask("hello")).state == "empty"


async def test_an_answer_cut_short_by_the_connection_is_lost(autojump_clock: MockClock) -> None:
    async def cut(turn: Turn) -> None:
        await turn.say("Half an ")
        await turn.drop()

    async with talking(cut) as (session, _):
        reply = await session.ask("hello")
    assert (reply.state, reply.text) == ("lost", "Half an ")


async def test_a_question_of_which_nobody_knows_the_fate_is_lost(autojump_clock: MockClock) -> None:
    async def cut(turn: Turn) -> None:
        await turn.drop()

    async with talking(cut) as (session, _):
        assert (await session.ask("hello")).state == "lost"


async def test_a_question_asked_while_reconnecting_is_answered_on_the_new_connection(
    autojump_clock: MockClock,
) -> None:
    async def cut_once(turn: Turn) -> None:
        await turn.say(turn.text)
        if turn.connection == 1:
            await turn.drop()

    async with talking(cut_once) as (session, _):
        first = await session.ask("one")
        async with session.turn() as turn:
            await session.send_text("two")
            with trio.fail_after(100):
                await turn.wait()
    assert (first.state, turn.state, turn.text) == ("lost", "completed", "two")


async def test_what_is_sent_again_before_the_question_is_not_its_answer(autojump_clock: MockClock) -> None:
    async def cut_once(turn: Turn) -> None:
        await turn.say(turn.text)
        if turn.connection == 1:
            await turn.drop()

    async with talking(cut_once, reconnect=ReconnectPolicy(uncertain="replay")) as (session, _):
        await session.ask("one")
        second = await session.ask("two")
    assert (second.state, second.text) == ("completed", "two")


async def test_a_spoken_question_that_went_down_with_its_connection_is_lost(autojump_clock: MockClock) -> None:
    async def cut(turn: Turn) -> None:
        await turn.drop()

    async with talking(cut, attrs.evolve(TEXT, vad="manual")) as (session, _), session.turn() as turn:
        await session.activity_start()
        await session.send_audio(bytes(6400))
        await session.activity_end()
        with trio.fail_after(100):
            await turn.wait()
    assert turn.state == "lost"


async def test_an_answer_to_a_cancelled_call_is_not_waited_for(autojump_clock: MockClock) -> None:
    async def call_and_cancel(turn: Turn) -> None:
        if turn.text != "go":
            await turn.say("Yes.")
            return
        await turn.raw({"toolCall": {"functionCalls": [{"id": "1", "name": "f"}]}})
        await turn.raw({"toolCallCancellation": {"ids": ["1"]}})
        await turn.raw({"serverContent": {"interrupted": True}})
        await turn.raw({"serverContent": {"turnComplete": True}})

    config = attrs.evolve(TEXT, tools=(FunctionDeclaration(name="f"),))
    async with talking(call_and_cancel, config) as (session, server):
        async with session.turn() as turn:
            await session.send_text("go")
            await turn.wait()
        receipt = await session.send_tool_response({"id": "1", "response": {}})
        with trio.fail_after(100):
            reply = await session.ask("still there?")
    assert (receipt.state, receipt.reason) == ("dropped", "the server cancelled the call")
    assert reply.state == "completed"
    assert [c.received(ToolResponse) for c in server.conversations] == [()]


async def test_what_asks_for_nothing_is_not_waited_for_after_a_reconnect(autojump_clock: MockClock) -> None:
    script = behaving(Behaviour(drop_after_s=1), Behaviour(), model=echo)
    async with talking(script) as (session, _):
        await until(session, Reconnecting)
        await session.send_client_content("by the way", turn_complete=False)
        await until(session, Reconnected)
        with trio.fail_after(100):
            reply = await session.ask("hello")
    assert reply.state == "completed"


async def test_a_question_after_several_texts_gets_its_own_answer(autojump_clock: MockClock) -> None:
    async with talking(echo) as (session, _):
        for text in ("a", "b", "c"):
            await session.send_text(text)
        reply = await session.ask("d")
    assert reply.text.endswith("d.")


async def test_a_question_interrupts_a_model_that_has_not_begun_to_answer_the_one_before(
    autojump_clock: MockClock,
) -> None:
    async def think_long(turn: Turn) -> None:
        if turn.text == "a":
            await trio.sleep_forever()
        await turn.say("Yes.")

    async with talking(think_long) as (session, _):
        await session.send_text("a")
        await trio.sleep(20)
        with trio.fail_after(100):
            reply = await session.ask("c")
    assert (reply.state, reply.text) == ("completed", "Yes.")


async def test_a_lost_session_ends_the_question(autojump_clock: MockClock) -> None:
    async def quit_(turn: Turn) -> None:
        await turn.close(1008, "Your project has been denied access.")

    with pytest.raises(SessionLost):
        async with talking(quit_, reconnect=ReconnectPolicy(attempts=0)) as (session, _):
            await session.ask("hello")


@pytest.mark.parametrize("backend", ["google_ai", "vertex"])
async def test_a_tool_call_and_its_answer_are_one_reply_on_both_backends(
    autojump_clock: MockClock, backend: str
) -> None:
    async def model(turn: Turn) -> None:
        result = await turn.call("get_weather", {"city": "Ulm"})
        await turn.say(f"It is {result['output']}.")

    config = attrs.evolve(TEXT, tools=(FunctionDeclaration(name="get_weather"),))
    async with serve_in_memory(model) as server:
        endpoint = server.endpoint if backend == "google_ai" else server.vertex_endpoint
        async with open_session(config, endpoint=endpoint) as session:

            async def answer_calls() -> None:
                async for event in session:
                    if isinstance(event, ToolCall):
                        call = event.calls[0]
                        answer = FunctionResponse(id=call.id, name=call.name, response={"output": "warm"})
                        await session.send_tool_response(answer)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer_calls)
                reply = await session.ask("How warm is it?")
                nursery.cancel_scope.cancel()
    assert (reply.state, reply.text) == ("completed", "It is warm.")
    assert [call.name for event in reply.calls for call in event.calls] == ["get_weather"]


async def test_a_turn_gives_the_events_of_its_response_and_ends_with_it(autojump_clock: MockClock) -> None:
    async with talking(echo) as (session, _), session.turn() as turn:
        await session.send_text("hello")
        events = [event async for event in turn]
        assert [event async for event in turn] == []
    assert isinstance(events[-1], TurnComplete)
    assert "".join(event.text for event in events if isinstance(event, ModelText)) == "You said hello."
    assert turn.state == "completed"


async def test_leaving_a_turn_early_leaves_the_response_to_the_others(autojump_clock: MockClock) -> None:
    async with talking(echo) as (session, _):
        async with session.turn() as turn:
            await session.send_text("hello")
        texts = []
        async for event in session:
            if isinstance(event, ModelText):
                texts.append(event.text)
            if isinstance(event, TurnComplete):
                break
    assert (turn.state, "".join(texts)) == ("lost", "You said hello.")


async def test_an_empty_question_is_refused(autojump_clock: MockClock) -> None:
    async with talking(echo) as (session, _):
        with pytest.raises(ValueError, match="at least one character"):
            await session.ask("")
        assert (await session.ask("still there?")).state == "completed"


async def test_extended_thinking_goes_on_until_the_interaction_is_idle(autojump_clock: MockClock) -> None:
    async def think(turn: Turn) -> None:
        await turn.raw(
            {"serverContent": {"outputTranscription": {"text": "Let me see. "}}},
        )
        await turn.raw({"serverContent": {"turnComplete": True, "interactionStatus": "IN_PROGRESS"}})
        await turn.raw({"serverContent": {"outputTranscription": {"text": "Four."}}})
        await turn.raw({"serverContent": {"turnComplete": True, "interactionStatus": "IDLE"}})
        await trio.sleep_forever()

    config = SessionConfig(model="gemini-3.8-live-extended-thinking", transcription=True)
    async with talking(think, config) as (session, _):
        reply = await session.ask("two and two?")
    assert reply.transcript == "Let me see. Four."
