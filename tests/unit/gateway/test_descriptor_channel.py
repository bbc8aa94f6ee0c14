"""Descriptors over a SEQPACKET channel: paired by nonce, bounded in time, closed when nobody wants them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

import msgspec
import pytest

from mycelos.gateway.descriptor_channel import DescriptorChannel
from mycelos.wire.problems import ProblemCode, Refusal
from mycelos.wire.spawn import ChannelRequest

pytestmark = pytest.mark.anyio

WAIT = 20.0


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with ours, theirs:
        peer.channel_descriptor = os.dup(theirs.fileno())  # type: ignore[attr-defined]
        yield ours


def open_channel(name: str = "proxy") -> DescriptorChannel:
    return DescriptorChannel(peer.channel_descriptor, name)  # type: ignore[attr-defined]


def make(nonce: str) -> ChannelRequest:
    return ChannelRequest(v=1, nonce=nonce)


async def next_nonce(peer: socket.socket) -> str:
    async with asyncio.timeout(WAIT):
        data = await asyncio.get_running_loop().sock_recv(peer, 4096)
    return msgspec.json.decode(data, type=ChannelRequest).nonce


def answer(peer: socket.socket, nonce: str, descriptors: list[int]) -> None:
    socket.send_fds(peer, [msgspec.json.encode({"nonce": nonce})], descriptors)


async def test_answers_find_their_requests_in_any_order(peer: socket.socket) -> None:
    channel = open_channel()
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(channel.request(make, WAIT)) for _ in range(3)]
        nonces = [await next_nonce(peer) for _ in asked]
        for nonce in reversed(nonces):
            answer(peer, nonce, [])
    assert [msgspec.json.decode(task.result()[0])["nonce"] for task in asked] == nonces
    assert len(set(nonces)) == 3
    channel.close()


async def test_an_answer_that_nobody_waits_for_is_closed(peer: socket.socket) -> None:
    channel = open_channel()
    mine, given = socket.socketpair()
    with pytest.raises(Refusal) as refused:
        await channel.request(make, 0.01)
    assert refused.value.problem.code is ProblemCode.PROXY_UNAVAILABLE
    answer(peer, await next_nonce(peer), [given.fileno()])
    given.close()
    mine.setblocking(False)
    async with asyncio.timeout(WAIT):
        assert await asyncio.get_running_loop().sock_recv(mine, 1) == b"", "its last copy is closed"
    mine.close()
    channel.close()


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"nonce": 7}', b"\xff"])
async def test_what_is_no_answer_is_dropped_and_the_channel_goes_on(peer: socket.socket, data: bytes) -> None:
    channel = open_channel()
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(channel.request(make, WAIT))
        nonce = await next_nonce(peer)
        peer.send(data)
        answer(peer, nonce, [])
    assert asked.result()[1] == []
    channel.close()


async def test_too_many_descriptors_are_refused_and_closed(peer: socket.socket) -> None:
    channel = open_channel()
    mine, given = socket.socketpair()
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(_refused(channel, 0.5))
        answer(peer, await next_nonce(peer), [given.fileno()] * 9)
        await asked
    given.close()
    mine.setblocking(False)
    async with asyncio.timeout(WAIT):
        assert await asyncio.get_running_loop().sock_recv(mine, 1) == b""
    mine.close()
    channel.close()


async def test_received_descriptors_are_not_inherited(peer: socket.socket) -> None:
    channel = open_channel()
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(channel.request(make, WAIT))
        with socket.socket(socket.AF_UNIX) as given:
            answer(peer, await next_nonce(peer), [given.fileno()])
    (descriptor,) = asked.result()[1]
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)
    channel.close()


async def test_a_peer_that_is_gone_ends_every_wait_at_once(peer: socket.socket) -> None:
    channel = open_channel("spawner")
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(_refused(channel, WAIT)) for _ in range(2)]
        for _ in asked:
            await next_nonce(peer)
        peer.shutdown(socket.SHUT_RDWR)
    assert {task.result() for task in asked} == {ProblemCode.SANDBOX_REFUSED}
    channel.close()
    channel.close()


async def _refused(channel: DescriptorChannel, seconds: float) -> ProblemCode:
    with pytest.raises(Refusal) as refused:
        await channel.request(make, seconds)
    return refused.value.problem.code
