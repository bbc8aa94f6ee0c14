from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from framing import Malformed, Row, mutated, read_request, rows
from hypothesis import given
from hypothesis import strategies as st

from mycelos.serving import guarded_protocol
from mycelos.serving.guarded_protocol import DRAIN_LIMIT, MAXIMUM_HEAD, GuardedProtocol
from mycelos.serving.http_server import HttpServer

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Application:
    """Notes each whole request as method, target and body, and answers it; or does what a test says."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.began = asyncio.Event()
        self.act: Callable[[Any, Any, Any], Any] | None = None
        self.rested = asyncio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.began.set()
        try:
            await (self.act or self.note)(scope, receive, send)
        finally:
            self.rested.set()

    async def note(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        self.asked.append([scope["method"], target.decode(), body.decode("latin-1")])
        await answer(send, b"ok")


async def answer(send: Any, body: bytes, status: int = 200) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Caller(asyncio.Protocol):
    """The other end of a connection: what came, and its end."""

    def __init__(self) -> None:
        self.found = b""
        self.came = asyncio.Event()
        self.ended = asyncio.Event()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.found += data
        self.came.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()
        self.came.set()

    async def send(self, data: bytes, size: int = 0) -> None:
        """Write in pieces that the other side reads one by one."""
        for start in range(0, len(data), size or len(data) or 1):
            if not self.transport.is_closing():
                self.transport.write(data[start : start + (size or len(data))])
            for _ in range(3):
                await asyncio.sleep(0)

    async def until(self, condition: Callable[[bytes], bool]) -> bytes:
        """What came, as soon as it satisfies ``condition``; fails where the connection ends before."""
        while not condition(self.found):
            assert not self.ended.is_set(), self.found
            self.came.clear()
            await self.came.wait()
        return self.found

    async def answers(self, count: int) -> None:
        """Wait for so many good answers."""
        await self.until(lambda found: found.count(b"HTTP/1.1 200 ") == count)


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
async def server(application: Application, anyio_backend: str) -> AsyncIterator[HttpServer]:
    server = HttpServer(application)
    yield server
    await server.stop()


@asynccontextmanager
async def connected(server: HttpServer) -> AsyncIterator[Caller]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    await server.adopt(theirs)
    _, caller = await asyncio.get_running_loop().connect_accepted_socket(Caller, ours)
    try:
        async with asyncio.timeout(20):
            yield caller
    finally:
        caller.transport.abort()


async def emptied(server: HttpServer) -> None:
    """Wait for the server's end of every connection to be closed."""
    while server.connections:  # noqa: ASYNC110 - uvicorn's set has no event
        await asyncio.sleep(0)


def fast(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        monkeypatch.setattr(guarded_protocol, name, 0.05)


# Framing.


@pytest.mark.parametrize("row", rows("requests"), ids=lambda row: row.name)
async def test_a_request_has_the_meaning_that_the_corpus_gives_it(row: Row) -> None:
    """A refusal is a problem document and the connection's end; what is accepted ends where the next one begins."""
    for size in (len(row.data), 1 if len(row.data) < 600 else 5000):
        application = Application()
        server = HttpServer(application)
        expected = row.more.get("messages", [])
        async with connected(server) as caller:
            await caller.send(row.data, size)
            if row.verdict == "accepted":
                await caller.answers(len(expected))
                last = b"connection: close" in row.data or b"/1.0\r\n" in row.data
                if not last:
                    await caller.send(b"GET /sentinel HTTP/1.1\r\nhost: x\r\n\r\n")
                    await caller.answers(len(expected) + 1)
                    assert application.asked.pop() == ["GET", "/sentinel", ""]
                assert b"HTTP/1.1 400 " not in caller.found
            else:
                await caller.ended.wait()
                assert caller.found.count(b"HTTP/1.1 200 ") == len(expected)
            assert application.asked == expected
            if row.verdict == "refused":
                head, _, body = caller.found.partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 400 Bad Request")
                assert b"Mycelos-Refused: invalid_request" in head
                assert json.loads(body)["code"] == "invalid_request"
        await server.stop()


@pytest.mark.parametrize("row", [row for row in rows("requests") if row.verdict != "refused"], ids=lambda row: row.name)
def test_the_second_reading_agrees_with_the_corpus(row: Row) -> None:
    position = 0
    for method, target, body in row.more["messages"]:
        message = read_request(row.data, position)
        assert (message.first[0].decode(), message.first[1].decode().removesuffix("?")) == (method, target)
        assert message.body.decode("latin-1") == body
        position = message.end


class NoTransport(asyncio.Transport):
    """Takes everything and brings nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.is_ended = False

    def is_closing(self) -> bool:
        return self.is_ended

    def close(self) -> None:
        self.is_ended = True

    abort = close

    def write(self, data: Any) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def read_all(data: bytes, size: int) -> list[list[str]]:
    """The requests that the server sees in ``data``."""

    async def run() -> list[list[str]]:
        application = Application()
        server = HttpServer(application)
        protocol = server._protocol()
        assert isinstance(protocol, GuardedProtocol)
        protocol.connection_made(NoTransport())
        for start in range(0, len(data), size):
            if not protocol.transport.is_closing():
                protocol.data_received(data[start : start + size])
        for _ in range(20):
            await asyncio.sleep(0)
        protocol.connection_lost(None)
        await asyncio.sleep(0)
        return application.asked

    return asyncio.run(run())


@given(mutated("requests"), st.integers(1, 400))
def test_a_request_that_is_accepted_ends_where_a_second_reading_says(data: bytes, size: int) -> None:
    position = 0
    for method, target, body in read_all(data, size):
        # An exception here is the difference that an attacker looks for.
        message = read_request(data, position)
        assert (message.first[0].decode(), message.first[1].decode().removesuffix("?")) == (method, target)
        assert message.body.decode("latin-1") == body
        position = message.end


def test_the_second_reading_sees_a_difference_where_there_is_one() -> None:
    with pytest.raises(Malformed):
        read_request(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab")


async def test_what_is_refused_while_an_answer_is_under_way_does_not_stand_inside_it(
    server: HttpServer, application: Application
) -> None:
    go = asyncio.Event()

    async def two_pieces(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await go.wait()
        await send({"type": "http.response.body", "body": b"two"})

    application.act = two_pieces
    async with connected(server) as caller:
        await caller.send(GET)
        await caller.until(lambda found: b"one" in found)
        await caller.send(b"NONSENSE\r\n\r\n")
        go.set()
        await caller.ended.wait()
        assert caller.found.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


async def test_a_body_that_breaks_after_its_answer_began_ends_the_connection(
    server: HttpServer, application: Application
) -> None:
    async def early(_scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["type"] != "http.disconnect":
            pass

    application.act = early
    async with connected(server) as caller:
        await caller.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        await caller.until(lambda found: b"200 OK" in found)
        await caller.send(b"nonsense\r\n")
        await caller.ended.wait()
        assert b"400" not in caller.found


async def test_an_expectation_is_met_in_http_1_1_only(server: HttpServer) -> None:
    for version, count in ((b"1.1", 1), (b"1.0", 0)):
        async with connected(server) as caller:
            await caller.send(b"POST / HTTP/" + version + b"\r\nhost: x\r\nexpect: 100-continue\r\n")
            await caller.send(b"content-length: 2\r\n\r\nab")
            found = await caller.until(lambda found: found.endswith(b"ok"))
            assert found.count(b"100 Continue") == count


@pytest.mark.parametrize("error", [RuntimeError("text of a library"), asyncio.CancelledError()])
async def test_an_application_that_fails_is_answered_for_with_a_problem(
    server: HttpServer, application: Application, error: BaseException
) -> None:
    async def fail(_scope: Any, _receive: Any, _send: Any) -> None:
        raise error

    application.act = fail
    async with connected(server) as caller:
        await caller.send(GET)
        await caller.ended.wait()
        head, _, body = caller.found.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 500 ")
        assert json.loads(body)["code"] == "internal"
        assert b"library" not in body


# Sizes.


def head_of(size: int) -> bytes:
    """A request whose target and headers count ``size`` bytes."""
    fixed = len(b"/" + b"host: x\r\n")
    long = b"x: " + b"y" * (size - fixed - len(b"x: \r\n")) + b"\r\n"
    return b"GET / HTTP/1.1\r\nhost: x\r\n" + long + b"\r\n"


@pytest.mark.parametrize("size", [700, 10**6])
async def test_a_head_may_be_as_large_as_the_limit_says_and_not_larger(server: HttpServer, size: int) -> None:
    async with connected(server) as caller:
        await caller.send(head_of(MAXIMUM_HEAD), size)
        await caller.until(lambda found: found.startswith(b"HTTP/1.1 200 "))
    async with connected(server) as caller:
        await caller.send(head_of(MAXIMUM_HEAD + 1), size)
        await caller.ended.wait()
        assert caller.found.startswith(b"HTTP/1.1 400 ")
        assert str(MAXIMUM_HEAD).encode() in caller.found


async def test_a_body_that_nobody_reads_is_dropped_up_to_a_limit(server: HttpServer, application: Application) -> None:
    async def refuse(_scope: Any, _receive: Any, send: Any) -> None:
        await answer(send, b"no", 403)

    for size, survives in ((DRAIN_LIMIT, True), (DRAIN_LIMIT + 100_000, False)):
        application.act = refuse
        async with connected(server) as caller:
            await caller.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size)
            await caller.until(lambda found: found.endswith(b"no"))
            caller.transport.write(bytes(size))
            if survives:
                application.act = None
                caller.transport.write(GET)
                assert (await caller.until(lambda found: found.endswith(b"ok"))).count(b"HTTP/1.1 ") == 2
            else:
                await caller.ended.wait()


# Time.


async def test_a_connection_that_asks_nothing_ends(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    fast(monkeypatch, "IDLE_SECONDS")
    async with connected(server) as caller:
        await caller.ended.wait()
    async with connected(server) as caller:
        await caller.send(GET)
        await caller.ended.wait()
        assert caller.found.endswith(b"ok")


@pytest.mark.parametrize("beginning", [b"GET / HTTP/1.1\r\nhost: x\r\n", b"\r\n", b"G"])
async def test_a_head_that_takes_too_long_ends_the_connection_however_often_a_byte_comes(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    fast(monkeypatch, "HEAD_SECONDS")
    async with connected(server) as caller:
        await caller.send(beginning)
        while not caller.ended.is_set():
            await caller.send(b"\r\n" if beginning == b"\r\n" else b"x")
        assert b"200" not in caller.found


async def test_a_body_that_takes_too_long_ends_the_connection(
    server: HttpServer, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast(monkeypatch, "BODY_SECONDS")
    async with connected(server) as caller:
        await caller.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n")
        while not caller.ended.is_set():
            await caller.send(b"x")
        assert application.asked == []


async def test_a_body_that_was_answered_already_has_little_time(
    server: HttpServer, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_scope: Any, _receive: Any, send: Any) -> None:
        await answer(send, b"no", 403)

    fast(monkeypatch, "DRAIN_SECONDS")
    application.act = refuse
    async with connected(server) as caller:
        await caller.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n")
        while not caller.ended.is_set():
            await caller.send(b"x")
        assert caller.found.endswith(b"no")


async def test_a_connection_whose_answered_body_came_to_its_end_waits_again(
    server: HttpServer, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_scope: Any, _receive: Any, send: Any) -> None:
        await answer(send, b"no", 403)

    fast(monkeypatch, "IDLE_SECONDS")
    application.act = refuse
    async with connected(server) as caller:
        await caller.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n")
        await caller.until(lambda found: found.endswith(b"no"))
        await caller.send(b"ab")
        await caller.ended.wait()


async def flood(_scope: Any, _receive: Any, send: Any) -> None:
    """An answer larger than any buffer."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(64):
        await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})


async def test_a_caller_that_does_not_read_its_answer_loses_its_connection(
    server: HttpServer, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast(monkeypatch, "WRITE_SECONDS")
    application.act = flood
    async with connected(server) as caller:
        caller.transport.pause_reading()
        await caller.send(GET)
        await application.began.wait()
        await emptied(server)
    await application.rested.wait()


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_last_piece_that_is_not_read_does_not_hold_the_connection(
    server: HttpServer, application: Application, monkeypatch: pytest.MonkeyPatch, keeps: bool
) -> None:
    """Below the buffer's high mark nothing is paused, and closing waits for what is left in it."""
    fast(monkeypatch, "IDLE_SECONDS", "CLOSE_SECONDS")

    async def fill(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        (protocol,) = server._state.connections
        while not protocol.transport.get_write_buffer_size():
            await send({"type": "http.response.body", "body": bytes(8192), "more_body": True})
        if keeps:
            await send({"type": "http.response.body", "body": b""})

    application.act = fill
    async with connected(server) as caller:
        caller.transport.pause_reading()
        await caller.send(GET)
        await application.began.wait()
        await emptied(server)


async def test_a_caller_that_reads_slowly_but_reads_gets_all(
    server: HttpServer, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def whole(scope: Any, receive: Any, send: Any) -> None:
        await flood(scope, receive, send)
        await send({"type": "http.response.body", "body": b"end"})

    application.act = whole
    async with connected(server) as caller:
        await caller.send(GET)
        await caller.until(lambda found: found.endswith(b"3\r\nend\r\n0\r\n\r\n"))
        assert caller.found.count(b"10000\r\n") == 64


# Numbers.


async def test_who_has_waited_longest_gives_way_to_a_new_connection(
    server: HttpServer, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Idle connections, slow heads and slow bodies do not keep others out."""
    monkeypatch.setattr(guarded_protocol, "CONNECTION_LIMIT", 3)
    async with AsyncExitStack() as stack:
        idle, slow_head, slow_body = [await stack.enter_async_context(connected(server)) for _ in range(3)]
        await slow_head.send(b"GET / HT")
        await slow_body.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n")
        for gives_way in (idle, slow_head, slow_body):
            newcomer = await stack.enter_async_context(connected(server))
            await newcomer.send(GET)
            await newcomer.until(lambda found: found.endswith(b"ok"))
            await gives_way.ended.wait()
        assert server.connections <= 3


async def test_a_request_that_is_being_answered_keeps_its_place(
    server: HttpServer, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = asyncio.Event()

    async def hold(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        await application.note(scope, receive, send)

    monkeypatch.setattr(guarded_protocol, "CONNECTION_LIMIT", 2)
    application.act = hold
    async with connected(server) as one, connected(server) as two:
        for caller in (one, two):
            application.began.clear()
            await caller.send(GET)
            await application.began.wait()
        async with connected(server) as late:
            await late.ended.wait()
            assert late.found.startswith(b"HTTP/1.1 429 ")
            assert b"Mycelos-Refused: rate_limited" in late.found
        go.set()
        for caller in (one, two):
            await caller.until(lambda found: found.endswith(b"ok"))


async def test_requests_whose_callers_are_gone_count_against_the_limit(
    server: HttpServer, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = asyncio.Event()

    async def hold(_scope: Any, _receive: Any, _send: Any) -> None:
        await go.wait()

    monkeypatch.setattr(guarded_protocol, "CONNECTION_LIMIT", 2)
    application.act = hold
    for _ in range(2):
        async with connected(server) as caller:
            application.began.clear()
            await caller.send(GET)
            await application.began.wait()
    application.act = None
    async with connected(server) as caller:
        await caller.send(GET)
        await caller.until(lambda found: found.startswith(b"HTTP/1.1 429 "))
        assert application.asked == []
    go.set()


def test_what_the_guard_adds_is_what_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the guard's check of the head, uvicorn's parser takes what the corpus refuses."""
    monkeypatch.setattr(guarded_protocol, "check_head", lambda *_parts: None)
    taken = []
    for row in rows("requests"):
        if row.verdict == "refused" and len(row.data) < 600 and read_all(row.data, len(row.data)):
            taken.append(row.name)
    expected = {"no Host", "gzip before chunked", "a coding in HTTP/1.0", "HTTP/2.0", "a fragment in the target"}
    assert expected <= set(taken)
