from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator

import pytest
from egress_house import Upstream, answer, read_request_body, serve

from mycelos.proxy.egress.dial import Trust
from mycelos.proxy.egress.http_client import Deadlines, HttpClient, Outgoing
from mycelos.proxy.egress.url import parse_url
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio
LOOPBACK = (ipaddress.ip_address("127.0.0.1"),)
FAST = Deadlines(first_byte=5, idle=5, total=10)


def get(target: bytes = b"/", method: str = "GET") -> Outgoing:
    return Outgoing(method, target, [(b"user-agent", b"test")], None)


async def fetch(
    client: HttpClient, upstream: Upstream, request: Outgoing, deadlines: Deadlines = FAST, host: str = "good.example"
) -> tuple[int, bytes]:
    url = parse_url(f"http://{host}:{upstream.port}/")
    connection, _ = await client.connect(url, LOOPBACK, request.method)
    await client.exchange(connection, url, request, deadlines)
    body = b""
    while piece := await connection.read():
        body += piece
    client.release(url, connection)
    return connection.status, body


async def test_a_request_goes_out_as_it_is_and_its_answer_comes_back(trust: Trust) -> None:
    client = HttpClient(trust)
    async with asyncio.timeout(10), serve() as upstream:
        assert await fetch(client, upstream, get(b"/a?b=1")) == (200, b"hello")
        host = b"good.example:%d" % upstream.port
        assert upstream.heads == [b"GET /a?b=1 HTTP/1.1\r\nhost: " + host + b"\r\nuser-agent: test\r\n\r\n"]
        client.close()


async def test_bodies_go_out_with_a_length_or_in_chunks(trust: Trust) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one", b"", b"two"):
            yield piece

    client = HttpClient(trust)
    async with asyncio.timeout(10), serve() as upstream:
        await fetch(client, upstream, Outgoing("POST", b"/", [], b"onetwo"))
        await fetch(client, upstream, Outgoing("POST", b"/", [], pieces()))
        await fetch(client, upstream, Outgoing("POST", b"/", [], pieces(), 6))
        await fetch(client, upstream, Outgoing("POST", b"/", [], None))
        assert upstream.bodies == [b"onetwo", b"onetwo", b"onetwo", b""]
        assert b"transfer-encoding: chunked" in upstream.heads[1]
        assert b"content-length: 6" in upstream.heads[2]
        assert b"content-length: 0" in upstream.heads[3]
        client.close()


async def test_a_connection_is_used_again_for_the_same_name_only(trust: Trust) -> None:
    client = HttpClient(trust)
    async with asyncio.timeout(10), serve() as upstream:
        for _ in range(3):
            await fetch(client, upstream, get())
        assert upstream.connections == 1
        await fetch(client, upstream, get(), host="other.example")
        assert upstream.connections == 2
        client.close()


async def test_an_old_connection_is_not_used_for_what_must_not_be_sent_twice(trust: Trust) -> None:
    now = 0.0
    client = HttpClient(trust, lambda: now)
    async with asyncio.timeout(10), serve() as upstream:
        await fetch(client, upstream, get())
        now = 30.0
        await fetch(client, upstream, get())
        assert upstream.connections == 1
        now = 60.0
        await fetch(client, upstream, get(method="POST"))
        assert upstream.connections == 2
        now = 200.0
        await fetch(client, upstream, get())
        assert upstream.connections == 3
        client.close()


async def test_redirects_come_back_and_are_not_followed(trust: Trust) -> None:
    client = HttpClient(trust)
    reply = answer(b"", b"302 Found", b"location: http://127.0.0.1/\r\n")
    async with asyncio.timeout(10), serve(reply) as upstream:
        assert (await fetch(client, upstream, get()))[0] == 302
        assert len(upstream.heads) == 1
        client.close()


async def test_proxy_settings_of_the_environment_change_nothing(trust: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncio.timeout(10), serve() as upstream, serve() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        client = HttpClient(trust)
        await fetch(client, upstream, get())
        assert (len(upstream.heads), proxy.connections) == (1, 0)
        client.close()


async def test_a_line_break_in_the_head_is_never_written(trust: Trust) -> None:
    client = HttpClient(trust)
    async with asyncio.timeout(10), serve() as upstream:
        for header in ((b"x", b"a\r\nb: c"), (b"x", b"a\nb"), (b"x\r\ny", b"a"), (b"x", b"a\0")):
            with pytest.raises(Refusal) as caught:
                await fetch(client, upstream, Outgoing("GET", b"/", [header], None))
            assert caught.value.problem.code is ProblemCode.INJECTION_REFUSED
        assert upstream.heads == []
        client.close()


async def test_a_host_that_does_not_answer_is_a_timeout(trust: Trust) -> None:
    never = asyncio.Event()

    async def silent(_head: bytes, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await never.wait()

    client = HttpClient(trust)
    async with asyncio.timeout(10), serve(silent) as upstream:
        with pytest.raises(Refusal) as caught:
            await fetch(client, upstream, get(), Deadlines(first_byte=0.05))
        assert caught.value.problem.code is ProblemCode.UPSTREAM_TIMEOUT


async def test_bad_framing_and_a_closed_connection_are_refusals_of_ours(trust: Trust) -> None:
    async def hang_up(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    client = HttpClient(trust)
    async with asyncio.timeout(10), serve(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n") as upstream:
        with pytest.raises(Refusal) as caught:
            await fetch(client, upstream, get())
        assert caught.value.problem.code is ProblemCode.UPSTREAM_INVALID
    async with asyncio.timeout(10), serve(hang_up) as upstream:
        with pytest.raises(Refusal) as caught:
            await fetch(client, upstream, get(method="POST"))
        assert caught.value.problem.code is ProblemCode.UPSTREAM_UNREACHABLE


async def test_an_answer_before_the_body_is_sent_ends_the_sending(trust: Trust) -> None:
    answered = asyncio.Event()

    async def early(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"", b"413 Content Too Large"))
        await writer.drain()
        answered.set()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x"
        await answered.wait()
        while True:
            await asyncio.sleep(0)
            yield b"x"

    client = HttpClient(trust)
    async with asyncio.timeout(10), serve(early) as upstream:
        status, _ = await fetch(client, upstream, Outgoing("POST", b"/", [], endless()))
        assert status == 413
        assert client._idle == {}


async def test_what_the_test_server_reads_is_what_was_sent(trust: Trust) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"3\r\nabc\r\n0\r\n\r\n")
    assert await read_request_body(b"transfer-encoding: chunked\r\n\r\n", reader) == b"abc"


@pytest.mark.parametrize("reply", [answer(b"", b"413 Content Too Large"), b""])
async def test_an_early_answer_or_end_is_seen_while_the_callers_next_piece_is_waited_for(
    trust: Trust, reply: bytes
) -> None:
    async def early(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        await writer.drain()
        if not reply:
            writer.close()
        await asyncio.Event().wait()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    client = HttpClient(trust)
    async with asyncio.timeout(10), serve(early) as upstream:
        url = parse_url(f"http://a.example:{upstream.port}/")
        connection, _ = await client.connect(url, LOOPBACK, "POST")
        sending = client.exchange(connection, url, Outgoing("POST", b"/", [], pieces()), Deadlines(60, 60, 60))
        if reply:
            await sending
            assert connection.status == 413
        else:
            with pytest.raises(Refusal, match="upstream_unreachable"):
                await sending
        assert not connection.is_reusable
    client.close()


async def test_a_caller_that_sends_slowly_is_told_so_and_not_the_host(trust: Trust) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    async def say_nothing(_head: bytes, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    client = HttpClient(trust)
    async with asyncio.timeout(10), serve(say_nothing) as upstream:
        url = parse_url(f"http://a.example:{upstream.port}/")
        connection, _ = await client.connect(url, LOOPBACK, "POST")
        with pytest.raises(Refusal, match="invalid_request"):
            await client.exchange(connection, url, Outgoing("POST", b"/", [], pieces()), Deadlines(60, 0.05, 60))
    client.close()
