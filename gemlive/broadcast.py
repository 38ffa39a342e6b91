"""Hand each item to every subscriber; a slow one delays nobody, and what it missed is counted.

One publisher, any number of cursors::

    publish(items) ──> cursor 1: lanes by rank ──> receive()
                   ──> cursor 2: lanes by rank ──> receive()

A session publishes what arrived and must get back to the network at once, whatever its consumers do. So publishing
never waits, and every cursor has bounds of its own, in events and in bytes. Over a bound a cursor loses the oldest
items of the lowest rank; all that it lost since its last ``receive()`` comes as one *lag item*, next and before what
is left. Nothing is lost in silence, and what is most dear (by rank) is lost last.

The room knows nothing of Gemini: what an item weighs, how dear it is and what a lag item looks like are functions that
the owner gives. Everything here is for one trio thread.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, NoReturn, TypeAlias, TypeVar

import attrs
import trio

T = TypeVar("T")

DEFAULT_MAX_EVENTS = 4096
"""How many items a cursor holds unless told otherwise: at the 25 to 50 events a second of a talking model more than a
minute, which no consumer that is alive falls behind."""

DEFAULT_MAX_BYTES = 8 * 2**20
"""How many bytes a cursor holds unless told otherwise: almost three minutes of 24 kHz speech, while a hundred
forgotten cursors still stay under a gigabyte."""

_Entry: TypeAlias = tuple[int, int, int, T]
"""Number (rising over the whole broadcast), rank, size, item. Built once per item and shared by all cursors."""


@attrs.frozen(kw_only=True)
class CursorStatistics:
    """What one cursor holds and has lost, at one moment.

    Attributes:
        events: items that wait to be received; a lag item that waits is not among them.
        bytes: the sum of their sizes.
        max_events: the bound on ``events``.
        max_bytes: the bound on ``bytes``; a single item above it is held as long as it is alone.
        dropped_events: items lost over the bounds since the cursor began.
        dropped_bytes: the sum of their sizes.
        lag_pending: whether the next receive gives a lag item.
        receiving: whether a task is inside ``receive()``.
    """

    events: int
    bytes: int
    max_events: int
    max_bytes: int
    dropped_events: int
    dropped_bytes: int
    lag_pending: bool
    receiving: bool


@attrs.frozen(kw_only=True)
class BroadcastStatistics:
    """What a broadcast has done, at one moment.

    Attributes:
        published_events: items published so far, whether or not anybody was subscribed.
        closed: whether it was closed.
        cursors: the open cursors, oldest first.
    """

    published_events: int
    closed: bool
    cursors: tuple[CursorStatistics, ...]


class Broadcast(Generic[T]):
    """One publisher's end: every item goes to every cursor that was open when it was published.

    Args:
        size: how many bytes an item counts for, 0 or more. Called once per item while somebody is subscribed.
        rank: how dear an item is; the lowest rank is dropped first. A small fixed set of numbers: a cursor keeps one
            queue for each rank it has seen, and looks at all of them in each receive.
        lag: ``lag(previous, dropped)`` returns the lag item that stands for everything lost since the last receive,
            now that ``dropped`` is lost too; ``previous`` is None for the first.

    The three functions are called from within :meth:`publish`, must not raise, and must not touch the broadcast.
    """

    __slots__ = ("_closed", "_cursors", "_lag", "_published", "_rank", "_size")

    def __init__(self, *, size: Callable[[T], int], rank: Callable[[T], int], lag: Callable[[T | None, T], T]) -> None:
        self._size = size
        self._rank = rank
        self._lag = lag
        self._published = 0
        self._closed = False
        # A dict for its order and its cheap removal. References are strong: an abandoned cursor costs its bounds at
        # most, and a weak one would make "did I close it?" a question of garbage collection.
        self._cursors: dict[Cursor[T], None] = {}

    @trio.lowlevel.enable_ki_protection
    def publish(self, items: Iterable[T]) -> None:
        """Gives the items to every open cursor, in order and as one step: nothing else is published in between.

        Never waits. Publishing several items at once is the same as publishing them one by one, only cheaper.
        An item that weighs more than a cursor's whole bound is kept as long as it is the only one in it.

        Raises:
            trio.ClosedResourceError: the broadcast was closed; nothing was published.
        """
        if self._closed:
            raise trio.ClosedResourceError("this broadcast was closed; publish before close()")
        if not self._cursors:
            self._published += sum(1 for _ in items)
            return
        size, rank = self._size, self._rank
        # All user code that could fail on an item runs before the first cursor is touched.
        entries = [(number, rank(item), size(item), item) for number, item in enumerate(items, self._published)]
        self._published += len(entries)
        for cursor in self._cursors:
            cursor._put(entries)

    def subscribe(self, *, max_events: int = DEFAULT_MAX_EVENTS, max_bytes: int = DEFAULT_MAX_BYTES) -> Cursor[T]:
        """Returns a cursor that sees every item published from now on.

        A plain call, so that nothing can be published between asking and having it. After :meth:`close` the cursor
        ends at once. Close it when you are done (``async with``), otherwise it fills up to its bounds and stays so.

        Args:
            max_events: how many items it holds at most.
            max_bytes: how many bytes it holds at most, measured by ``size``.

        Raises:
            ValueError: a bound is below 1.
        """
        cursor = Cursor(self, self._lag, max_events=max_events, max_bytes=max_bytes)
        if not self._closed:
            self._cursors[cursor] = None
        return cursor

    @trio.lowlevel.enable_ki_protection
    def close(self) -> None:
        """Ends the broadcast: each cursor still gives what it holds, then ends. Closing twice is closing once."""
        self._closed = True
        for cursor in self._cursors:
            cursor._wake()

    def statistics(self) -> BroadcastStatistics:
        """Returns what was published and what each open cursor holds and has lost."""
        return BroadcastStatistics(
            published_events=self._published,
            closed=self._closed,
            cursors=tuple(cursor.statistics() for cursor in self._cursors),
        )

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Broadcast {state}, {self._published} published, {len(self._cursors)} cursors>"


class Cursor(trio.abc.ReceiveChannel[T]):
    """One subscriber's end: everything published since :meth:`Broadcast.subscribe`, as far as the bounds allow.

    Works with ``async with`` (closes it), ``async for`` (a second loop goes on where the first stopped) and
    :meth:`receive`. One task at a time may receive; any task may close it. Over its bound it loses the oldest item of
    the lowest rank, until it fits or one item is left. All that was lost since the last receive is one lag item,
    which comes next, before what is left. A lag item that waits counts against neither bound: there is never more
    than one, and counting it would make a full cursor lose one item more only to say that it lost some.
    """

    __slots__ = (
        "_broadcast",
        "_bytes",
        "_closed",
        "_dropped_bytes",
        "_dropped_events",
        "_events",
        "_lag",
        "_lag_item",
        "_lanes",
        "_max_bytes",
        "_max_events",
        "_order",
        "_receiving",
        "_unreported",
        "_waiter",
    )

    def __init__(
        self, broadcast: Broadcast[T], lag: Callable[[T | None, T], T], *, max_events: int, max_bytes: int
    ) -> None:
        for name, bound in (("max_events", max_events), ("max_bytes", max_bytes)):
            if bound < 1:
                raise ValueError(f"{name} is {bound}, but a cursor must be able to hold something; give at least 1")
        self._broadcast = broadcast
        self._lag = lag
        self._max_events = max_events
        self._max_bytes = max_bytes
        # One queue per rank. Within a rank, items are both received and dropped from the left, so neither ever has
        # to take something out of the middle: every step costs O(1), plus a look at each rank's first item.
        self._lanes: dict[int, deque[_Entry[T]]] = {}
        self._order: list[tuple[int, deque[_Entry[T]]]] = []  # the same queues, the lowest rank first
        self._events = 0
        self._bytes = 0
        self._dropped_events = 0
        self._dropped_bytes = 0
        self._unreported = 0  # how many items the waiting lag item stands for; 0 when none waits
        self._lag_item: T | None = None
        self._closed = False
        self._receiving = False
        self._waiter: trio.lowlevel.Task | None = None

    @trio.lowlevel.enable_ki_protection
    async def receive(self) -> T:
        """Returns the next item, waiting for it if there is none; a lag item first if something was lost.

        Always a checkpoint, also when an item is there already and when it raises. Cancelled: no item was taken.

        Raises:
            trio.EndOfChannel: the broadcast was closed and everything that was left has been received.
            trio.ClosedResourceError: this cursor was closed, before or during the call.
            trio.BusyResourceError: another task is receiving from this cursor; subscribe once per task.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._receiving:
            await trio.lowlevel.cancel_shielded_checkpoint()
            self._raise_busy()
        self._receiving = True
        try:
            if not self._events and not self._closed and not self._broadcast._closed:
                # The publisher only wakes us; we take the item when we run. Nobody else can take it meanwhile, a
                # cursor never drops its last item, and cancelling us before we run leaves it where it is.
                await self._sleep()
                return self._take()
            try:
                return self._take()
            finally:
                await trio.lowlevel.cancel_shielded_checkpoint()
        finally:
            self._receiving = False

    @trio.lowlevel.enable_ki_protection
    def receive_nowait(self) -> T:
        """Returns the next item if there is one, a lag item first if something was lost. Not a checkpoint.

        Raises:
            trio.WouldBlock: there is nothing at the moment.
            trio.EndOfChannel: as :meth:`receive`.
            trio.ClosedResourceError: as :meth:`receive`.
            trio.BusyResourceError: as :meth:`receive`.
        """
        if self._receiving:
            self._raise_busy()
        return self._take()

    @trio.lowlevel.enable_ki_protection
    def close(self) -> None:
        """Stops receiving and frees what the cursor holds, at once. Closing twice is closing once.

        A task that waits in :meth:`receive` gets :exc:`trio.ClosedResourceError`.
        """
        if self._closed:
            return
        self._closed = True
        self._broadcast._cursors.pop(self, None)
        self._lanes.clear()
        self._order.clear()
        self._events = self._bytes = self._unreported = 0
        self._lag_item = None
        self._wake()

    async def aclose(self) -> None:
        """As :meth:`close`, and a checkpoint. Cancelled: it is closed all the same."""
        self.close()
        await trio.lowlevel.checkpoint()

    def statistics(self) -> CursorStatistics:
        """Returns what the cursor holds and has lost."""
        return CursorStatistics(
            events=self._events,
            bytes=self._bytes,
            max_events=self._max_events,
            max_bytes=self._max_bytes,
            dropped_events=self._dropped_events,
            dropped_bytes=self._dropped_bytes,
            lag_pending=self._unreported > 0,
            receiving=self._receiving,
        )

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Cursor {state}, {self._events} events ({self._bytes} bytes) wait, {self._dropped_events} dropped>"

    def _put(self, entries: list[_Entry[T]]) -> None:
        lanes, max_events, max_bytes = self._lanes, self._max_events, self._max_bytes
        for entry in entries:
            lane = lanes.get(entry[1])
            if lane is None:
                lane = self._add_lane(entry[1])
            lane.append(entry)
            self._events += 1
            self._bytes += entry[2]
            # After each item, not after the batch: publishing one by one must give the same.
            while (self._events > max_events or self._bytes > max_bytes) and self._events > 1:
                self._drop_one()
        if entries:
            self._wake()

    def _add_lane(self, rank: int) -> deque[_Entry[T]]:
        lane: deque[_Entry[T]] = deque()
        self._lanes[rank] = lane
        insort(self._order, (rank, lane), key=lambda pair: pair[0])
        return lane

    def _drop_one(self) -> None:
        lane = next(lane for _, lane in self._order if lane)
        _, _, size, item = lane.popleft()
        self._events -= 1
        self._bytes -= size
        self._dropped_events += 1
        self._dropped_bytes += size
        self._lag_item = self._lag(self._lag_item, item)
        self._unreported += 1

    def _take(self) -> T:
        if self._closed:
            raise trio.ClosedResourceError("this cursor was closed; subscribe again for what comes from now on")
        if self._unreported:
            lag_item, self._lag_item, self._unreported = self._lag_item, None, 0
            return lag_item  # type: ignore[return-value]  # set whenever _unreported is; T itself may include None
        if self._events:
            # min() over the ranks' first items restores the order of publication.
            _, _, size, item = min((lane for _, lane in self._order if lane), key=_first_number).popleft()
            self._events -= 1
            self._bytes -= size
            return item
        if self._broadcast._closed:
            raise trio.EndOfChannel
        raise trio.WouldBlock

    async def _sleep(self) -> None:
        def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            self._waiter = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._waiter = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    def _wake(self) -> None:
        if self._waiter is not None:
            task, self._waiter = self._waiter, None
            trio.lowlevel.reschedule(task)

    @staticmethod
    def _raise_busy() -> NoReturn:
        raise trio.BusyResourceError(
            "another task is already receiving from this cursor; give each task a cursor of its own with subscribe()"
        )


def _first_number(lane: deque[_Entry[T]]) -> int:
    return lane[0][0]


__all__ = [
    "DEFAULT_MAX_BYTES",
    "DEFAULT_MAX_EVENTS",
    "Broadcast",
    "BroadcastStatistics",
    "Cursor",
    "CursorStatistics",
]
