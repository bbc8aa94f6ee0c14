from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable

import dns.message
import dns.rrset
import pytest

from mycelos.proxy.egress import resolve as resolve_module
from mycelos.proxy.egress.guard import Blocked
from mycelos.proxy.egress.resolve import DnsResolver, SystemResolver
from mycelos.proxy.egress.url import parse_url
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio


class DnsServer(asyncio.DatagramProtocol):
    """A name server on loopback: each question of a name takes the next of its answers."""

    def __init__(self, answers: dict[str, list[list[str]]]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.transport: asyncio.DatagramTransport | None = None

    async def start(self) -> tuple[str, int]:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))
        return "127.0.0.1", self.transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append(f"{name} {kind}")
        response = dns.message.make_response(query)
        lists = self.answers.get(f"{name} {kind}")
        if lists == [["SILENCE"]]:
            return
        if lists is None and not any(key.startswith(f"{name} ") for key in self.answers):
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif lists == [["SERVFAIL"]]:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif lists:
            records = lists.pop(0) if len(lists) > 1 else lists[0]
            owner = name
            for record in records:
                if record.startswith("CNAME "):
                    target = record.removeprefix("CNAME ")
                    response.answer.append(dns.rrset.from_text(owner, 60, "IN", "CNAME", target))
                    owner = target
                else:
                    response.answer.append(dns.rrset.from_text(owner, 60, "IN", kind, record))
        assert self.transport is not None
        self.transport.sendto(response.to_wire(), addr)


@pytest.fixture
async def name_server(anyio_backend: str) -> AsyncIterator[Callable[..., DnsServer]]:
    servers: list[DnsServer] = []

    def make(answers: dict[str, list[list[str]]]) -> DnsServer:
        servers.append(DnsServer(answers))
        return servers[-1]

    yield make
    for server in servers:
        if server.transport is not None:
            server.transport.abort()


async def test_both_families_are_asked_for_and_all_answers_come_back(name_server: Callable[..., DnsServer]) -> None:
    server = name_server({"a.example. A": [["1.1.1.1", "1.0.0.1"]], "a.example. AAAA": [["2606:4700::1111"]]})
    found = await DnsResolver(await server.start()).resolve("a.example")
    assert sorted(map(str, found)) == ["1.0.0.1", "1.1.1.1", "2606:4700::1111"]
    assert sorted(server.asked) == ["a.example. A", "a.example. AAAA"]


async def test_one_family_without_an_answer_is_no_failure_and_none_at_all_is(
    name_server: Callable[..., DnsServer],
) -> None:
    server = name_server({"a.example. A": [["1.1.1.1"]], "empty.example. TXT": [["x"]]})
    resolver = DnsResolver(await server.start())
    assert list(map(str, await resolver.resolve("a.example"))) == ["1.1.1.1"]
    for name in ("empty.example", "missing.example"):
        with pytest.raises(Refusal) as caught:
            await resolver.resolve(name)
        assert caught.value.problem.code is ProblemCode.RESOLUTION_FAILED


async def test_a_chain_of_names_ends_in_addresses_that_are_judged(
    make_guard: object, name_server: Callable[..., DnsServer]
) -> None:
    server = name_server({"a.example. A": [["CNAME b.example.", "127.0.0.1"]], "a.example. AAAA": [[]]})
    found = await DnsResolver(await server.start()).resolve("a.example")
    with pytest.raises(Blocked):
        make_guard().judge_addresses(parse_url("http://a.example/"), found)  # type: ignore[operator]


async def test_an_answer_that_changes_is_seen_because_nothing_is_cached(
    make_guard: object, name_server: Callable[..., DnsServer]
) -> None:
    server = name_server({"a.example. A": [["93.184.216.34"], ["127.0.0.1"]], "a.example. AAAA": [[]]})
    resolver = DnsResolver(await server.start())
    guard, url = make_guard(), parse_url("http://a.example/")  # type: ignore[operator]
    assert guard.judge_addresses(url, await resolver.resolve("a.example"))
    with pytest.raises(Blocked):
        guard.judge_addresses(url, await resolver.resolve("a.example"))


@pytest.mark.parametrize("family", ["A", "AAAA"])
@pytest.mark.parametrize("fault", ["SERVFAIL", "SILENCE"])
async def test_a_server_that_fails_for_one_family_fails_the_name(
    family: str, fault: str, name_server: Callable[..., DnsServer]
) -> None:
    answers = {"a.example. A": [["1.1.1.1"]], "a.example. AAAA": [["2606:4700::1111"]]}
    server = name_server(answers | {f"a.example. {family}": [[fault]]})
    with pytest.raises(Refusal) as caught:
        await DnsResolver(await server.start(), 0.3).resolve("a.example")
    assert caught.value.problem.code is ProblemCode.RESOLUTION_FAILED


async def test_the_system_is_asked_for_the_absolute_name_unless_the_host_is_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def answer(question: str, *_arguments: object, **_keywords: object) -> list[tuple[object, ...]]:
        asked.append(question)
        return [(0, 0, 0, "", ("1.1.1.1", 0)), (0, 0, 0, "", ("1.1.1.1", 0)), (0, 0, 0, "", ("fe80::1%eth0", 0, 0, 2))]

    monkeypatch.setattr(resolve_module.socket, "getaddrinfo", answer)
    resolver = SystemResolver()
    assert list(map(str, await resolver.resolve("a.example"))) == ["1.1.1.1", "fe80::1"]
    await resolver.resolve("nas", local=True)
    assert asked == ["a.example.", "nas"]


async def test_a_system_resolver_that_fails_or_hangs_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_arguments: object, **_keywords: object) -> None:
        raise socket.gaierror(-2, "library text")

    monkeypatch.setattr(resolve_module.socket, "getaddrinfo", unknown)
    with pytest.raises(Refusal) as caught:
        await SystemResolver().resolve("a.example")
    assert "library" not in caught.value.problem.detail
    release = threading.Event()
    monkeypatch.setattr(resolve_module.socket, "getaddrinfo", lambda *_a, **_k: release.wait(10) and [])
    try:
        with pytest.raises(Refusal) as caught:
            await SystemResolver(0.05).resolve("a.example")
        assert caught.value.problem.code is ProblemCode.RESOLUTION_FAILED
    finally:
        release.set()
