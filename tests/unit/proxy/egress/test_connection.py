from __future__ import annotations

import asyncio
import ipaddress
from typing import Any

import pytest
from egress_house import serve
from hypothesis import given
from hypothesis import strategies as st

from mycelos.proxy.egress.connection import MAXIMUM_HEAD, ClosedError, FramingError, UpstreamConnection

pytestmark = pytest.mark.anyio
LOOPBACK = ipaddress.ip_address("127.0.0.1")


async def connect(port: int) -> UpstreamConnection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: UpstreamConnection(LOOPBACK), "127.0.0.1", port)
    return connection


async def exchange(reply: bytes, method: str = "GET", *, close: bool = False) -> tuple[UpstreamConnection, bytes]:
    async def once(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        await writer.drain()
        if close:
            writer.close()

    async with asyncio.timeout(10), serve(once) as upstream:
        connection = await connect(upstream.port)
        try:
            connection.begin(method, b"%s / HTTP/1.1\r\nhost: x\r\n\r\n" % method.encode())
            await connection.wait_head()
            body = b""
            while piece := await connection.read():
                body += piece
            return connection, body
        finally:
            connection.close()


@pytest.mark.parametrize(
    ("reply", "method", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "GET", b"hello"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "GET", b"hello"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n", "GET", b"hello"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", "HEAD", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", "GET", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", "GET", b"hi"),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", "GET", b"hi"),
    ],
)
async def test_a_well_framed_answer_is_read_and_the_connection_can_be_used_again(
    reply: bytes, method: str, body: bytes
) -> None:
    connection, found = await exchange(reply, method)
    assert found == body
    assert not any(name in {b"x", b"link"} for name, _ in connection.headers)


async def test_an_answer_that_ends_with_the_connection_is_read_to_its_end() -> None:
    connection, found = await exchange(b"HTTP/1.0 200 OK\r\n\r\nhello", close=True)
    assert found == b"hello"
    assert not connection.is_reusable


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx : y\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: y\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 600 Odd\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"content-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: " + b"b" * (MAXIMUM_HEAD + 1) + b"\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: " + b"b" * (3 * MAXIMUM_HEAD),
    ],
)
async def test_an_answer_that_can_be_read_in_two_ways_is_refused(reply: bytes) -> None:
    with pytest.raises((FramingError, ClosedError)):
        await exchange(reply)


async def test_a_body_that_is_cut_short_is_an_error_and_not_an_end() -> None:
    for reply in (
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ):
        with pytest.raises(ClosedError):
            await exchange(reply, close=True)


async def test_what_follows_an_answer_spoils_the_connection_and_is_not_part_of_it() -> None:
    first = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
    connection, body = await exchange(first + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
    assert body == b"hi"
    assert not connection.is_reusable
    connection, body = await exchange(first.replace(b"2\r\n\r\nhi", b"4\r\n\r\n") + b"evil", "HEAD")
    assert body == b""
    assert not connection.is_reusable


async def test_bytes_that_nobody_asked_for_close_an_idle_connection() -> None:
    sent = asyncio.Event()

    async def twice(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await sent.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")

    async with asyncio.timeout(10), serve(twice) as upstream:
        connection = await connect(upstream.port)
        connection.begin("GET", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await connection.wait_head()
        assert await connection.read() == b""
        assert connection.is_reusable
        sent.set()
        while connection.is_reusable:
            await connection._wait()
        connection.close()


async def test_a_reader_that_does_not_read_stops_the_sender() -> None:
    size = 32 * 1024 * 1024
    written = 0

    async def flood(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(size // 65536):
            writer.write(bytes(65536))
            await writer.drain()
            written += 65536

    async with asyncio.timeout(20), serve(flood) as upstream:
        connection = await connect(upstream.port)
        connection.begin("GET", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await connection.wait_head()
        while not connection._is_reading_paused:
            await connection._wait()
        assert connection._buffered < 1024 * 1024
        total = 0
        while piece := await connection.read():
            total += len(piece)
        assert total == size
        connection.close()


class Deaf(asyncio.Transport):
    def is_closing(self) -> bool:
        return False

    def abort(self) -> None: ...

    def write(self, data: Any) -> None: ...


@given(st.binary(max_size=200), st.lists(st.integers(1, 40), max_size=5))
def test_whatever_bytes_come_the_parser_ends_in_an_answer_or_a_fault(data: bytes, sizes: list[int]) -> None:
    connection = UpstreamConnection(LOOPBACK)
    connection.connection_made(Deaf())
    connection.begin("GET", b"GET / HTTP/1.1\r\n\r\n")
    whole = b"HTTP/1.1 200 OK\r\n" + data
    position = 0
    for size in [*sizes, len(whole)]:
        connection.data_received(whole[position : position + size])
        position += size
    assert connection._fault is None or isinstance(connection._fault, FramingError)
