from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mycelos.serving.http_server import HttpServer

pytestmark = pytest.mark.anyio


class Application:
    """Echoes the body's length; remembers what it was asked."""

    def __init__(self) -> None:
        self.targets: list[bytes] = []
        self.hold: asyncio.Event | None = None
        self.was_asked = asyncio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.targets.append(scope["raw_path"])
        self.was_asked.set()
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        if self.hold is not None:
            await self.hold.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-size", b"%d" % size)]})
        await send({"type": "http.response.body", "body": b"done"})


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
async def server(application: Application, anyio_backend: str) -> AsyncIterator[HttpServer]:
    server = HttpServer(application)
    yield server
    await server.stop()


async def talk(server: HttpServer, *pieces: bytes, answers: int = 1) -> bytes:
    """Send pieces over an adopted socket; what came back until ``answers`` answers or the end."""
    ours, theirs = socket.socketpair()
    await server.adopt(theirs)
    reader, writer = await asyncio.open_connection(sock=ours)
    found = b""
    try:
        async with asyncio.timeout(10):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            while found.count(b"HTTP/1.1 ") < answers or not found.endswith((b"0\r\n\r\n", b"}")):
                data = await reader.read(65536)
                if not data:
                    break
                found += data
    finally:
        writer.close()
        await writer.wait_closed()
    return found


async def test_an_adopted_socket_is_served_and_kept_for_the_next_request(
    server: HttpServer, application: Application
) -> None:
    request = b"GET /a%2Fb?c HTTP/1.1\r\nhost: x\r\n\r\n"
    found = await talk(server, request + request, answers=2)
    assert found.count(b"HTTP/1.1 200 OK") == 2
    assert application.targets == [b"/a%2Fb"] * 2
    assert b"server:" not in found.lower()


async def test_no_piece_of_an_answer_waits_for_the_one_before_it(server: HttpServer) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    assert listener.proto == 0
    await server.listen(listener)
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    try:
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        async with asyncio.timeout(10):
            await reader.readuntil(b"done")
        (connection,) = server._state.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_large_body_is_no_large_head(server: HttpServer) -> None:
    size = 3 * 1024 * 1024
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size
    found = await talk(server, head, *[bytes(65536)] * (size // 65536), b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", answers=2)
    assert b"x-size: %d" % size in found
    assert found.count(b"HTTP/1.1 200 OK") == 2


async def test_a_listener_is_served_and_closed_at_stop(server: HttpServer, application: Application) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    await server.listen(listener)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    application.hold = asyncio.Event()
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    async with asyncio.timeout(10):
        await application.was_asked.wait()
        stopping = asyncio.get_running_loop().create_task(server.stop())
        await asyncio.sleep(0)
        application.hold.set()
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        await stopping
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    assert server.connections == 0
