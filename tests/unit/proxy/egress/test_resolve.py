from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Callable

import pytest
from dns_server import DnsServer

from mycelos.proxy.egress import resolve as resolve_module
from mycelos.proxy.egress.guard import Blocked
from mycelos.proxy.egress.resolve import DnsResolver, SystemResolver
from mycelos.proxy.egress.url import parse_url
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio


@pytest.fixture
async def name_server(anyio_backend: str) -> AsyncIterator[Callable[..., DnsServer]]:
    servers: list[DnsServer] = []

    def make(answers: dict[str, list[list[str]]], seconds: int = 0) -> DnsServer:
        servers.append(DnsServer(answers, seconds))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


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


async def test_an_answer_without_a_lifetime_is_kept_for_no_other_request(
    make_guard: object, name_server: Callable[..., DnsServer]
) -> None:
    server = name_server({"a.example. A": [["93.184.216.34"], ["127.0.0.1"]], "a.example. AAAA": [[]]})
    resolver = DnsResolver(await server.start())
    guard, url = make_guard(), parse_url("http://a.example/")  # type: ignore[operator]
    assert guard.judge_addresses(url, await resolver.resolve("a.example"))
    with pytest.raises(Blocked):
        guard.judge_addresses(url, await resolver.resolve("a.example"))


@pytest.mark.parametrize(("lifetime", "kept"), [(10, 10), (60, 30), (86400, 30)])
async def test_an_answer_is_kept_for_its_lifetime_and_never_longer_than_thirty_seconds(
    lifetime: int, kept: int, name_server: Callable[..., DnsServer]
) -> None:
    now = 100.0
    answers = {"a.example. A": [["93.184.216.34"], ["1.1.1.1"]], "a.example. AAAA": [[]]}
    resolver = DnsResolver(await name_server(answers, lifetime).start(), monotonic=lambda: now)
    first = await resolver.resolve("a.example")
    now = 100.0 + kept - 0.1
    assert await resolver.resolve("a.example") == first
    now = 100.0 + kept
    assert list(map(str, await resolver.resolve("a.example"))) == ["1.1.1.1"]


async def test_the_shortest_lifetime_of_a_chain_of_names_counts(name_server: Callable[..., DnsServer]) -> None:
    now = 100.0
    server = name_server({"a.example. A": [["CNAME b.example.", "93.184.216.34"], ["1.1.1.1"]]}, 20)
    server.seconds_of = {"a.example.": 5}
    resolver = DnsResolver(await server.start(), monotonic=lambda: now)
    await resolver.resolve("a.example")
    now = 105.0
    assert list(map(str, await resolver.resolve("a.example"))) == ["1.1.1.1"]


async def test_only_so_many_answers_are_kept(
    name_server: Callable[..., DnsServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve_module, "_KEPT_ANSWERS", 2)
    server = name_server({f"{name}.example. A": [["1.1.1.1"]] for name in "abc"}, 20)
    resolver = DnsResolver(await server.start())
    for name in "abca":
        await resolver.resolve(f"{name}.example")
    assert server.asked.count("a.example. A") == 2
    assert server.asked.count("b.example. A") == 1


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


async def test_a_name_that_hangs_takes_no_thread_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    release, asked = threading.Event(), list[str]()

    def ask(question: str, *_arguments: object, **_keywords: object) -> list[tuple[object, ...]]:
        asked.append(question)
        if question.endswith("slow.example."):
            release.wait(20)
        return [(0, 0, 0, "", ("1.1.1.1", 0))]

    monkeypatch.setattr(resolve_module.socket, "getaddrinfo", ask)
    resolver = SystemResolver(0.05)
    try:
        for number in range(2 * resolve_module._THREADS):
            with pytest.raises(Refusal):
                await resolver.resolve(f"{number}.slow.example")
        with pytest.raises(Refusal):
            await resolver.resolve("0.slow.example")
        assert len(asked) == resolve_module._THREADS_OF_PARENT
        for number in range(10):
            assert list(map(str, await resolver.resolve(f"good{number}.test"))) == ["1.1.1.1"]
    finally:
        release.set()
