"""What every transport promises, as one check that each implementation is put through.

``make`` opens one connection: it yields the transport and the peer at its other end. The virtual clock is expected to
run, so that waiting costs nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest
import trio
import trio.testing

from gemlive.errors import ConnectionLost
from gemlive.transport import CloseInfo, Transport


class Peer(Protocol):
    """The other end of a connection."""

    async def send(self, frame: str | bytes) -> None:
        """Sends one message."""

    async def receive(self) -> str | bytes:
        """Returns the next message."""

    async def aclose(self, code: int, reason: str) -> None:
        """Sends a Close frame."""

    async def vanish(self) -> None:
        """Ends the stream without a Close frame."""


Make = Callable[[], AbstractAsyncContextManager[tuple[Transport, Peer]]]


async def check_transport(make: Make) -> None:
    """Fails if a transport breaks a promise of its interface."""
    for check in _CHECKS:
        async with make() as (transport, peer):
            await check(transport, peer)


async def _all_of(transport: Transport, count: int) -> list[str | bytes]:
    messages: list[str | bytes] = []
    while len(messages) < count:
        batch = await transport.receive()
        assert batch
        messages.extend(batch)
    return messages


async def _frames_arrive_whole_and_in_order(transport: Transport, peer: Peer) -> None:
    frames = [f"frame {number} " + "é" * number for number in range(20)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.send, frames)
        assert [await peer.receive() for _ in frames] == frames


async def _messages_come_as_they_were_sent(transport: Transport, peer: Peer) -> None:
    messages: list[str | bytes] = ["text", b"bytes", "", b"", "ü" * 70_000, b"\x00" * 70_000]
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            for message in messages:
                await peer.send(message)

        assert await _all_of(transport, len(messages)) == messages


async def _what_is_there_comes_in_one_batch(transport: Transport, peer: Peer) -> None:
    for number in range(5):
        await peer.send(str(number))
    await trio.testing.wait_all_tasks_blocked()
    assert list(await transport.receive()) == ["0", "1", "2", "3", "4"]


async def _sending_nothing_is_a_checkpoint(transport: Transport, peer: Peer) -> None:
    with trio.testing.assert_checkpoints():
        await transport.send([])


async def _a_cancelled_receive_loses_nothing(transport: Transport, peer: Peer) -> None:
    with trio.move_on_after(1) as scope:
        await transport.receive()
    assert scope.cancelled_caught
    await peer.send("after")
    assert list(await transport.receive()) == ["after"]


async def _a_send_that_is_cancelled_before_it_begins_sends_nothing(transport: Transport, peer: Peer) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await transport.send(["never"])
    await transport.send(["after"])
    assert await peer.receive() == "after"


async def _only_one_task_receives(transport: Transport, peer: Peer) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError), trio.testing.assert_checkpoints():
            await transport.receive()
        nursery.cancel_scope.cancel()


async def _the_peers_close_is_told_after_what_it_sent(transport: Transport, peer: Peer) -> None:
    assert transport.close_info is None
    await peer.send("last")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.aclose, 1011, "Internal error encountered.")
        assert list(await transport.receive()) == ["last"]
        for _ in range(2):
            with pytest.raises(ConnectionLost) as caught, trio.testing.assert_checkpoints():
                await transport.receive()
            assert (caught.value.code, caught.value.reason) == (1011, "Internal error encountered.")
            assert caught.value.origin == "peer"
        with pytest.raises(ConnectionLost), trio.testing.assert_checkpoints():
            await transport.send(["too late"])
        assert transport.close_info == CloseInfo(1011, "Internal error encountered.", "peer")


async def _a_peer_that_vanishes_is_a_lost_connection(transport: Transport, peer: Peer) -> None:
    await peer.send("last")
    await peer.vanish()
    assert await _all_of(transport, 1) == ["last"]
    with pytest.raises(ConnectionLost) as caught:
        await transport.receive()
    assert (caught.value.code, caught.value.origin) == (1006, "network")
    assert transport.close_info == CloseInfo(1006, caught.value.reason, "network")


async def _what_we_closed_is_closed(transport: Transport, peer: Peer) -> None:
    await transport.aclose(4000, "enough")
    await transport.aclose()
    assert transport.close_info == CloseInfo(4000, "enough", "local")
    with pytest.raises(trio.ClosedResourceError), trio.testing.assert_checkpoints():
        await transport.receive()
    with pytest.raises(trio.ClosedResourceError), trio.testing.assert_checkpoints():
        await transport.send(["too late"])


async def _closing_wakes_who_receives(transport: Transport, peer: Peer) -> None:
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await transport.receive()

        await trio.testing.wait_all_tasks_blocked()
        await transport.aclose()


async def _a_code_that_may_not_be_sent_is_refused(transport: Transport, peer: Peer) -> None:
    for code in (0, 999, 1005, 1006, 1015, 2000, 5000):
        with pytest.raises(ValueError, match=str(code)):
            await transport.aclose(code)
    assert transport.close_info is None


async def _a_long_reason_is_cut_between_characters(transport: Transport, peer: Peer) -> None:
    await transport.aclose(1000, "é" * 100)
    assert transport.close_info == CloseInfo(1000, "é" * 61, "local")


async def _the_last_inbound_byte_is_noted(transport: Transport, peer: Peer) -> None:
    await trio.sleep(3)
    await peer.send("now")
    await transport.receive()
    assert transport.last_inbound == trio.current_time()


_CHECKS: list[Callable[[Transport, Peer], Awaitable[None]]] = [
    _frames_arrive_whole_and_in_order,
    _messages_come_as_they_were_sent,
    _what_is_there_comes_in_one_batch,
    _sending_nothing_is_a_checkpoint,
    _a_cancelled_receive_loses_nothing,
    _a_send_that_is_cancelled_before_it_begins_sends_nothing,
    _only_one_task_receives,
    _the_peers_close_is_told_after_what_it_sent,
    _a_peer_that_vanishes_is_a_lost_connection,
    _what_we_closed_is_closed,
    _closing_wakes_who_receives,
    _a_code_that_may_not_be_sent_is_refused,
    _a_long_reason_is_cut_between_characters,
    _the_last_inbound_byte_is_noted,
]
