"""With ``pace`` the timing is that of docs/protocol.md 5."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from gemlive.emulator import Turn, serve_in_memory
from tests.emulator.raw_client import Json, RawClient, kind, open_client

Timed = list[tuple[str, float]]


async def timed_turn(client: RawClient) -> Timed:
    began, found = trio.current_time(), []
    message: Json = {}
    while not message.get("serverContent", {}).get("turnComplete"):
        message = await client.receive()
        found.append((kind(message), trio.current_time() - began))
    return found


def first(timed: Timed, kind: str) -> float:
    return next(at for name, at in timed if name == kind)


async def ten_seconds(turn: Turn) -> None:
    await turn.speak(bytes(int(10.56 * 48000)))


async def test_a_paced_turn_has_the_times_that_were_measured(autojump_clock: trio.testing.MockClock) -> None:
    async with serve_in_memory(ten_seconds, pace=True) as server, open_client(server) as client:
        await client.setup()
        await client.say("talk")
        timed = await timed_turn(client)
    assert first(timed, "generated") == pytest.approx(4.3, abs=0.15)
    assert first(timed, "complete+usage") == pytest.approx(12.0, abs=0.03)
    assert first(timed, "complete+usage") == pytest.approx(first(timed, "audio") + 10.56, abs=0.03)


async def test_unpaced_nothing_waits(autojump_clock: trio.testing.MockClock) -> None:
    async with serve_in_memory(ten_seconds) as server, open_client(server) as client:
        await client.setup()
        await client.say("talk")
        assert {at for _, at in await timed_turn(client)} == {0}


async def test_an_interrupted_turn_completes_soon_after_the_mark(autojump_clock: trio.testing.MockClock) -> None:
    async with serve_in_memory(ten_seconds, pace=True) as server, open_client(server) as client:
        await client.setup()
        await client.say("talk")
        await trio.sleep(3)
        await client.say("stop")
        timed = await timed_turn(client)
    assert "generated" not in dict(timed)
    assert first(timed, "complete+usage") - first(timed, "interrupted") == pytest.approx(0.08, abs=0.02)


async def test_the_turn_is_interrupted_after_production_while_it_still_plays(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with serve_in_memory(ten_seconds, pace=True) as server, open_client(server) as client:
        await client.setup()
        await client.say("talk")
        while kind(await client.receive()) != "generated":
            pass
        await client.say("stop")
        assert [name for name, _ in await timed_turn(client)] == ["interrupted", "complete+usage"]
