"""What happens when connections end, in memory, under the virtual clock."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from gemlive.emulator import Behaviour, Close, Server, Turn, serve_in_memory
from gemlive.errors import SessionLost
from gemlive.session import ReconnectPolicy, Status, open_session
from gemlive.transport import Timeouts
from gemlive.types import (
    ClientContent,
    FunctionDeclaration,
    GoAway,
    InputDropped,
    Interrupted,
    ModelText,
    OrphanedToolResult,
    Reconnected,
    Reconnecting,
    ResumptionUpdate,
    SessionClosed,
    SetupComplete,
    ToolCall,
    TurnComplete,
)
from tests.session.peers import TEXT, behaving, kinds, talking, until

INTERNAL = Close(1011, "Internal error encountered.")
GOOD = Behaviour()


async def echo(turn: Turn) -> None:
    await turn.say(f"You said {turn.text}.")


def texts(server: Server) -> list[tuple[int, str]]:
    """Returns the connection and the text of every content that the server received."""
    return [
        (one.connection, one.message.turns[0].parts[0].text)  # type: ignore[index,misc]
        for conversation in server.conversations
        for one in conversation.messages
        if isinstance(one.message, ClientContent)
    ]


def handles(server: Server) -> list[str | None]:
    """Returns the resumption handle that each connection presented, in the order of connections."""
    setups = [
        (one.connection, one.message.session_resumption.handle)  # type: ignore[union-attr]
        for conversation in server.conversations
        for one in conversation.messages
        if one.index == 0
    ]
    return [handle for _, handle in sorted(setups, key=lambda pair: pair[0])]


async def test_a_drop_in_mid_turn_is_resumed_and_told(autojump_clock: MockClock) -> None:
    async def cut(turn: Turn) -> None:
        await turn.say("Half an ")
        if turn.text == "cut":
            await turn.drop()

    async with talking(cut) as (session, server):
        await session.ask("hello")
        await until(session, ResumptionUpdate)
        await session.send_text("cut")
        events = await until(session, SetupComplete)
        events = [*events, *await until(session, SetupComplete)] if "Reconnected" not in kinds(events) else events
    told = [kind for kind in kinds(events) if kind in ("Interrupted", "Reconnecting", "Reconnected", "SetupComplete")]
    assert told == ["Interrupted", "Reconnecting", "Reconnected", "SetupComplete"]
    reconnected = next(event for event in events if isinstance(event, Reconnected))
    assert (reconnected.connection, reconnected.resumed, reconnected.aborted_turn) == (2, True, True)
    assert Interrupted("connection") in [
        attrs.evolve(e, at=Interrupted().at) for e in events if isinstance(e, Interrupted)
    ]
    assert handles(server)[0] is None
    assert handles(server)[1]


async def test_the_status_follows_and_each_change_is_an_event(autojump_clock: MockClock) -> None:
    script = behaving(
        Behaviour(close_after_s=1, close_with=INTERNAL), Behaviour(close_after_s=1, close_with=Close(1000, ""))
    )
    seen: list[tuple[str, Status]] = []
    async with talking(script) as (session, _):
        async for event in session:
            seen.append((type(event).__name__, session.status))
    changes = [entry for entry in seen if entry[0] != "SetupComplete"]
    assert [name for name, _ in changes] == ["Connected", "Reconnecting", "Reconnected", "SessionClosed"]
    assert changes[1][1] is Status.RECONNECTING
    assert session.status is Status.CLOSED


async def test_what_nobody_can_vouch_for_is_listed(autojump_clock: MockClock) -> None:
    async def cut(turn: Turn) -> None:
        await turn.drop()

    async with talking(cut) as (session, _):
        receipt = await session.send_text("hello")
        reconnected = (await until(session, Reconnected))[-1]
        assert await receipt.wait() == "uncertain"
    assert isinstance(reconnected, Reconnected)
    assert [message.turns[0].parts[0].text for message in reconnected.uncertain] == ["hello"]  # type: ignore[union-attr,index]


async def test_policy_replay_sends_it_again(autojump_clock: MockClock) -> None:
    async def cut_once(turn: Turn) -> None:
        if turn.connection == 1:
            await turn.drop()
        await turn.say("Here you are.")

    async with talking(cut_once, reconnect=ReconnectPolicy(uncertain="replay")) as (session, server):
        await session.send_text("hello")
        await until(session, TurnComplete)
    assert texts(server) == [(1, "hello"), (2, "hello")]


async def test_unsent_messages_survive_a_reconnect_in_order(autojump_clock: MockClock) -> None:
    script = behaving(Behaviour(close_after_s=1, close_with=INTERNAL), GOOD)
    async with talking(script) as (session, server):
        await until(session, Reconnecting)
        receipts = [await session.send_client_content(str(number), turn_complete=False) for number in range(20)]
        assert {receipt.state for receipt in receipts} == {"unsent"}
        await receipts[-1].written()
        await session.aclose()
    assert texts(server) == [(2, str(number)) for number in range(20)]


async def test_stale_audio_is_dropped_counted_and_told(autojump_clock: MockClock) -> None:
    script = behaving(Behaviour(close_after_s=1, close_with=INTERNAL), Behaviour(upgrade_status=503), GOOD)
    policy = ReconnectPolicy(base_s=8, cap_s=8)
    async with talking(script, reconnect=policy) as (session, server):
        await until(session, Reconnecting)
        sent = 0
        while session.status is Status.RECONNECTING:
            await session.send_audio(bytes(640))
            sent += 1
            await trio.sleep(0.02)
        events = await until(session, Reconnected)
        reconnected = events[-1]
        await session.aclose()
        events += [event async for event in session]
        dropped = session.statistics().sending.audio_ms_dropped
    arrived = [
        one for c in server.conversations for one in c.messages if getattr(one.message, "audio", None) is not None
    ]
    told = sum(event.audio_ms for event in events if isinstance(event, InputDropped))
    assert isinstance(reconnected, Reconnected)
    assert dropped == reconnected.dropped_audio_ms == told == (sent - len(arrived)) * 20
    assert len(arrived) <= 26


async def test_dropped_audio_is_an_event_with_its_length(autojump_clock: MockClock) -> None:
    script = behaving(Behaviour(close_after_s=1, close_with=INTERNAL), Behaviour(silent_at="setup"))
    async with talking(script) as (session, _):
        await until(session, Reconnecting)
        for _ in range(10):
            await session.send_audio(bytes(640))
        await trio.sleep(3)
        await session.send_audio(bytes(640))
        event = (await until(session, InputDropped))[-1]
    assert isinstance(event, InputDropped)
    assert (event.audio_ms, event.video_frames) == (200, 0)


async def test_a_connection_that_falls_silent_is_replaced(autojump_clock: MockClock) -> None:
    timeouts = Timeouts(ping_interval_s=20, pong_s=45)
    async with talking(behaving(Behaviour(silent_at="open"), GOOD), timeouts=timeouts) as (session, _):
        events = await until(session, Reconnecting)
        at = trio.current_time()
        await until(session, Reconnected)
    lost = events[-1]
    assert isinstance(lost, Reconnecting)
    assert lost.code != 1011
    assert 65 <= at <= 66


@pytest.mark.parametrize(
    ("close", "outcome"),
    [
        (Close(1007, "Request contains an invalid argument."), "lost"),
        (Close(1008, ""), "lost"),
        (Close(1008, "The operation was aborted."), "resumed"),
        (Close(1011, "Internal error encountered."), "resumed"),
        (Close(1011, "Resource has been exhausted (e.g. check quota)."), "resumed"),
        (Close(1008, "BidiGenerateContent session not found"), "fresh"),
        (Close(1008, "Requested entity was not found."), "resumed"),
        (Close(1001, ""), "resumed"),
    ],
)
async def test_a_close_is_judged_by_its_reason(autojump_clock: MockClock, close: Close, outcome: str) -> None:
    async def model(turn: Turn) -> None:
        await turn.say("Yes.")

    script = behaving(Behaviour(close_after_s=10, close_with=close), GOOD, model=model)
    if outcome == "lost":
        with pytest.raises(SessionLost) as caught:
            async with talking(script) as (session, _):
                await session.ask("hello")
                await trio.sleep_forever()
        assert (caught.value.code, caught.value.reason) == (close.code, close.reason)
        return
    async with talking(script) as (session, _):
        await session.ask("hello")
        reconnected = (await until(session, Reconnected))[-1]
    assert isinstance(reconnected, Reconnected)
    assert reconnected.resumed is (outcome == "resumed")


async def test_a_normal_close_while_idle_ends_the_session(autojump_clock: MockClock) -> None:
    async with talking(behaving(Behaviour(close_after_s=10, close_with=Close(1000, "")), model=echo)) as (session, _):
        await session.ask("hello")
        events = await until(session, SessionClosed)
        with pytest.raises(trio.ClosedResourceError):
            await session.send_text("anybody?")
    assert events[-1] == SessionClosed(1000, "", at=events[-1].at)


async def test_a_normal_close_in_mid_turn_is_not_taken_for_the_end(autojump_clock: MockClock) -> None:
    async def quit_(turn: Turn) -> None:
        await turn.say("Half an ")
        if turn.connection == 1:
            await turn.close(1000, "")

    async with talking(quit_) as (session, _):
        await session.send_text("hello")
        events = await until(session, Reconnected)
    assert "Interrupted" in kinds(events)


async def test_a_refused_handle_is_dropped_and_the_session_goes_on_afresh(autojump_clock: MockClock) -> None:
    refusing = Behaviour(refuse_resumption=Close(1008, "BidiGenerateContent session not found"))
    script = behaving(Behaviour(close_after_s=10, close_with=INTERNAL), refusing, model=echo)
    async with talking(script) as (session, server):
        await session.ask("hello")
        reconnected = (await until(session, Reconnected))[-1]
        assert (await session.ask("still there?")).text == "You said still there?."
    assert isinstance(reconnected, Reconnected)
    assert (reconnected.connection, reconnected.resumed, reconnected.resumption_handle_age_s) == (2, False, None)
    assert len(server.connections) == 3
    assert handles(server) == [None, None]  # of the connections whose setup was accepted


async def test_a_refused_handle_ends_the_session_where_the_policy_says_so(autojump_clock: MockClock) -> None:
    refusing = Behaviour(refuse_resumption=Close(1007, "Invalid session handle"))
    script = behaving(Behaviour(close_after_s=10, close_with=INTERNAL), refusing, model=echo)
    with pytest.raises(SessionLost) as caught:
        async with talking(script, reconnect=ReconnectPolicy(lost_context="fail")) as (session, _):
            await session.ask("hello")
            await trio.sleep_forever()
    assert (caught.value.step, caught.value.code) == ("setup", 1007)


async def test_a_refused_upgrade_on_reconnect_ends_the_session(autojump_clock: MockClock) -> None:
    script = behaving(Behaviour(close_after_s=1, close_with=INTERNAL), Behaviour(upgrade_status=401))
    with pytest.raises(SessionLost) as caught:
        async with talking(script):
            await trio.sleep_forever()
    assert (caught.value.step, caught.value.retryable) == ("upgrade", False)
    assert "401" in str(caught.value)


async def test_a_server_that_asks_to_wait_is_given_the_time(autojump_clock: MockClock) -> None:
    busy = Behaviour(upgrade_status=503, upgrade_headers=[("Retry-After", "40")])
    script = behaving(Behaviour(close_after_s=1, close_with=INTERNAL), busy, GOOD)
    async with talking(script) as (session, _):
        waits = [event.delay_s for event in await until(session, Reconnected) if isinstance(event, Reconnecting)]
    assert len(waits) == 2
    assert waits[0] <= 0.5
    assert waits[1] == 40


async def test_a_server_that_accepts_and_drops_for_ever_is_given_up(autojump_clock: MockClock) -> None:
    flapping = behaving(Behaviour(close_after_setup=INTERNAL))
    with pytest.raises(SessionLost) as caught:
        async with talking(flapping) as (session, _):
            await trio.sleep_forever()
    assert session.connection == 21
    assert "gave up" in str(caught.value)


async def test_what_nobody_can_vouch_for_is_not_waited_for(autojump_clock: MockClock) -> None:
    async def cut(turn: Turn) -> None:
        await turn.drop()

    script = behaving(GOOD, Behaviour(close_after_s=10, close_with=Close(1000, "")), model=cut)
    async with talking(script) as (session, _):
        await session.send_text("hello")
        events = await until(session, SessionClosed)
    assert kinds(events).count("Reconnected") == 1


async def test_a_sender_that_waits_for_a_place_is_told_of_the_end(autojump_clock: MockClock) -> None:
    script = behaving(Behaviour(close_after_s=1, close_with=INTERNAL), Behaviour(silent_at="setup"))
    async with talking(script) as (session, _):
        await until(session, Reconnecting)
        for number in range(64):
            await session.send_client_content(str(number), turn_complete=False)

        async def send_one_more() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await session.send_text("the 65th")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_one_more)
            await trio.testing.wait_all_tasks_blocked()
            await session.aclose()


async def test_orphaned_answers_give_their_places_back(autojump_clock: MockClock) -> None:
    calls = [{"id": str(number), "name": "f"} for number in range(64)]

    async def call_and_cut(turn: Turn) -> None:
        if turn.connection == 1:
            await turn.raw({"toolCall": {"functionCalls": calls}})
            await turn.drop()

    config = attrs.evolve(TEXT, tools=(FunctionDeclaration(name="f"),))
    async with talking(call_and_cut, config) as (session, _):
        await session.send_text("go")
        await until(session, Reconnecting)
        for call in calls:
            await session.send_tool_response({"id": call["id"], "response": {}})
        await until(session, OrphanedToolResult)
        assert session._runner._places.value == 64


async def test_what_went_down_with_its_connection_is_uncertain_when_the_session_is_left_meanwhile(
    autojump_clock: MockClock,
) -> None:
    async def cut(turn: Turn) -> None:
        await turn.drop()

    async with talking(behaving(GOOD, Behaviour(silent_at="setup"), model=cut)) as (session, _):
        receipt = await session.send_text("hello")
        await until(session, Reconnecting)
    assert await receipt.wait() == "uncertain"


# --- GoAway ----------------------------------------------------------------------------------------------------------


async def test_a_goaway_hands_over_and_loses_nothing(autojump_clock: MockClock) -> None:
    script = behaving(Behaviour(go_away_after_s=30, go_away_time_left_s=50), GOOD, model=echo)
    async with talking(script) as (session, server):
        replies = []
        for number in range(60):
            replies.append((await session.ask(str(number))).text)
            await trio.sleep(1)
        events = await until(session, Reconnected)
    assert replies == [f"You said {number}." for number in range(60)]
    assert "GoAway" in kinds(events)
    assert "Interrupted" not in kinds(events)
    reconnected = events[-1]
    assert isinstance(reconnected, Reconnected)
    assert (reconnected.resumed, reconnected.uncertain) == (True, ())
    assert [text for _, text in texts(server)] == [str(number) for number in range(60)]
    assert {connection for connection, _ in texts(server)} == {1, 2}


async def test_the_hand_over_happens_in_silence_too_and_ten_seconds_before_the_end_at_the_latest(
    autojump_clock: MockClock,
) -> None:
    async def busy(turn: Turn) -> None:
        await turn.say("Once upon a time ")
        await turn.go_away(50)
        await trio.sleep_forever()

    async with talking(busy) as (session, _):
        await session.send_text("Tell me a story.")
        await until(session, GoAway)
        told_at = trio.current_time()
        await until(session, Reconnecting)
        assert trio.current_time() - told_at == 40


async def test_the_old_connection_is_closed_before_the_new_one_is_dialled(autojump_clock: MockClock) -> None:
    script = behaving(Behaviour(go_away_after_s=1, go_away_time_left_s=50), GOOD)
    async with talking(script) as (session, server):
        await until(session, Reconnected)
        first = server.connections[0]
        assert first.close is not None
        assert (first.close.code, first.closed_by) == (1000, "client")


async def test_goaways_on_every_connection_do_not_make_it_spin(autojump_clock: MockClock) -> None:
    storm = behaving(Behaviour(go_away_after_s=0, go_away_time_left_s=0))
    with pytest.raises(SessionLost):
        async with talking(storm) as (session, _):
            await trio.sleep_forever()
    assert session.connection <= 21
    assert trio.current_time() >= 19


# --- Vertex AI, transparent resumption -------------------------------------------------------------------------------


async def test_with_an_index_every_text_takes_effect_once(autojump_clock: MockClock) -> None:
    async def cut_once(turn: Turn) -> None:
        if turn.connection == 1 and turn.text == "3":
            await turn.drop()
        await turn.say(f"You said {turn.text}.")

    config = attrs.evolve(TEXT, transparent_resumption=True)
    async with (
        serve_in_memory(cut_once) as server,
        open_session(config, endpoint=server.vertex_endpoint) as session,
    ):
        receipts = []
        for number in range(5):
            receipts.append(await session.send_text(str(number)))
            with trio.move_on_after(5):
                await until(session, TurnComplete)
        states = [await receipt.wait() for receipt in receipts]
    assert states == ["covered"] * 5
    # "3" went down with the first connection, uncovered; nothing else was sent again.
    assert texts(server) == [(1, "0"), (1, "1"), (1, "2"), (1, "3"), (2, "3"), (2, "4")]


async def test_with_an_index_media_is_final_after_two_seconds(autojump_clock: MockClock) -> None:
    config = attrs.evolve(TEXT, transparent_resumption=True)
    async with serve_in_memory() as server, open_session(config, endpoint=server.vertex_endpoint) as session:
        begun = trio.current_time()
        receipt = await session.send_audio(bytes(640))
        assert await receipt.wait() == "written"
        assert trio.current_time() - begun == 2


# --- tools -----------------------------------------------------------------------------------------------------------


async def test_an_answer_to_a_forgotten_call_is_an_orphan(autojump_clock: MockClock) -> None:
    async def call_and_cut(turn: Turn) -> None:
        if turn.connection == 1:
            await turn.raw({"toolCall": {"functionCalls": [{"id": "1", "name": "f", "args": {}}]}})
            await turn.drop()

    config = attrs.evolve(TEXT, tools=(FunctionDeclaration(name="f"),))
    async with talking(call_and_cut, config) as (session, server):
        await session.send_text("go")
        await until(session, ToolCall)
        await until(session, Reconnected)
        receipt = await session.send_tool_response({"id": "1", "response": {"output": 2}})
        orphan = (await until(session, OrphanedToolResult))[-1]
        assert await receipt.wait() == "dropped"
    assert attrs.evolve(orphan, at=OrphanedToolResult(None).at) == OrphanedToolResult("1", "f", {"output": 2})
    kinds_sent = {type(one.message).__name__ for c in server.conversations for one in c.messages if one.index}
    assert "ToolResponse" not in kinds_sent


async def test_a_call_from_before_a_fresh_start_stays_forgotten(autojump_clock: MockClock) -> None:
    async def call_then_cut(turn: Turn) -> None:
        if turn.connection == 1:
            await turn.raw({"toolCall": {"functionCalls": [{"id": "1", "name": "f"}]}})
            await turn.drop()
        await turn.say("Yes.")

    config = attrs.evolve(TEXT, tools=(FunctionDeclaration(name="f"),))
    script = behaving(GOOD, Behaviour(drop_after_s=60), GOOD, model=call_then_cut)
    async with talking(script, config) as (session, _):
        await session.send_text("go")
        assert not (await until(session, Reconnected))[-1].resumed  # type: ignore[union-attr]
        await session.ask("a handle, please")
        assert (await until(session, Reconnected))[-1].resumed  # type: ignore[union-attr]
        receipt = await session.send_tool_response({"id": "1", "response": {}})
        assert await receipt.wait() == "dropped"
        await until(session, OrphanedToolResult)


async def test_an_answer_given_while_reconnecting_is_an_orphan_too(autojump_clock: MockClock) -> None:
    async def call_and_cut(turn: Turn) -> None:
        if turn.connection == 1:
            await turn.raw({"toolCall": {"functionCalls": [{"id": "1", "name": "f"}]}})
            await turn.drop()

    config: Any = attrs.evolve(TEXT, tools=(FunctionDeclaration(name="f"),))
    async with talking(call_and_cut, config) as (session, _):
        await session.send_text("go")
        await until(session, Reconnecting)
        receipt = await session.send_tool_response({"id": "1", "response": {}})
        await until(session, OrphanedToolResult)
        assert receipt.state == "dropped"


async def test_an_updated_context_is_part_of_later_setups(autojump_clock: MockClock) -> None:
    config = attrs.evolve(TEXT, model="some-future-model", response_modalities=None)
    script = behaving(Behaviour(drop_after_s=10), GOOD, model=echo)
    async with talking(script, config) as (session, server):
        await session.update_context(system_instruction="Be brief.")
        await until(session, Reconnected)
    setups = [one.message for c in server.conversations for one in c.messages if one.index == 0]
    instructions = [None if s.system_instruction is None else s.system_instruction.parts[0].text for s in setups]  # type: ignore[union-attr,index]
    assert instructions == [None, "Be brief."]


async def test_text_of_a_finished_turn_is_not_lost_when_the_close_follows_at_once(autojump_clock: MockClock) -> None:
    async def last_words(turn: Turn) -> None:
        for word in ("a ", "b ", "c"):
            await turn.say(word)
        await turn.close(1011, "Internal error encountered.")

    async with talking(last_words) as (session, _):
        await session.send_text("go")
        events = await until(session, Reconnecting)
    assert "".join(event.text for event in events if isinstance(event, ModelText)) == "a b c"
