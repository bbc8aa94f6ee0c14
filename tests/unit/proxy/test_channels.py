from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from mycelos.proxy import channels as channels_module
from mycelos.proxy.channels import Channels
from mycelos.serving.http_server import HttpServer
from mycelos.wire.spawn import ChannelAnswer, ChannelRequest

pytestmark = pytest.mark.anyio
NONCE = "0123456789abcdef" * 2


async def application(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def gateway(anyio_backend: str) -> AsyncIterator[socket.socket]:
    """The gateway's end of the control channel."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(10)
    server = HttpServer(application)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(Channels(theirs, server).serve())
        yield ours
        ours.close()
        async with asyncio.timeout(10):
            await serving
    await server.stop()
    theirs.close()


async def receive(gateway: socket.socket) -> tuple[bytes, list[int]]:
    data, descriptors, _, _ = await asyncio.to_thread(socket.recv_fds, gateway, 1024, 4)
    return data, descriptors


async def test_a_request_is_answered_with_its_nonce_and_a_socket_that_is_served(gateway: socket.socket) -> None:
    for _ in range(3):
        gateway.send(msgspec.json.encode(ChannelRequest(v=1, nonce=NONCE)))
        data, (descriptor,) = await receive(gateway)
        assert msgspec.json.decode(data, type=ChannelAnswer).nonce == NONCE
        with socket.socket(fileno=descriptor) as channel:
            assert (channel.family, channel.type) == (socket.AF_UNIX, socket.SOCK_STREAM)
            channel.settimeout(10)
            await asyncio.to_thread(channel.sendall, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await asyncio.to_thread(channel.recv, 1024)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "datagram",
    [b"", b"{", b"\xff", b"{}", b'{"v":2,"nonce":"' + NONCE.encode() + b'"}', b'{"v":1,"nonce":"x"}', b"x" * 5000],
)
async def test_what_is_not_a_request_is_dropped_and_the_next_one_is_answered(
    gateway: socket.socket, datagram: bytes
) -> None:
    gateway.send(datagram)
    gateway.send(msgspec.json.encode(ChannelRequest(v=1, nonce=NONCE)))
    data, (descriptor,) = await receive(gateway)
    socket.socket(fileno=descriptor).close()
    assert NONCE.encode() in data


async def test_beyond_the_limit_nothing_is_handed_over(gateway: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels_module, "CHANNEL_LIMIT", 1)
    request = msgspec.json.encode(ChannelRequest(v=1, nonce=NONCE))
    gateway.send(request)
    _, (descriptor,) = await receive(gateway)
    gateway.send(request)
    gateway.send(b"{}")
    gateway.settimeout(0.1)
    with pytest.raises(TimeoutError):
        await receive(gateway)
    socket.socket(fileno=descriptor).close()
