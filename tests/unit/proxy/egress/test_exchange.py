from __future__ import annotations

import asyncio

import pytest
from egress_house import House, answer, call_for, fetch, serve

from mycelos.proxy.egress.http_client import Deadlines
from mycelos.wire.binding import ResponseRule
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio


async def test_what_is_not_rewritten_keeps_its_length(house: House) -> None:
    async with serve() as upstream:
        await house.allow(upstream.port)
        _, headers, _ = await fetch(house.pipeline(upstream.port), call_for(f"http://127.0.0.1:{upstream.port}/"))
        assert headers[b"content-length"] == b"5"


async def test_the_bindings_response_rule_decides_on_cookies_and_queries(house: House) -> None:
    reply = answer(b"", b"302 Found", b"set-cookie: a=b\r\nlocation: https://x.example/cb?code=1\r\n")
    async with serve(reply) as upstream:
        await house.store(upstream.port, "strict")
        await house.store(upstream.port, "open-minded", response=ResponseRule("keep", "keep"))
        url = f"http://127.0.0.1:{upstream.port}/"
        _, strict, _ = await fetch(house.pipeline(upstream.port), call_for(url, service="strict"))
        _, kept, _ = await fetch(house.pipeline(upstream.port), call_for(url, service="open-minded"))
        assert (b"set-cookie" in strict, strict[b"location"]) == (False, b"https://x.example/cb")
        assert (kept[b"set-cookie"], kept[b"location"]) == (b"a=b", b"https://x.example/cb?code=1")


async def test_a_header_whose_name_is_the_secret_does_not_come_back(house: House) -> None:
    secret = "Ab3dEf0123456789abCdEf0123456789"
    async with serve(answer(headers=f"x-{secret}: 1\r\nx-kept: 1\r\n".encode())) as upstream:
        await house.store(upstream.port, secret=secret)
        call = call_for(f"http://127.0.0.1:{upstream.port}/", service="github")
        _, headers, _ = await fetch(house.pipeline(upstream.port), call)
        assert b"x-kept" in headers
        assert not any(secret.lower().encode() in name.lower() for name in headers)
        assert [entry["details"]["count"] for entry in await house.entries("proxy.response_scrubbed")] == [1]


async def test_leaving_early_ends_the_connection_and_says_so_on_record(house: House) -> None:
    async with serve(answer(bytes(1024 * 1024))) as upstream:
        await house.allow(upstream.port)
        call = call_for(f"http://127.0.0.1:{upstream.port}/")
        async with house.pipeline(upstream.port).open(call) as exchange:
            pieces = exchange.body()
            await anext(pieces)
            await pieces.aclose()  # type: ignore[attr-defined]
        assert exchange._connection._transport.is_closing()  # type: ignore[union-attr]
        outcome = (await house.entries("proxy.http_request"))[-1]
        assert (outcome["outcome"], outcome["reason"]) == ("cut", "abandoned")


@pytest.mark.parametrize("deadlines", [Deadlines(idle=0.05), Deadlines(total=0.05)])
async def test_a_body_that_stops_is_a_timeout(house: House, deadlines: Deadlines) -> None:
    never = asyncio.Event()

    async def stop(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello")
        await never.wait()

    async with asyncio.timeout(10), serve(stop) as upstream:
        await house.allow(upstream.port)
        call = call_for(f"http://127.0.0.1:{upstream.port}/", deadlines=deadlines)
        with pytest.raises(Refusal) as caught:
            async with house.pipeline(upstream.port).open(call) as exchange:
                async for piece in exchange.body():
                    assert piece == b"hello"
        assert caught.value.problem.code is ProblemCode.UPSTREAM_TIMEOUT


async def test_the_total_deadline_holds_for_what_is_there_without_waiting(house: House) -> None:
    async def flood(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (1 << 30))
        while True:
            writer.write(bytes(65536))
            await writer.drain()

    async with asyncio.timeout(20), serve(flood) as upstream:
        await house.allow(upstream.port)
        call = call_for(f"http://127.0.0.1:{upstream.port}/", deadlines=Deadlines(total=0.3))
        with pytest.raises(Refusal, match="upstream_timeout"):
            async with house.pipeline(upstream.port).open(call) as exchange:
                async for _ in exchange.body():
                    # The reader leaves the connection the time to have the next piece ready.
                    await asyncio.sleep(0.01)


async def test_a_head_without_body_keeps_the_length_that_it_speaks_of(house: House) -> None:
    async with serve(b"HTTP/1.1 200 OK\r\ncontent-length: 77\r\n\r\n") as upstream:
        await house.store(upstream.port)
        call = call_for(f"http://127.0.0.1:{upstream.port}/", "HEAD", service="github")
        assert (await fetch(house.pipeline(upstream.port), call))[1][b"content-length"] == b"77"


async def test_the_connection_is_kept_for_the_next_request(house: House) -> None:
    async with serve() as upstream:
        await house.store(upstream.port)
        pipeline = house.pipeline(upstream.port)
        for _ in range(3):
            await fetch(pipeline, call_for(f"http://127.0.0.1:{upstream.port}/", service="github"))
        assert upstream.connections == 1
