from __future__ import annotations

import asyncio
import ipaddress
from typing import Any

import pytest
import trustme
from egress_house import answer, serve, server_context
from framing import Row, rows

from mycelos.proxy.egress import connection as connection_module
from mycelos.proxy.egress.connection import HIGH_WATER, ClosedError, FramingError, UpstreamConnection
from mycelos.proxy.egress.dial import Trust, dial
from mycelos.proxy.egress.url import parse_url

pytestmark = pytest.mark.anyio
LOOPBACK = ipaddress.ip_address("127.0.0.1")
SECOND = answer(b"second")


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


async def converse(row: Row, size: int) -> tuple[str, int, bytes, UpstreamConnection]:
    """One request whose answer comes in pieces of ``size`` bytes: the verdict, status, body and the connection."""
    closes = row.more.get("closes", False)
    method = row.more.get("method", "GET")
    heads = 0
    ended = asyncio.Event()

    async def reply(_head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heads
        heads += 1
        if heads > 1:
            writer.write(SECOND)
            return
        try:
            for start in range(0, len(row.data), size):
                writer.write(row.data[start : start + size])
                await writer.drain()
            if closes:
                writer.write_eof()
            # Whatever happens, the client ends the connection or asks again.
            if closes or row.verdict != "accepted" or row.more["reusable"] is False:
                await reader.read()
        finally:
            ended.set()

    async with asyncio.timeout(10), serve(reply) as upstream:
        connection = await connect(upstream.port)
        try:
            connection.begin(method, b"%s / HTTP/1.1\r\nhost: x\r\n\r\n" % method.encode())
            await connection.wait_head()
            status, body = connection.status, await read_all(connection)
            if row.more.get("reusable") is False:
                while connection.is_reusable:
                    await connection._wait()
                connection.close()
            elif connection.is_reusable or row.more["reusable"]:
                assert await second(connection) == b"second"
            return "accepted", status, body, connection
        except FramingError:
            await ended.wait()
            return "refused", 0, b"", connection
        except ClosedError:
            return "cut", 0, b"", connection
        finally:
            connection.close()


async def read_all(connection: UpstreamConnection) -> bytes:
    pieces = []
    while piece := await connection.read():
        pieces.append(piece)
    return b"".join(pieces)


async def second(connection: UpstreamConnection) -> bytes:
    connection.begin("GET", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    await connection.wait_head()
    return await read_all(connection)


@pytest.mark.parametrize("row", rows("answers"), ids=lambda row: row.name)
async def test_an_answer_has_the_meaning_that_the_corpus_gives_it(row: Row) -> None:
    """Nothing that was refused or cut short, or that had more behind it, leaves a connection that is used again."""
    for size in (len(row.data) or 1, 1 if len(row.data) < 400 else 5000):
        verdict, status, body, connection = await converse(row, size)
        assert verdict == row.verdict
        if verdict == "accepted":
            assert (status, body) == (row.more["status"], row.more["body"].encode("latin-1"))
            assert not any(name in {b"set-cookie", b"link"} for name, _ in connection.headers)
        assert not connection.is_reusable


async def test_a_body_that_is_cut_short_is_an_error_and_not_an_end() -> None:
    for reply in (
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ):
        with pytest.raises(ClosedError):
            await exchange(reply, close=True)


async def test_a_connection_that_rests_keeps_nothing_of_its_answer() -> None:
    reply = answer(b"body-of-the-answer", headers=b"x-echo: header-of-the-answer\r\n")
    async with asyncio.timeout(10), serve(reply) as upstream:
        connection = await connect(upstream.port)
        connection.begin("GET", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await connection.wait_head()
        assert dict(connection.headers)[b"x-echo"] == b"header-of-the-answer"
        while await connection.read():
            pass
        connection.let_go()
        assert b"of-the-answer" not in bytes(connection._space)
        assert connection.headers == []
        assert connection.is_reusable
        connection.close()
    UpstreamConnection(LOOPBACK).let_go()


async def test_a_fault_that_is_raised_is_not_the_one_that_is_kept() -> None:
    for reply, kind in ((b"no answer", FramingError), (b"HTTP/1.1 200 OK\r\n", ClosedError)):
        with pytest.raises(kind) as caught:
            await exchange(reply, close=True)
        assert caught.value.__traceback__ is not None
        connection = UpstreamConnection(LOOPBACK)
        connection._fault = caught.value
        with pytest.raises(kind) as again:
            connection._raise_fault()
        assert again.value is not caught.value
        assert str(again.value) == str(caught.value)
    UpstreamConnection(LOOPBACK)._raise_fault()


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


@pytest.mark.parametrize("has_wall", [True, False])
async def test_a_reader_that_does_not_read_stops_the_sender(monkeypatch: pytest.MonkeyPatch, has_wall: bool) -> None:
    """Without the mark at which reading pauses, all of it lies in memory."""
    size = 32 * 1024 * 1024
    if not has_wall:
        monkeypatch.setattr(connection_module, "HIGH_WATER", size)
    sent = asyncio.Event()

    async def flood(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(size // 65536):
            writer.write(bytes(65536))
            await writer.drain()
        sent.set()

    async with asyncio.timeout(20), serve(flood) as upstream:
        connection = await connect(upstream.port)
        connection.begin("GET", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await connection.wait_head()
        while not (connection._is_reading_paused or connection._answer.is_complete):
            await connection._wait()
        if has_wall:
            assert not sent.is_set()
            assert connection._answer.buffered <= 2 * HIGH_WATER
        else:
            assert connection._answer.buffered == size
        assert len(await read_all(connection)) == size
        connection.close()


@pytest.mark.parametrize("anyio_backend", ["asyncio", ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"])
async def test_a_large_answer_comes_through_tls_on_either_event_loop(
    anyio_backend: Any, authority: trustme.CA, trust: Trust
) -> None:
    size = 4 * 1024 * 1024
    async with asyncio.timeout(20), serve(answer(bytes(size)), tls=server_context(authority, "a.example")) as upstream:
        connection = await dial(parse_url(f"https://a.example:{upstream.port}/"), [LOOPBACK], trust)
        for _ in range(2):
            connection.begin("GET", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await connection.wait_head()
            assert len(await read_all(connection)) == size
        connection.close()


@pytest.mark.parametrize("anyio_backend", ["asyncio", ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("is_said", [True, False])
async def test_an_end_that_tls_does_not_say_is_no_end(
    anyio_backend: Any, authority: trustme.CA, trust: Trust, is_said: bool
) -> None:
    """RFC 9112, section 9.8: without close_notify somebody on the way may have cut the answer short."""

    async def until_the_end(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await writer.drain()
        if is_said:
            writer.close()
            await writer.wait_closed()
        raise ConnectionResetError

    async with asyncio.timeout(20), serve(until_the_end, tls=server_context(authority, "a.example")) as upstream:
        connection = await dial(parse_url(f"https://a.example:{upstream.port}/"), [LOOPBACK], trust)
        connection.begin("GET", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await connection.wait_head()
        if is_said:
            assert await read_all(connection) == b"hello"
        else:
            with pytest.raises(ClosedError):
                await read_all(connection)
        assert not connection.is_reusable
        connection.close()


@pytest.mark.parametrize("anyio_backend", ["asyncio", ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("ends", [True, False])
async def test_a_body_that_nobody_reads_waits_and_ends_with_the_connection(anyio_backend: Any, ends: bool) -> None:
    reached = asyncio.Event()
    go = asyncio.Event()

    async def deaf(_head: bytes, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        reached.set()
        await go.wait()
        raise ConnectionResetError

    async with asyncio.timeout(20), serve(deaf) as upstream:
        connection = await connect(upstream.port)
        connection.begin("POST", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n")
        while connection._writable.is_set():
            await connection.write(bytes(65536))
            await asyncio.sleep(0)
        await reached.wait()
        if ends:
            asyncio.get_running_loop().call_soon(go.set)
            with pytest.raises(ClosedError):
                while True:
                    await connection.write(bytes(65536))
        else:
            # Whoever waits may bound it: the waiting is one that can be ended.
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    while True:
                        await connection.write(bytes(65536))
        connection.close()
        go.set()
