"""Waiting for what becomes of a message."""

from __future__ import annotations

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from gemlive.session import Receipt, State


@pytest.mark.parametrize("state", ["written", "covered", "uncertain", "dropped"])
async def test_any_number_of_tasks_learn_the_final_state(state: State) -> None:
    receipt = Receipt()
    learnt: list[State] = []

    async def learn() -> None:
        learnt.append(await receipt.wait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(learn)
        nursery.start_soon(learn)
        await wait_all_tasks_blocked()
        receipt._settle(state, final=True)
    assert learnt == [state, state]


async def test_written_returns_before_the_state_is_final() -> None:
    receipt = Receipt()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receipt.wait)
        await wait_all_tasks_blocked()
        receipt._settle("written", final=False)
        assert await receipt.written() == "written"
        nursery.cancel_scope.cancel()
    assert receipt.state == "written"


async def test_asking_after_the_fact_is_a_checkpoint_too() -> None:
    receipt = Receipt()
    receipt._settle("dropped", final=True, reason="too late")
    with assert_checkpoints():
        await receipt.wait()
    with assert_checkpoints():
        await receipt.written()
    assert repr(receipt) == "<Receipt dropped: too late>"


def test_a_final_state_does_not_change() -> None:
    receipt = Receipt()
    receipt._settle("covered", final=True)
    with pytest.raises(AssertionError):
        receipt._settle("uncertain", final=True)
