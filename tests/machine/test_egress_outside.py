"""What must be allowed, and what must not, where the test owns every address: real names, TLS and public addresses."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import pytest
from dns_server import SILENCE
from outside_network import (
    OTHER_PUBLIC_V4,
    PRIVATE_V4,
    PUBLIC_V4,
    PUBLIC_V6,
    Network,
    ProxyInside,
    outside_network,
    proxy_inside,
    response,
)
from running_system import PATIENCE_SECONDS

from mycelos.proxy.egress.guard import classify
from mycelos.proxy.egress.special_addresses import AddressClass
from mycelos.wire.binding import Bearer, Binding, Method, ResponseRule
from mycelos.wire.operator import AddRule, SetWeb, StoreCredential
from mycelos.wire.problems import ProblemCode

pytestmark = [pytest.mark.machine, pytest.mark.anyio]

WITHOUT_A_WALL = """
from mycelos.proxy.egress.{module} import {name}
{name}.{method} = lambda *arguments: {answer}
from mycelos.proxy.main import main
raise SystemExit(main())
"""
"""The proxy with one method of one wall replaced."""

NAME = "api.example.com"
SECRET = "sk-outside-5Yt8Qw2Lr9Kd3Vn6"


@pytest.fixture
async def network(anyio_backend: str) -> AsyncIterator[Network]:
    async with outside_network() as made:
        yield made


@pytest.fixture
def proxy(network: Network, short_directory: Path) -> Iterator[ProxyInside]:
    with proxy_inside(network, short_directory) as started:
        yield started


def answers(name: str = NAME, v4: list[list[str]] | None = None, v6: list[list[str]] | None = None) -> dict[str, Any]:
    return {f"{name}. A": v4 or [[]], f"{name}. AAAA": v6 or [[]]}


async def bind_credential(proxy: ProxyInside, host: str = NAME, port: int = 443) -> None:
    binding = Binding(
        v=1, scheme="https", host=host, port=port, methods=(Method.GET,), path=("v1",), query="any",
        inject=Bearer(), response=ResponseRule("drop", "redact"), confirm=False, quota=None,
    )  # fmt: skip
    message = StoreCredential(service="api", secret=SECRET, bindings=(binding,))
    await asyncio.to_thread(proxy.operator.store, message)


async def open_web(proxy: ProxyInside) -> None:
    await asyncio.to_thread(proxy.operator.egress_rules, SetWeb(enabled=True))


def naive_client(network: Network, name: str = NAME) -> Callable[[], str]:
    """What a guard without pinning does: resolve and check, then let the connection resolve again."""

    def resolve() -> str:
        query = dns.message.make_query(f"{name}.", "A")
        return str(dns.query.udp(query, PRIVATE_V4, timeout=PATIENCE_SECONDS).answer[-1][0])

    def fetch() -> str:
        checked = ipaddress.ip_address(resolve())
        assert classify(checked).address_class is AddressClass.GLOBAL
        context = ssl.create_default_context()
        network.authority.configure_trust(context)
        with (
            socket.create_connection((resolve(), 443), timeout=PATIENCE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=name) as secure,
        ):
            secure.sendall(f"GET /naive HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
            return secure.recv(65536).decode()

    return lambda: network.inside.call(fetch)


@pytest.mark.parametrize(
    ("address", "records"),
    [(PUBLIC_V4, answers(v4=[[PUBLIC_V4]])), (PUBLIC_V6, answers(v6=[[PUBLIC_V6]]))],
    ids=["IPv4", "IPv6"],
)
async def test_a_bound_credential_reaches_the_names_public_address_under_the_names_certificate(
    network: Network, proxy: ProxyInside, address: str, records: dict[str, Any]
) -> None:
    network.names.answers = records
    upstream = await network.listen(network.outside, address, 443, NAME)
    await bind_credential(proxy)
    answer = await proxy.use(f"https://{NAME}/v1/things", "api")
    assert (answer.status, answer.body["status"], answer.body["body"]) == (200, 200, "hello")
    (head,) = upstream.heads
    assert head.startswith("GET /v1/things HTTP/1.1\r\n")
    assert f"\r\nhost: {NAME}\r\n" in head.lower()
    assert f"\r\nauthorization: bearer {SECRET}\r\n".lower() in head.lower()
    assert upstream.server_names == [NAME]


async def test_a_certificate_of_another_name_is_refused_and_the_credential_stays(
    network: Network, proxy: ProxyInside
) -> None:
    network.names.answers = answers(v4=[[PUBLIC_V4]])
    upstream = await network.listen(network.outside, PUBLIC_V4, 443, "other.example.com")
    await bind_credential(proxy)
    assert (await proxy.use(f"https://{NAME}/v1/", "api")).code == ProblemCode.UPSTREAM_TLS
    assert upstream.server_names == [NAME]
    assert upstream.heads == []


async def test_reading_the_web_is_allowed_once_the_operator_has_said_so(network: Network, proxy: ProxyInside) -> None:
    network.names.answers = answers(v4=[[PUBLIC_V4]], v6=[[PUBLIC_V6]])
    upstream = await network.listen(network.outside, PUBLIC_V4, 443, NAME)
    before = await proxy.use(f"https://{NAME}/page")
    assert before.code
    assert network.names.asked == []
    await open_web(proxy)
    assert (await proxy.use(f"https://{NAME}/page")).body["body"] == "hello"
    assert (await proxy.use(f"https://{NAME}/page", method="POST")).code == before.code
    assert len(upstream.heads) == 1
    assert "authorization" not in upstream.heads[0].lower()


async def test_another_port_is_reached_only_by_a_rule_that_names_it(network: Network, proxy: ProxyInside) -> None:
    network.names.answers = answers(v4=[[PUBLIC_V4]])
    upstream = await network.listen(network.outside, PUBLIC_V4, 8443, NAME)
    await open_web(proxy)
    assert (await proxy.use(f"https://{NAME}:8443/page")).code
    assert (upstream.connections, network.names.asked) == (0, [])
    rule = AddRule(method=Method.GET, scheme="https", host=NAME, port=8443)
    await asyncio.to_thread(proxy.operator.egress_rules, rule)
    assert (await proxy.use(f"https://{NAME}:8443/page")).body["body"] == "hello"
    assert f"host: {NAME}:8443\r\n" in upstream.heads[0].lower()


@pytest.mark.parametrize("second", ["127.0.0.1", PRIVATE_V4], ids=["loopback", "private"])
async def test_a_name_that_answers_public_first_is_never_dialled_at_the_private_second(
    network: Network, proxy: ProxyInside, second: str
) -> None:
    public = await network.listen(network.outside, PUBLIC_V4, 443, NAME)
    where = network.inside if second == "127.0.0.1" else network.outside
    private = await network.listen(where, second, 443, NAME, reply=response(b"private"))
    await open_web(proxy)

    network.names.answers = answers(v4=[[PUBLIC_V4], [second]])
    first = await proxy.use(f"https://{NAME}/page")
    assert (first.status, first.body["body"]) == (200, "hello")
    for _ in range(2):
        assert (await proxy.use(f"https://{NAME}/page")).code == ProblemCode.SSRF_BLOCKED
    assert (public.connections, private.connections) == (1, 0)
    assert proxy.events().count("proxy.ssrf_blocked") == 2

    # The control: in the same place a client that checks one answer and connects by the next is led astray.
    network.names.answers = answers(v4=[[PUBLIC_V4], [second]])
    assert (await asyncio.to_thread(naive_client(network))).endswith("private")
    assert private.connections == 1


@pytest.mark.parametrize(
    "records",
    [
        answers(v4=[[PUBLIC_V4, "127.0.0.1"]]),
        answers(v4=[["127.0.0.1", PUBLIC_V4]]),
        answers(v4=[[PUBLIC_V4]], v6=[["::1"]]),
        answers(v4=[["CNAME inner.example.net.", "127.0.0.1"]]),
        answers(v4=[["CNAME one.example.net.", "CNAME two.example.net.", PRIVATE_V4]]),
        answers(v4=[["TRUNCATED", "127.0.0.1"]]),
        answers(v4=[[PUBLIC_V4]], v6=[["::ffff:127.0.0.1"]]),
    ],
    ids=["mixed", "private first", "mixed families", "chain", "long chain", "truncated", "mapped"],
)
async def test_one_private_address_among_the_answers_refuses_the_name(
    network: Network, proxy: ProxyInside, records: dict[str, Any]
) -> None:
    network.names.answers = records
    listeners = [
        await network.listen(network.outside, PUBLIC_V4, 443, NAME),
        await network.listen(network.outside, PRIVATE_V4, 443, NAME),
        await network.listen(network.inside, "127.0.0.1", 443, NAME),
        await network.listen(network.inside, "::1", 443, NAME),
    ]
    await open_web(proxy)
    assert (await proxy.use(f"https://{NAME}/page")).code == ProblemCode.SSRF_BLOCKED
    assert [listener.connections for listener in listeners] == [0, 0, 0, 0]


async def test_a_chain_of_names_and_an_answer_that_needs_tcp_lead_to_a_public_address(
    network: Network, proxy: ProxyInside
) -> None:
    network.names.answers = {
        **answers(v4=[["CNAME one.example.net.", "CNAME two.example.net.", PUBLIC_V4]]),
        **answers("large.example.com", v4=[["TRUNCATED", PUBLIC_V4]]),
    }
    await network.listen(network.outside, PUBLIC_V4, 443, NAME, "large.example.com")
    await open_web(proxy)
    assert (await proxy.use(f"https://{NAME}/page")).body["body"] == "hello"
    assert (await proxy.use("https://large.example.com/page")).body["body"] == "hello"
    assert network.names.asked_over_tcp == ["large.example.com. A"]


async def test_a_name_that_is_slow_keeps_nobody_waiting_but_its_own_request(
    network: Network, proxy: ProxyInside
) -> None:
    network.names.answers = {
        **answers(v4=[[PUBLIC_V4]]),
        **answers("slow.example.com", v4=[[PUBLIC_V4]]),
        **answers("silent.example.com", v4=SILENCE),
    }
    network.names.held.add("slow.example.com.")
    await network.listen(network.outside, PUBLIC_V4, 443, NAME, "slow.example.com")
    await open_web(proxy)
    async with asyncio.TaskGroup() as tasks:
        slow = tasks.create_task(proxy.use("https://slow.example.com/page"))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not network.names.waiting:  # noqa: ASYNC110 - the name server has no event for it
                await asyncio.sleep(0)
        assert (await proxy.use(f"https://{NAME}/page")).body["body"] == "hello"
        assert not slow.done()
        network.names.release("slow.example.com.")
    assert slow.result().body["body"] == "hello"
    assert (await proxy.use("https://silent.example.com/page")).code == ProblemCode.RESOLUTION_FAILED


@pytest.mark.parametrize("target", ["https://127.0.0.1/inner", f"https://{PRIVATE_V4}/inner"])
async def test_a_redirect_to_a_private_address_comes_back_as_it_is_and_is_not_followed(
    network: Network, proxy: ProxyInside, target: str
) -> None:
    network.names.answers = answers(v4=[[PUBLIC_V4]])
    await network.listen(network.outside, PUBLIC_V4, 443, NAME, reply=response(b"gone", "302 Found", location=target))
    private = [
        await network.listen(network.inside, "127.0.0.1", 443, "127.0.0.1"),
        await network.listen(network.outside, PRIVATE_V4, 443, PRIVATE_V4),
    ]
    await open_web(proxy)
    answer = await proxy.use(f"https://{NAME}/page")
    assert (answer.body["status"], answer.body["headers"]["location"]) == (302, target)
    assert (await proxy.use(target)).code == ProblemCode.SSRF_BLOCKED
    assert [listener.connections for listener in private] == [0, 0]


@pytest.mark.parametrize(
    "change",
    [f"addr add {OTHER_PUBLIC_V4}/32 dev lo", "route add local 198.41.0.0/24 dev lo"],
    ids=["address", "route"],
)
async def test_a_public_address_that_the_proxys_machine_got_a_moment_ago_is_its_own(
    network: Network, proxy: ProxyInside, change: str
) -> None:
    network.names.answers = answers(v4=[[OTHER_PUBLIC_V4]])
    elsewhere = await network.listen(network.outside, OTHER_PUBLIC_V4, 443, NAME)
    await open_web(proxy)
    assert (await proxy.use(f"https://{NAME}/page")).body["body"] == "hello"
    network.inside.ip(*change.split())
    here = await network.listen(network.inside, OTHER_PUBLIC_V4, 443, NAME, reply=response(b"this machine"))
    assert (await proxy.use(f"https://{NAME}/page")).code == ProblemCode.SSRF_BLOCKED
    assert (elsewhere.connections, here.connections) == (1, 0)
    # The control: what listens there is reached by whoever does not ask whose address it is.
    assert (await asyncio.to_thread(naive_client(network))).endswith("this machine")


async def test_without_the_guard_the_second_answer_is_dialled(network: Network, short_directory: Path) -> None:
    """The twin of the rebinding test."""
    broken = WITHOUT_A_WALL.format(module="guard", name="Guard", method="judge_addresses", answer="arguments[2]")
    with proxy_inside(network, short_directory, ("-I", "-c", broken)) as proxy:
        await network.listen(network.outside, PUBLIC_V4, 443, NAME)
        private = await network.listen(network.inside, "127.0.0.1", 443, NAME, reply=response(b"private"))
        await open_web(proxy)
        network.names.answers = answers(v4=[[PUBLIC_V4], ["127.0.0.1"]])
        assert (await proxy.use(f"https://{NAME}/page")).body["body"] == "hello"
        assert (await proxy.use(f"https://{NAME}/page")).body["body"] == "private"
        assert private.connections == 1


async def test_a_proxy_that_is_deaf_to_the_kernel_dials_its_own_machine(
    network: Network, short_directory: Path
) -> None:
    """The twin of the test with the new address."""
    broken = WITHOUT_A_WALL.format(
        module="address_changes", name="AddressChanges", method="happened", answer="arguments[0] is None"
    )
    with proxy_inside(network, short_directory, ("-I", "-c", broken)) as proxy:
        network.names.answers = answers(v4=[[OTHER_PUBLIC_V4]])
        elsewhere = await network.listen(
            network.outside, OTHER_PUBLIC_V4, 443, NAME, reply=response(b"hello", connection="close")
        )
        await open_web(proxy)
        assert (await proxy.use(f"https://{NAME}/page")).body["body"] == "hello"
        network.inside.ip("addr", "add", f"{OTHER_PUBLIC_V4}/32", "dev", "lo")
        await network.listen(network.inside, OTHER_PUBLIC_V4, 443, NAME, reply=response(b"this machine"))
        assert (await proxy.use(f"https://{NAME}/page")).body["body"] == "this machine"
        assert elsewhere.connections == 1
