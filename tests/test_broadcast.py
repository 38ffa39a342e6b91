"""What a subscriber may rely on: order, bounds in both units, exact counts of what was lost, nobody delayed."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Sequence

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from gemlive.broadcast import DEFAULT_MAX_BYTES, DEFAULT_MAX_EVENTS, Broadcast, BroadcastStatistics, Cursor

MEDIA, TALK, VITAL = 0, 1, 2


@attrs.frozen
class Item:
    """``lost`` is empty in what is published; in a lag item it lists what was lost, in the order of the losses."""

    name: str
    rank: int = TALK
    size: int = 1
    lost: tuple[str, ...] = ()


def lag(previous: Item | None, dropped: Item) -> Item:
    return Item("lag", lost=(*(previous.lost if previous else ()), dropped.name))


def make() -> Broadcast[Item]:
    return Broadcast(size=lambda item: item.size, rank=lambda item: item.rank, lag=lag)


def items(names: str, *, rank: int = TALK, size: int = 1) -> list[Item]:
    return [Item(name, rank, size) for name in names]


def drain(cursor: Cursor[Item]) -> list[str]:
    """Everything that is there now; a lag item as ``-`` and the names of what was lost."""
    seen: list[str] = []
    while True:
        try:
            item = cursor.receive_nowait()
        except (trio.WouldBlock, trio.EndOfChannel):
            return seen
        seen.append("-" + "".join(item.lost) if item.lost else item.name)


# --- order and fan-out ------------------------------------------------------------------------------------------------


def test_every_cursor_sees_everything_once_in_order_whatever_the_ranks() -> None:
    broadcast = make()
    first, second = broadcast.subscribe(), broadcast.subscribe()
    broadcast.publish([Item("a", VITAL), Item("b", MEDIA), Item("c", TALK), Item("d", MEDIA)])
    assert drain(first) == ["a", "b", "c", "d"]
    assert drain(second) == ["a", "b", "c", "d"]


def test_a_cursor_sees_what_is_published_after_it_began_and_nothing_before() -> None:
    broadcast = make()
    broadcast.publish(items("ab"))
    cursor = broadcast.subscribe()
    broadcast.publish(items("c"))
    assert drain(cursor) == ["c"]


def test_publishing_takes_any_iterable_and_counts_it_without_subscribers() -> None:
    broadcast = make()
    broadcast.publish(item for item in items("abc"))
    broadcast.publish(())
    assert broadcast.statistics().published_events == 3


def test_an_item_that_cannot_be_measured_leaves_no_part_of_its_batch_behind() -> None:
    def size(item: str) -> int:
        return int(item)

    broadcast: Broadcast[str] = Broadcast(size=size, rank=lambda item: 0, lag=lambda previous, dropped: "lag")
    cursor = broadcast.subscribe()
    with pytest.raises(ValueError, match="invalid literal"):
        broadcast.publish(["1", "2", "three"])
    with pytest.raises(trio.WouldBlock):
        cursor.receive_nowait()


# --- bounds and lag ---------------------------------------------------------------------------------------------------


def test_over_the_bound_of_events_the_oldest_media_goes_first_then_the_oldest_of_the_rest() -> None:
    broadcast = make()
    cursor = broadcast.subscribe(max_events=3)
    broadcast.publish([Item("a", TALK), Item("b", MEDIA), Item("c", VITAL), Item("d", MEDIA)])
    broadcast.publish([Item("e", VITAL), Item("f", TALK)])
    # b, d: media, oldest first; then a: the oldest of the lowest rank that is left.
    assert drain(cursor) == ["-bda", "c", "e", "f"]


def test_media_that_arrives_in_a_cursor_full_of_dearer_items_is_itself_the_oldest_media() -> None:
    broadcast = make()
    cursor = broadcast.subscribe(max_events=2)
    broadcast.publish([Item("a", VITAL), Item("b", VITAL), Item("c", MEDIA)])
    assert drain(cursor) == ["-c", "a", "b"]


def test_over_the_bound_of_bytes_items_go_until_the_rest_fits() -> None:
    broadcast = make()
    cursor = broadcast.subscribe(max_bytes=10)
    broadcast.publish([*items("abc", rank=MEDIA, size=3), Item("d", VITAL, 6)])
    assert drain(cursor) == ["-ab", "c", "d"]


def test_an_item_larger_than_the_bound_is_delivered_if_it_is_alone() -> None:
    broadcast = make()
    cursor = broadcast.subscribe(max_bytes=10)
    broadcast.publish([Item("a", MEDIA, 1000)])
    assert drain(cursor) == ["a"]


def test_an_item_larger_than_the_bound_goes_as_soon_as_it_is_not_alone() -> None:
    broadcast = make()
    cursor = broadcast.subscribe(max_bytes=10)
    broadcast.publish([Item("a", MEDIA, 1000), Item("b", MEDIA, 1)])
    assert drain(cursor) == ["-a", "b"]


def test_a_dear_item_larger_than_the_bound_outlives_the_media_after_it() -> None:
    broadcast = make()
    cursor = broadcast.subscribe(max_bytes=10)
    broadcast.publish([Item("a", VITAL, 1000), Item("b", MEDIA, 1)])
    assert drain(cursor) == ["-b", "a"]


def test_all_losses_between_two_receives_are_one_lag_item_and_later_ones_another() -> None:
    broadcast = make()
    cursor = broadcast.subscribe(max_events=2)
    broadcast.publish(items("abcd"))
    assert cursor.receive_nowait().lost == ("a", "b")
    broadcast.publish(items("e"))
    assert drain(cursor) == ["-c", "d", "e"]


def test_a_loss_after_some_receives_is_told_before_what_is_left() -> None:
    broadcast = make()
    cursor = broadcast.subscribe(max_events=3)
    broadcast.publish(items("abc"))
    assert cursor.receive_nowait().name == "a"
    broadcast.publish(items("de"))
    assert drain(cursor) == ["-b", "c", "d", "e"]


def test_a_waiting_lag_item_counts_against_neither_bound() -> None:
    broadcast = make()
    cursor = broadcast.subscribe(max_events=1, max_bytes=1)
    broadcast.publish(items("ab"))
    assert drain(cursor) == ["-a", "b"]


def test_none_is_an_item_like_any_other() -> None:
    broadcast: Broadcast[int | None] = Broadcast(
        size=lambda item: 1, rank=lambda item: 0, lag=lambda previous, dropped: (previous or 0) + 1
    )
    cursor = broadcast.subscribe(max_events=2)
    broadcast.publish([None, None, 7, None])
    assert [cursor.receive_nowait() for _ in range(3)] == [2, 7, None]


def test_a_cursor_that_never_reads_holds_no_more_than_its_bounds_and_frees_what_it_drops() -> None:
    broadcast = make()
    broadcast.subscribe(max_events=5)
    published = [Item(str(number), MEDIA) for number in range(1000)]
    alive = [weakref.ref(item) for item in published]
    broadcast.publish(published)
    published.clear()
    gc.collect()
    assert sum(reference() is not None for reference in alive) == 5


@pytest.mark.parametrize("bounds", [{"max_events": 0}, {"max_bytes": 0}, {"max_events": -1}])
def test_a_bound_below_one_is_refused_by_name(bounds: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(bounds))):
        make().subscribe(**bounds)


# --- statistics -------------------------------------------------------------------------------------------------------


def test_statistics_count_what_waits_and_what_was_lost() -> None:
    broadcast = make()
    cursor = broadcast.subscribe(max_events=2, max_bytes=100)
    broadcast.publish(items("abcd", size=10))
    statistics = cursor.statistics()
    assert (statistics.events, statistics.bytes) == (2, 20)
    assert (statistics.dropped_events, statistics.dropped_bytes) == (2, 20)
    assert (statistics.max_events, statistics.max_bytes) == (2, 100)
    assert statistics.lag_pending
    assert not statistics.receiving


def test_the_total_of_losses_stays_after_the_lag_item_was_received() -> None:
    broadcast = make()
    cursor = broadcast.subscribe(max_events=1)
    broadcast.publish(items("abc"))
    drain(cursor)
    statistics = cursor.statistics()
    assert (statistics.dropped_events, statistics.lag_pending, statistics.events) == (2, False, 0)


def test_the_broadcast_lists_its_open_cursors() -> None:
    broadcast = make()
    first, second = broadcast.subscribe(max_events=1), broadcast.subscribe(max_events=2)
    first.close()
    assert broadcast.statistics() == BroadcastStatistics(
        published_events=0, closed=False, cursors=(second.statistics(),)
    )


def test_the_default_bounds_are_those_of_the_design() -> None:
    statistics = make().subscribe().statistics()
    assert (statistics.max_events, statistics.max_bytes) == (4096, 8 * 2**20) == (DEFAULT_MAX_EVENTS, DEFAULT_MAX_BYTES)


def test_repr_tells_the_state_and_no_item() -> None:
    broadcast = make()
    cursor = broadcast.subscribe()
    broadcast.publish([Item("secret")])
    assert repr(cursor) == "<Cursor open, 1 events (1 bytes) wait, 0 dropped>"
    assert repr(broadcast) == "<Broadcast open, 1 published, 1 cursors>"


# --- waiting ----------------------------------------------------------------------------------------------------------


async def test_a_waiting_receiver_wakes_for_one_item_of_a_batch_and_finds_the_rest(nursery: trio.Nursery) -> None:
    broadcast = make()
    cursor = broadcast.subscribe()
    seen: list[str] = []

    async def receive_three() -> None:
        for _ in range(3):
            seen.append((await cursor.receive()).name)

    nursery.start_soon(receive_three)
    await trio.testing.wait_all_tasks_blocked()
    broadcast.publish(items("abc"))
    await trio.testing.wait_all_tasks_blocked()
    assert seen == ["a", "b", "c"]


async def test_a_woken_receiver_is_told_of_losses_that_came_before_it_could_run(nursery: trio.Nursery) -> None:
    broadcast = make()
    cursor = broadcast.subscribe(max_events=1)
    seen: list[Item] = []

    async def receive_two() -> None:
        seen.extend([await cursor.receive(), await cursor.receive()])

    nursery.start_soon(receive_two)
    await trio.testing.wait_all_tasks_blocked()
    broadcast.publish(items("abc"))
    await trio.testing.wait_all_tasks_blocked()
    assert [(item.name, item.lost) for item in seen] == [("lag", ("a", "b")), ("c", ())]


async def test_a_second_loop_goes_on_where_the_first_stopped() -> None:
    broadcast = make()
    cursor = broadcast.subscribe()
    broadcast.publish(items("abcd"))
    broadcast.close()
    async with cursor:
        async for item in cursor:
            if item.name == "b":
                break
        assert [item.name async for item in cursor] == ["c", "d"]


async def test_receive_is_a_checkpoint_when_an_item_is_there() -> None:
    broadcast = make()
    cursor = broadcast.subscribe()
    broadcast.publish(items("a"))
    with trio.testing.assert_checkpoints():
        assert (await cursor.receive()).name == "a"


async def test_receive_is_a_checkpoint_when_a_lag_item_is_there() -> None:
    broadcast = make()
    cursor = broadcast.subscribe(max_events=1)
    broadcast.publish(items("ab"))
    with trio.testing.assert_checkpoints():
        assert (await cursor.receive()).lost == ("a",)


async def test_receive_is_a_checkpoint_when_it_waits(nursery: trio.Nursery) -> None:
    broadcast = make()
    cursor = broadcast.subscribe()

    async def publish_later() -> None:
        await trio.testing.wait_all_tasks_blocked()
        broadcast.publish(items("a"))

    nursery.start_soon(publish_later)
    with trio.testing.assert_checkpoints():
        await cursor.receive()


async def test_receive_is_a_checkpoint_at_the_end() -> None:
    broadcast = make()
    cursor = broadcast.subscribe()
    broadcast.close()
    with trio.testing.assert_checkpoints(), pytest.raises(trio.EndOfChannel):
        await cursor.receive()


async def test_receive_is_a_checkpoint_on_a_closed_cursor() -> None:
    cursor = make().subscribe()
    with trio.testing.assert_checkpoints():
        await cursor.aclose()
    with trio.testing.assert_checkpoints(), pytest.raises(trio.ClosedResourceError):
        await cursor.receive()


async def test_a_second_receiver_is_refused_with_a_checkpoint_and_the_first_goes_on(nursery: trio.Nursery) -> None:
    broadcast = make()
    cursor = broadcast.subscribe()
    seen: list[str] = []

    async def first() -> None:
        seen.append((await cursor.receive()).name)

    nursery.start_soon(first)
    await trio.testing.wait_all_tasks_blocked()
    with trio.testing.assert_checkpoints(), pytest.raises(trio.BusyResourceError, match="subscribe"):
        await cursor.receive()
    with pytest.raises(trio.BusyResourceError):
        cursor.receive_nowait()
    broadcast.publish(items("a"))
    await trio.testing.wait_all_tasks_blocked()
    assert seen == ["a"]
    assert not cursor.statistics().receiving


async def test_a_second_receiver_is_refused_also_while_the_first_is_served_from_stock() -> None:
    broadcast = make()
    cursor = broadcast.subscribe()
    broadcast.publish(items("abc"))
    refused: list[type[Exception]] = []

    async def receive() -> None:
        try:
            await cursor.receive()
        except trio.BusyResourceError as error:
            refused.append(type(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        nursery.start_soon(receive)
    assert refused == [trio.BusyResourceError]
    assert cursor.statistics().events == 2


async def test_a_cancelled_receive_takes_nothing_that_was_there() -> None:
    broadcast = make()
    cursor = broadcast.subscribe()
    broadcast.publish(items("a"))
    with trio.CancelScope() as scope:
        scope.cancel()
        await cursor.receive()
    assert scope.cancelled_caught
    assert drain(cursor) == ["a"]


async def test_a_receive_cancelled_while_waiting_leaves_the_cursor_usable(nursery: trio.Nursery) -> None:
    broadcast = make()
    cursor = broadcast.subscribe()
    with trio.CancelScope() as scope:
        nursery.start_soon(_cancel_when_blocked, scope)
        await cursor.receive()
    broadcast.publish(items("a"))
    assert (await cursor.receive()).name == "a"


async def _cancel_when_blocked(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


async def test_cancelling_in_the_same_step_as_publishing_loses_nothing(nursery: trio.Nursery) -> None:
    broadcast = make()
    cursor = broadcast.subscribe()
    scope = trio.CancelScope()
    got: list[str] = []

    async def receive() -> None:
        with scope:
            got.append((await cursor.receive()).name)

    nursery.start_soon(receive)
    await trio.testing.wait_all_tasks_blocked()
    broadcast.publish(items("a"))
    scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert got + drain(cursor) == ["a"]


async def test_a_consumer_that_never_reads_delays_neither_the_publisher_nor_the_others(nursery: trio.Nursery) -> None:
    broadcast = make()
    asleep = broadcast.subscribe(max_events=10)
    awake = broadcast.subscribe(max_events=10)
    seen: list[str] = []

    async def consume() -> None:
        async for item in awake:
            seen.append(item.name)

    nursery.start_soon(consume)
    for number in range(1000):
        broadcast.publish([Item(str(number))])
        await trio.testing.wait_all_tasks_blocked()
    broadcast.close()
    assert seen == [str(number) for number in range(1000)]
    told = asleep.receive_nowait()
    assert told.lost == tuple(str(number) for number in range(990))
    assert drain(asleep) == [str(number) for number in range(990, 1000)]


# --- closing ----------------------------------------------------------------------------------------------------------


async def test_after_the_broadcast_closes_a_cursor_gives_what_it_holds_then_ends_for_good() -> None:
    broadcast = make()
    cursor = broadcast.subscribe(max_events=2)
    broadcast.publish(items("abc"))
    broadcast.close()
    broadcast.close()
    assert [item.name async for item in cursor] == ["lag", "b", "c"]
    with pytest.raises(trio.EndOfChannel):
        cursor.receive_nowait()


async def test_closing_the_broadcast_ends_a_waiting_receiver(nursery: trio.Nursery) -> None:
    broadcast = make()
    cursor = broadcast.subscribe()
    nursery.start_soon(_close_when_blocked, broadcast)
    with pytest.raises(trio.EndOfChannel):
        await cursor.receive()


async def _close_when_blocked(resource: Broadcast[Item] | Cursor[Item]) -> None:
    await trio.testing.wait_all_tasks_blocked()
    resource.close()


async def test_an_item_published_just_before_the_close_still_reaches_a_waiting_receiver(nursery: trio.Nursery) -> None:
    broadcast = make()
    cursor = broadcast.subscribe()
    seen: list[str] = []

    async def consume() -> None:
        async for item in cursor:
            seen.append(item.name)

    nursery.start_soon(consume)
    await trio.testing.wait_all_tasks_blocked()
    broadcast.publish(items("a"))
    broadcast.close()
    await trio.testing.wait_all_tasks_blocked()
    assert seen == ["a"]


async def test_a_cursor_taken_after_the_close_ends_at_once() -> None:
    broadcast = make()
    broadcast.publish(items("a"))
    broadcast.close()
    assert [item async for item in broadcast.subscribe()] == []
    assert broadcast.statistics().cursors == ()


def test_publishing_after_the_close_is_an_error() -> None:
    broadcast = make()
    broadcast.close()
    with pytest.raises(trio.ClosedResourceError):
        broadcast.publish(items("a"))


async def test_closing_a_cursor_wakes_its_receiver_with_an_error(nursery: trio.Nursery) -> None:
    cursor = make().subscribe()
    nursery.start_soon(_close_when_blocked, cursor)
    with pytest.raises(trio.ClosedResourceError):
        await cursor.receive()


async def test_a_closed_cursor_frees_what_it_held_and_gets_nothing_more() -> None:
    broadcast = make()
    item = Item("a")
    alive = weakref.ref(item)
    async with broadcast.subscribe(max_events=1) as cursor:
        broadcast.publish([Item("lost"), item])
    del item
    broadcast.publish(items("b"))
    gc.collect()
    assert alive() is None
    statistics = cursor.statistics()
    assert (statistics.events, statistics.bytes, statistics.lag_pending) == (0, 0, False)


def test_a_closed_cursor_frees_the_lag_item_that_waited() -> None:
    told: list[weakref.ref[Item]] = []

    def remembered_lag(previous: Item | None, dropped: Item) -> Item:
        item = lag(previous, dropped)
        told.append(weakref.ref(item))
        return item

    broadcast = Broadcast(size=lambda item: item.size, rank=lambda item: item.rank, lag=remembered_lag)
    cursor = broadcast.subscribe(max_events=1)
    broadcast.publish(items("ab"))
    cursor.close()
    gc.collect()
    assert [reference() for reference in told] == [None]


async def test_closing_twice_is_closing_once_even_when_cancelled() -> None:
    broadcast = make()
    cursor = broadcast.subscribe()
    with trio.CancelScope() as scope:
        scope.cancel()
        await cursor.aclose()
    await cursor.aclose()
    assert broadcast.statistics().cursors == ()


async def test_closing_one_cursor_touches_no_other() -> None:
    broadcast = make()
    first, second = broadcast.subscribe(), broadcast.subscribe()
    broadcast.publish(items("a"))
    await first.aclose()
    broadcast.publish(items("b"))
    assert drain(second) == ["a", "b"]


def test_a_closed_cursor_of_a_closed_broadcast_says_that_you_closed_it() -> None:
    broadcast = make()
    cursor = broadcast.subscribe()
    broadcast.close()
    cursor.close()
    with pytest.raises(trio.ClosedResourceError):
        cursor.receive_nowait()


# --- against a model --------------------------------------------------------------------------------------------------


class Model:
    """One cursor as its description says it, without a thought for speed: a list, searched anew at each step."""

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self.max_events = max_events
        self.max_bytes = max_bytes
        self.held: list[Item] = []
        self.lost: list[str] = []
        self.dropped: list[Item] = []

    def publish(self, batch: Sequence[Item]) -> None:
        for item in batch:
            self.held.append(item)
            while len(self.held) > 1 and not self.fits():
                lowest = min(other.rank for other in self.held)
                victim = next(other for other in self.held if other.rank == lowest)
                self.held.remove(victim)
                self.lost.append(victim.name)
                self.dropped.append(victim)

    def fits(self) -> bool:
        return len(self.held) <= self.max_events and sum(item.size for item in self.held) <= self.max_bytes

    def receive(self) -> Item | None:
        if self.lost:
            told, self.lost = Item("lag", lost=tuple(self.lost)), []
            return told
        return self.held.pop(0) if self.held else None


class BroadcastMachine(RuleBasedStateMachine):
    """Any order of publishing, subscribing, receiving and closing gives what the model gives."""

    cursors = Bundle("cursors")

    @initialize()
    def begin(self) -> None:
        self.broadcast = make()
        self.models: dict[Cursor[Item], Model] = {}
        self.published = 0
        self.is_closed = False

    @rule(target=cursors, max_events=st.integers(1, 6), max_bytes=st.integers(1, 30))
    def subscribe(self, max_events: int, max_bytes: int) -> Cursor[Item]:
        cursor = self.broadcast.subscribe(max_events=max_events, max_bytes=max_bytes)
        self.models[cursor] = Model(max_events, max_bytes)
        return cursor

    @rule(
        shapes=st.lists(st.tuples(st.sampled_from([MEDIA, TALK, VITAL, -3]), st.integers(0, 40)), max_size=12),
        as_batch=st.booleans(),
    )
    def publish(self, shapes: list[tuple[int, int]], as_batch: bool) -> None:
        batch = [Item(str(self.published + n), rank, size) for n, (rank, size) in enumerate(shapes)]
        if self.is_closed:
            with pytest.raises(trio.ClosedResourceError):
                self.broadcast.publish(batch)
            return
        self.published += len(batch)
        for part in [batch] if as_batch else [[item] for item in batch]:
            self.broadcast.publish(part)
        for model in self.models.values():
            model.publish(batch)

    @rule(cursor=cursors, times=st.integers(1, 5))
    def receive(self, cursor: Cursor[Item], times: int) -> None:
        for _ in range(times):
            if cursor not in self.models:
                with pytest.raises(trio.ClosedResourceError):
                    cursor.receive_nowait()
            elif (expected := self.models[cursor].receive()) is not None:
                assert cursor.receive_nowait() == expected
            else:
                with pytest.raises(trio.EndOfChannel if self.is_closed else trio.WouldBlock):
                    cursor.receive_nowait()

    @rule(cursor=cursors)
    def close_cursor(self, cursor: Cursor[Item]) -> None:
        cursor.close()
        self.models.pop(cursor, None)

    @rule(really=st.integers(0, 5))
    def close(self, really: int) -> None:
        if really == 5:  # rarely: after it, little happens
            self.broadcast.close()
            self.is_closed = True

    @invariant()
    def holds_and_has_lost_what_the_model_says(self) -> None:
        if not hasattr(self, "broadcast"):
            return
        assert self.broadcast.statistics().published_events == self.published
        for cursor, model in self.models.items():
            statistics = cursor.statistics()
            assert statistics.events == len(model.held) <= model.max_events
            assert statistics.bytes == sum(item.size for item in model.held)
            assert statistics.bytes <= model.max_bytes or statistics.events == 1
            assert statistics.dropped_events == len(model.dropped)
            assert statistics.dropped_bytes == sum(item.size for item in model.dropped)
            assert statistics.lag_pending == bool(model.lost)


BroadcastMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestBroadcastMachine = BroadcastMachine.TestCase


@given(
    plan=st.lists(
        st.one_of(
            st.tuples(st.just("publish"), st.lists(st.tuples(st.sampled_from([MEDIA, TALK]), st.integers(1, 9)))),
            st.tuples(st.just("run"), st.just([])),
        ),
        max_size=20,
    ),
    max_events=st.integers(1, 8),
    max_bytes=st.integers(1, 40),
)
@settings(deadline=None)
def test_what_a_running_task_receives_and_what_it_is_told_it_lost_is_everything(
    plan: list[tuple[str, list[tuple[int, int]]]], max_events: int, max_bytes: int
) -> None:
    """Received plus lost is published, nothing twice, the received in order: with a task that waits and is woken."""
    published: list[str] = []
    received: list[Item] = []

    async def consume(cursor: Cursor[Item]) -> None:
        async for item in cursor:
            received.append(item)

    async def main() -> None:
        broadcast = make()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume, broadcast.subscribe(max_events=max_events, max_bytes=max_bytes))
            for step, shapes in plan:
                if step == "publish":
                    batch = [Item(str(len(published) + n), *shape) for n, shape in enumerate(shapes)]
                    published.extend(item.name for item in batch)
                    broadcast.publish(batch)
                else:
                    await trio.testing.wait_all_tasks_blocked()
            broadcast.close()

    trio.run(main)
    kept = [item.name for item in received if not item.lost]
    lost = [name for item in received for name in item.lost]
    assert sorted(kept + lost, key=int) == published
    assert kept == sorted(kept, key=int)
    assert not any(before.lost and after.lost for before, after in itertools.pairwise(received))
