"""The delivery contract as far as one side can keep it: values in, values out, no clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gemlive.session._outbox import MAX_HOLES, Batch, Carried, Dropped, Entry, Outbox, merge
from gemlive.types import ClientContent, RealtimeInput


def text(name: str, at: float = 0.0) -> Entry:
    return Entry(name, RealtimeInput(text=name), "content", at)


def chunk(name: str, at: float = 0.0, *, ms: float = 20.0, size: int = 640) -> Entry:
    return Entry(name, None, "audio", at, audio_ms=ms, media_bytes=size)


def frame(name: str, at: float = 0.0) -> Entry:
    return Entry(name, None, "video", at, media_bytes=1000)


def mark(name: str, at: float = 0.0) -> Entry:
    return Entry(name, RealtimeInput(), "mark", at, mark=name)  # type: ignore[arg-type]


def answer(call_id: str, *, asked_at: float | None, at: float = 0.0) -> Entry:
    return Entry(f"answer {call_id}", RealtimeInput(), "tool", at, calls=((call_id, "f", asked_at),))


def names(batch: Batch) -> list[str]:
    return [entry.frame for entry in batch.entries]


def written(outbox: Outbox, *entries: Entry, at: float = 0.0) -> None:
    for entry in entries:
        outbox.accept(entry)
    outbox.take(at)
    outbox.wrote(at, order=at)


def reconnect(
    outbox: Outbox, now: float = 0.0, *, policy: str = "report", resumed_from: float | None = None
) -> Carried:
    return outbox.reconnected(
        now,
        policy=policy,  # type: ignore[arg-type]
        resumed_from=resumed_from,
        activity_start=lambda: mark("activity_start", now),
    )


def test_everything_leaves_in_the_order_of_acceptance() -> None:
    outbox = Outbox(keeps_journal=True)
    for entry in (chunk("a"), text("b"), chunk("c"), mark("activity_end"), frame("d")):
        outbox.accept(entry)
    assert names(outbox.take(0.1)) == ["a", "b", "c", "activity_end", "d"]


def test_a_batch_ends_before_it_grows_too_large_and_the_rest_follows() -> None:
    outbox = Outbox(keeps_journal=True)
    big = "x" * 40_000
    outbox.accept(text(big + "1"))
    outbox.accept(text(big + "2"))
    assert names(outbox.take(0)) == [big + "1"]
    outbox.wrote(0, order=0)
    assert names(outbox.take(0)) == [big + "2"]


def test_a_frame_larger_than_a_batch_leaves_alone() -> None:
    outbox = Outbox(keeps_journal=True)
    outbox.accept(text("x" * 100_000))
    outbox.accept(text("y"))
    assert [len(name) for name in names(outbox.take(0))] == [100_000]


def test_audio_that_waited_two_seconds_is_dropped_and_counted() -> None:
    outbox = Outbox(keeps_journal=True)
    old, new = chunk("old", at=0.0), chunk("new", at=0.5)
    outbox.accept(old)
    outbox.accept(new)
    batch = outbox.take(2.0)
    assert names(batch) == ["new"]
    assert [one.audio_ms for one in batch.dropped] == [20.0]
    assert (old.receipt.state, new.receipt.state) == ("dropped", "unsent")
    assert outbox.statistics().audio_ms_dropped == 20.0


def test_dropped_media_leaves_a_hole_and_moves_nothing() -> None:
    outbox = Outbox(keeps_journal=True)
    for entry in (text("before"), chunk("old"), mark("activity_end"), text("after", at=1.9), chunk("new", at=1.9)):
        outbox.accept(entry)
    assert names(outbox.take(2.0)) == ["before", "activity_end", "after", "new"]


def test_more_audio_than_four_mebibytes_drops_the_oldest() -> None:
    outbox = Outbox(keeps_journal=True)
    first, second, third = (chunk(name, size=2 * 2**20) for name in "abc")
    assert [*outbox.accept(first), *outbox.accept(second)] == []
    dropped = outbox.accept(third)
    assert [one.audio_ms for one in dropped] == [20.0]
    assert (first.receipt.state, second.receipt.state, third.receipt.state) == ("dropped", "unsent", "unsent")


def test_a_new_video_frame_replaces_the_one_that_waits() -> None:
    outbox = Outbox(keeps_journal=True)
    first, second = frame("first"), frame("second")
    outbox.accept(first)
    assert [one.video_frames for one in outbox.accept(second)] == [1]
    assert names(outbox.take(0)) == ["second"]
    assert first.receipt.state == "dropped"


def test_holes_do_not_pile_up_behind_a_message_that_waits() -> None:
    outbox = Outbox(keeps_journal=True)
    outbox.accept(text("stuck"))
    for number in range(10 * MAX_HOLES):
        outbox.accept(chunk(str(number), at=number * 10.0))
    assert len(outbox._queue) <= 2 * MAX_HOLES + 2


def test_a_written_message_is_final_at_once_without_resumption() -> None:
    outbox = Outbox(keeps_journal=False)
    message = text("a")
    written(outbox, message)
    outbox.finish(is_normal=False, reason="lost")
    assert message.receipt.state == "written"


def test_a_handle_newer_than_the_answering_turn_covers_what_was_written_before() -> None:
    outbox = Outbox(keeps_journal=True)
    first, second = text("first"), text("second")
    written(outbox, first)
    outbox.turn_completed()
    written(outbox, second)
    outbox.handle_issued()
    assert (first.receipt.state, second.receipt.state) == ("covered", "written")


def test_unsent_messages_survive_a_reconnect_in_order() -> None:
    outbox = Outbox(keeps_journal=True)
    for name in "abc":
        outbox.accept(text(name))
    reconnect(outbox)
    assert names(outbox.take(0)) == ["a", "b", "c"]


def test_written_messages_are_reported_as_uncertain_and_not_sent_again() -> None:
    outbox = Outbox(keeps_journal=True)
    message = text("a")
    written(outbox, message)
    carried = reconnect(outbox)
    assert carried.uncertain == (RealtimeInput(text="a"),)
    assert names(outbox.take(0)) == []
    assert message.receipt.state == "uncertain"


def test_a_batch_that_was_being_written_is_uncertain_too() -> None:
    outbox = Outbox(keeps_journal=True)
    outbox.accept(text("a"))
    outbox.take(0)
    assert reconnect(outbox).uncertain == (RealtimeInput(text="a"),)


def test_policy_replay_sends_uncertain_messages_again_before_what_waits() -> None:
    outbox = Outbox(keeps_journal=True)
    written(outbox, text("a", at=0.0), text("b", at=0.1))
    outbox.accept(text("c", at=0.2))
    reconnect(outbox, policy="replay")
    assert names(outbox.take(0.3)) == ["a", "b", "c"]


def test_policy_drop_forgets_uncertain_messages() -> None:
    outbox = Outbox(keeps_journal=True)
    message = text("a")
    written(outbox, message)
    reconnect(outbox, policy="drop")
    assert (names(outbox.take(0)), message.receipt.state) == ([], "dropped")


def test_after_a_reconnect_audio_older_than_half_a_second_is_dropped() -> None:
    outbox = Outbox(keeps_journal=True)
    outbox.accept(chunk("old", at=0.0))
    outbox.accept(chunk("young", at=0.4))
    carried = reconnect(outbox, 0.6)
    assert [one.audio_ms for one in carried.dropped] == [20.0]
    assert names(outbox.take(0.6)) == ["young"]


def test_an_open_activity_is_opened_again_on_the_new_connection() -> None:
    outbox = Outbox(keeps_journal=True)
    written(outbox, mark("activity_start"))
    outbox.accept(chunk("speech", at=1.0))
    reconnect(outbox, 1.0)
    assert names(outbox.take(1.0)) == ["activity_start", "speech"]


def test_an_activity_of_which_only_the_end_is_left_is_not_opened_again() -> None:
    outbox = Outbox(keeps_journal=True)
    written(outbox, mark("activity_start"))
    end = mark("activity_end")
    outbox.accept(end)
    reconnect(outbox)
    assert (names(outbox.take(0)), end.receipt.state) == ([], "dropped")


def test_a_closed_activity_is_not_opened_again() -> None:
    outbox = Outbox(keeps_journal=True)
    written(outbox, mark("activity_start"), mark("activity_end"))
    reconnect(outbox)
    assert names(outbox.take(0)) == []


def test_an_answer_to_a_call_older_than_the_handle_goes_to_the_new_connection() -> None:
    outbox = Outbox(keeps_journal=True)
    outbox.accept(answer("1", asked_at=1.0))
    assert reconnect(outbox, resumed_from=2.0).orphans == ()
    assert names(outbox.take(0)) == ["answer 1"]


def test_an_answer_to_a_call_newer_than_the_handle_is_an_orphan() -> None:
    outbox = Outbox(keeps_journal=True)
    late = answer("1", asked_at=3.0)
    outbox.accept(late)
    assert reconnect(outbox, resumed_from=2.0).orphans == (late,)
    assert (names(outbox.take(0)), late.receipt.state) == ([], "dropped")


def test_an_answer_is_an_orphan_when_nothing_was_resumed() -> None:
    outbox = Outbox(keeps_journal=True)
    late = answer("1", asked_at=1.0)
    written(outbox, late)
    assert reconnect(outbox, resumed_from=None).orphans == (late,)
    assert late.receipt.state == "uncertain"  # it left, and may have been heard


def test_an_answer_written_after_the_handle_was_issued_is_sent_again() -> None:
    outbox = Outbox(keeps_journal=True)
    written(outbox, answer("1", asked_at=1.0), at=3.0)
    reconnect(outbox, resumed_from=2.0)
    assert names(outbox.take(3.0)) == ["answer 1"]


# --- with an index ---------------------------------------------------------------------------------------------------


def transparent(*entries: Entry, at: float = 0.0) -> Outbox:
    """Returns an outbox whose server tells indexes, with these entries written."""
    outbox = Outbox(keeps_journal=True, is_transparent=True)
    written(outbox, *entries, at=at)
    return outbox


def test_an_index_covers_exactly_what_it_says() -> None:
    entries = [text("1"), text("2"), text("3")]
    transparent(*entries).handle_issued(2)
    assert [entry.receipt.state for entry in entries] == ["covered", "covered", "written"]


def test_what_the_index_does_not_cover_is_sent_again_in_order_before_what_waits() -> None:
    outbox = transparent(text("1"), chunk("2"), text("3"), text("4"))
    outbox.handle_issued(1)
    outbox.accept(text("5"))
    carried = reconnect(outbox, 0.5, resumed_from=0.1)
    assert names(outbox.take(0.5)) == ["2", "3", "4", "5"]
    assert carried.uncertain == ()


def test_what_is_sent_again_is_counted_anew() -> None:
    outbox = transparent(text("1"), text("2"))
    outbox.handle_issued(1)
    reconnect(outbox, resumed_from=0.0)
    assert [entry.index for entry in outbox.take(0).entries] == [1]


def test_without_a_resumed_state_an_index_is_worth_nothing() -> None:
    outbox = transparent(text("1"), text("2"))
    outbox.handle_issued(1)
    assert reconnect(outbox, resumed_from=None).uncertain == (RealtimeInput(text="2"),)


def test_an_impossible_index_is_none() -> None:
    outbox = transparent(text("1"))
    outbox.handle_issued(7)
    assert reconnect(outbox, resumed_from=0.0).uncertain == (RealtimeInput(text="1"),)


def test_media_older_than_two_seconds_is_not_sent_again_and_counted() -> None:
    outbox = transparent(chunk("old", at=0.0), chunk("young", at=1.0), at=1.0)
    outbox.handle_issued(0)
    carried = reconnect(outbox, 2.5, resumed_from=1.0)
    assert names(outbox.take(2.5)) == ["young"]
    assert sum(one.audio_ms for one in carried.dropped) == 20.0


def test_media_that_would_not_be_sent_again_is_final() -> None:
    old = chunk("old", at=0.0)
    outbox = transparent(old)
    assert not old.receipt._final
    written(outbox, text("later"), at=2.0)
    assert (old.receipt.state, old.receipt._final) == ("written", True)


def test_a_second_loss_before_a_newer_handle_sends_again_again() -> None:
    outbox = transparent(text("1"), text("2"))
    outbox.handle_issued(1)
    for _ in range(3):
        assert reconnect(outbox, resumed_from=0.0).uncertain == ()
        assert names(outbox.take(0)) == ["2"]
        outbox.wrote(0, order=0)


def test_media_that_was_old_when_the_connection_ended_keeps_its_last_state() -> None:
    old, young = chunk("old", at=0.0), chunk("young", at=9.0)
    outbox = transparent(old)
    written(outbox, young, at=9.0)
    outbox.handle_issued(0)
    outbox.retire(10.0)  # as the session does when a connection ends
    carried = reconnect(outbox, 20.0, resumed_from=5.0)
    assert (old.receipt.state, young.receipt.state) == ("written", "dropped")
    assert sum(one.audio_ms for one in carried.dropped) == 20.0


def test_an_answer_that_nobody_wants_any_more_is_not_sent() -> None:
    outbox = Outbox(keeps_journal=True)
    unwanted, wanted = answer("1", asked_at=0.0), answer("2", asked_at=0.0)
    outbox.accept(unwanted)
    outbox.accept(wanted)
    outbox.calls_cancelled(["1"])
    assert (names(outbox.take(0)), unwanted.receipt.state) == (["answer 2"], "dropped")


def test_an_activity_that_the_saved_state_does_not_hold_is_sent_again_whole() -> None:
    outbox = transparent(mark("activity_start"), chunk("speech"), mark("activity_end"))
    outbox.handle_issued(0)
    reconnect(outbox, 0.5, resumed_from=0.1)
    assert names(outbox.take(0.5)) == ["activity_start", "speech", "activity_end"]


def test_an_activity_that_the_saved_state_holds_open_is_opened_again() -> None:
    outbox = transparent(mark("activity_start"), chunk("speech"), mark("activity_end"))
    outbox.handle_issued(1)
    reconnect(outbox, 0.5, resumed_from=0.1)
    assert names(outbox.take(0.5)) == ["activity_start", "speech", "activity_end"]


def test_an_activity_whose_audio_is_gone_goes_too() -> None:
    outbox = transparent(mark("activity_start"), chunk("speech"), mark("activity_end"), text("after"))
    outbox.handle_issued(0)
    reconnect(outbox, 9.0, resumed_from=0.1)
    assert names(outbox.take(9.0)) == ["after"]


def test_an_index_covers_what_was_not_known_to_be_written_yet() -> None:
    outbox = transparent(text("1"))
    known, unknown = text("2"), text("3")
    outbox.accept(known)
    outbox.accept(unknown)
    outbox.take(0)
    outbox.handle_issued(2)
    assert reconnect(outbox, resumed_from=1.0).uncertain == ()
    assert (names(outbox.take(0)), known.receipt.state) == (["3"], "covered")


def test_what_an_index_covered_is_covered_when_it_is_known_to_be_written() -> None:
    outbox = transparent(text("1"))
    message = text("2")
    outbox.accept(message)
    outbox.take(0)
    outbox.handle_issued(2)
    outbox.wrote(0, order=0)
    assert (message.receipt.state, outbox.statistics().journal_messages) == ("covered", 0)


def test_an_activity_that_ended_without_its_audio_is_not_opened_again_later() -> None:
    outbox = transparent(mark("activity_start"))
    outbox.handle_issued(1)
    outbox.accept(mark("activity_end"))
    reconnect(outbox, resumed_from=1.0)
    outbox.accept(text("after"))
    written_names = names(outbox.take(0))
    outbox.wrote(0, order=2)
    reconnect(outbox, resumed_from=1.0)
    assert (written_names, names(outbox.take(0))) == (["after"], ["after"])


def test_a_mark_that_the_journal_forgot_is_remembered_by_the_activity() -> None:
    outbox = transparent(mark("activity_start"), *(text(str(number)) for number in range(257)))
    outbox.handle_issued(258)
    outbox.accept(chunk("speech"))
    reconnect(outbox, resumed_from=1.0)
    assert names(outbox.take(0)) == ["activity_start", "speech"]


def test_an_activity_whose_audio_was_dropped_while_it_waited_is_not_sent() -> None:
    outbox = Outbox(keeps_journal=True)
    marks = mark("activity_start"), mark("activity_end")
    for entry in (marks[0], chunk("speech"), marks[1], text("after", at=3.0)):
        outbox.accept(entry)
    assert names(outbox.take(3.0)) == ["after"]
    assert [entry.receipt.state for entry in marks] == ["dropped", "dropped"]


def test_an_activity_whose_beginning_has_left_is_ended_with_silence_when_its_audio_was_dropped() -> None:
    outbox = Outbox(keeps_journal=True)
    written(outbox, mark("activity_start"))
    outbox.accept(chunk("speech"))
    outbox.accept(mark("activity_end"))
    silence, end = outbox.take(3.0).entries
    assert (silence.kind, end.frame) == ("audio", "activity_end")
    outbox.wrote(3.0, order=3.0)
    assert outbox.statistics().audio_ms_written == 0


def test_an_activity_with_audio_ends_as_it_is() -> None:
    outbox = Outbox(keeps_journal=True)
    for entry in (mark("activity_start"), chunk("speech"), mark("activity_end")):
        outbox.accept(entry)
    assert names(outbox.take(0.1)) == ["activity_start", "speech", "activity_end"]


def test_history_is_never_sent_again_as_it_was() -> None:
    outbox = Outbox(keeps_journal=True)
    seed = text("history")
    seed.is_history = True
    written(outbox, seed)
    assert reconnect(outbox, policy="replay").uncertain == (RealtimeInput(text="history"),)
    assert (names(outbox.take(0)), seed.receipt.state) == ([], "uncertain")


def test_what_was_written_last_is_remembered_by_kind() -> None:
    outbox = Outbox(keeps_journal=True)
    written(outbox, text("a"), *(chunk(str(number)) for number in range(3)), mark("activity_end"))
    assert outbox.recent() == ("1 content", "3 audio", "1 activity_end")


def test_the_journal_is_bounded_and_what_falls_out_is_uncertain() -> None:
    outbox = Outbox(keeps_journal=True)
    entries = [text(str(number)) for number in range(257)]
    written(outbox, *entries)
    assert (entries[0].receipt.state, entries[1].receipt.state) == ("uncertain", "written")
    assert outbox.statistics().journal_overflowed == 1


def test_at_a_normal_end_written_stays_written_and_unsent_is_dropped() -> None:
    outbox = Outbox(keeps_journal=True)
    sent, waiting = text("a"), text("b")
    written(outbox, sent)
    outbox.accept(waiting)
    outbox.finish(is_normal=True, reason="closed")
    assert (sent.receipt.state, waiting.receipt.state, waiting.receipt.reason) == ("written", "dropped", "closed")


def test_at_a_lost_end_written_becomes_uncertain() -> None:
    outbox = Outbox(keeps_journal=True)
    sent = text("a")
    written(outbox, sent)
    outbox.finish(is_normal=False, reason="lost")
    assert sent.receipt.state == "uncertain"


def test_drops_of_one_reason_are_told_as_one() -> None:
    assert merge([Dropped(20, 0, "a"), Dropped(0, 1, "b"), Dropped(30, 0, "a")]) == (
        Dropped(50, 0, "a"),
        Dropped(0, 1, "b"),
    )


steps = st.lists(
    st.one_of(
        st.tuples(st.just("text"), st.floats(0, 1)),
        st.tuples(st.just("audio"), st.floats(0, 1)),
        st.tuples(st.just("video"), st.floats(0, 1)),
        st.tuples(st.just("take"), st.floats(0, 3)),
        st.tuples(st.just("turn"), st.floats(0, 1)),
        st.tuples(st.just("handle"), st.floats(0, 1)),
        st.tuples(st.sampled_from(["report", "replay", "drop"]), st.floats(0, 3)),
    ),
    max_size=40,
)


@given(steps, st.booleans())
def test_whatever_happens_every_message_ends_in_one_final_state_and_order_is_kept(
    history: list[tuple[str, float]], is_transparent: bool
) -> None:
    outbox = Outbox(keeps_journal=True, is_transparent=is_transparent)
    now = 0.0
    accepted: list[Entry] = []
    departures: list[str] = []
    for step, passed in history:
        now += passed
        if step in ("text", "audio", "video"):
            make = {"text": text, "audio": chunk, "video": frame}[step]
            accepted.append(make(str(len(accepted)), now))
            outbox.accept(accepted[-1])
        elif step == "take":
            departures += names(outbox.take(now))
            outbox.wrote(now, order=now)
        elif step == "turn":
            outbox.turn_completed()
        elif step == "handle":
            outbox.handle_issued(int(passed * 20))
        else:
            reconnect(outbox, now, policy=step, resumed_from=now if passed > 1 else None)
            departures.append("|")
    outbox.finish(is_normal=False, reason="over")
    assert all(entry.receipt._final for entry in accepted)
    for connection in " ".join(departures).split("|"):
        numbers = [int(name) for name in connection.split()]
        assert numbers == sorted(set(numbers))
    media = {entry.frame for entry in accepted if entry.kind != "content"}
    assert is_transparent or all(departures.count(name) <= 1 for name in media)


def test_client_content_is_reported_as_it_was_meant() -> None:
    outbox = Outbox(keeps_journal=True)
    message = ClientContent(turn_complete=True)
    written(outbox, Entry("frame", message, "content", 0.0))
    assert reconnect(outbox).uncertain == (message,)
