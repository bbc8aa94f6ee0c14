"""The gateway's back end over real sockets and a real runner process, with a proxy that tests steer.

The proxy is an ASGI application of the tests behind a real control channel; it keeps the ledger's entries in a list
and hands `/forward` to a model application. The spawner starts the real runner, without a sandbox.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from grown_tree import GrownTree
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mycelos.demo.scripted_model import ScriptedModel
from mycelos.gateway.broker import Broker
from mycelos.gateway.descriptor_channel import DescriptorChannel
from mycelos.gateway.lockdown import LockdownWatch
from mycelos.gateway.models import ModelClient
from mycelos.gateway.proxy_client import ProxyClient
from mycelos.gateway.proxy_client.head import RememberedHead
from mycelos.gateway.proxy_client.network import connector
from mycelos.gateway.recorder import Recorder
from mycelos.gateway.runs.events import RunEvent
from mycelos.gateway.runs.run import LOCKED_DOWN, RunDriver
from mycelos.gateway.runs.service import RunService
from mycelos.gateway.settings import RunSettings
from mycelos.gateway.spawner_client import SpawnerClient
from mycelos.gateway.store import Store
from mycelos.gateway.tools.github import GitHub
from mycelos.gateway.tools.registry import Registry
from mycelos.gateway.tools.web import Web
from mycelos.ledger.events import EVENTS, Event, Source
from mycelos.serving.http_server import HttpServer
from mycelos.wire.audit import AppendReceipt, AppendRequest, AuditSummary, ConsistencyAnswer, InclusionAnswer
from mycelos.wire.egress import HttpAnswer, HttpCall
from mycelos.wire.problems import MEDIA_TYPE, REFUSED_HEADER, PendingApproval, ProblemCode, Refusal, make_problem
from mycelos.wire.secret_check import SecretCheck, SecretCheckAnswer
from mycelos.wire.spawn import ChannelAnswer, ChannelRequest, RunEnded, SpawnAnswer, SpawnRequest

BEARER = "B" * 43
WAIT = 30.0
"""Seconds after which any wait of these tests has failed."""

BINDING = {
    "v": 1,
    "scheme": "https",
    "host": "api.github.com",
    "port": 443,
    "methods": ["GET", "POST"],
    "path": [],
    "query": "any",
    "inject": {"form": "bearer"},
    "response": {"set_cookie": "drop", "location_query": "redact"},
    "confirm": False,
    "quota": None,
}
ISSUES = [{"number": 7, "title": "Moss", "state": "open", "user": {"login": "ada"}, "body": "It grows."}]


def problem(refused: ProblemCode | Refusal) -> Response:
    if isinstance(refused, Refusal):
        document = refused.problem
    else:
        document = make_problem(refused, f"the proxy says {refused.value}", "do something else")
    headers = {REFUSED_HEADER: document.code.value}
    return Response(msgspec.json.encode(document), document.status, headers, media_type=MEDIA_TYPE)


def waits(name: str) -> Refusal:
    """What the proxy says of a request that a person is asked about."""
    pending = PendingApproval(id=name, expires_at="2026-01-01T00:15:00Z")
    return Refusal(ProblemCode.APPROVAL_REQUIRED, "It waits for a person.", "Decide it.", pending)


@dataclass
class SteeredProxy:
    """The gateway's door, as tests want it to be."""

    model: Any
    entries: list[AppendRequest] = field(default_factory=list)
    calls: list[HttpCall] = field(default_factory=list)
    forwarded: list[dict[str, str]] = field(default_factory=list)
    ledger_refuses: Callable[[AppendRequest], bool] = lambda _: False
    http: Callable[[HttpCall], Awaitable[HttpAnswer | ProblemCode | Refusal]] | None = None
    forward: Callable[[dict[str, str]], Refusal | None] = lambda _: None
    lockdown: str | None = None
    secrets: list[str] = field(default_factory=list)
    seq: int = 0
    tree: GrownTree = field(default_factory=GrownTree)
    proofs: list[tuple[int, int]] = field(default_factory=list)
    credentials: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {"service": "github", "label": "", "created_at": "2026", "bindings": [BINDING], "last_used_at": None}
        ]
    )

    def application(self) -> Callable[..., Awaitable[None]]:
        inner = Starlette(
            routes=[
                Route("/audit/append", self._append, methods=["POST"]),
                Route("/audit/events", self._events),
                Route("/audit/summary", self._summary),
                Route("/audit/checkpoint", self._checkpoint),
                Route("/audit/proof/inclusion", self._inclusion),
                Route("/audit/proof/consistency", self._consistency),
                Route("/credential/list", self._credentials, methods=["POST"]),
                Route("/http", self._http, methods=["POST"]),
                Route("/secret/check", self._check, methods=["POST"]),
                Route("/healthz", self._healthz),
            ]
        )

        async def application(scope: Any, receive: Any, send: Any) -> None:
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            assert headers["authorization"] == f"Bearer {BEARER}", "the gateway's bearer and nobody else's"
            assert headers["mycelos-protocol"] == "1"
            assert "x-api-key" not in headers
            if self.lockdown is not None:
                send = telling(send, self.lockdown)
            if scope["path"].startswith("/forward/"):
                self.forwarded.append(headers)
                if (refused := self.forward(headers)) is not None:
                    await problem(refused)(scope, receive, send)
                    return
                path = "/" + scope["path"].split("/", 4)[4]
                await self.model(scope | {"path": path, "raw_path": path.encode()}, receive, send)
                return
            await inner(scope, receive, send)

        return application

    def events(self) -> list[str]:
        return [f"{entry.event}:{entry.phase}" for entry in self.entries]

    async def _append(self, request: Request) -> Response:
        entry = msgspec.json.decode(await request.body(), type=AppendRequest)
        rule = EVENTS[Event(entry.event)]
        assert rule.source is Source.GATEWAY
        assert set(entry.details) <= rule.fields, set(entry.details) - rule.fields
        if self.ledger_refuses(entry):
            return problem(ProblemCode.AUDIT_UNAVAILABLE)
        self.entries.append(entry)
        self.tree.grow(self.seq + 1)
        receipt = AppendReceipt(self.seq, self.tree.leaf(self.seq).hex(), self.tree.note(self.seq + 1))
        self.seq += 1
        return Response(msgspec.json.encode(receipt), media_type="application/json")

    async def _events(self, request: Request) -> Response:
        return JSONResponse({"entries": [dict(request.query_params)]})

    async def _summary(self, request: Request) -> Response:
        counted = AuditSummary(request.query_params["since"], 0, 6, True, 7, [], [], [], 0, [], 0)
        return Response(msgspec.json.encode(counted), media_type="application/json")

    async def _checkpoint(self, _request: Request) -> Response:
        return JSONResponse({"checkpoint": self.tree.note(self.seq), "key": "the key"})

    async def _inclusion(self, request: Request) -> Response:
        seq, size = (int(request.query_params[name]) for name in ("seq", "size"))
        path = [base64.b64encode(found).decode() for found in self.tree.inclusion(seq, size)]
        answer = InclusionAnswer(seq, size, self.tree.leaf(seq).hex(), path, None)
        return Response(msgspec.json.encode(answer), media_type="application/json")

    async def _consistency(self, request: Request) -> Response:
        old, new = (int(request.query_params[name]) for name in ("old", "new"))
        self.proofs.append((old, new))
        path = [base64.b64encode(found).decode() for found in self.tree.consistency(old, new)]
        return Response(msgspec.json.encode(ConsistencyAnswer(old, new, path)), media_type="application/json")

    async def _credentials(self, _request: Request) -> Response:
        return JSONResponse({"credentials": self.credentials})

    async def _check(self, request: Request) -> Response:
        checked = msgspec.json.decode(await request.body(), type=SecretCheck)
        answer = SecretCheckAnswer(any(secret in checked.text for secret in self.secrets))
        return Response(msgspec.json.encode(answer), media_type="application/json")

    async def _http(self, request: Request) -> Response:
        call = msgspec.json.decode(await request.body(), type=HttpCall)
        self.calls.append(call)
        answer: HttpAnswer | ProblemCode | Refusal
        if self.http is not None:
            answer = await self.http(call)
        else:
            answer = answered(msgspec.json.encode(ISSUES).decode())
        if isinstance(answer, ProblemCode | Refusal):
            return problem(answer)
        return Response(msgspec.json.encode(answer), media_type="application/json")

    async def _healthz(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})


def telling(send: Any, lockdown: str) -> Any:
    """With what the proxy says of a lockdown on each answer."""

    async def send_with_header(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = message | {"headers": [*message["headers"], (b"mycelos-lockdown", lockdown.encode())]}
        await send(message)

    return send_with_header


def answered(body: str, content_type: str = "application/json", status: int = 200) -> HttpAnswer:
    return HttpAnswer(
        status=status, headers={"Content-Type": content_type}, url="", truncated=False, elapsed_ms=1, body=body
    )


def socket_pair(kind: int) -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, kind)


async def hand_over(control: socket.socket, server: HttpServer) -> None:
    """Answer requests for connections, as the proxy does."""
    loop = asyncio.get_running_loop()
    control.setblocking(False)
    while data := await loop.sock_recv(control, 4096):
        request = msgspec.json.decode(data, type=ChannelRequest)
        ours, theirs = socket_pair(socket.SOCK_STREAM)
        await server.adopt(ours)
        with theirs:
            answer = ChannelAnswer(v=1, nonce=request.nonce)
            socket.send_fds(control, [msgspec.json.encode(answer)], [theirs.fileno()])


@asynccontextmanager
async def proxy_client(proxy: SteeredProxy, head: Path) -> AsyncIterator[ProxyClient]:
    """A client of a steered proxy over a real control channel."""
    ours, theirs = socket_pair(socket.SOCK_SEQPACKET)
    server = HttpServer(proxy.application())
    descriptor = theirs.detach()
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(hand_over(ours, server))
        client = ProxyClient(connector(f"fd:{descriptor}", descriptor), BEARER, RememberedHead(head))
        try:
            yield client
        finally:
            await client.close()
            await server.stop()
            serving.cancel()
    ours.close()


RUNNER = (
    "import socket, sys; from mycelos.runner.main import serve; sys.exit(serve(socket.socket(fileno=int(sys.argv[1]))))"
)


@dataclass
class TestSpawner:
    """Starts ``program`` with the run's socket as its argument; real processes, no sandbox."""

    __test__ = False

    program: str = RUNNER
    refuses: bool = False
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, door: socket.socket, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        door.setblocking(False)
        while data := await loop.sock_recv(door, 4096):
            request = msgspec.json.decode(data, type=SpawnRequest)
            if self.refuses:
                answer = SpawnAnswer(1, request.nonce, False, "sandbox_refused", "No wall stands", "Build one.")
                door.send(msgspec.json.encode(answer))
                continue
            channel, runners = socket_pair(socket.SOCK_STREAM)
            lease, spawners = socket_pair(socket.SOCK_SEQPACKET)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-c", self.program, str(runners.fileno()), pass_fds=[runners.fileno()]
            )
            runners.close()
            self.processes.append(process)
            group.create_task(self._watch(process, spawners))
            answer = SpawnAnswer(1, request.nonce, True, "", "", "")
            with channel, lease:
                socket.send_fds(door, [msgspec.json.encode(answer)], [channel.fileno(), lease.fileno()])
            self.started.set()

    async def _watch(self, process: asyncio.subprocess.Process, lease: socket.socket) -> None:
        with lease, contextlib.suppress(OSError):
            code = await process.wait()
            lease.send(msgspec.json.encode(RunEnded(v=1, exit_code=max(code, 0), signal=max(-code, 0))))


@dataclass
class House:
    """The back end, running."""

    store: Store
    runs: RunService
    proxy: SteeredProxy
    client: ProxyClient
    spawner: TestSpawner
    registry: Registry
    model: ScriptedModel
    lockdown: LockdownWatch

    async def grant(self, *capabilities: str) -> None:
        agent = await self.store.agents.find("assistant")
        assert agent is not None
        await self.store.agents.change(dataclasses.replace(agent, capabilities=capabilities))

    async def ask(self, text: str, model: str = "openai") -> list[RunEvent]:
        chat = await self.store.chats.create("assistant")
        run_id = await self.runs.start(chat.id, text, "assistant", model)
        return await self.watch(run_id)

    async def watch(self, run_id: str, after: int = 0) -> list[RunEvent]:
        async with asyncio.timeout(WAIT):
            return [event async for event in self.runs.events(run_id, after)]


@asynccontextmanager
async def house(
    folder: Path, *, settings: RunSettings | None = None, spawner: TestSpawner | None = None
) -> AsyncIterator[House]:
    """Wire everything and take it down again."""
    spawner = spawner or TestSpawner()
    model = ScriptedModel("http://thief.test")
    proxy = SteeredProxy(model.application())
    run_settings = settings or RunSettings()
    ours, theirs = socket_pair(socket.SOCK_SEQPACKET)
    store = await Store.open(folder / "gateway.sqlite")
    if not await store.models.all():
        await store.models.create("openai", "openai", "http://model.test:8080/v1", "scripted", None)
        await store.models.create("anthropic", "anthropic", "https://model.test", "scripted", "anthropic")
    async with asyncio.TaskGroup() as group, proxy_client(proxy, folder / "head.json") as client:
        serving = group.create_task(spawner.serve(ours, group))
        registry = Registry([*GitHub(client.http, client.credentials).tools(), *Web(client.http).tools()])
        recorder = Recorder(client.append)
        lockdown = LockdownWatch(store, recorder, client.credentials)
        client.transport.on_lockdown = lockdown.note
        spawner_client = SpawnerClient(DescriptorChannel(theirs.detach(), "spawner"))
        broker = Broker(registry, ModelClient(client.transport, registry, lockdown), recorder)
        driver = RunDriver(store.runs, broker, spawner_client, recorder, seconds=run_settings.seconds)
        runs = RunService(store, driver, run_settings, client.refuse_stored_secret)
        lockdown.end_runs = partial(runs.end_all, LOCKED_DOWN)
        try:
            async with runs.running():
                yield House(store, runs, proxy, client, spawner, registry, model, lockdown)
        finally:
            spawner_client.close()
            serving.cancel()
            for process in spawner.processes:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await store.close()
    ours.close()
