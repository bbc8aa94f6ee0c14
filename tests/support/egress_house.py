"""For tests of egress: the outside on loopback; vault, rules and ledger as they are."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from mycelos.configuration.layout import DataLayout
from mycelos.configuration.operator_file import EgressSettings
from mycelos.ledger.events import Event
from mycelos.ledger.query import EventQuery
from mycelos.proxy.egress.approvals import Approvals
from mycelos.proxy.egress.call import EgressCall
from mycelos.proxy.egress.costly_work import CostlyWork
from mycelos.proxy.egress.dial import Trust, make_trust
from mycelos.proxy.egress.guard import Guard, OpenedAddresses
from mycelos.proxy.egress.http_client import Deadlines, HttpClient
from mycelos.proxy.egress.open_calls import OpenCalls
from mycelos.proxy.egress.own_addresses import OwnAddresses
from mycelos.proxy.egress.pipeline import EgressPipeline
from mycelos.proxy.egress.quota import QuotaBook
from mycelos.proxy.egress.rules import EgressRules
from mycelos.proxy.egress.web_budget import WebBudget
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.lockdown import Lockdown
from mycelos.proxy.stored_secrets import REQUEST_CHARACTERS, StoredSecrets
from mycelos.proxy.vault.store import Vault
from mycelos.wire.binding import Bearer, Binding, Method, ResponseRule

EGRESS = EgressSettings()
SECRET = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"


class KnownOwnAddresses(OwnAddresses):
    """Own addresses as a test says."""

    def __init__(self, *addresses: str) -> None:
        super().__init__(Path("/nowhere"))
        self.known = frozenset(map(ipaddress.ip_address, addresses))

    def holds(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return address in self.known


@dataclass
class Upstream:
    """A server that writes what a test says and remembers what it was sent."""

    port: int
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)


Handler = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(body: bytes = b"hello", status: bytes = b"200 OK", headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 " + status + b"\r\n" + headers + b"content-length: %d\r\n\r\n" % len(body) + body


async def read_request_body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    lower = head.lower()
    if b"content-length: " in lower:
        return await reader.readexactly(int(lower.split(b"content-length: ")[1].split(b"\r\n")[0]))
    body = b""
    if b"transfer-encoding: chunked" in lower:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    return body


@asynccontextmanager
async def serve(
    reply: bytes | Handler = b"", *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Upstream]:
    upstream = Upstream(0)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream.connections += 1
        upstream.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                upstream.heads.append(head)
                if isinstance(reply, bytes):
                    upstream.bodies.append(await read_request_body(head, reader))
                    writer.write(reply or answer())
                    await writer.drain()
                else:
                    await reply(head, reader, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(connected, host, port, ssl=tls)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()
        for writer in upstream.writers:
            writer.transport.abort()
        # One turn of the loop for the handlers to meet the end of their connections.
        await asyncio.sleep(0)


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


class ListedResolver:
    """Answers from a list for each successive question; counts them."""

    def __init__(self, answers: dict[str, list[list[str]]] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[str] = []

    async def resolve(self, name: str, *, local: bool = False) -> tuple[Any, ...]:
        self.asked.append(name)
        lists = self.answers[name]
        chosen = lists.pop(0) if len(lists) > 1 else lists[0]
        return tuple(map(ipaddress.ip_address, chosen))


def binding_for(port: int, **changes: Any) -> Binding:
    fields: dict[str, Any] = {
        "v": 1,
        "scheme": "http",
        "host": "127.0.0.1",
        "port": port,
        "methods": tuple(Method),
        "path": (),
        "query": "any",
        "inject": Bearer(),
        "response": ResponseRule("drop", "redact"),
        "confirm": False,
        "quota": None,
    }
    return Binding(**(fields | changes))


def call_for(url: str, method: str = "GET", **changes: Any) -> EgressCall:
    fields: dict[str, Any] = {
        "headers": (),
        "body": None,
        "length": None,
        "service": None,
        "inject_as": None,
        "run": "",
        "agent": "",
        "purpose": "",
        "door": "http",
        "approval": "",
        "deadlines": Deadlines(first_byte=5, idle=5, total=10),
    }
    return EgressCall(method=method, url=url, **(fields | changes))


@dataclass
class House:
    """A proxy without its doors."""

    vault: Vault
    rules: EgressRules
    lockdown: Lockdown
    recorder: Recorder
    resolver: ListedResolver
    client: HttpClient
    make_guard: Callable[..., Guard]
    quotas: QuotaBook = field(default_factory=QuotaBook)
    web_budget: WebBudget = field(default_factory=lambda: WebBudget(EGRESS.web_per_run, EGRESS.web_per_day))
    open_calls: OpenCalls = field(default_factory=lambda: OpenCalls(32, 256))
    costly: CostlyWork = field(default_factory=CostlyWork)
    approvals: Approvals = field(default_factory=Approvals)

    def pipeline(self, *ports: int, **parts: Any) -> EgressPipeline:
        """A pipeline for which 127.0.0.1 is opened on these ports; ``parts`` replace its own."""
        opened = {("127.0.0.1", port): ["127.0.0.1"] for port in ports}
        own: dict[str, Any] = {
            "lockdown": self.lockdown,
            "vault": self.vault,
            "rules": self.rules,
            "approvals": self.approvals,
            "recorder": self.recorder,
            "secrets": StoredSecrets(self.vault, REQUEST_CHARACTERS),
            "resolver": self.resolver,
            "guard": self.make_guard(opened),
            "client": self.client,
            "quotas": self.quotas,
            "web_budget": self.web_budget,
            "open_calls": self.open_calls,
            "costly": self.costly,
        }
        return EgressPipeline(**(own | parts))

    async def store(self, port: int, service: str = "github", secret: str = SECRET, **changes: Any) -> None:
        await self.vault.store(service, service, (binding_for(port, **changes),), secret)

    async def allow(self, port: int, method: Method = Method.GET) -> None:
        await self.rules.add(method, "http", "127.0.0.1", port)

    async def entries(self, event: str | None = None) -> list[dict[str, Any]]:
        """What is on record; waits for queued outcomes first."""
        await self.recorder.fact(Event.PROXY_STARTED, outcome="flush")
        found = [entry.as_dict() for entry in await self.recorder.events(EventQuery(limit=1000))]
        return [entry for entry in found if event is None or entry["event"] == event]


async def fetch(pipeline: EgressPipeline, call: EgressCall) -> tuple[int, dict[bytes, bytes], bytes]:
    async with asyncio.timeout(20):
        async with pipeline.open(call) as exchange:
            body = b"".join([piece async for piece in exchange.body()])
        return exchange.status, dict(exchange.headers), body


def guard_of(
    opened: dict[tuple[str, int], list[str]] | None = None,
    own: tuple[str, ...] = ("127.0.0.1",),
    listeners: frozenset[int] = frozenset(),
    machine_name: str = "this-machine.example",
) -> Guard:
    """A guard for which ``opened`` are the pinned addresses of hosts and ports."""
    pinned = {key: frozenset(map(ipaddress.ip_address, values)) for key, values in (opened or {}).items()}
    return Guard(KnownOwnAddresses(*own), OpenedAddresses(pinned), listeners, machine_name)


@asynccontextmanager
async def egress_house(folder: Path, trust: Trust | None = None) -> AsyncIterator[House]:
    """A proxy without its doors, its data below ``folder``."""
    layout = DataLayout(folder)
    vault = Vault.open(layout, bytes(range(32)))
    recorder = await Recorder.open(layout.ledger)
    client = HttpClient(trust or make_trust(None))
    try:
        rules = EgressRules.open(vault.database, vault.keys)
        lockdown = Lockdown.open(vault.database, vault.keys)
        house = House(vault, rules, lockdown, recorder, ListedResolver(), client, guard_of)
        yield house
        house.costly.close()
    finally:
        client.close()
        await recorder.close()
        vault.close()
