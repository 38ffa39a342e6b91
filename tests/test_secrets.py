"""No secret leaves the package: not in a repr, a log record of any logger, an exception or a traceback with locals."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

import attrs
import pytest
import trio
from trio.testing import MockClock

from gemlive.emulator import Behaviour, Close, Script, Turn, serve_in_memory
from gemlive.session import ReconnectPolicy, open_session
from gemlive.transport import Endpoint, GoogleAI, VertexAI
from gemlive.types import SessionConfig

# Put together here, so that the source lines in a traceback do not hold it.
CANARY = "canary" + "-" + "5e1f"

MODEL = "gemini-live-2.5-flash-preview"


async def refuse(host: str, port: int) -> trio.abc.Stream:
    raise OSError("no route to host")


refuse.is_loopback = True  # type: ignore[attr-defined]


def key(served: Endpoint) -> Endpoint:
    return GoogleAI(CANARY, base_url=served.url.partition("/ws/")[0], connect=served.connect)


def ephemeral(served: Endpoint) -> Endpoint:
    return GoogleAI(token=f"auth_tokens/{CANARY}", base_url=served.url.partition("/ws/")[0], connect=served.connect)


def bearer(served: Endpoint) -> Endpoint:
    base_url = served.url.partition("/ws/")[0]
    return VertexAI("p", "us-central1", token=CANARY, base_url=base_url, connect=served.connect)


def provider(served: Endpoint) -> Endpoint:
    async def token() -> str:
        await trio.lowlevel.checkpoint()
        return CANARY

    base_url = served.url.partition("/ws/")[0]
    return VertexAI("p", "us-central1", token=token, base_url=base_url, connect=served.connect)


def broken_provider(served: Endpoint) -> Endpoint:
    async def token() -> str:
        await trio.lowlevel.checkpoint()
        raise RuntimeError(f"could not refresh {CANARY}")

    base_url = served.url.partition("/ws/")[0]
    return VertexAI("p", "us-central1", token=token, base_url=base_url, connect=served.connect)


def unreachable(served: Endpoint) -> Endpoint:
    return GoogleAI(CANARY, base_url="ws://127.0.0.1:9", connect=refuse)


def not_loopback(served: Endpoint) -> Endpoint:
    return GoogleAI(CANARY, base_url="ws://example.com", connect=served.connect)


async def echo(turn: Turn) -> None:
    await turn.say(turn.text)


GOOD = Behaviour()
CASES: list[tuple[str, Callable[[Endpoint], Endpoint], Behaviour]] = [
    *((f"works with {make.__name__}", make, GOOD) for make in (key, ephemeral, bearer, provider)),
    *(
        (name, make, behaviour)
        for make in (key, ephemeral, bearer, provider)
        for name, behaviour in {
            "401": Behaviour(upgrade_status=401),
            "307": Behaviour(upgrade_status=307, upgrade_headers=[("Location", "https://elsewhere.example/")]),
            "silent upgrade": Behaviour(silent_at="upgrade"),
            "silent setup": Behaviour(silent_at="setup"),
            "refused setup": Behaviour(refuse_setup=Close(1007, "API key not valid. Please pass a valid API key.")),
            "dropped": Behaviour(drop_after_bytes=20),
            "lost": Behaviour(close_after_s=1, close_with=Close(1008, "")),
            "black hole": Behaviour(silent_at="open"),
        }.items()
    ),
    ("provider fails", broken_provider, GOOD),
    ("unreachable", unreachable, GOOD),
    ("not loopback", not_loopback, GOOD),
]


@pytest.mark.parametrize(
    ("make", "behaviour"), [case[1:] for case in CASES], ids=[f"{c[0]}-{c[1].__name__}" for c in CASES]
)
async def test_no_secret_leaves_the_package(
    autojump_clock: MockClock,
    make: Callable[[Endpoint], Endpoint],
    behaviour: Behaviour,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    config = SessionConfig(model=MODEL, response_modalities=("TEXT",), resumption_handle=None)
    async with serve_in_memory(Script(model=echo, connections=[behaviour])) as server:
        served = server.vertex_endpoint if make in (bearer, provider, broken_provider) else server.endpoint
        try:
            endpoint = make(served)
            fields = attrs.asdict(endpoint, recurse=False)  # type: ignore[arg-type] # every endpoint is an attrs class
            shown += [repr(endpoint), str(endpoint), repr(fields)]
            policy = ReconnectPolicy(attempts=0)
            async with open_session(config, endpoint=endpoint, reconnect=policy) as session:
                shown += [repr(session), repr(vars(session._runner)), repr(session.statistics())]
                await session.ask("hello")
                shown += [repr(server.conversations), repr(server.connections), repr(server)]
                if behaviour is not GOOD:
                    await trio.sleep(100)
        except Exception as error:
            told = traceback.TracebackException.from_exception(error, capture_locals=True)
            shown += [repr(error), str(error), repr(vars(error)), *told.format()]
        else:
            assert behaviour is GOOD, "nothing failed, so nothing was shown"
    shown += [repr(vars(record)) + record.getMessage() for record in caplog.records]
    assert shown
    assert [text for text in shown if CANARY in text] == []


async def test_a_resumption_handle_is_a_secret_too(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    config = SessionConfig(model=MODEL, response_modalities=("TEXT",), resumption_handle=CANARY)
    refusing = Behaviour(refuse_resumption=Close(1008, "BidiGenerateContent session not found"))
    shown = [repr(config)]
    async with serve_in_memory(Script(model=echo, connections=[refusing])) as server:
        try:
            async with open_session(config, endpoint=server.endpoint):
                pass
        except Exception as error:
            told = traceback.TracebackException.from_exception(error, capture_locals=True)
            shown += [repr(error), repr(vars(error)), *told.format()]
    shown += [repr(vars(record)) + record.getMessage() for record in caplog.records]
    assert len(shown) > 3
    assert [text for text in shown if CANARY in text] == []
