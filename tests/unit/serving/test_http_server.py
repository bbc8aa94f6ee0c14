from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mycelos.serving import http_server
from mycelos.serving.http_server import MAXIMUM_HEAD, HttpServer

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


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost:\r\n\r\n",
        b"GET http://other/ HTTP/1.1\r\nhost: x\r\n\r\n",
        b"CONNECT other:443 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\nhost: x\n\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nx : y\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nx: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * (MAXIMUM_HEAD * 2) + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
    ],
)
async def test_what_is_not_one_well_framed_request_is_refused_before_the_application(
    server: HttpServer, application: Application, request_bytes: bytes
) -> None:
    found = await talk(server, request_bytes)
    assert found.startswith(b"HTTP/1.1 400")
    assert b"Mycelos-Refused: invalid_request" in found
    assert application.targets == []


async def test_a_head_that_never_ends_is_refused_when_it_grows_too_large(server: HttpServer) -> None:
    found = await talk(server, b"GET / HTTP/1.1\r\nhost: x\r\nx: ", *[b"a" * 8192] * 6)
    assert found.startswith(b"HTTP/1.1 400")


async def test_a_large_body_is_no_large_head(server: HttpServer) -> None:
    size = 3 * 1024 * 1024
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size
    found = await talk(server, head, *[bytes(65536)] * (size // 65536), b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", answers=2)
    assert b"x-size: %d" % size in found
    assert found.count(b"HTTP/1.1 200 OK") == 2


async def test_a_head_that_takes_too_long_ends_the_connection(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.05)
    assert await talk(server, b"GET / HTTP/1.1\r\nhost: x\r\n") == b""


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
