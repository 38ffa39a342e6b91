"""Five golden conversations, the connection dropped after every single byte in each direction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

import attrs
import pytest

import gemlive
from gemlive.errors import SessionLost
from gemlive.types import Reconnected, SessionClosed
from tests.faults.every_byte import GOLDEN, MAX_BYTES, Outcome, Sent, cuts_of, failures, run, violations
from tests.faults.spread import slices, workers

RESET_EVERY = 7
"""Each byte is dropped at; at every seventh the connection is reset as well, which takes other ways through the code.
Frames begin anywhere, so sevenths fall on every part of one."""


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with workers() as pool:
        yield pool


@pytest.mark.parametrize("name", GOLDEN)
def test_a_drop_after_any_byte_keeps_the_contract(
    name: str, pool: ProcessPoolExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    drops = cuts_of(GOLDEN[name])
    resets = [attrs.evolve(cut, how="reset") for cut in drops[::RESET_EVERY]]
    parts = slices([*drops, *resets], size=200)
    found = [wrong for part in pool.map(failures, [name] * len(parts), parts) for wrong in part]
    with capsys.disabled():
        up = sum(cut.direction == "up" for cut in drops)
        print(f"\n{name}: {up} bytes up, {len(drops) - up} down, {len(resets)} resets, {len(found)} violations")
    assert found == []


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_conversation_is_small_and_keeps_the_contract_uncut(name: str) -> None:
    outcome = run(GOLDEN[name], None)
    assert violations(GOLDEN[name], None, outcome) == []
    assert [state for _, state, _ in outcome.notes.replies] == ["completed"] * len(outcome.notes.replies)
    assert max(outcome.up_bytes, outcome.down_bytes) <= MAX_BYTES


# --- that the judge can say no: each lie about a good run is found ---------------------------------------------------


def _hung(outcome: Outcome) -> None:
    outcome.hung = True


def _lost(outcome: Outcome) -> None:
    outcome.error = SessionLost("made up")


def _grouped(outcome: Outcome) -> None:
    outcome.error = BaseExceptionGroup("made up", [SessionLost("made up")])


def _cut_off(outcome: Outcome) -> None:
    outcome.has_ended = False


def _slow(outcome: Outcome) -> None:
    outcome.left_after_s = 5.1


def _open_receipt(outcome: Outcome) -> None:
    outcome.unsettled.append("two")


def _half_frame(outcome: Outcome) -> None:
    del outcome.wires[0].up[-3:]


def _half_frame_in_between(outcome: Outcome) -> None:
    head = outcome.wires[0].up.index(b"\r\n\r\n") + 4
    del outcome.wires[0].up[head + 20 : head + 23]


def _no_goodbye(outcome: Outcome) -> None:
    del outcome.wires[0].up[-8:]  # a Close frame with a code and no reason


def _two_ends(outcome: Outcome) -> None:
    outcome.notes.events.insert(0, SessionClosed())


def _late_news(outcome: Outcome) -> None:
    news = next(event for event in outcome.notes.events if isinstance(event, Reconnected))
    outcome.notes.events.remove(news)
    outcome.notes.events.insert(-1, news)


def _twice(outcome: Outcome) -> None:
    assert outcome.server is not None
    talk = outcome.server.conversations[0]
    talk.messages.append(talk.messages[-1])


def _twice_known(outcome: Outcome) -> None:
    outcome.known.insert(0, outcome.known[0])


def _never_known(outcome: Outcome) -> None:
    del outcome.known[0]


def _wrong_order(outcome: Outcome) -> None:
    outcome.known.reverse()


def _wrong_answer(outcome: Outcome) -> None:
    outcome.notes.replies[0] = ("one", "completed", "<two>")


def _odd_answer(outcome: Outcome) -> None:
    outcome.notes.replies[0] = ("one", "interrupted", "")


def _settled(outcome: Outcome, state: str) -> None:
    receipt = gemlive.Receipt()
    receipt.state = state  # type: ignore[assignment]
    outcome.notes.sent[0] = Sent(outcome.notes.sent[0].label, outcome.notes.sent[0].kind, receipt)


def _falsely_dropped(outcome: Outcome) -> None:
    _settled(outcome, "dropped")


def _falsely_uncertain(outcome: Outcome) -> None:
    _settled(outcome, "uncertain")


@pytest.mark.parametrize(
    "lie",
    [
        _hung,
        _lost,
        _grouped,
        _cut_off,
        _slow,
        _open_receipt,
        _half_frame,
        _half_frame_in_between,
        _no_goodbye,
        _two_ends,
        _late_news,
        _twice,
        _twice_known,
        _never_known,
        _wrong_order,
        _wrong_answer,
        _odd_answer,
        _falsely_dropped,
        _falsely_uncertain,
    ],
    ids=lambda lie: lie.__name__.strip("_"),
)
def test_the_judge_finds_each_lie(lie: Callable[[Outcome], None]) -> None:
    golden = GOLDEN["goaway"]
    outcome = run(golden, None)
    assert violations(golden, None, outcome) == []
    lie(outcome)
    assert violations(golden, None, outcome) != []


def test_the_judge_finds_a_repeated_answer_to_a_call() -> None:
    outcome = run(GOLDEN["tool"], None)
    assert outcome.server is not None
    talk = outcome.server.conversations[0]
    answer = next(one for one in talk.messages if type(one.message).__name__ == "ToolResponse")
    talk.messages.append(answer)
    assert violations(GOLDEN["tool"], None, outcome) != []


def test_the_judge_finds_audio_outside_of_an_activity() -> None:
    outcome = run(GOLDEN["audio"], None)
    assert outcome.server is not None
    talk = outcome.server.conversations[0]
    talk.messages = [one for one in talk.messages if getattr(one.message, "activity_start", None) is None]
    assert violations(GOLDEN["audio"], None, outcome) != []


def test_the_judge_finds_a_text_lost_in_spite_of_an_index() -> None:
    outcome = run(GOLDEN["vertex"], None)
    outcome.known.remove("four")
    assert violations(GOLDEN["vertex"], None, outcome) != []
