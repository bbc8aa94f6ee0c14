"""Asking for a runner, and how it ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from mycelos.gateway.descriptor_channel import DescriptorChannel
from mycelos.gateway.spawner_client import Runner, SpawnerClient
from mycelos.wire.problems import ProblemCode, Refusal
from mycelos.wire.spawn import Profile, RunEnded, SpawnAnswer, SpawnRequest

pytestmark = pytest.mark.anyio

WAIT = 20.0


@asynccontextmanager
async def spawner(respond: Any) -> AsyncIterator[tuple[SpawnerClient, list[SpawnRequest]]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    requests: list[SpawnRequest] = []

    async def serve() -> None:
        data = await asyncio.get_running_loop().sock_recv(ours, 4096)
        requests.append(msgspec.json.decode(data, type=SpawnRequest))
        respond(ours, requests[-1])

    client = SpawnerClient(DescriptorChannel(theirs.detach(), "spawner"))
    async with asyncio.timeout(WAIT), asyncio.TaskGroup() as group:
        serving = group.create_task(serve())
        yield client, requests
        serving.cancel()
    client.close()
    ours.close()


async def test_it_sends_a_profile_and_a_run_and_gets_a_channel_and_a_lease() -> None:
    kept: list[socket.socket] = []

    def respond(door: socket.socket, request: SpawnRequest) -> None:
        for _ in range(2):
            kept.extend(socket.socketpair())
        answer = SpawnAnswer(1, request.nonce, True, "", "", "")
        socket.send_fds(door, [msgspec.json.encode(answer)], [kept[0].fileno(), kept[2].fileno()])

    async with spawner(respond) as (client, requests):
        async with await client.spawn("run_x", Profile.AGENT) as runner:
            runner.channel.send(b"c")
            assert kept[1].recv(1) == b"c"
            kept[3].send(msgspec.json.encode(RunEnded(v=1, exit_code=0, signal=9)))
            assert await runner.ended(WAIT) == RunEnded(v=1, exit_code=0, signal=9)
        for one in (kept[0], kept[2]):
            one.close()
        assert kept[3].recv(1) == b"", "leaving the run gives up the lease, which ends its process"
    assert msgspec.to_builtins(requests[0]).keys() == {"v", "nonce", "profile", "run"}
    for one in kept:
        one.close()


async def test_a_refusal_of_the_spawner_says_which_wall_is_missing() -> None:
    def respond(door: socket.socket, request: SpawnRequest) -> None:
        door.send(
            msgspec.json.encode(SpawnAnswer(1, request.nonce, False, "sandbox_refused", "No landlock", "Update."))
        )

    async with spawner(respond) as (client, _):
        with pytest.raises(Refusal, match="No landlock") as refused:
            await client.spawn("run_x", Profile.AGENT)
        assert refused.value.problem.code is ProblemCode.SANDBOX_REFUSED


@pytest.mark.parametrize("descriptors", [0, 1, 3])
async def test_an_answer_without_two_descriptors_is_refused_and_closed(descriptors: int) -> None:
    kept = [socket.socketpair() for _ in range(descriptors)]

    def respond(door: socket.socket, request: SpawnRequest) -> None:
        answer = SpawnAnswer(1, request.nonce, True, "", "", "")
        socket.send_fds(door, [msgspec.json.encode(answer)], [pair[0].fileno() for pair in kept])

    async with spawner(respond) as (client, _):
        with pytest.raises(Refusal, match="sandbox_refused"):
            await client.spawn("run_x", Profile.AGENT)
    for given, mine in kept:
        given.close()
        assert mine.recv(1) == b""
        mine.close()


@pytest.mark.parametrize("said", [b"", b"{", b'{"v": 2}'])
async def test_a_lease_that_ends_without_a_word_is_no_error(said: bytes) -> None:
    channel, other = socket.socketpair()
    lease, spawners = socket.socketpair()
    for one in (channel, lease):
        one.setblocking(False)
    with other, spawners:
        if said:
            spawners.send(said)
        else:
            spawners.close()
        async with Runner(channel, lease) as runner:
            assert await runner.ended(WAIT) is None
