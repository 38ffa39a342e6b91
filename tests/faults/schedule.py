"""What a seed means: a program and a network that fails, planned from beginning to end. Pure: a number in, values out.

A *schedule* is drawn by cells: a *kind* of fault in a *status* of the session. Each schedule draws some, then arranges
them: which dial meets which fault before it is a connection, what happens on each connection, what happens while the
session is being left; and beside it what the program does, and what the model answers. Nothing here knows the session.

Where a kind cannot meet a status, :data:`KINDS` says why; the run counts how often each cell was met for certain.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import attrs

Status = Literal["connecting", "connected", "reconnecting", "closing"]
STATUSES: tuple[Status, ...] = ("connecting", "connected", "reconnecting", "closing")
"""``connecting``: until the block is entered. ``closing``: from the end of the body (or ``aclose``) to the end of the
block. In between what the session says of itself."""

# --- why a fault cannot meet a status --------------------------------------------------------------------------------

_DIAL_OVER = "the dial is over when the session is connected"
_DIAL_CANCELLED = "leaving cancels a dial that is under way at once, so none goes on while closing"
_NOT_SET_UP = "before setupComplete the server may say nothing else: what it says instead is another row"
_SILENT_ROW = "silence before setupComplete is in the rows of its step"
_NO_HANDLES_YET = "a server tells handles only after setupComplete"
_NO_SESSION = "there is no session to do it with before the block is entered"
_NO_BODY = "the body has not begun"
_NO_CALL_YET = "the model calls functions only on a connection"
_CUT_IS_OVER = "an open connection is needed to be cut; the dials that follow have no open call"
_AFTER_CLOSE = "it is defined by what follows on the next connections, and closing has none"


@attrs.frozen
class Kind:
    """One kind of fault, a row of the table.

    Attributes:
        name: what it is called everywhere.
        words: what it is, for the story of a schedule.
        impossible: the statuses that it cannot meet, each with the reason.
        ends: whether a connection, or a dial, does not survive it.
    """

    name: str
    words: str
    impossible: Mapping[Status, str] = attrs.field(factory=dict)
    ends: bool = False

    @property
    def statuses(self) -> tuple[Status, ...]:
        """The statuses that it can meet."""
        return tuple(status for status in STATUSES if status not in self.impossible)


_IN_DIAL: dict[Status, str] = {"connected": _DIAL_OVER, "closing": _DIAL_CANCELLED}
_ON_CONNECTION: dict[Status, str] = {"connecting": _NOT_SET_UP, "reconnecting": _NOT_SET_UP}
_HANDLES: dict[Status, str] = {"connecting": _NO_HANDLES_YET, "reconnecting": _NO_HANDLES_YET}
_CALLS: dict[Status, str] = {"connecting": _NO_CALL_YET, "reconnecting": _NO_CALL_YET}
_PROGRAM: dict[Status, str] = {"connecting": _NO_SESSION}

_KINDS = (
    # the network
    Kind("drop-in", "the network ends after some bytes from the server", ends=True),
    Kind("drop-out", "the network ends after some bytes to the server", ends=True),
    Kind("reset", "the network is reset", ends=True),
    Kind("drop-upgrade", "the network ends inside the upgrade", _IN_DIAL, ends=True),
    Kind("drop-setup", "the network ends after the upgrade and before setupComplete", _IN_DIAL, ends=True),
    Kind("refused-connection", "nobody accepts the connection", _IN_DIAL, ends=True),
    Kind("silent-tcp", "the server accepts and says nothing at all", _IN_DIAL, ends=True),
    Kind("silent-tls", "the server never answers the TLS handshake", _IN_DIAL, ends=True),
    Kind("silent-upgrade", "the server never answers the upgrade", _IN_DIAL, ends=True),
    Kind("silent-setup", "the server never answers the setup", _IN_DIAL, ends=True),
    Kind(
        "black-hole",
        "whatever is sent is lost, and nothing comes",
        {"connecting": _SILENT_ROW, "reconnecting": _SILENT_ROW},
        ends=True,
    ),
    Kind(
        "deaf",
        "the server reads nothing more",
        {"connecting": _SILENT_ROW, "reconnecting": _SILENT_ROW},
        ends=True,
    ),
    Kind("stall", "nothing passes for a while"),
    Kind("trickle", "the network passes a few bytes at a time"),
    Kind("pings", "the server sends many pings", _ON_CONNECTION),
    Kind("bad-frame", "the server breaks the WebSocket protocol", ends=True),
    Kind("oversize", "the server sends a message that is larger than the limit", ends=True),
    # refusals
    *(
        Kind(f"http-{status}", f"the upgrade is refused with HTTP {status}", _IN_DIAL, ends=True)
        for status in (400, 401, 403, 404, 429, 500, 503)
    ),
    *(
        Kind(f"http-{status}-after", f"the same with HTTP {status} and Retry-After", _IN_DIAL, ends=True)
        for status in (429, 500, 503)
    ),
    # closes
    Kind("close-1000", "the server closes with 1000", ends=True),
    Kind("close-1001", "the server closes with 1001", ends=True),
    Kind("close-1006", "the server goes away between two messages, without a Close frame", ends=True),
    Kind("close-1007", "the server closes with 1007", ends=True),
    Kind("close-1008", "the server closes with 1008", ends=True),
    Kind("close-1011", "the server closes with 1011", ends=True),
    # resumption
    Kind("handle-refused", "the server refuses the handle by name, or has forgotten it", _IN_DIAL, ends=True),
    Kind("handle-failed", "the server fails on the handle without naming it", _IN_DIAL, ends=True),
    Kind("handle-again", "the server tells the same handle again", _HANDLES),
    Kind("handle-unusable", "the server says that the session cannot be resumed now", _HANDLES),
    Kind("handle-empty", "the server tells a handle that is empty", _HANDLES),
    Kind("handle-index", "the server tells a handle with an index that cannot be", _HANDLES),
    # the announced end
    Kind("goaway", "the server announces the end of the connection", _ON_CONNECTION, ends=True),
    Kind("goaway-twice", "it announces it twice", _ON_CONNECTION, ends=True),
    Kind("goaway-untimed", "it announces it and does not say when", _ON_CONNECTION, ends=True),
    Kind("goaway-zero", "it announces it with no time left", _ON_CONNECTION, ends=True),
    Kind("goaway-silent", "it announces it and falls silent", _ON_CONNECTION, ends=True),
    Kind("goaway-storm", "it announces it on each new connection", {**_ON_CONNECTION, "closing": _AFTER_CLOSE}),
    Kind("goaway-first", "it announces it instead of accepting the setup", _IN_DIAL, ends=True),
    # messages
    Kind("malformed", "the server sends something that is no JSON object"),
    Kind("unknown", "the server sends a message of a kind that nobody knows"),
    Kind("wrong-typed", "the server sends a message whose values have the wrong types"),
    # the program
    Kind("slow-consumer", "a consumer reads too slowly", _PROGRAM),
    Kind("stuck-consumer", "a consumer does not read", _PROGRAM),
    Kind("flood", "the program sends audio at ten times the speed of speech", _PROGRAM),
    Kind("cancelled-send", "sends are cancelled", _PROGRAM),
    Kind("body-error", "the body of the block fails", {"connecting": _NO_BODY}),
    Kind("cancelled-block", "the block is cancelled"),
    Kind("clock-jump", "the machine is suspended for a while"),
    # tools
    Kind("call-cancelled", "the model withdraws a call", _CALLS),
    Kind("call-cut", "the network ends while a call is open", {**_CALLS, "closing": _CUT_IS_OVER}, ends=True),
    Kind("call-repeated", "the model uses the id of a call again", _CALLS),
    Kind("answer-late", "a call is answered after its connection is gone", _PROGRAM),
    Kind("answer-twice", "a call is answered twice", _PROGRAM),
)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _KINDS}
_ALL = {**KINDS, "call": Kind("call", "the model calls a function (which is no fault, but others need it)")}
CELLS = tuple((kind.name, status) for kind in _KINDS for status in kind.statuses)

ELSEWHERE = {
    "DNS, proxies and certificates": "tests/transport: a session in memory has no names, and TLS has a row for silence",
    "token refresh that hangs or fails": "tests/transport/test_credentials.py: it runs in threads and in real time",
    "a true black hole (link down)": "the row black-hole; the kernel's own part is in tests/transport/test_dial.py",
}
"""Faults of the model (docs/reliability.md) that are not tried here, and where they are."""


# --- how servers end connections (docs/protocol.md 8) ----------------------------------------------------------------

Remedy = Literal["end", "fatal", "resume", "fresh", "wait", "either"]


@attrs.frozen
class Ending:
    """A Close frame, and what it means for a session that is connected.

    Attributes:
        code: the code.
        reason: the text as the service writes it.
        remedy: ``end``: over if nothing is owed, else as ``resume``. ``fatal``: trying again is of no use. ``resume``:
            dial with the handle. ``fresh``: the handle is of no use. ``wait``: dial, but not at once.
            ``either``: fatal or not, as the endpoint can renew its credential.
    """

    code: int
    reason: str
    remedy: Remedy


ENDINGS = (
    Ending(1000, "", "end"),
    Ending(1000, "The operation was cancelled.", "end"),
    Ending(1001, "", "resume"),
    Ending(1001, "Going away", "resume"),
    Ending(1007, "", "fatal"),
    Ending(1007, "Request contains an invalid argument.", "fatal"),
    Ending(1007, "User location is not supported for the API use.", "fatal"),
    Ending(1007, "API key expired. Please renew the API key.", "fatal"),
    Ending(1007, "Invalid session handle", "fresh"),
    Ending(1008, "", "fatal"),
    Ending(1008, "Operation is not implemented, or supported, or enabled.", "fatal"),
    Ending(1008, "Your project has been denied access. Please contact support.", "fatal"),
    Ending(1008, "The operation was aborted.", "resume"),
    Ending(1008, "BidiGenerateContent session not found", "fresh"),
    Ending(1008, "Requested entity was not found.", "fresh"),
    Ending(1011, "Internal error encountered.", "resume"),
    Ending(1011, "Internal error occurred.", "resume"),
    Ending(1011, "Deadline expired before operation could complete.", "resume"),
    Ending(1011, "The service is currently unavailable.", "resume"),
    Ending(1011, "Thread was cancelled when writing StartStep status", "resume"),
    Ending(1011, "Failed to run inference for model: go/debugonly", "resume"),
    Ending(1011, "Token has expired", "either"),
    Ending(1011, "Resource has been exhausted (e.g. check quota).", "wait"),
    Ending(1011, "You exceeded your current quota, please check your plan and billing details.", "wait"),
    Ending(1011, "Your prepayment credits are depleted. Please go to AI Studio", "fatal"),
)
NAMES_HANDLE = tuple(ending.reason for ending in ENDINGS if ending.remedy == "fresh")
"""Reason texts that blame the resumption handle."""


# --- the parts of a plan ---------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Fault:
    """A fault in its place.

    Attributes:
        kind: which.
        status: where it is meant to be met.
        after_s: how long after the status (or the fault before it) began.
        steps: how many task switches after that: within one instant of virtual time everything happens in steps.
        number: a size or a duration, as the kind needs it.
        ending: the Close frame, where it is one.
        text: a text, as the kind needs it.
    """

    kind: str
    status: Status
    after_s: float = 0.0
    steps: int = 0
    number: float = 0.0
    ending: Ending | None = None
    text: str = ""


@attrs.frozen(kw_only=True)
class Dial:
    """What one attempt at a connection meets.

    Attributes:
        before: until it is a connection.
        during: once it is one, one after the other.
        setup_after_s: how long the server takes for its answer to the setup.
    """

    before: tuple[Fault, ...] = ()
    during: tuple[Fault, ...] = ()
    setup_after_s: float = 0.0


@attrs.frozen(kw_only=True)
class Action:
    """One thing that the program does.

    Attributes:
        kind: what.
        pause_s: how long it waits before it.
        count: how often, or how much.
    """

    kind: Literal[
        "text", "ask", "question", "content", "history", "audio", "speech", "video", "activity", "stream_end", "await"
    ]
    pause_s: float = 0.0
    count: int = 1


@attrs.frozen(kw_only=True)
class Say:
    """One thing that the model does in a turn.

    Attributes:
        kind: what.
        pause_s: how long it waits before it.
    """

    kind: Literal["say", "think", "call", "call_and_wait", "handle", "usage"]
    pause_s: float = 0.0


@attrs.frozen(kw_only=True)
class Answer:
    """How the program answers a call.

    Attributes:
        after_s: when; None for never.
        times: how often.
    """

    after_s: float | None
    times: int = 1


@attrs.frozen(kw_only=True)
class Setting:
    """How the session is opened.

    Attributes:
        model: the model's name.
        backend: the service.
        speaks: whether the model answers with audio.
        is_manual: whether the program marks activities.
        resumption: whether handles are asked for.
        transparent: whether the server tells indexes.
        handle: a handle from before, which the server does not know.
        history: whether the first content is history.
        uncertain: the policy for uncertain messages.
        lost_context: the policy for a refused handle.
        attempts: tries in a row.
        window_attempts: tries in ten minutes.
        first_dial: whether the first dial is retried.
        close_s: how long leaving may take.
        is_tls: whether TLS runs over the connection.
    """

    model: str
    backend: Literal["google_ai", "vertex"]
    speaks: bool
    is_manual: bool
    resumption: bool
    transparent: bool
    handle: str | None
    history: bool
    uncertain: Literal["report", "replay", "drop"]
    lost_context: Literal["fresh", "fail"]
    attempts: int
    window_attempts: int
    first_dial: bool
    close_s: float
    is_tls: bool


@attrs.frozen(kw_only=True)
class Plan:
    """A schedule.

    Attributes:
        seed: what it was made from.
        setting: how the session is opened.
        dials: what each attempt at a connection meets; those after the last meet nothing.
        closing: what happens once the session is being left, one after the other.
        tasks: what the program does, the body first.
        replies: what the model does with its turns, over and over.
        answers: how the program answers calls, over and over.
        ending: how the body ends.
        raises: whether the body passes on what a send raises.
        leaves: when the body ends: when everything above has happened, as soon as it has done its part, or while the
            session reconnects, with more waiting to be sent than there are places for.
        says_goodbye: whether the last thing it does is to send a text.
    """

    seed: int
    setting: Setting
    dials: tuple[Dial, ...]
    closing: tuple[Fault, ...]
    tasks: tuple[tuple[Action, ...], ...]
    replies: tuple[tuple[Say, ...], ...]
    answers: tuple[Answer, ...]
    ending: Literal["return", "aclose"]
    raises: bool
    leaves: Literal["when all is done", "at once", "while reconnecting"]
    says_goodbye: bool


# --- drawing ---------------------------------------------------------------------------------------------------------

HALF_CASCADE = "gemini-live-2.5-flash-preview"
NATIVE_31 = "gemini-3.1-flash-live-preview"
NATIVE_38 = "gemini-3.8-live"

_CELLS_IN: dict[Status, tuple[str, ...]] = {
    status: tuple(name for name, where in CELLS if where == status) for status in STATUSES
}
_HARD: Mapping[tuple[str, Status], float] = {
    ("drop-in", "closing"): 4.0,
    ("flood", "closing"): 3.0,
    ("cancelled-block", "connecting"): 2.0,
    **{(f"close-{code}", "connecting"): 1.5 for code in (1000, 1001, 1006, 1007, 1008, 1011)},
    **{
        (name, "closing"): 1.5
        for name in (
            *("drop-out", "black-hole", "pings", "close-1000", "close-1001", "close-1011", "handle-unusable", "goaway"),
            *("handle-empty", "goaway-untimed", "goaway-silent", "wrong-typed", "slow-consumer", "answer-twice"),
            *("call-cancelled", "call-repeated", "handle-index", "stuck-consumer", "oversize", "handle-again", "reset"),
            *("close-1006", "close-1007", "close-1008", "malformed", "goaway-zero", "goaway-twice", "bad-frame"),
        )
    },
}
"""How much oftener than others a cell is drawn, where many of the drawn ones come to nothing."""

_OF_PROGRAM = frozenset(
    ("slow-consumer", "stuck-consumer", "flood", "cancelled-send", "clock-jump", "answer-late", "answer-twice")
)
"""Faults that leave the dial in peace; it is made to take long enough for them."""

_LAST = frozenset(("body-error", "cancelled-block"))
_BY_RAW_CALLS = frozenset(("call-cancelled", "call-cut", "call-repeated", "answer-late", "answer-twice"))
_NEEDS_CALL = frozenset(("answer-late", "answer-twice"))
_BY_INDEX = frozenset(("handle-index",))
_FATAL_BEFORE = frozenset(
    (
        *("http-400", "http-401", "http-403", "http-404"),
        *("goaway-first", "malformed", "unknown", "wrong-typed", "bad-frame", "oversize"),
    )
)
_MESSAGES = frozenset(("malformed", "unknown", "wrong-typed"))
_FILLERS = ("drop-in", "drop-out", "reset", "close-1011", "close-1006", "close-1001", "goaway")


def plan(seed: int) -> Plan:
    """Returns the schedule of a seed, the same on every machine."""
    rng = random.Random(f"schedule {seed}")
    drawn = _draw(rng)
    names = {name for names in drawn.values() for name in names}
    setting = _setting(rng, drawn, names)
    faults = {status: [_fault(rng, name, status) for name in names_in] for status, names_in in drawn.items()}
    return Plan(
        seed=seed,
        setting=setting,
        dials=_dials(rng, faults, setting),
        closing=tuple(faults["closing"]),
        tasks=_tasks(rng, setting),
        replies=tuple(_reply(rng, setting) for _ in range(rng.randint(2, 5))),
        answers=tuple(_answer(rng) for _ in range(rng.randint(1, 4))),
        ending="aclose" if any(f.kind == "body-error" for f in faults["closing"]) or rng.random() < 0.2 else "return",
        raises=rng.random() < 0.3,
        leaves=rng.choices(("when all is done", "at once", "while reconnecting"), (84, 8, 8))[0],
        says_goodbye=rng.random() < 0.3,
    )


def _draw(rng: random.Random) -> dict[Status, list[str]]:
    """Draws cells."""

    def some(status: Status, *weights: float) -> list[str]:
        (count,) = rng.choices(range(len(weights)), weights)
        names = _CELLS_IN[status]
        hardness = [_HARD.get((name, status), 1.0) for name in names]
        return list(dict.fromkeys(rng.choices(names, hardness, k=count)))

    return {
        "connecting": some("connecting", 0.55, 0.3, 0.15),
        "connected": some("connected", 0.05, 0.25, 0.4, 0.3),
        "reconnecting": some("reconnecting", 0.15, 0.40, 0.45),
        "closing": some("closing", 0.08, 0.4, 0.37, 0.15),
    }


def _setting(rng: random.Random, drawn: Mapping[Status, Sequence[str]], names: set[str]) -> Setting:
    is_tls = "silent-tls" in names
    if names & _BY_INDEX:
        choice = "transparent"
    elif names & _BY_RAW_CALLS:
        choice = rng.choice(("text", "text", "transparent", "vertex"))
    else:
        (choice,) = rng.choices(("text", "transparent", "vertex", "3.1", "3.8"), (45, 20, 8, 14, 13))
    early = drawn["connecting"]
    handle = "a-handle-from-before" if {"handle-refused", "handle-failed"} & set(early) else None
    may_be_manual = "flood" not in names
    return Setting(
        model={"3.1": NATIVE_31, "3.8": NATIVE_38}.get(choice, HALF_CASCADE),
        backend="vertex" if choice in ("transparent", "vertex") else "google_ai",
        speaks=choice in ("3.1", "3.8"),
        is_manual=may_be_manual and rng.random() < (0.5 if "stall" in names else 0.25),
        resumption=choice == "transparent" or handle is not None or rng.random() < 0.88,
        transparent=choice == "transparent",
        handle=handle,
        history=choice == "3.8" and rng.random() < 0.5,
        uncertain=rng.choice(("report", "report", "replay", "replay", "drop")),
        lost_context="fail" if rng.random() < 0.12 else "fresh",
        attempts=rng.choice((*[10] * 16, 3, 2, 1, 0)),
        window_attempts=rng.choice((*[20] * 14, 4)),
        first_dial=bool(early) and rng.random() < 0.75,
        close_s=rng.choice((5.0, 5.0, 2.0, 1.0)),
        is_tls=is_tls,
    )


# --- one fault -------------------------------------------------------------------------------------------------------

_SOON_S = (0.0, 0.0, 0.0, 0.001, 0.02, 0.3, 1.5, 6.0)
_HEAD_BYTES = 129  # of the emulator's answer to an upgrade; what follows is setupComplete


def _fault(rng: random.Random, kind: str, status: Status) -> Fault:
    is_before = status in ("connecting", "reconnecting")
    fault = Fault(
        kind=kind,
        status=status,
        after_s=rng.choice(_SOON_S) if status == "connected" else 0.0,
        steps=rng.randint(0, 8) if is_before or status == "closing" else rng.randint(0, 12),
    )
    if kind.startswith("close-") and kind != "close-1006":
        return attrs.evolve(fault, ending=_ending(rng, kind, status))
    make = _NUMBERS.get(kind)
    if make is not None:
        fault = attrs.evolve(fault, number=make(rng, status))
    if kind == "handle-refused":
        return attrs.evolve(fault, ending=rng.choice([ending for ending in ENDINGS if ending.remedy == "fresh"]))
    if kind == "handle-failed":
        return attrs.evolve(fault, ending=Ending(1011, "Internal error encountered.", "resume"))
    if kind in _MESSAGES:
        return attrs.evolve(fault, text=rng.choice(_TEXTS[kind]))
    return fault


def _ending(rng: random.Random, kind: str, status: Status) -> Ending:
    code = int(kind.removeprefix("close-"))
    able = [ending for ending in ENDINGS if ending.code == code]
    if status in ("connecting", "connected"):
        passing = [ending for ending in able if ending.remedy not in ("fatal", "end")]
        if passing and rng.random() < 0.7:
            able = passing
    return rng.choice(able)


def _drop_bytes(rng: random.Random, status: Status) -> float:
    if status == "closing":
        return rng.randint(1, 6)
    if status == "connected":
        return rng.choice((1, rng.randint(1, 40), rng.randint(1, 200), rng.randint(1, 800)))
    return rng.randint(1, _HEAD_BYTES + 30)


_NUMBERS: Mapping[str, Callable[[random.Random, Status], float]] = {
    "drop-in": _drop_bytes,
    "drop-out": _drop_bytes,
    "drop-upgrade": lambda rng, status: rng.randint(1, _HEAD_BYTES - 1),
    "drop-setup": lambda rng, status: rng.randint(0, 20),
    "stall": lambda rng, status: rng.choice((0.1, 0.4, 1, 3, 8) if status != "connected" else (0.1, 0.6, 3, 20, 40)),
    "trickle": lambda rng, status: rng.choice((20, 50, 200)),
    "pings": lambda rng, status: rng.choice((1, 10, 100)),
    "bad-frame": lambda rng, status: rng.randrange(6),
    "goaway": lambda rng, status: rng.choice((1, 5, 12, 30, 60)),
    "goaway-twice": lambda rng, status: rng.choice((5, 30, 60)),
    "goaway-silent": lambda rng, status: rng.choice((12, 30, 60)),
    "goaway-storm": lambda rng, status: rng.choice((0, 1, 30)),
    "handle-index": lambda rng, status: rng.choice((-1, 10**6, 2**40)),
    "slow-consumer": lambda rng, status: rng.choice((0.05, 0.5, 2)),
    "stuck-consumer": lambda rng, status: rng.choice((1, 2, 5, 16)),
    "flood": lambda rng, status: rng.choice((20, 40, 60)),
    "cancelled-send": lambda rng, status: rng.randint(0, 6),
    "cancelled-block": lambda rng, status: 0,
    "clock-jump": lambda rng, status: rng.choice((0.05, 0.4, 0.6, 2.5, 9, 30, 70, 700, 4000)),
    "http-429-after": lambda rng, status: rng.choice((1, 7, 40)),
    "http-500-after": lambda rng, status: rng.choice((1, 7, 40)),
    "http-503-after": lambda rng, status: rng.choice((1, 7, 40)),
}

_TEXTS: Mapping[str, tuple[str, ...]] = {
    "malformed": ("this is no JSON", "[1, 2, 3]", '{"serverContent": {"turnComplete": tru', "", "null", "[" * 200),
    "unknown": (
        '{"sessionWeather": {"sky": "blue"}}',
        '{"brandNew": 1, "alsoNew": [true]}',
        '{"serverContentV2": {"turnComplete": true}}',
    ),
    "wrong-typed": (
        '{"serverContent": {"modelTurn": "hello"}}',
        '{"serverContent": [1]}',
        '{"toolCall": {"functionCalls": 7}}',
        '{"goAway": {"timeLeft": "soon"}}',
        '{"sessionResumptionUpdate": {"newHandle": 5, "resumable": "perhaps"}}',
        '{"toolCallCancellation": {"ids": "all"}}',
    ),
}


# --- arranging -------------------------------------------------------------------------------------------------------


def _dials(rng: random.Random, faults: Mapping[Status, list[Fault]], setting: Setting) -> tuple[Dial, ...]:
    outages = faults["reconnecting"]
    groups = _groups(rng, faults["connected"], n_outages=len(outages))
    if any(fault.kind in _NEEDS_CALL for fault in outages):
        groups[0] = _with_call(groups[0])
    if any(fault.kind in _NEEDS_CALL for fault in faults["closing"]):
        groups[-1] = _with_call(groups[-1])
    early = faults["connecting"]
    dials = [*_failing(rng, early), _working(rng, early, groups[0])]
    if len(dials) > 1:  # a first dial may be the only one, and what does not end a dial fits on any
        mild = _dial(rng, dials[-1].before)
        dials[0] = attrs.evolve(dials[0], before=(*mild.before, *dials[0].before), setup_after_s=mild.setup_after_s)
        dials[-1] = Dial(during=groups[0])
    fatal = [fault for fault in outages if _is_fatal_before(fault)]
    others = [fault for fault in outages if not _is_fatal_before(fault)]
    for index, group in enumerate(groups[1:]):
        is_last = index == len(groups) - 2
        share = [*others[index :: len(groups) - 1], *(fatal if is_last else ())]
        dials += [*_failing(rng, share), _working(rng, share, group)]
    return tuple(dials)


def _failing(rng: random.Random, faults: Sequence[Fault]) -> list[Dial]:
    """Returns the dials that come to nothing, those after which the session may give up last."""
    dials = []
    for fault in sorted((fault for fault in faults if _ends_dial(fault)), key=_is_fatal_before):
        times = 2 if fault.kind == "handle-failed" else 1  # once is no reason to give the handle up
        dials += [_dial(rng, (fault,))] * times
    return dials


def _working(rng: random.Random, faults: Sequence[Fault], during: tuple[Fault, ...]) -> Dial:
    """Returns the dial that becomes a connection."""
    return attrs.evolve(_dial(rng, tuple(fault for fault in faults if not _ends_dial(fault))), during=during)


def _dial(rng: random.Random, before: tuple[Fault, ...]) -> Dial:
    takes_time = any(fault.kind in _OF_PROGRAM or fault.kind in _LAST for fault in before)
    return Dial(before=before, setup_after_s=rng.choice((0.3, 2.0, 6.0)) if takes_time else 0.0)


def _ends_dial(fault: Fault) -> bool:
    return _ALL[fault.kind].ends or fault.kind in _MESSAGES


def _with_call(group: tuple[Fault, ...]) -> tuple[Fault, ...]:
    return (Fault(kind="call", status="connected"), *group)


def _is_fatal_before(fault: Fault) -> bool:
    """Says whether a session may give up after a dial that meets this."""
    return fault.kind in _FATAL_BEFORE or fault.kind in _LAST or _is_fatal(fault)


def _is_fatal(fault: Fault) -> bool:
    return fault.kind in _LAST or (fault.ending is not None and fault.ending.remedy in ("fatal", "end"))


def _groups(rng: random.Random, faults: Sequence[Fault], *, n_outages: int) -> list[tuple[Fault, ...]]:
    """Divides the faults of connections among connections; as many outages as wanted, as far as it goes."""
    mild = [fault for fault in faults if not _ALL[fault.kind].ends and fault.kind not in _LAST]
    hard = [fault for fault in faults if _ALL[fault.kind].ends and not _is_fatal(fault)]
    fatal = [fault for fault in faults if _is_fatal(fault)]
    if n_outages and not hard:
        filler = rng.choice(_FILLERS)
        fault = _fault(rng, filler, "connected")
        if fault.ending is not None and fault.ending.remedy == "fatal":
            fault = attrs.evolve(fault, ending=Ending(1011, "Internal error encountered.", "resume"))
        hard.append(attrs.evolve(fault, after_s=rng.choice((0.0, 0.02, 1.5))))
    storms = [fault for fault in mild if fault.kind == "goaway-storm"]
    groups = [[fault] for fault in hard]
    groups += [[attrs.evolve(storm, after_s=0.0)] for storm in storms for _ in range(3)]
    groups.append(fatal)
    for fault in mild:
        if fault not in storms:
            rng.choice(groups).insert(0, fault)
    return [tuple(group) for group in groups]


# --- the program and the model ---------------------------------------------------------------------------------------


def _tasks(rng: random.Random, setting: Setting) -> tuple[tuple[Action, ...], ...]:
    tasks = []
    for number in range(rng.choice((1, 1, 1, 2, 2, 3))):
        actions = [_action(rng, setting, is_body=number == 0) for _ in range(rng.randint(1, 6))]
        if number == 0:
            actions.insert(rng.randint(0, 2), Action(kind=rng.choice(("ask", "question"))))
            if setting.history:
                actions.insert(0, Action(kind="history"))
            for connection in range(2, rng.randint(2, 4)):
                actions.insert(rng.randint(1, len(actions)), Action(kind="await", count=connection))
        tasks.append(tuple(actions))
    return tuple(tasks)


_PAUSES_S = (0.0, 0.0, 0.0, 0.0, 0.005, 0.1, 0.4, 1.0, 5.0)


def _action(rng: random.Random, setting: Setting, *, is_body: bool) -> Action:
    pause_s = rng.choice(_PAUSES_S)
    if setting.is_manual:
        kinds = {
            "text": 3.0,
            "ask": 1.0,
            "question": 1.0,
            "video": 1.0,
            "activity": 5.0 if is_body else 0.0,
            "content": 1.0,
        }
    else:
        kinds = {"text": 4.0, "ask": 1.0, "question": 1.0, "video": 1.0, "audio": 4.0, "content": 1.5}
        if is_body:  # two that speak at once would be one noise
            kinds |= {"speech": 1.5, "stream_end": 1.0}
    if setting.model != HALF_CASCADE:
        kinds["content"] = 1.0 if setting.model == NATIVE_38 and not setting.history else 0.0
    (kind,) = rng.choices(list(kinds), list(kinds.values()))
    return Action(kind=kind, pause_s=pause_s, count=rng.choice((1, 1, 2, 4, 8)))  # type: ignore[arg-type]


def _reply(rng: random.Random, setting: Setting) -> tuple[Say, ...]:
    steps = []
    for _ in range(rng.randint(0, 3)):
        kinds = {"say": 8.0, "think": 0.5, "call": 0.6, "call_and_wait": 1.0, "handle": 0.5}
        (kind,) = rng.choices(list(kinds), list(kinds.values()))
        steps.append(Say(kind=kind, pause_s=rng.choice((0.0, 0.0, 0.0, 0.02, 0.3, 2.0))))  # type: ignore[arg-type]
    return tuple(steps)


def _answer(rng: random.Random) -> Answer:
    return Answer(after_s=rng.choice((0.0, 0.0, 0.05, 1.0, 8.0, None)), times=rng.choice((1, 1, 1, 1, 2)))


# --- in words --------------------------------------------------------------------------------------------------------


def in_words(plan: Plan) -> str:
    """Returns a plan as text, a line for each thing."""
    setting = plan.setting
    lines = [f"seed {plan.seed}"]
    lines += [f"  {field.name} = {getattr(setting, field.name)!r}" for field in attrs.fields(Setting)]
    for number, dial in enumerate(plan.dials, 1):
        lines.append(f"dial {number}:" + (f" (the setup takes {dial.setup_after_s} s)" if dial.setup_after_s else ""))
        lines += [f"  {_told(fault)}" for fault in (*dial.before, *dial.during)] or ["  nothing goes wrong"]
    lines.append("leaving:")
    lines += [f"  {_told(fault)}" for fault in plan.closing] or ["  nothing goes wrong"]
    for number, task in enumerate(plan.tasks):
        who = "the body" if number == 0 else f"task {number}"
        lines.append(f"{who}: " + ", ".join(_did(action) for action in task))
    for number, reply in enumerate(plan.replies):
        lines.append(f"reply {number}: " + (", ".join(_said(say) for say in reply) or "nothing"))
    answers = ", ".join("never" if a.after_s is None else f"after {a.after_s} s x{a.times}" for a in plan.answers)
    lines.append(f"calls are answered: {answers}")
    ways = (
        [f"ends with {plan.ending}"]
        + ["passes on what sends raise"] * plan.raises
        + ["says goodbye"] * plan.says_goodbye
    )
    lines.append(f"the body leaves {plan.leaves}, {' and '.join(ways)}")
    return "\n".join(lines)


def _told(fault: Fault) -> str:
    parts = [f"{fault.status}: {_ALL[fault.kind].words} [{fault.kind}]"]
    if fault.after_s:
        parts.append(f"after {fault.after_s} s")
    if fault.steps:
        parts.append(f"{fault.steps} steps later")
    if fault.number:
        parts.append(f"({fault.number:g})")
    if fault.ending is not None:
        parts.append(f"({fault.ending.code} {fault.ending.reason!r}, {fault.ending.remedy})")
    if fault.text:
        parts.append(fault.text)
    return " ".join(parts)


def _did(action: Action) -> str:
    pause = f"{action.pause_s} s, " if action.pause_s else ""
    return f"{pause}{action.kind}" + (
        f" {action.count}" if action.kind not in ("text", "ask", "question", "history") else ""
    )


def _said(say: Say) -> str:
    return f"{say.kind} after {say.pause_s} s" if say.pause_s else say.kind
