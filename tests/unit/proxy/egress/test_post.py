"""The proxy's own small requests: the guard decides, and a hostile answer costs a refusal and no more."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any

import pytest
import trustme
from egress_house import KnownOwnAddresses, ListedResolver, Upstream, answer, serve, server_context
from witnessed_log import opened_post

from mycelos.proxy.egress.dial import Trust, make_trust
from mycelos.proxy.egress.guard import Blocked, Guard, OpenedAddresses
from mycelos.proxy.egress.http_client import HttpClient
from mycelos.proxy.egress.post import ANSWER_LIMIT, GuardedPost, PostAnswer
from mycelos.proxy.egress.url import parse_url
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def in_asyncio(anyio_backend: str) -> None:
    """These tests are about one event loop."""


def url_of(upstream: Upstream, scheme: str = "http") -> Any:
    return parse_url(f"{scheme}://127.0.0.1:{upstream.port}/add-checkpoint")


async def test_one_body_goes_out_and_one_answer_comes_back() -> None:
    reply = answer(b"12\n", b"409 Conflict", b"content-type: text/x.tlog.size; charset=utf-8\r\n")
    async with serve(reply) as upstream:
        found = await opened_post(upstream.port)(url_of(upstream), b"old 0\n")
    assert found == PostAnswer(409, "text/x.tlog.size", b"12\n")
    assert upstream.bodies == [b"old 0\n"]
    head = upstream.heads[0].lower()
    assert head.startswith(b"post /add-checkpoint http/1.1\r\n")
    assert b"authorization" not in head
    assert b"cookie" not in head


async def test_what_is_not_opened_is_not_dialled() -> None:
    async with serve() as upstream:
        closed = opened_post(upstream.port + 1)
        with pytest.raises(Blocked):
            await closed(url_of(upstream), b"")
        with pytest.raises(Blocked):
            await closed(url_of(upstream, "https"), b"")
        with pytest.raises(Blocked, match="name that has no meaning|of this machine"):
            await closed(parse_url("https://metadata.goog/"), b"")
        assert upstream.connections == 0


async def test_without_the_guard_it_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guard, "judge_host", lambda *_: None)
    monkeypatch.setattr(Guard, "judge_addresses", lambda _self, _url, addresses: addresses)
    monkeypatch.setattr(Guard, "is_opened", lambda *_: True)
    async with serve() as upstream:
        assert (await opened_post(upstream.port + 1)(url_of(upstream), b"")).status == 200


async def test_plain_http_goes_to_an_opened_host_only() -> None:
    resolver: Any = ListedResolver({"witness.example": [["192.0.2.1"]]})
    guard = Guard(KnownOwnAddresses(), OpenedAddresses({}), frozenset(), "")
    post = GuardedPost(resolver, guard, HttpClient(make_trust(None)))
    with pytest.raises(Blocked, match="plain HTTP"):
        await post(parse_url("http://witness.example/"), b"")
    assert resolver.asked == []


async def test_a_certificate_of_another_name_is_refused() -> None:
    authority = trustme.CA()
    trust = make_trust(None)
    authority.configure_trust(trust.context)
    pinned = {("witness.example", 0): frozenset({ipaddress.ip_address("127.0.0.1")})}
    for name, ok in (("witness.example", True), ("other.example", False)):
        async with serve(tls=server_context(authority, name)) as upstream:
            opened = OpenedAddresses({("witness.example", upstream.port): next(iter(pinned.values()))})
            resolver: Any = ListedResolver({"witness.example": [["127.0.0.1"]]})
            guard = Guard(KnownOwnAddresses(), opened, frozenset(), "")
            post = GuardedPost(resolver, guard, HttpClient(Trust("test", trust.context)))
            asked = post(parse_url(f"https://witness.example:{upstream.port}/"), b"")
            if ok:
                assert (await asked).status == 200
            else:
                with pytest.raises(Refusal) as refused:
                    await asked
                assert refused.value.problem.code is ProblemCode.UPSTREAM_TLS


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with serve(answer(b"", b"302 Found", b"location: http://127.0.0.1:1/\r\n")) as upstream:
        assert (await opened_post(upstream.port)(url_of(upstream), b"")).status == 302
    assert upstream.connections == 1


@pytest.mark.parametrize(
    "reply",
    [
        answer(b"x" * (ANSWER_LIMIT + 1)),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"4000\r\n" + b"x" * 0x4000 + b"\r\n" * 1,
        b"not HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
    ids=["long", "broken chunk", "garbage", "two lengths", "long header", "upgrade"],
)
async def test_a_hostile_answer_is_refused(reply: bytes) -> None:
    async def once(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        await writer.drain()
        raise asyncio.CancelledError

    async with serve(once) as upstream:
        with pytest.raises(Refusal) as refused:
            await opened_post(upstream.port)(url_of(upstream), b"")
    assert refused.value.problem.code in {ProblemCode.UPSTREAM_INVALID, ProblemCode.UPSTREAM_UNREACHABLE}


async def test_an_answer_without_end_is_cut_at_the_limit() -> None:
    async def endless(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x" * 4096)
            await writer.drain()

    async with serve(endless) as upstream:
        with pytest.raises(Refusal, match="longer than"):
            await opened_post(upstream.port)(url_of(upstream), b"")


async def test_a_host_that_says_nothing_for_good_ends_it() -> None:
    async def silent(_head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
        await reader.read()

    async with serve(silent) as upstream:
        with pytest.raises(Refusal) as refused:
            await opened_post(upstream.port, seconds=0.05)(url_of(upstream), b"")
    assert refused.value.problem.code is ProblemCode.UPSTREAM_TIMEOUT
