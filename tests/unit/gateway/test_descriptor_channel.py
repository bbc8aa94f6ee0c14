"""Descriptors over a SEQPACKET channel: paired by nonce, bounded in time, closed when nobody wants them."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import Iterator

import msgspec
import pytest

from mycelos.gateway import descriptor_channel
from mycelos.gateway.descriptor_channel import DescriptorChannel
from mycelos.proxy.channels import CHANNEL_LIMIT, Channels
from mycelos.serving.http_server import HttpServer
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


async def no_application(_scope: object, _receive: object, _send: object) -> None:
    pytest.fail("nothing is asked over these connections")


async def served_after_a_gateway_took_all_and_died(seconds: float) -> None:
    """A real proxy's end; one gateway asks until nothing more is handed over, reads nothing and dies; the next asks."""
    proxys, kept = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server = HttpServer(no_application)
    kept.setblocking(False)
    with proxys, kept:
        serving = asyncio.create_task(Channels(proxys, server).serve())
        async with asyncio.timeout(WAIT):
            for number in range(CHANNEL_LIMIT + 16):
                await asyncio.get_running_loop().sock_sendall(kept, msgspec.json.encode(make(f"{number:032x}")))
            while server.connections < CHANNEL_LIMIT or select.select([proxys], [], [], 0)[0]:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0)
        next_gateway = DescriptorChannel(os.dup(kept.fileno()), "proxy")
        try:
            _, (connection,) = await next_gateway.request(make, seconds)
            os.close(connection)
        finally:
            next_gateway.close()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            await server.stop()


async def test_a_gateway_that_took_every_connection_and_died_leaves_them_to_the_next() -> None:
    await served_after_a_gateway_took_all_and_died(WAIT)


async def test_unless_what_it_left_is_dropped_first_the_next_is_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptor_channel, "_MOST_LEFT_OVER", 0)
    with pytest.raises(Refusal, match="does not answer"):
        await served_after_a_gateway_took_all_and_died(0.5)


async def test_what_a_dead_process_was_handed_is_closed_before_anything_is_asked(peer: socket.socket) -> None:
    mine, given = socket.socketpair()
    mine.setblocking(False)
    with mine:
        for _ in range(3):
            answer(peer, "0" * 32, [given.fileno(), given.fileno()])
        given.close()
        channel = open_channel("spawner")
        assert mine.recv(1) == b"", "its last copy is closed"
        channel.close()


async def test_what_comes_late_for_a_dead_process_is_closed_without_a_request(peer: socket.socket) -> None:
    channel = open_channel("spawner")
    mine, given = socket.socketpair()
    mine.setblocking(False)
    with mine:
        answer(peer, "0" * 32, [given.fileno()])
        given.close()
        async with asyncio.timeout(WAIT):
            assert await asyncio.get_running_loop().sock_recv(mine, 1) == b""
    channel.close()


async def test_of_more_than_a_queue_holds_no_more_is_read_at_once(
    peer: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descriptor_channel, "_MOST_LEFT_OVER", 2)
    pairs = [socket.socketpair() for _ in range(3)]
    for mine, given in pairs:
        mine.setblocking(False)
        answer(peer, "0" * 32, [given.fileno()])
        given.close()
    channel = open_channel()
    assert [pairs[0][0].recv(1), pairs[1][0].recv(1)] == [b"", b""]
    with pytest.raises(BlockingIOError):
        pairs[2][0].recv(1)
    async with asyncio.timeout(WAIT):
        assert await asyncio.get_running_loop().sock_recv(pairs[2][0], 1) == b"", "the rest follows with the loop"
    channel.close()
    for mine, _ in pairs:
        mine.close()


async def test_a_peer_that_was_gone_before_is_refused_at_the_first_request(peer: socket.socket) -> None:
    peer.shutdown(socket.SHUT_RDWR)
    channel = open_channel("spawner")
    assert await _refused(channel, WAIT) is ProblemCode.SANDBOX_REFUSED
    channel.close()
