"""The gateway's end of a run's socket, against a runner that may send anything."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import msgspec
import pytest

from mycelos.gateway.runs.failure import RunFailure
from mycelos.gateway.runs.frame_channel import FrameChannel
from mycelos.wire.frames import FrameDecoder, encode_frame
from mycelos.wire.runner import Emit, ToolResult

pytestmark = pytest.mark.anyio

WAIT = 20.0


@pytest.fixture
def sockets() -> Iterator[tuple[FrameChannel, socket.socket]]:
    ours, runners = socket.socketpair()
    ours.setblocking(False)
    with ours, runners:
        yield FrameChannel(ours), runners


async def received(channel: FrameChannel) -> object:
    async with asyncio.timeout(WAIT):
        return await channel.receive()


async def test_frames_arrive_whole_however_they_are_cut(sockets: tuple[FrameChannel, socket.socket]) -> None:
    channel, runner = sockets
    data = encode_frame(b'{"type":"emit","text":"a"}') + encode_frame(b'{"type":"emit","text":"b"}')
    async with asyncio.TaskGroup() as group:
        first = group.create_task(received(channel))
        for place in range(len(data)):
            runner.send(data[place : place + 1])
            await asyncio.sleep(0)
    assert first.result() == Emit("a")
    assert await received(channel) == Emit("b")


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"type":"become"}',
        b'{"type":"hello"}',
        b'{"type":"emit"}',
        b'{"type":"emit","text":7}',
        b'{"type":"emit","text":"a","run":"run_other"}',
        b'{"type":"tool.call","id":"1","tool":"a.b","args":[]}',
        b'{"type":"done","ok":"yes","code":"","text":""}',
        b"[" * 200_000,
    ],
)
async def test_a_frame_that_does_not_validate_is_a_failure(
    sockets: tuple[FrameChannel, socket.socket], payload: bytes
) -> None:
    channel, runner = sockets
    runner.setblocking(False)
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.get_running_loop().sock_sendall(runner, encode_frame(payload)))
        with pytest.raises(RunFailure) as failed:
            await received(channel)
    assert failed.value.code == "invalid_frame"
    assert "run_other" not in failed.value.detail


@pytest.mark.parametrize("header", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\x80\0\x01"])
async def test_a_length_that_is_not_allowed_is_a_failure(
    sockets: tuple[FrameChannel, socket.socket], header: bytes
) -> None:
    channel, runner = sockets
    runner.send(header)
    with pytest.raises(RunFailure) as failed:
        await received(channel)
    assert failed.value.code == "invalid_frame"


async def test_the_end_of_the_stream_is_the_runners_death(sockets: tuple[FrameChannel, socket.socket]) -> None:
    channel, runner = sockets
    runner.send(b"\0\0\0\x09half")
    runner.close()
    with pytest.raises(RunFailure) as failed:
        await received(channel)
    assert failed.value.code == "runner_died"
    with pytest.raises(RunFailure) as unsent:
        await channel.send(ToolResult("1", True, "", ()))
    assert unsent.value.code == "runner_died"


async def test_a_descriptor_that_a_runner_attaches_is_discarded(sockets: tuple[FrameChannel, socket.socket]) -> None:
    channel, runner = sockets
    mine, given = socket.socketpair()
    with mine:
        socket.send_fds(runner, [encode_frame(b'{"type":"emit","text":"a"}')], [given.fileno()])
        given.close()
        assert await received(channel) == Emit("a")
        assert mine.recv(1) == b"", "no copy of it is left anywhere"


async def test_frames_to_the_runner_are_framed_and_bounded(sockets: tuple[FrameChannel, socket.socket]) -> None:
    channel, runner = sockets
    await channel.send(ToolResult("1", True, "x", ("untrusted",)))
    (payload,) = FrameDecoder().feed(runner.recv(4096))
    assert msgspec.json.decode(payload, type=ToolResult).content == "x"
    with pytest.raises(RunFailure) as failed:
        await channel.send(ToolResult("1", True, "x" * (9 * 1024 * 1024), ()))
    assert failed.value.code == "too_large"
