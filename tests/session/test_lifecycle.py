"""What a session decides, told by values: no clock, no socket."""

from __future__ import annotations

import pytest

from gemlive.errors import ConnectError, ConnectionLost, ConnectTimeout, SetupError, UpgradeRejected
from gemlive.families import family_for
from gemlive.session._lifecycle import End, Lifecycle, Retry, Status, advance
from gemlive.session._policy import ReconnectPolicy
from gemlive.types import (
    Event,
    FunctionCall,
    GoAway,
    Interrupted,
    ModelText,
    ResumptionUpdate,
    Stamp,
    ToolCall,
    ToolCallCancellation,
    TurnComplete,
)


def longest(low: float, high: float) -> float:
    return high


def lifecycle(
    policy: ReconnectPolicy | None = None, *, model: str = "gemini-3.8-live", connected: bool = True
) -> Lifecycle:
    life = Lifecycle(policy or ReconnectPolicy(), family_for(model), longest)
    life.dialling()
    if connected:
        life.connected(0.0)
    return life


def tell(life: Lifecycle, *events: Event, at: float = 0.0) -> Lifecycle:
    life.received(events, at)
    return life


def peer_close(code: int, reason: str = "") -> ConnectionLost:
    return ConnectionLost(code, reason, origin="peer")


NETWORK = ConnectionLost(1006, "", origin="network")
HANDLE_REFUSED = SetupError("refused", code=1008, reason="BidiGenerateContent session not found")


# --- stamps ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "after"),
    [
        ([ModelText("a")], Stamp(1, 4, 7)),
        ([Interrupted()], Stamp(1, 4, 8)),
        ([TurnComplete()], Stamp(1, 5, 8)),
        ([Interrupted(), TurnComplete()], Stamp(1, 5, 8)),
    ],
)
def test_the_stamp_of_the_next_frame(events: list[Event], after: Stamp) -> None:
    assert advance(Stamp(1, 4, 7), events) == after


def test_connections_are_counted_from_one() -> None:
    life = lifecycle()
    assert (life.stamp.connection, life.status) == (1, Status.CONNECTED)
    life.connected(5.0)
    assert life.stamp.connection == 2


# --- handles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("update", "kept"),
    [
        (ResumptionUpdate("h", True), "h"),
        (ResumptionUpdate("h", None), "h"),
        (ResumptionUpdate("h", False), None),
        (ResumptionUpdate("", True), None),
        (ResumptionUpdate(None, True), None),
    ],
)
def test_a_handle_is_kept_only_if_it_can_be_used(update: ResumptionUpdate, kept: str | None) -> None:
    life = tell(lifecycle(), update)
    assert (None if life.handle is None else life.handle.value) == kept


def test_an_unusable_update_keeps_the_last_good_handle() -> None:
    life = tell(lifecycle(), ResumptionUpdate("good", True), ResumptionUpdate(None, False))
    assert life.dialling() == "good"


def test_a_handle_that_is_told_again_is_no_newer() -> None:
    life = tell(lifecycle(), ResumptionUpdate("h", True), at=1.0)
    first = life.handle
    assert tell(life, ResumptionUpdate("h", True), at=2.0).handle is first


def test_a_text_that_may_be_about_a_call_keeps_the_handle_of_an_open_connection() -> None:
    life = tell(lifecycle(), ResumptionUpdate("h", True))
    assert isinstance(life.lost(peer_close(1008, "Requested entity was not found."), 0.0), Retry)
    assert life.dialling() == "h"


def test_no_handle_is_kept_when_resumption_is_off() -> None:
    life = Lifecycle(ReconnectPolicy(), family_for("m"), longest, resumption=False)
    assert tell(life, ResumptionUpdate("h", True)).handle is None


def test_a_reason_that_names_the_handle_drops_it_at_once_and_tries_fresh_without_delay() -> None:
    life = tell(lifecycle(), ResumptionUpdate("h", True))
    life.lost(NETWORK, 0.0)
    life.dialling()
    step = life.failed(HANDLE_REFUSED, 1.0, is_first=False)
    assert isinstance(step, Retry)
    assert (step.delay_s, life.dialling()) == (0.0, None)


def test_another_failure_with_the_handle_drops_it_the_second_time() -> None:
    life = tell(lifecycle(), ResumptionUpdate("h", True))
    presented = []
    for _ in range(3):
        presented.append(life.dialling())
        life.failed(SetupError("x", code=1011, reason="Internal error encountered."), 0.0, is_first=False)
    assert presented == ["h", "h", None]


def test_a_failure_before_the_setup_says_nothing_about_the_handle() -> None:
    life = tell(lifecycle(), ResumptionUpdate("h", True))
    for _ in range(4):
        life.dialling()
        life.failed(ConnectTimeout(step="tcp", timeout_s=10, waiting_for="TCP"), 0.0, is_first=False)
    assert life.dialling() == "h"


def test_policy_fail_ends_the_session_when_the_handle_is_refused() -> None:
    life = tell(lifecycle(ReconnectPolicy(lost_context="fail")), ResumptionUpdate("h", True))
    life.dialling()
    step = life.failed(HANDLE_REFUSED, 0.0, is_first=False)
    assert isinstance(step, End)
    assert step.lost is not None
    assert (step.lost.code, step.lost.step) == (1008, "setup")


# --- ends ------------------------------------------------------------------------------------------------------------


def test_a_normal_close_while_idle_ends_the_session_normally() -> None:
    step = lifecycle().lost(peer_close(1000), 0.0)
    assert isinstance(step, End)
    assert step.lost is None


@pytest.mark.parametrize("event", [ModelText("a"), ToolCall((FunctionCall(id="1", name="f"),))])
def test_a_normal_close_in_the_middle_of_something_is_retried(event: Event) -> None:
    assert isinstance(tell(lifecycle(), event).lost(peer_close(1000), 0.0), Retry)


def test_a_normal_close_before_the_answer_to_a_question_is_retried() -> None:
    life = lifecycle()
    life.asked()
    assert isinstance(life.lost(peer_close(1000), 0.0), Retry)


def test_a_lost_network_is_retried_with_the_handle() -> None:
    life = tell(lifecycle(), ResumptionUpdate("h", True))
    assert isinstance(life.lost(NETWORK, 0.0), Retry)
    assert (life.status, life.dialling()) == (Status.RECONNECTING, "h")


def test_a_fatal_close_ends_the_session_with_its_cause() -> None:
    step = lifecycle().lost(peer_close(1007, "API key not valid. Please pass a valid API key."), 0.0)
    assert isinstance(step, End)
    assert step.lost is not None
    assert (step.lost.code, step.lost.retryable, step.lost.connection) == (1007, False, 1)
    assert step.lost.causes == ("The API key is not valid; check the key that the endpoint was given.",)


@pytest.mark.parametrize(("renews", "then"), [(True, Retry), (False, End)])
def test_a_credential_that_ran_out_is_retried_only_if_there_can_be_another(renews: bool, then: type) -> None:
    life = Lifecycle(ReconnectPolicy(), family_for("m"), longest, renews_credentials=renews)
    life.connected(0.0)
    assert isinstance(life.lost(peer_close(1011, "auth token has expired"), 0.0), then)


def test_a_close_that_names_the_quota_waits() -> None:
    step = lifecycle().lost(peer_close(1011, "Resource has been exhausted (e.g. check quota)."), 0.0)
    assert isinstance(step, Retry)
    assert step.delay_s == 5.0


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refused_upgrade_is_never_retried(status: int) -> None:
    step = lifecycle().failed(UpgradeRejected(status, [], b""), 0.0, is_first=False)
    assert isinstance(step, End)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_an_upgrade_refused_for_now_is_retried(status: int) -> None:
    assert isinstance(lifecycle().failed(UpgradeRejected(status, [], b""), 0.0, is_first=False), Retry)


def test_a_server_that_asks_to_wait_is_obeyed() -> None:
    step = lifecycle().failed(UpgradeRejected(503, [], b"", retry_after_s=17), 0.0, is_first=False)
    assert isinstance(step, Retry)
    assert step.delay_s == 17


def test_the_first_dial_is_made_once() -> None:
    life = lifecycle(connected=False)
    assert isinstance(life.failed(ConnectError("no", step="tcp"), 0.0, is_first=True), End)


def test_the_first_dial_follows_the_policy_where_it_says_so() -> None:
    life = lifecycle(ReconnectPolicy(first_dial=True), connected=False)
    assert isinstance(life.failed(ConnectError("no", step="tcp"), 0.0, is_first=True), Retry)
    assert life.status is Status.CONNECTING


def test_tries_run_out() -> None:
    life = lifecycle(ReconnectPolicy(attempts=2))
    steps = [life.failed(ConnectError("no", step="tcp"), 0.0, is_first=False) for _ in range(3)]
    assert [type(step) for step in steps] == [Retry, Retry, End]


def test_a_session_without_reconnecting_is_lost_at_the_first_loss() -> None:
    step = lifecycle(ReconnectPolicy(attempts=0)).lost(NETWORK, 0.0)
    assert isinstance(step, End)
    assert step.lost is not None


# --- leaving a connection --------------------------------------------------------------------------------------------


def test_a_turn_cut_short_is_interrupted_by_the_connection_and_the_response_advances() -> None:
    life = tell(lifecycle(), ModelText("half"))
    assert life.leave() == [Interrupted("connection", at=Stamp(1, 0, 0))]
    assert life.stamp == Stamp(1, 0, 1)


def test_a_call_of_a_connection_that_ended_holds_up_no_later_hand_over() -> None:
    life = tell(lifecycle(), ToolCall((FunctionCall(id="1", name="f"),)))
    life.leave()
    life.connected(1.0)
    assert tell(life, GoAway(50.0)).can_hand_over()


def test_a_call_newer_than_the_saved_state_stays_forgotten_after_later_ones() -> None:
    life = tell(lifecycle(), ResumptionUpdate("h1", True), ToolCall((FunctionCall(id="late", name="f"),)))
    for handle in ("h2", "h3"):
        life.dialling()
        life.connected(1.0)
        life.forget()
        tell(life, ResumptionUpdate(handle, True))
    assert life.calls["late"].is_forgotten


def test_a_call_older_than_the_saved_state_is_remembered() -> None:
    life = tell(lifecycle(), ToolCall((FunctionCall(id="1", name="f"),)), ResumptionUpdate("h", True))
    life.dialling()
    life.connected(1.0)
    life.forget()
    assert not life.calls["1"].is_forgotten


def test_leaving_between_turns_interrupts_nothing() -> None:
    assert tell(lifecycle(), ModelText("whole"), TurnComplete()).leave() == []


# --- GoAway ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("left", "at"), [(50.0, 40.0), (20.0, 10.0), (12.0, 6.0), (4.0, 2.0), (0.0, 0.0), (None, 5.0)])
def test_the_hand_over_is_forced_ten_seconds_before_the_end_or_half_way(left: float | None, at: float) -> None:
    assert tell(lifecycle(), GoAway(left)).hand_over_at == at


def test_a_second_goaway_never_moves_the_hand_over_later() -> None:
    assert tell(lifecycle(), GoAway(30.0), GoAway(60.0)).hand_over_at == 20.0


def test_nothing_is_handed_over_without_a_goaway() -> None:
    assert not lifecycle().can_hand_over()


def test_an_idle_session_that_said_nothing_yet_hands_over_at_once() -> None:
    assert tell(lifecycle(), GoAway(50.0)).can_hand_over()


def test_the_hand_over_waits_for_the_end_of_the_turn_and_a_handle_that_covers_it() -> None:
    life = tell(lifecycle(), ResumptionUpdate("old", True), ModelText("a"), GoAway(50.0))
    moments = [life.can_hand_over()]
    tell(life, TurnComplete(), at=1.0)
    moments.append(life.can_hand_over())
    tell(life, ResumptionUpdate("new", True), at=2.0)
    moments.append(life.can_hand_over())
    assert moments == [False, False, True]


def test_the_hand_over_waits_for_an_open_call() -> None:
    call = ToolCall((FunctionCall(id="1", name="f"),))
    life = tell(lifecycle(), GoAway(50.0), call, TurnComplete(), ResumptionUpdate("h", True))
    assert not life.can_hand_over()
    tell(life, ToolCallCancellation(("1",)))
    assert life.can_hand_over()


def test_a_goaway_on_a_connection_that_has_just_begun_waits_a_second() -> None:
    life = lifecycle()
    tell(life, GoAway(0.0), at=0.25)
    step = life.hand_over(0.25)
    assert isinstance(step, Retry)
    assert step.delay_s == 0.75


def test_a_session_that_may_not_reconnect_stays_until_it_is_closed() -> None:
    assert tell(lifecycle(ReconnectPolicy(attempts=0)), GoAway(50.0)).hand_over_at is None


def test_only_so_many_calls_are_remembered() -> None:
    life = lifecycle()
    for number in range(1100):
        tell(life, ToolCall((FunctionCall(id=str(number), name="f"),)))
    assert (len(life.calls), "0" in life.calls, "1099" in life.calls) == (1024, False, True)
