"""Callers and upstreams that frame badly, are slow, or never read, against a proxy process as it is installed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest
from framing import Row, rows

from mycelos.prove.twin import SERVICE, Answer, Twin
from mycelos.wire.binding import Method
from mycelos.wire.operator import AddRule

pytestmark = pytest.mark.anyio

Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HEAD = b"HTTP/1.1 200 OK\r\n"


@dataclass
class Outside:
    """An upstream on loopback; `act` says what it does once a request's head is here."""

    port: int = 0
    act: Act | None = None
    reached: int = 0
    released: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await self._tell("reached")
            if self.act is not None:
                await self.act(reader, writer)
            # Until the proxy lets go of it.
            while await reader.read(65536):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()
            await self._tell("released")

    async def _tell(self, what: str) -> None:
        async with self.changed:
            setattr(self, what, getattr(self, what) + 1)
            self.changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with self.changed:
            await self.changed.wait_for(condition)


@asynccontextmanager
async def outside(act: Act | None = None) -> AsyncIterator[Outside]:
    upstream = Outside(act=act)
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(upstream.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def twin(port: int, dns: int | None = None) -> AsyncIterator[Twin]:
    """A proxy process; its credential is bound below /bound at ``port``."""
    running = Twin(port, dns=dns)
    await asyncio.to_thread(running.__enter__)
    try:
        async with asyncio.timeout(90):
            yield running
    finally:
        await asyncio.to_thread(running.close)


class Caller:
    """A connection to the gateway's door, as bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.found = b""

    def forward(self, proxy: Twin, path: str, *lines: str, method: str = "GET") -> None:
        first = f"{method} /forward/http/127.0.0.1:{proxy.port}{path} HTTP/1.1"
        own = ["host: x", f"authorization: Bearer {proxy.bearer}", "mycelos-protocol: 1"]
        head = [first, *own, f"mycelos-credential: {SERVICE}", *lines, "", ""]
        self.writer.write("\r\n".join(head).encode())

    async def until(self, condition: Callable[[bytes], bool]) -> bool:
        """Whether the condition came true before the connection's end."""
        while not condition(self.found):
            try:
                data = await self.reader.read(65536)
            except ConnectionError:
                return False
            if not data:
                return False
            self.found += data
        return True


class Callers:
    """Connections that end together."""

    def __init__(self, proxy: Twin) -> None:
        self._proxy = proxy
        self._all: list[Caller] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.abort()

    async def add(self) -> Caller:
        connection = self._proxy._connect()
        connection.setblocking(False)
        self._all.append(Caller(*await asyncio.open_connection(sock=connection)))
        return self._all[-1]

    def abort(self) -> None:
        for one in self._all:
            one.writer.transport.abort()


async def use(proxy: Twin, path: str, **more: Any) -> Answer:
    """`POST /http`, without a thread for each that waits."""
    url = f"http://127.0.0.1:{proxy.port}{path}"
    body = json.dumps({"method": "GET", "url": url, "inject_credential": SERVICE} | more).encode()
    async with Callers(proxy) as callers:
        one = await callers.add()
        lines = ["POST /http HTTP/1.1", "host: x", f"authorization: Bearer {proxy.bearer}", "mycelos-protocol: 1"]
        one.writer.write("\r\n".join([*lines, "connection: close", f"content-length: {len(body)}", "", ""]).encode())
        one.writer.write(body)
        await one.until(lambda _found: False)
    head, _, content = one.found.partition(b"\r\n\r\n")
    return Answer(int(head.split()[1]), json.loads(content))


async def answer_well(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"connection: close\r\ncontent-length: 4\r\n\r\ngood")
    await writer.drain()
    writer.write_eof()


# Framing.


async def read_at_the_door(proxy: Twin, row: Row) -> None:
    expected = len(row.more.get("messages", []))

    def answers(found: bytes) -> int:
        return found.count(b"HTTP/1.1 401 ")

    async with Callers(proxy) as callers:
        one = await callers.add()
        with suppress(ConnectionError):
            one.writer.write(row.data)
            await one.writer.drain()
        if row.verdict == "accepted":
            assert await one.until(lambda found: answers(found) == expected), (row.name, one.found)
            if b"connection: close" not in row.data and b"/1.0\r\n" not in row.data:
                one.writer.write(b"GET /sentinel HTTP/1.1\r\nhost: x\r\n\r\n")
                assert await one.until(lambda found: answers(found) == expected + 1), (row.name, one.found)
            assert b"HTTP/1.1 400 " not in one.found, row.name
        else:
            assert not await one.until(lambda _found: False)
            # A body that breaks may have been refused for its bearer before; nothing is ever answered twice.
            assert one.found.count(b"HTTP/1.1 ") <= expected + 1, (row.name, one.found)
            assert b"HTTP/1.1 2" not in one.found, (row.name, one.found)


async def test_the_gateways_door_reads_the_corpus_as_it_stands() -> None:
    async with outside() as upstream, twin(upstream.port) as proxy:
        for row in rows("requests"):
            await read_at_the_door(proxy, row)
        assert upstream.reached == 0


async def test_an_answer_that_is_refused_is_a_problem_and_its_connection_ends() -> None:
    chosen: list[bytes] = []

    async def misframe(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(chosen[-1])
        await writer.drain()

    # What has no end breaks after its head went out; those rows are tried in process.
    refused = [row for row in rows("answers") if row.verdict == "refused" and "method" not in row.more][::4]
    async with outside(misframe) as upstream, twin(upstream.port) as proxy:
        for row in refused:
            chosen.append(row.data)
            answer = await use(proxy, "/bound/x")
            assert (answer.status, answer.code) == (502, "upstream_invalid"), row.name
            assert upstream.reached == len(chosen)
            await upstream.until(lambda: upstream.released == upstream.reached)


# Slow peers.


async def say_nothing(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Accept and be silent."""


async def drip(writer: asyncio.StreamWriter, beginning: bytes) -> None:
    """One byte after the other for ever: each of them would set back a clock that counts silence."""
    writer.write(beginning)
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def drip_head(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await drip(writer, HEAD + b"x: ")


async def drip_interim(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await drip(writer, b"HTTP/1.1 103 Early Hints\r\n\r\n" + HEAD + b"x: ")


async def drip_body(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await drip(writer, HEAD + b"content-length: 100000000\r\n\r\n")


async def drip_trailer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await drip(writer, HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: ")


SLOW = [say_nothing, drip_head, drip_interim, drip_body, drip_trailer]


async def test_however_an_upstream_is_slow_its_time_is_bounded_and_its_connection_released() -> None:
    acts = iter(SLOW)

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await next(acts)(reader, writer)

    async with outside(act) as upstream, twin(upstream.port) as proxy:
        answers = await asyncio.gather(*[use(proxy, f"/bound/{number}", timeout=0.5) for number in range(len(SLOW))])
        assert [(answer.status, answer.code) for answer in answers] == [(504, "upstream_timeout")] * len(SLOW)
        await upstream.until(lambda: upstream.released == len(SLOW))


async def test_upstreams_that_are_stuck_do_not_slow_another_one() -> None:
    numbers = iter(range(1000))

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = next(numbers)
        await (SLOW[number % len(SLOW)] if number < 40 else answer_well)(reader, writer)

    async with outside(act) as upstream, twin(upstream.port) as proxy, asyncio.TaskGroup() as group:
        stuck = [group.create_task(use(proxy, f"/bound/{number}", timeout=60)) for number in range(40)]
        await upstream.until(lambda: upstream.reached == 40)
        for number in range(20):
            answer = await use(proxy, f"/bound/good/{number}")
            assert (answer.status, answer.body["body"]) == (200, "good")
        assert not any(task.done() for task in stuck)
        for task in stuck:
            task.cancel()


async def test_names_whose_server_does_not_answer_do_not_slow_another_host() -> None:
    asked = 0
    all_asked = asyncio.Event()

    class Silent(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            nonlocal asked
            asked += 1
            if asked >= 40:
                all_asked.set()

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Silent, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    async with outside(answer_well) as upstream, twin(upstream.port, port) as proxy, asyncio.TaskGroup() as group:
        stuck = []
        for number in range(40):
            host = f"silent{number}.example.com"
            proxy.operator.egress_rules(AddRule(method=Method.GET, scheme="https", host=host, port=443))
            more = {"url": f"https://{host}/", "inject_credential": None}
            stuck.append(group.create_task(use(proxy, "", **more)))
        await all_asked.wait()
        assert not any(task.done() for task in stuck)
        for _ in range(20):
            assert (await use(proxy, "/bound/good")).status == 200
        for task in stuck:
            task.cancel()
    transport.close()


async def test_an_upstream_that_reads_no_body_takes_nobody_elses_time() -> None:
    """Its requests are larger than what the kernel takes for it; the good one's go by."""
    numbers = iter(range(1000))
    never = asyncio.Event()

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (never.wait() if next(numbers) < 5 else answer_well(reader, writer))

    async with outside(act) as upstream, twin(upstream.port) as proxy, asyncio.TaskGroup() as group:
        body = "x" * (8 * 1024 * 1024)
        stuck = [group.create_task(use(proxy, "/bound/x", body=body, timeout=60)) for _ in range(5)]
        await upstream.until(lambda: upstream.reached == 5)
        for _ in range(10):
            assert (await use(proxy, "/bound/good")).status == 200
        assert not any(task.done() for task in stuck)
        for task in stuck:
            task.cancel()


def resident(proxy: Twin) -> int:
    """Bytes of the proxy's memory that are in use."""
    assert proxy._process is not None
    lines = Path(f"/proc/{proxy._process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


STREAMS = 50
STREAM_SIZE = 8 * 1024 * 1024
MEMORY_OF_A_STREAM = 384 * 1024


async def test_callers_that_never_read_cost_a_bounded_amount_of_memory_each() -> None:
    written = 0

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % STREAM_SIZE)
        for _ in range(STREAM_SIZE // 65536):
            writer.write(bytes(65536))
            await writer.drain()
            written += 65536

    async with outside(flood) as upstream, twin(upstream.port) as proxy, Callers(proxy) as callers:
        # Once to its end: the interpreter has what it needs for one stream.
        first = await callers.add()
        first.forward(proxy, "/bound/first")
        assert await first.until(lambda found: len(found) > STREAM_SIZE)
        before = resident(proxy)
        streams = [await callers.add() for _ in range(STREAMS)]
        for one in streams:
            one.writer.transport.pause_reading()
            one.forward(proxy, "/bound/x")
        await upstream.until(lambda: upstream.reached == STREAMS + 1)
        # While the proxy answers somebody else, the streams go on until every buffer on their way is full.
        used, still = [], 0
        while still < 20:
            before_turn = written
            assert proxy.gateway("GET", "/healthz").status == 200
            await asyncio.sleep(0)
            used.append(resident(proxy) - before)
            still = still + 1 if written == before_turn else 0
        assert written < (STREAMS + 1) * STREAM_SIZE
        assert max(used) < STREAMS * MEMORY_OF_A_STREAM
        # Who goes away releases its upstream, although nothing was read.
        callers.abort()
        await upstream.until(lambda: upstream.released == upstream.reached)


async def test_callers_that_send_byte_by_byte_or_nothing_keep_nobody_out() -> None:
    async with outside(answer_well) as upstream, twin(upstream.port) as proxy, Callers(proxy) as callers:
        for number in range(60):
            one = await callers.add()
            if number % 3 == 1:
                one.writer.write(b"GET / HT")
            elif number % 3 == 2:
                one.forward(proxy, "/bound/x", "content-length: 1000", method="GET")
                one.writer.write(b"x")
        for _ in range(10):
            answer = await use(proxy, "/bound/good")
            assert (answer.status, json.dumps(answer.body["body"])) == (200, '"good"')
