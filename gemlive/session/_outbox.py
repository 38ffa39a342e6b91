"""The queue between the tasks that send and the one that writes, and the record of what became of each message.

One queue for all classes, so everything leaves in the order in which it was accepted; media that is thrown away leaves
a hole and moves nothing. Pure: time comes in as a value, and what happened goes out as values, so the contract of
docs/session.md can be tested without a clock or a socket. The session calls :meth:`Outbox.accept`; the writer
:meth:`Outbox.take` and :meth:`Outbox.wrote`; the supervisor the rest, when connections end and begin.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import attrs

from gemlive import codec
from gemlive.audio import INPUT_MIME_TYPE
from gemlive.session._receipt import Receipt, State
from gemlive.types import Blob, ClientMessage, RealtimeInput

Kind = Literal["content", "tool", "mark", "audio", "video"]

MAX_MESSAGES = 64
"""Messages other than media that may wait before senders do. Enough to never be met by a person's typing or a burst of
tool answers; small enough that a program which outruns the network notices within a second."""

MEDIA_MAX_AGE_S = 2.0
"""Realtime media that has waited longer is dropped: heard two seconds late, speech confuses turn-taking more than its
absence does."""

RESUME_MAX_AGE_S = 0.5
"""The same after a reconnect without an index: older audio would be heard as a late interruption."""

MAX_AUDIO_BYTES = 4 * 2**20
"""Audio that may wait: over two minutes at 16 kHz, so the age limit acts first at any sane rate."""

MAX_BATCH_BYTES = 64 * 2**10
"""Frames handed to the transport at once. A write saves a system call per message up to about this size, and whatever
is in a batch when the connection breaks becomes uncertain, so a batch is kept no larger than it pays."""

MAX_HOLES = 256
"""Places that dropped media may leave behind in the queue before it is compacted."""

JOURNAL_MESSAGES = 256
"""Written messages whose fate is open, media apart: many turns of a conversation, and a handle comes with each turn."""

JOURNAL_BYTES = 4 * 2**20
"""The same in bytes of frames; a few images."""

RECENT_KINDS = 8
"""Runs of message kinds that are remembered for the report of a lost session."""

_MEDIA = ("audio", "video")


@attrs.define(eq=False)
class Entry:
    """One accepted message.

    Attributes:
        frame: what goes over the wire.
        message: what the caller meant, for reports; None for media, which is never reported one by one.
        kind: the class of the delivery contract.
        accepted_at: when, in seconds of the session's clock.
        receipt: the caller's view.
        audio_ms: duration of audio, 0 for everything else.
        media_bytes: size of media before encoding, 0 for everything else.
        mark: which mark this is, None for everything else.
        calls: ids and names of the calls that a tool response answers, and when they were asked, as an order; None
            when nobody saw them being asked.
        asks: whether the model is expected to answer it.
        is_history: whether it opened the session as history. It is never sent again as it was, for it may be what
            the server closed on.
        index: which message after the setup it was on its connection, counted from 1; 0 before it was taken.
        written: when it was written, as an order, None before.
        answered: whether a turn was complete after it was written.
    """

    frame: str
    message: ClientMessage | None
    kind: Kind
    accepted_at: float
    receipt: Receipt = attrs.field(factory=Receipt)
    audio_ms: float = 0.0
    media_bytes: int = 0
    mark: Literal["activity_start", "activity_end", "audio_stream_end"] | None = None
    calls: tuple[tuple[str | None, str | None, float | None], ...] = ()
    asks: bool = False
    is_history: bool = False
    index: int = 0
    written: float | None = None
    answered: bool = False
    holds_slot: bool = False
    is_gone: bool = False


@attrs.frozen
class Dropped:
    """Media that will not be sent."""

    audio_ms: float = 0.0
    video_frames: int = 0
    reason: str = ""


@attrs.frozen
class Batch:
    """What the writer writes next.

    Attributes:
        entries: in the order of departure.
        dropped: media that grew too old while it waited.
        freed: how many places for messages became free.
    """

    entries: tuple[Entry, ...]
    dropped: tuple[Dropped, ...] = ()
    freed: int = 0


@attrs.frozen
class Carried:
    """What a new connection starts with, after :meth:`Outbox.reconnected`.

    Attributes:
        uncertain: messages nobody can vouch for, in the order of sending.
        orphans: tool responses whose calls the resumed state does not know: id and name and the response entry.
        dropped: media that was too old.
        freed: how many places for messages became free.
    """

    uncertain: tuple[ClientMessage, ...] = ()
    orphans: tuple[Entry, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    freed: int = 0


@attrs.frozen
class OutboxStatistics:
    """Counts since the session began, and what waits now.

    Attributes:
        messages_waiting: messages other than media in the queue, at most 64 plus what a reconnect put back.
        audio_ms_waiting: milliseconds of audio in the queue.
        journal_messages: written messages whose fate is open.
        journal_overflowed: messages that became uncertain because the journal was full.
        messages_written: messages of all classes written.
        audio_ms_written: milliseconds of audio written.
        audio_ms_dropped: milliseconds of audio dropped.
        video_frames_dropped: video frames dropped.
    """

    messages_waiting: int = 0
    audio_ms_waiting: float = 0.0
    journal_messages: int = 0
    journal_overflowed: int = 0
    messages_written: int = 0
    audio_ms_written: float = 0.0
    audio_ms_dropped: float = 0.0
    video_frames_dropped: int = 0


class Outbox:
    """Holds what was accepted until it is written, and what was written until its fate is known.

    Args:
        keeps_journal: whether later news about written messages is possible (resumption is on). Without it a message
            is final as soon as it is written.
        is_transparent: whether the server was asked to say which messages a handle covers (Vertex AI).
    """

    def __init__(self, *, keeps_journal: bool, is_transparent: bool = False) -> None:
        self._keeps_journal = keeps_journal
        self._is_transparent = is_transparent and keeps_journal
        self._index = 0
        self._has_index = False
        self._covered_index = 0
        self._covered_activity_open = False
        self._journaled_media: deque[Entry] = deque()
        self._recent: deque[tuple[str, int]] = deque(maxlen=RECENT_KINDS)
        self._queue: deque[Entry] = deque()
        self._audio: deque[Entry] = deque()
        self._audio_bytes = 0
        self._video: Entry | None = None
        self._departing: list[Entry] = []
        self._journal: deque[Entry] = deque()
        self._journal_bytes = 0
        self._waiting = 0
        self._holes = 0
        self._activity_open = False
        self._activity_has_audio = False
        self._has_lost_audio = False
        self._overflowed = 0
        self._written = 0
        self._audio_ms_written = 0.0
        self._audio_ms_dropped = 0.0
        self._video_dropped = 0

    # --- the way out -------------------------------------------------------------------------------------------------

    def accept(self, entry: Entry) -> list[Dropped]:
        """Queues a message and returns the media that had to make room for it."""
        dropped = self._expire(entry.accepted_at, MEDIA_MAX_AGE_S)
        if entry.kind == "audio":
            self._audio.append(entry)
            self._audio_bytes += entry.media_bytes
            over = self._drop_audio_while(lambda _: self._audio_bytes > MAX_AUDIO_BYTES)
            if over:
                dropped.append(
                    Dropped(audio_ms=over, reason=f"more than {MAX_AUDIO_BYTES} bytes of audio were waiting")
                )
        elif entry.kind == "video":
            if self._video is not None:
                self._drop(self._video, "a newer video frame came before it was sent")
                dropped.append(Dropped(video_frames=1, reason="a newer video frame came before it was sent"))
            self._video = entry
        else:
            self._waiting += 1
        self._queue.append(entry)
        return dropped

    def take(self, now: float) -> Batch:
        """Removes and returns what is to be written next; call :meth:`wrote` when it is."""
        dropped = self._expire(now, MEDIA_MAX_AGE_S)
        batch: list[Entry] = []
        size = 0
        freed = self._drop_empty_activities() if self._has_lost_audio else 0
        while self._queue and (not batch or size + len(self._queue[0].frame) <= MAX_BATCH_BYTES):
            entry = self._queue.popleft()
            if entry.is_gone:
                continue
            if entry.mark == "activity_end" and self._activity_open and not self._activity_has_audio:
                # Its beginning has left, and its audio was dropped: silence keeps it from being empty.
                self._depart(_silence(now), batch)
            freed += self._leave(entry)
            self._depart(entry, batch)
            size += len(entry.frame)
        # From here on nobody can say that nothing of them has left.
        self._departing = batch
        return Batch(tuple(batch), tuple(dropped), freed)

    def wrote(self, now: float, *, order: float) -> None:
        """Records that the last batch was written whole; ``order`` is comparable with those of calls and handles."""
        for entry in self._departing:
            entry.written = order
            self._written += 1
            self._audio_ms_written += entry.audio_ms
            if entry.index <= self._covered_index:
                # The server told that it has it, before we knew that it was written.
                self._cover(entry)
                continue
            is_fleeting = entry.kind in _MEDIA or entry.mark is not None
            final = not self._keeps_journal or (is_fleeting and not self._is_transparent)
            entry.receipt._settle("written", final=final)
            if final:
                continue
            if entry.kind in _MEDIA:
                self._journaled_media.append(entry)
                continue
            self._journal.append(entry)
            self._journal_bytes += len(entry.frame)
        self._departing = []
        self.retire(now)
        while len(self._journal) > JOURNAL_MESSAGES or self._journal_bytes > JOURNAL_BYTES:
            entry = self._journal.popleft()
            self._forget(entry, "uncertain")
            self._note_covered_mark(entry)  # older than anything that an index will tell apart
            self._overflowed += 1

    # --- what the server tells ---------------------------------------------------------------------------------------

    def turn_completed(self) -> None:
        """Records that a turn was complete: what was written before it has been answered."""
        for entry in self._journal:
            entry.answered = True

    def handle_issued(self, index: int | None = None) -> None:
        """Records that a usable resumption handle came, and settles what it covers.

        Args:
            index: the last message of this connection that is part of the saved state, where the server tells. Where
                it does not, or tells the impossible, what was answered before the handle counts as covered: a
                heuristic, and called so in docs/session.md.
        """
        # Where the service begins to count is not documented (docs/protocol.md 6): an index that cannot be is none.
        self._has_index = self._is_transparent and index is not None and 0 <= index <= self._index
        self._covered_index = index if self._has_index and index is not None else 0
        journal, self._journal = self._journal, deque()
        for entry in journal:
            is_covered = entry.answered
            if self._has_index and index is not None:
                is_covered = entry.index <= index
            if not is_covered:
                self._journal.append(entry)
                continue
            self._forget(entry, "covered")
            self._note_covered_mark(entry)
        if self._has_index and index is not None:
            while self._journaled_media and self._journaled_media[0].index <= index:
                self._journaled_media.popleft().receipt._settle("written", final=True)

    def calls_cancelled(self, ids: Iterable[str]) -> int:
        """Drops the answers that wait and that nobody wants any more; returns how many message places that frees."""
        unwanted = set(ids)
        freed = 0
        for entry in self._queue:
            if entry.kind == "tool" and not entry.is_gone and {call_id for call_id, _, _ in entry.calls} <= unwanted:
                freed += self._leave(entry)
                entry.is_gone = True
                entry.receipt._settle("dropped", final=True, reason="the server cancelled the call")
        return freed

    # --- connections end and begin -----------------------------------------------------------------------------------

    def reconnected(
        self,
        now: float,
        *,
        policy: Literal["report", "replay", "drop"],
        resumed_from: float | None,
        activity_start: Callable[[], Entry],
    ) -> Carried:
        """Decides what of the old connection goes to the new one.

        Args:
            now: the time.
            policy: what to do with uncertain messages.
            resumed_from: when the resumption handle in use was issued, as an order; None when the new connection
                started afresh.
            activity_start: makes the mark that reopens an activity which was open when the connection ended.
        """
        by_index = resumed_from is not None and self._has_index
        dropped = self._expire(now, MEDIA_MAX_AGE_S if by_index else RESUME_MAX_AGE_S)
        past = sorted([*self._journal, *self._journaled_media, *self._departing], key=lambda entry: entry.index)
        for entry in [entry for entry in past if entry.index <= self._covered_index]:
            self._cover(entry)
            past.remove(entry)
        was_open = self._covered_activity_open if by_index else self._activity_open
        again, uncertain, orphans = self._judge(past, now, policy=policy, resumed_from=resumed_from, by_index=by_index)
        lost = [entry for entry in again if entry.kind in _MEDIA and now - entry.accepted_at >= MEDIA_MAX_AGE_S]
        self._journal.clear()
        self._journaled_media.clear()
        self._departing = []
        self._journal_bytes = self._index = self._covered_index = 0
        # The same handle may be presented again, and holds nothing of what leaves from here on.
        self._has_index = by_index
        freed = 0
        for entry in [e for e in self._queue if e.kind == "tool" and not e.is_gone]:
            if _fate_of_answer(entry, resumed_from) == "orphan":
                orphans.append(entry)
                freed += self._leave(entry)
                entry.is_gone = True
        for entry in orphans:
            if entry.written is None and entry.index == 0:
                entry.receipt._settle("dropped", final=True, reason="its call belongs to a connection that is gone")
            else:
                entry.receipt._settle("uncertain", final=True)
        for entry in lost:
            dropped.append(self._count_lost(entry))
        for entry in reversed([entry for entry in again if entry not in lost]):
            dropped += self._put_back(entry)
        freed += self._balance_activities(was_open, activity_start)
        messages = tuple(entry.message for entry in uncertain if entry.message is not None)
        return Carried(messages, tuple(orphans), tuple(dropped), freed)

    def _judge(
        self,
        past: Sequence[Entry],
        now: float,
        *,
        policy: Literal["report", "replay", "drop"],
        resumed_from: float | None,
        by_index: bool,
    ) -> tuple[list[Entry], list[Entry], list[Entry]]:
        """Divides what left the old connection and is not covered: to send again, uncertain, orphans; settles some."""
        again: list[Entry] = []
        uncertain: list[Entry] = []
        orphans: list[Entry] = []
        for entry in past:
            if entry.kind == "tool":
                fate = _fate_of_answer(entry, resumed_from)
                fate = "again" if by_index and fate == "uncertain" else fate
                {"again": again, "orphan": orphans, "uncertain": uncertain}[fate].append(entry)
            elif by_index:
                again.append(entry)
            elif entry.kind != "content":
                # Media is sent at most once; a mark is restored as a state and never replayed raw.
                entry.receipt._settle("uncertain", final=True)
            else:
                uncertain.append(entry)
        for entry in uncertain:
            if policy == "replay" and not entry.is_history:
                again.append(entry)
            elif policy == "drop":
                entry.receipt._settle("dropped", final=True, reason="uncertain after a reconnect, and policy says drop")
            else:
                entry.receipt._settle("uncertain", final=True)
        again.sort(key=lambda entry: entry.index)
        return again, uncertain, orphans

    def finish(self, *, is_normal: bool, reason: str) -> None:
        """Gives every message its last state at the end of the session."""
        for entry in self._departing:
            entry.receipt._settle("uncertain", final=True)
        for entry in [*self._journal, *self._journaled_media]:
            is_known = is_normal or entry.kind in _MEDIA
            entry.receipt._settle("written" if is_known else "uncertain", final=True)
        for entry in self._queue:
            if not entry.is_gone:
                if entry.kind == "audio":
                    self._audio_ms_dropped += entry.audio_ms
                entry.receipt._settle("dropped", final=True, reason=reason)
        for queue in (self._departing, self._journal, self._journaled_media, self._queue, self._audio):
            queue.clear()
        self._audio_bytes = self._journal_bytes = self._waiting = 0
        self._video = None

    # --- looking -----------------------------------------------------------------------------------------------------

    @property
    def retires_at(self) -> float | None:
        """When the oldest written media that a reconnect might send again becomes final; None when there is none."""
        return self._journaled_media[0].accepted_at + MEDIA_MAX_AGE_S if self._journaled_media else None

    def retire(self, now: float) -> None:
        """Gives media that no reconnect would send again its last state."""
        # The same sum as in retires_at: by the difference, rounding could make that time come too early for ever.
        while self._journaled_media and now >= self._journaled_media[0].accepted_at + MEDIA_MAX_AGE_S:
            self._journaled_media.popleft().receipt._settle("written", final=True)

    @property
    def has_question(self) -> bool:
        """Whether something waits that the model is expected to answer."""
        return any(entry.asks and not entry.is_gone for entry in self._queue)

    def recent(self) -> tuple[str, ...]:
        """Returns which kinds of messages were written last, the oldest first, such as ``"37 audio"``."""
        return tuple(f"{times} {kind}" for kind, times in self._recent)

    def statistics(self) -> OutboxStatistics:
        """Returns the counts."""
        return OutboxStatistics(
            messages_waiting=self._waiting,
            audio_ms_waiting=sum(entry.audio_ms for entry in self._audio),
            journal_messages=len(self._journal) + len(self._journaled_media),
            journal_overflowed=self._overflowed,
            messages_written=self._written,
            audio_ms_written=self._audio_ms_written,
            audio_ms_dropped=self._audio_ms_dropped,
            video_frames_dropped=self._video_dropped,
        )

    # --- within ------------------------------------------------------------------------------------------------------

    def _leave(self, entry: Entry) -> int:
        """Takes an entry out of the counts of what waits; returns how many message places that frees."""
        if entry.kind == "audio":
            # Audio leaves in the order in which it came, so this is the oldest.
            assert self._audio[0] is entry
            self._audio.popleft()
            self._audio_bytes -= entry.media_bytes
        elif entry.kind == "video":
            self._video = None
        else:
            self._waiting -= 1
            if entry.mark == "activity_start":
                self._activity_open = True
            elif entry.mark == "activity_end":
                self._activity_open = False
        freed = int(entry.holds_slot)
        entry.holds_slot = False
        return freed

    def _put_back(self, entry: Entry) -> list[Dropped]:
        """Puts an entry that left once before all others; returns what is dropped instead."""
        if entry.kind == "video" and self._video is not None:
            return [self._count_lost(entry, "a newer video frame came before it was sent again")]
        entry.receipt._settle("unsent", final=False)
        entry.written, entry.answered, entry.index = None, False, 0
        entry.receipt._answer_turn = None
        self._queue.appendleft(entry)
        if entry.kind == "audio":
            self._audio.appendleft(entry)
            self._audio_bytes += entry.media_bytes
        elif entry.kind == "video":
            self._video = entry
        else:
            self._waiting += 1
        return []

    def _balance_activities(self, is_open: bool, activity_start: Callable[[], Entry]) -> int:
        """Makes the marks that wait fit the state in which the new connection begins; returns message places freed.

        An activity that was open is opened again, unless nothing but its end is left; an activity whose audio is gone
        goes too, for the server closes with 1007 on an empty one (docs/protocol.md 3.7); an end without a beginning
        and a beginning inside an activity are left out.

        Args:
            is_open: whether an activity was open where the queue begins.
            activity_start: makes the mark that opens it again.
        """
        self._activity_open = False
        self._covered_activity_open = is_open and self._has_index
        useless: list[Entry] = []
        beginning: Entry | None = None
        is_restored = is_open
        has_audio = False
        for entry in [entry for entry in self._queue if not entry.is_gone]:
            if entry.kind in _MEDIA:
                has_audio = True
            elif entry.mark == "activity_start":
                if is_open:
                    useless.append(entry)
                else:
                    is_open, beginning, has_audio = True, entry, False
            elif entry.mark == "activity_end":
                if not is_open:
                    useless.append(entry)
                elif not has_audio:
                    useless += [entry] if beginning is None else [beginning, entry]
                    # Ended for good: the next connection has no need to open it either.
                    self._covered_activity_open = self._covered_activity_open and beginning is not None
                    is_restored = is_restored and beginning is not None
                is_open, beginning = False, None
        freed = 0
        for entry in useless:
            self._waiting -= 1
            freed += int(entry.holds_slot)
            entry.holds_slot = False
            entry.is_gone = True
            entry.receipt._settle("dropped", final=True, reason="its activity ended with the connection")
        if is_restored:
            self._queue.appendleft(activity_start())
            self._waiting += 1
        return freed

    def _cover(self, entry: Entry) -> None:
        """Settles what the saved state holds and what the journal does not."""
        entry.receipt._settle("written" if entry.kind in _MEDIA else "covered", final=True)
        self._note_covered_mark(entry)

    def _note_covered_mark(self, entry: Entry) -> None:
        if entry.mark in ("activity_start", "activity_end"):
            self._covered_activity_open = entry.mark == "activity_start"

    def _drop_empty_activities(self) -> int:
        """Drops the marks of activities of which no audio is left; returns the message places that frees.

        Sent, an empty activity would cost the session: the server closes with 1007 (docs/protocol.md 3.7).
        """
        self._has_lost_audio = False
        beginning: Entry | None = None
        freed = 0
        for entry in [entry for entry in self._queue if not entry.is_gone]:
            if entry.mark == "activity_start":
                beginning = entry
            elif entry.kind in _MEDIA:
                beginning = None
            elif entry.mark == "activity_end" and beginning is not None:
                for mark in (beginning, entry):
                    self._waiting -= 1
                    freed += int(mark.holds_slot)
                    mark.holds_slot, mark.is_gone = False, True
                    mark.receipt._settle("dropped", final=True, reason="the audio of its activity was dropped")
                beginning = None
        return freed

    def _count_lost(self, entry: Entry, reason: str = "it was too old to be sent again") -> Dropped:
        entry.receipt._settle("dropped", final=True, reason=reason)
        self._audio_ms_dropped += entry.audio_ms
        self._video_dropped += entry.kind == "video"
        return Dropped(entry.audio_ms, int(entry.kind == "video"), reason)

    def _depart(self, entry: Entry, batch: list[Entry]) -> None:
        self._index += 1
        entry.index = self._index
        self._remember(entry.mark or entry.kind)
        batch.append(entry)
        if entry.kind == "audio":
            self._activity_has_audio = True
        elif entry.mark == "activity_start":
            self._activity_has_audio = False

    def _remember(self, kind: str) -> None:
        if self._recent and self._recent[-1][0] == kind:
            kind, times = self._recent.pop()
            self._recent.append((kind, times + 1))
        else:
            self._recent.append((kind, 1))

    def _drop(self, entry: Entry, reason: str) -> None:
        entry.is_gone = True
        entry.receipt._settle("dropped", final=True, reason=reason)
        self._audio_ms_dropped += entry.audio_ms
        self._video_dropped += entry.kind == "video"
        self._has_lost_audio = self._has_lost_audio or entry.kind == "audio"
        # Behind a message that waits for a reconnect, an hour of dropped audio would be 180,000 holes.
        entry.frame = ""
        self._holes += 1
        if self._holes > MAX_HOLES:
            self._queue = deque(kept for kept in self._queue if not kept.is_gone)
            self._holes = 0

    def _drop_audio_while(
        self, condition: Callable[[Entry], bool], reason: str = "too much audio was waiting"
    ) -> float:
        milliseconds = 0.0
        while self._audio and condition(self._audio[0]):
            entry = self._audio.popleft()
            self._audio_bytes -= entry.media_bytes
            milliseconds += entry.audio_ms
            self._drop(entry, reason)
        return milliseconds

    def _expire(self, now: float, max_age_s: float) -> list[Dropped]:
        reason = f"it waited longer than {max_age_s:g} s"
        dropped = []
        audio_ms = self._drop_audio_while(lambda entry: now - entry.accepted_at >= max_age_s, reason)
        if audio_ms:
            dropped.append(Dropped(audio_ms=audio_ms, reason=f"audio waited longer than {max_age_s:g} s"))
        if self._video is not None and now - self._video.accepted_at >= max_age_s:
            self._drop(self._video, reason)
            self._video = None
            dropped.append(Dropped(video_frames=1, reason=f"a video frame waited longer than {max_age_s:g} s"))
        return dropped

    def _forget(self, entry: Entry, state: State) -> None:
        self._journal_bytes -= len(entry.frame)
        entry.receipt._settle(state, final=True)


def _silence(now: float) -> Entry:
    """Returns 20 ms that nobody accepted and no count has."""
    message = RealtimeInput(audio=Blob(data=bytes(640), mime_type=INPUT_MIME_TYPE))
    return Entry(codec.encode(message), None, "audio", now)


def _fate_of_answer(entry: Entry, resumed_from: float | None) -> Literal["again", "orphan", "uncertain"]:
    """Decides about a tool response that was not known to be consumed when its connection ended.

    The resumed model knows a call only if the handle was issued after the call. It still waits for the answer only if
    the handle was issued before the answer was written.
    """
    asked = [at for _, _, at in entry.calls if at is not None]
    if not asked:
        # Nobody saw these calls being asked; the server may know them from before this session.
        return "again" if entry.written is None else "uncertain"
    if resumed_from is None or any(at > resumed_from for at in asked):
        return "orphan"
    if entry.written is None or resumed_from <= entry.written:
        return "again"
    return "uncertain"


def merge(dropped: Iterable[Dropped]) -> Sequence[Dropped]:
    """Returns the same drops with those of one reason added up, in the order of their first appearance."""
    sums: dict[str, Dropped] = {}
    for one in dropped:
        so_far = sums.get(one.reason, Dropped(reason=one.reason))
        sums[one.reason] = Dropped(so_far.audio_ms + one.audio_ms, so_far.video_frames + one.video_frames, one.reason)
    return tuple(sums.values())
