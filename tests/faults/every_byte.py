"""Golden conversations, and the check of what became of one after its connection was dropped at a certain byte.

::

    Golden.program  ->  session  ->  streams.Network (cut at byte N)  ->  emulator: Golden.model
          |                                   |                                |
          +---------- Outcome: receipts, events, replies, wires, the emulator's record ----------+
                                              |
                                          violations

A program that follows docs/session.md talks to the emulator; the network is cut once, at a byte of one direction,
counted over all connections. What comes out is compared with what docs/session.md promises, by the receipts and events
that the program got and by what the emulator wrote down. The judge imports nothing of ``session``.

One case by itself: ``python -m tests.faults.every_byte text up 517``.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Literal

import attrs
import trio
import trio.lowlevel
from trio.testing import MockClock

import gemlive
from gemlive.emulator import Behaviour, Script, Server, Turn, serve_in_memory
from gemlive.errors import ConnectError, GemliveError
from gemlive.types import (
    ClientContent,
    ClientMessage,
    Connected,
    Content,
    Event,
    FunctionDeclaration,
    FunctionResponse,
    InputDropped,
    OrphanedToolResult,
    Part,
    RealtimeInput,
    Reconnected,
    ResumptionUpdate,
    SessionClosed,
    Setup,
    SetupComplete,
    ToolCall,
    ToolResponse,
    UsageMetadata,
)
from tests.faults.streams import CLOSE, Cut, Direction, How, Network, Wire, parse

MODEL = "gemini-live-2.5-flash-preview"
"""A half-cascade model: it writes when asked to, and nothing comes unasked."""

MAX_BYTES = 2048
"""The size of a golden conversation in each direction, upgrade included."""

TOO_LONG_S = 300.0
"""Virtual time after which a conversation hangs. The longest golden one takes 10 s; each deadline of a connection is
at most 15 s, and one cut costs one of them."""

Kind = Literal["text", "tool", "mark", "audio"]


@attrs.frozen
class Sent:
    """One message that the program sent.

    Attributes:
        label: what it said, different for each message.
        kind: its class of the delivery contract.
        receipt: what became of it.
    """

    label: str
    kind: Kind
    receipt: gemlive.Receipt


@attrs.define
class Notes:
    """What the program saw.

    Attributes:
        sent: what it sent, in the order of acceptance.
        replies: what it asked, the state of the reply, and the reply, in order.
        events: every event of the session.
    """

    sent: list[Sent] = attrs.Factory(list)
    replies: list[tuple[str, str | None, str]] = attrs.Factory(list)
    events: list[Event] = attrs.Factory(list)

    def note(self, label: str, kind: Kind, receipt: gemlive.Receipt) -> gemlive.Receipt:
        """Adds a message that was accepted."""
        self.sent.append(Sent(label, kind, receipt))
        return receipt


@attrs.define
class Outcome:
    """Everything that is known about one run.

    Attributes:
        notes: what the program saw.
        wires: the connections.
        server: the emulator, with its record.
        known: what the model knew of the user in its last turn, text by text.
        error: what came out of ``open_session``, None for nothing.
        has_ended: whether the program came to its end.
        left_after_s: how long leaving took; None where the session was never entered.
        unsettled: labels of messages whose receipt was not final when the session was over.
        up_bytes: how many bytes passed to the server.
        down_bytes: how many passed to the client.
        hung: whether it took too long.
    """

    notes: Notes = attrs.Factory(Notes)
    wires: Sequence[Wire] = ()
    server: Server | None = None
    known: list[str] = attrs.Factory(list)
    error: BaseException | None = None
    has_ended: bool = False
    left_after_s: float | None = None
    unsettled: list[str] = attrs.Factory(list)
    up_bytes: int = 0
    down_bytes: int = 0
    hung: bool = False

    @property
    def messages(self) -> list[tuple[int, ClientMessage]]:
        """Every message of the client that the emulator received, with its connection, in the order of arrival."""
        assert self.server is not None
        found = [entry for conversation in self.server.conversations for entry in conversation.messages]
        return [(entry.connection, entry.message) for entry in sorted(found, key=lambda entry: entry.at)]


Program = Callable[[gemlive.Session, Notes], Awaitable[None]]


@attrs.frozen(kw_only=True)
class Golden:
    """One conversation.

    Attributes:
        name: what it is called.
        program: what the client does.
        model: what the server answers.
        config: the session's configuration.
        connections: how the emulator behaves on them.
        retries_first: whether the first dial follows the reconnect policy too.
        down_piece_bytes: how many bytes the client receives at once. Few of them spread what the server says over time:
            the next question then leaves between the end of a turn and the resumption handle that does not cover it.
        is_vertex: whether the server plays Vertex AI.
        is_exact: whether the server tells which messages it consumed, so that each takes effect once.
    """

    name: str
    program: Program
    model: Callable[[Turn], Awaitable[None]]
    config: gemlive.SessionConfig
    connections: tuple[Behaviour, ...] = ()
    retries_first: bool = True
    down_piece_bytes: int = 2**16
    is_vertex: bool = False
    is_exact: bool = False


# --- the conversations -----------------------------------------------------------------------------------------------


async def answer(turn: Turn) -> None:
    """Says what was said, in few bytes."""
    turn.usage = UsageMetadata()
    await turn.say(answer_to(turn.text))


def answer_to(text: str) -> str:
    """Returns what the model says to a text."""
    return f"<{text}>"


async def ask(session: gemlive.Session, notes: Notes, text: str) -> None:
    """Sends a text and waits for the answer, or for the news that there is none."""
    async with session.turn() as turn:
        notes.note(text, "text", await session.send_text(text))
        await turn.wait()
    notes.replies.append((text, turn.state, turn.text))


async def ask_plainly(session: gemlive.Session, notes: Notes, text: str) -> None:
    """Asks with ``Session.ask``, which says itself when the answer is lost."""
    reply = await session.ask(text)
    notes.replies.append((text, reply.state, reply.text))


async def talk(session: gemlive.Session, notes: Notes) -> None:
    """Turns of text."""
    await ask(session, notes, "one")
    await ask(session, notes, "two")
    await ask_plainly(session, notes, "three")


PCM = [bytes([number, 1] * 16) for number in range(3)]
"""What is spoken: 1 ms each, every chunk different."""


async def speak(session: gemlive.Session, notes: Notes) -> None:
    """A turn of speech between marks, and a question after it."""
    async with session.turn() as turn:
        notes.note("start", "mark", await session.activity_start())
        for pcm in PCM:
            notes.note(str(pcm), "audio", await session.send_audio(pcm))
        notes.note("end", "mark", await session.activity_end())
        await turn.wait()
    await ask_plainly(session, notes, "done?")


async def speak_back(turn: Turn) -> None:
    """Answers speech with speech."""
    turn.usage = UsageMetadata()
    await turn.speak(PCM[0] * 2, transcript=answer_to(turn.text))


async def call_back(session: gemlive.Session, notes: Notes) -> None:
    """A question that makes the model call a function, and a question after it."""
    async with session.turn() as turn:
        notes.note("call", "text", await session.send_text("call"))
        async for event in turn:
            if isinstance(event, ToolCall):
                call_id = event.calls[0].id
                result = FunctionResponse(id=call_id, name="f", response={})
                notes.note(str(call_id), "tool", await session.send_tool_response(result))
    notes.replies.append(("call", turn.state, turn.text))
    await ask_plainly(session, notes, "done?")


async def call(turn: Turn) -> None:
    """Calls a function when it is told to, and saves the conversation while the call is open."""
    turn.usage = UsageMetadata()
    if "call" in turn.text:
        (call_id,) = await turn.begin_calls([("f", {})])
        await turn.update_resumption()
        await turn.wait_result(call_id)
    await turn.say(answer_to(turn.text))


async def be_handed_over(session: gemlive.Session, notes: Notes) -> None:
    """A question before the GoAway, one after it."""
    await ask(session, notes, "one")
    await trio.sleep(3)
    await ask(session, notes, "two")


async def be_counted(session: gemlive.Session, notes: Notes) -> None:
    """Questions, one of them in two messages, where the server tells what it has consumed."""
    await ask_plainly(session, notes, "one")
    notes.note("two", "text", await session.send_client_content("two", turn_complete=False))
    await ask(session, notes, "three")
    await ask_plainly(session, notes, "four")


TEXT_CONFIG = gemlive.SessionConfig(model=MODEL, response_modalities=("TEXT",))

GOLDEN = {
    golden.name: golden
    for golden in (
        Golden(name="text", program=talk, model=answer, config=TEXT_CONFIG, retries_first=False, down_piece_bytes=16),
        Golden(
            name="audio",
            program=speak,
            model=speak_back,
            config=gemlive.SessionConfig(
                model=MODEL, response_modalities=("AUDIO",), vad="manual", output_audio_transcription=True
            ),
        ),
        Golden(
            name="tool",
            program=call_back,
            model=call,
            config=gemlive.SessionConfig(
                model=MODEL, response_modalities=("TEXT",), tools=(FunctionDeclaration(name="f"),)
            ),
        ),
        Golden(
            name="goaway",
            program=be_handed_over,
            model=answer,
            config=TEXT_CONFIG,
            connections=(Behaviour(go_away_after_s=1, go_away_time_left_s=30), Behaviour()),
        ),
        Golden(
            name="vertex",
            program=be_counted,
            model=answer,
            config=gemlive.SessionConfig(model=MODEL, response_modalities=("TEXT",), transparent_resumption=True),
            down_piece_bytes=32,
            is_vertex=True,
            is_exact=True,
        ),
    )
}


# --- running one -----------------------------------------------------------------------------------------------------


def run(golden: Golden, cut: Cut | None) -> Outcome:
    """Plays one conversation, cut or not, under the virtual clock."""
    # What trio leaves to chance is the order of tasks that could run at the same moment; here it is the same each time.
    trio._core._run._r.seed(0)
    return trio.run(_play, golden, cut, clock=MockClock(autojump_threshold=0))


async def _play(golden: Golden, cut: Cut | None) -> Outcome:
    outcome = Outcome()

    async def model(turn: Turn) -> None:
        said = [part.text for content in turn.history if content.role == "user" for part in content.parts or ()]
        outcome.known = [word for text in [*said, turn.text] for word in (text or "").split()]
        await golden.model(turn)

    with trio.move_on_after(TOO_LONG_S) as limit:
        async with serve_in_memory(Script(model=model, connections=golden.connections)) as server:
            network = Network(server.connect, cut=cut)
            network.down.piece_bytes = golden.down_piece_bytes
            server.connect = network
            outcome.server, outcome.wires = server, network.wires
            try:
                await _converse(golden, server, outcome)
            except (GemliveError, BaseExceptionGroup) as error:
                outcome.error = error
            for sent in outcome.notes.sent:
                with trio.move_on_after(1) as patience:
                    await sent.receipt.wait()
                if patience.cancelled_caught:
                    outcome.unsettled.append(sent.label)
        outcome.up_bytes, outcome.down_bytes = network.up.passed, network.down.passed
    outcome.hung = limit.cancelled_caught
    return outcome


async def _converse(golden: Golden, server: Server, outcome: Outcome) -> None:
    async def consume(session: gemlive.Session) -> None:
        async for event in session:
            outcome.notes.events.append(event)

    left_at: float | None = None
    error: BaseException | None = None
    async with trio.open_nursery() as outside:
        try:
            async with gemlive.open_session(
                golden.config,
                endpoint=server.vertex_endpoint if golden.is_vertex else server.endpoint,
                reconnect=gemlive.ReconnectPolicy(first_dial=golden.retries_first),
            ) as session:
                outside.start_soon(consume, session)
                try:
                    await golden.program(session, outcome.notes)
                    outcome.has_ended = True
                finally:
                    left_at = trio.current_time()
        except BaseException as raised:
            error = raised
            if isinstance(raised, trio.Cancelled):
                raise
        finally:
            if left_at is not None:
                outcome.left_after_s = trio.current_time() - left_at
    if error is not None:
        raise error


# --- judging ---------------------------------------------------------------------------------------------------------


def violations(golden: Golden, cut: Cut | None, outcome: Outcome) -> list[str]:
    """Returns how a run broke a promise of docs/session.md; empty when it kept them all."""
    if outcome.hung:
        return [f"it hung: not over after {TOO_LONG_S:g} s"]
    return [
        *_wrong_end(golden, cut, outcome),
        *_wrong_frames(outcome),
        *_wrong_events(outcome),
        *_wrong_texts(golden, outcome),
        *_wrong_media(outcome),
        *_wrong_answers(outcome),
        *_wrong_replies(outcome),
    ]


def _wrong_end(golden: Golden, cut: Cut | None, outcome: Outcome) -> Iterable[str]:
    """The session goes on, or one typed error comes out; and leaving is short."""
    was_entered = outcome.left_after_s is not None
    if outcome.error is not None:
        if cut is None or was_entered or golden.retries_first:
            yield f"a session with a good server ahead of it ended with {outcome.error!r}"
        elif not isinstance(outcome.error, ConnectError):
            yield f"the first dial failed with {outcome.error!r}, which is no ConnectError"
        elif outcome.error.step not in ("tcp", "upgrade", "setup"):
            yield f"the network was cut before the session began, and the error names step {outcome.error.step}"
    elif not outcome.has_ended:
        yield "the program was ended without an error"
    if outcome.left_after_s is not None and outcome.left_after_s > gemlive.Timeouts().close_s + 1e-6:
        yield f"leaving took {outcome.left_after_s:g} s"
    if outcome.unsettled:
        yield f"receipts are not final after the end: {outcome.unsettled}"


def _wrong_frames(outcome: Outcome) -> Iterable[str]:
    """The peer saw whole frames up to the cut, and everywhere else whole frames to the Close."""
    for number, wire in enumerate(outcome.wires, 1):
        said = parse(wire.up, masked=True)
        if said.problem:
            yield f"connection {number}: {said.problem}"
        elif wire.is_cut:
            continue
        elif not said.is_whole:
            yield f"connection {number} was not cut, and ends in half a frame: {said.rest[:40]!r}"
        elif not said.frames or said.frames[-1].opcode != CLOSE:
            yield f"connection {number} was not cut, and ends without a Close frame"


def _wrong_events(outcome: Outcome) -> Iterable[str]:
    """``Reconnected`` comes before what comes of a connection; ``SessionClosed`` once, at the end."""
    events = outcome.notes.events
    if outcome.left_after_s is None:
        return
    closed = [place for place, event in enumerate(events, 1) if isinstance(event, SessionClosed)]
    if closed != [len(events)]:
        yield f"SessionClosed at {closed} of {len(events)} events"
    connection = ready = 0
    for event in events:
        ready += isinstance(event, SetupComplete)
        if ready > connection:
            yield f"the {ready}th SetupComplete came before the news of its connection"
            ready = connection
        if event.at.connection == connection:
            continue
        if isinstance(event, Connected | Reconnected):
            if event.connection != connection + 1:
                yield f"connection {connection} was followed by {event.connection}"
            connection = event.connection
        elif not isinstance(event, InputDropped):
            yield f"{type(event).__name__} of connection {event.at.connection} came before its Reconnected"
            connection = event.at.connection


def _wrong_texts(golden: Golden, outcome: Outcome) -> Iterable[str]:
    """Texts take effect at most once, in order; what the receipts say of them is true."""
    received = [text for _, message in outcome.messages for text in texts_of([message])]
    times, known = Counter(received), Counter(outcome.known)
    reconnects = [event for event in outcome.notes.events if isinstance(event, Reconnected)]
    reported = Counter(text for event in reconnects for text in texts_of(event.uncertain))
    has_index = golden.is_exact and all(event.resumed for event in reconnects)
    labels = [sent.label for sent in outcome.notes.sent if sent.kind == "text"]
    if golden.is_exact and reported and has_index:
        yield f"with an index nothing is uncertain, and yet {dict(reported)}"
    if has_index and outcome.has_ended:
        # Asked with `ask`, a text has no receipt to look at: with an index that makes no difference.
        expected = list(dict.fromkeys([*received, *labels]))
        if sorted(outcome.known) != sorted(expected):
            yield f"with an index each text takes effect once; sent were {expected}, the model knows {outcome.known}"
    for text in {*times, *labels}:
        if not golden.is_exact and times[text] > 1:
            yield f"{text!r} was received {times[text]} times under policy 'report'"
        if known[text] > 1:
            yield f"{text!r} took effect {known[text]} times"
    for sent in outcome.notes.sent:
        if sent.kind != "text":
            continue
        state = sent.receipt.state
        if state in ("written", "covered") and known[sent.label] != 1:
            yield f"the receipt of {sent.label!r} says {state}, and the model knows it {known[sent.label]} times"
        if state == "dropped" and times[sent.label]:
            yield f"the receipt of {sent.label!r} says dropped ({sent.receipt.reason}), and it was received"
        # Where no connection came after the one that was cut, there is no Reconnected that could list it.
        if state == "uncertain" and reported[sent.label] != 1 and not _ended_cut(outcome):
            yield f"the receipt of {sent.label!r} says uncertain, and {reported[sent.label]} Reconnected list it"
        if state != "uncertain" and reported[sent.label]:
            yield f"Reconnected lists {sent.label!r} as uncertain, and its receipt says {state}"
    order = [text for text in labels if text in known]
    if [text for text in outcome.known if text in labels] != order:
        yield f"the model knows {outcome.known}, sent as {labels}"


def _wrong_media(outcome: Outcome) -> Iterable[str]:
    """Audio arrives at most once and in order, between marks that balance on each connection."""
    heard: list[bytes] = []
    is_open: dict[int, bool] = {}
    for connection, message in outcome.messages:
        if not isinstance(message, RealtimeInput):
            continue
        if message.audio is not None and message.audio.data is not None:
            heard.append(message.audio.data)
            if not is_open.get(connection):
                yield f"audio outside of an activity on connection {connection}"
        for mark, opens in ((message.activity_start, True), (message.activity_end, False)):
            if mark is not None:
                if is_open.get(connection, False) is opens:
                    yield f"activities do not balance on connection {connection}"
                is_open[connection] = opens
    if heard != [pcm for pcm in PCM if pcm in heard]:
        yield f"audio arrived twice or out of order: {heard}"
    for sent in outcome.notes.sent:
        arrived = sent.label in map(str, heard)
        if sent.kind == "audio" and sent.receipt.state == "written" and not arrived:
            yield "the receipt of audio says written, and it did not arrive"
        if sent.kind == "audio" and sent.receipt.state == "dropped" and arrived:
            yield f"the receipt of audio says dropped ({sent.receipt.reason}), and it arrived"


def _wrong_answers(outcome: Outcome) -> Iterable[str]:
    """A call is answered once on a connection, and only where the model knows it."""
    handles = {
        connection: message.session_resumption.handle
        for connection, message in outcome.messages
        if isinstance(message, Setup) and message.session_resumption is not None
    }
    asked: set[str | None] = set()
    known_by: dict[str, set[str | None]] = {}
    asked_on: dict[str | None, int] = {}
    for event in outcome.notes.events:
        if isinstance(event, ToolCall):
            asked |= {one.id for one in event.calls}
            asked_on |= {one.id: event.at.connection for one in event.calls}
        if isinstance(event, ResumptionUpdate) and event.handle:
            known_by[event.handle] = set(asked)
    answers = [
        (connection, answer.id)
        for connection, message in outcome.messages
        if isinstance(message, ToolResponse)
        for answer in message.function_responses or ()
    ]
    for (connection, call_id), times in Counter(answers).items():
        if times > 1:
            yield f"call {call_id} was answered {times} times on connection {connection}"
        handle = handles.get(connection)
        is_own = _session_connection(outcome, asked_on.get(call_id, 0)) == connection
        if not is_own and call_id not in known_by.get(handle or "", ()):
            yield f"call {call_id} was answered on connection {connection}, where nobody knows it"
    arrived = {call_id for _, call_id in answers}
    orphans = {event.call_id for event in outcome.notes.events if isinstance(event, OrphanedToolResult)}
    reported = {
        answer.id
        for event in outcome.notes.events
        if isinstance(event, Reconnected)
        for message in event.uncertain
        if isinstance(message, ToolResponse)
        for answer in message.function_responses or ()
    }
    for sent in outcome.notes.sent:
        if sent.kind != "tool":
            continue
        state, call_id = sent.receipt.state, sent.label
        if state in ("written", "covered") and (call_id not in arrived or call_id in orphans | reported):
            yield f"the answer to {call_id} is {state}; arrived {arrived}, orphans {orphans}, uncertain {reported}"
        if state == "dropped" and (call_id in arrived or call_id not in orphans):
            yield f"the answer to {call_id} is {state}; arrived {arrived}, orphans {orphans}"
        if state == "uncertain" and call_id not in orphans | reported and not _ended_cut(outcome):
            yield f"the answer to {call_id} is {state}, and nobody was told"


def _ready_connections(outcome: Outcome) -> list[int]:
    """Returns which of the emulator's connections the session counts: those whose setupComplete came through."""
    return [number for number, wire in enumerate(outcome.wires, 1) if parse(wire.down, masked=False).frames]


def _session_connection(outcome: Outcome, number: int) -> int:
    """Returns which of the emulator's connections the session counts as this one, 0 for none."""
    ready = _ready_connections(outcome)
    return ready[number - 1] if 0 < number <= len(ready) else 0


def _ended_cut(outcome: Outcome) -> bool:
    """Whether the session ended without another connection after the one that was cut."""
    ready = _ready_connections(outcome)
    return bool(ready) and outcome.wires[ready[-1] - 1].is_cut


def _wrong_replies(outcome: Outcome) -> Iterable[str]:
    """A reply is the answer to its own question, whole, or says that it is not."""
    for text, state, reply in outcome.notes.replies:
        if state not in ("completed", "lost"):
            yield f"the reply to {text!r} is {state}"
        if state == "completed" and reply and not reply.rstrip(">").endswith(text):
            yield f"the reply to {text!r} is {reply!r}"
    lost = [text for text, state, _ in outcome.notes.replies if state != "completed"]
    if len(lost) > 1:
        yield f"one cut cost more than one reply: {lost}"


def texts_of(messages: Iterable[ClientMessage]) -> list[str]:
    """Returns the texts in client messages."""
    contents: list[Content] = []
    for message in messages:
        if isinstance(message, ClientContent):
            contents += message.turns or ()
        elif isinstance(message, RealtimeInput) and message.text:
            contents.append(Content(parts=(Part(text=message.text),)))
    return [part.text for content in contents for part in content.parts or () if part.text]


# --- all of them -----------------------------------------------------------------------------------------------------


def cuts_of(golden: Golden, *, hows: Sequence[How] = ("drop",)) -> list[Cut]:
    """Returns a cut after every byte of a conversation, in both directions."""
    whole = run(golden, None)
    assert violations(golden, None, whole) == []
    totals: dict[Direction, int] = {"up": whole.up_bytes, "down": whole.down_bytes}
    for direction, n_bytes in totals.items():
        assert n_bytes <= MAX_BYTES, f"{golden.name} takes {n_bytes} bytes {direction}"
    return [
        Cut(direction, number, how)
        for direction, n_bytes in totals.items()
        for number in range(1, n_bytes + 1)
        for how in hows
    ]


def failures(name: str, cuts: Sequence[Cut]) -> list[str]:
    """Plays a conversation once with each cut; returns what was broken, and by which cut."""
    golden = GOLDEN[name]
    found = []
    for cut in cuts:
        wrong = violations(golden, cut, run(golden, cut))
        found += [f"{name}, {cut}: {one}" for one in wrong]
    return found


def main(arguments: Sequence[str]) -> None:
    """Plays one case and says what came of it."""
    name, direction, number, *how = arguments
    cut = Cut("up" if direction == "up" else "down", int(number), "reset" if how == ["reset"] else "drop")
    outcome = run(GOLDEN[name], cut)
    for sent in outcome.notes.sent:
        print("sent", sent.kind, sent.label, sent.receipt)
    for event in outcome.notes.events:
        print("event", event)
    for connection, message in outcome.messages:
        print("received", connection, message)
    print("replies", outcome.notes.replies, "known", outcome.known, "error", repr(outcome.error))
    print("\n".join(violations(GOLDEN[name], cut, outcome)) or "no violation")


if __name__ == "__main__":
    main(sys.argv[1:])
