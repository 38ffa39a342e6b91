"""One failure comes out of a nursery as itself."""

from __future__ import annotations

import pytest
import trio

from gemlive.transport._nursery import open_plain_nursery


async def fail(error: BaseException) -> None:
    await trio.lowlevel.cancel_shielded_checkpoint()
    raise error


async def test_a_childs_failure_comes_out_plain() -> None:
    error = ValueError("child")
    with pytest.raises(ValueError, match="child") as caught:
        async with open_plain_nursery() as nursery:
            nursery.start_soon(fail, error)
            await trio.sleep_forever()
    assert caught.value is error
    assert caught.value.__context__ is None


async def test_the_bodys_failure_comes_out_plain() -> None:
    error = KeyError("body")
    with pytest.raises(KeyError) as caught:
        async with open_plain_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise error
    assert caught.value is error


async def test_two_failures_stay_a_group() -> None:
    with pytest.RaisesGroup(ValueError, KeyError):
        async with open_plain_nursery() as nursery:
            nursery.start_soon(fail, ValueError())
            nursery.start_soon(fail, KeyError())
            await trio.sleep_forever()


async def test_a_cancellation_comes_out_plain_and_reaches_its_scope() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        with pytest.raises(trio.Cancelled):
            async with open_plain_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
