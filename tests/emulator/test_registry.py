from __future__ import annotations

import uuid

import pytest
import trio
import trio.testing

from gemlive.emulator import Close, _registry
from gemlive.emulator._memory import Memory
from gemlive.emulator._registry import Registry, Saved
from gemlive.emulator._route import Route
from gemlive.families import family_for
from gemlive.types import Setup

ROUTE = Route("google_ai", "v1beta")


def saved(registry: Registry) -> tuple[str, Saved]:
    conversation = registry.new_conversation(ROUTE, family_for("x"), Setup(model="x"))
    conversation.connections.append(registry.new_connection())
    return registry.save(conversation, Memory(turns=7)), Saved(conversation, Memory(turns=7))


async def test_a_handle_restores_what_was_saved() -> None:
    registry = Registry()
    handle, what = saved(registry)
    found = registry.recall(handle, ROUTE)
    assert found is not None
    assert (found.conversation, found.memory) == (what.conversation, what.memory)


async def test_a_handle_is_good_on_its_own_service_only() -> None:
    registry = Registry()
    handle, _ = saved(registry)
    assert registry.recall(handle, Route("vertex", "v1")) is None
    assert registry.recall("another", ROUTE) is None


async def test_a_handle_is_good_for_two_hours_after_the_end(autojump_clock: trio.testing.MockClock) -> None:
    registry = Registry()
    handle, what = saved(registry)
    await trio.sleep(3 * 3600)
    assert registry.recall(handle, ROUTE) is not None
    what.conversation.connections[-1].end(Close(1006), by="network")
    await trio.sleep(2 * 3600 - 1)
    assert registry.recall(handle, ROUTE) is not None
    await trio.sleep(2)
    assert registry.recall(handle, ROUTE) is None


async def test_only_the_latest_handles_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_registry, "MAX_HANDLES", 2)
    registry = Registry()
    handles = [saved(registry)[0] for _ in range(3)]
    assert [registry.recall(handle, ROUTE) is not None for handle in handles] == [False, True, True]


async def test_only_the_latest_conversations_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_registry, "MAX_CONVERSATIONS", 2)
    registry = Registry()
    for _ in range(3):
        saved(registry)
    assert [conversation.number for conversation in registry.conversations] == [2, 3]
    assert registry.conversations_dropped == 1


def test_ids_have_the_recorded_shapes_and_are_the_same_each_time() -> None:
    def some() -> list[str]:
        registry = Registry()
        google_ai = [registry.call_id("google_ai", "fc_"), registry.call_id("google_ai", "function-call-")]
        return [*google_ai, registry.call_id("vertex", "fc_"), registry.session_id()]

    assert some() == some()
    assert some()[:2] == ["fc_1", "function-call-2"]
    assert [uuid.UUID(name).version for name in some()[2:]] == [5, 5]
