"""The real page and API on a real socket, over the real store, with a run service and a proxy that tests steer."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from fastapi import FastAPI
from made_once import NO_TLS, Templates

from mycelos.gateway.app import create_app
from mycelos.gateway.lockdown import LockdownWatch
from mycelos.gateway.model_call import ModelCall
from mycelos.gateway.proxy_client.head import Kept
from mycelos.gateway.recorder import Recorder
from mycelos.gateway.runs.events import LAST_KINDS, EventKind, RunEvent
from mycelos.gateway.services import PageSettings, Services
from mycelos.gateway.store.records import JournalRow, Run, RunState
from mycelos.gateway.store.store import Store
from mycelos.gateway.tools.registry import Registry, Tool, ToolAnswer
from mycelos.gateway.web import rendering
from mycelos.ledger.events import EVENTS, Event, Source
from mycelos.serving.http_server import HttpServer
from mycelos.wire.audit import AppendReceipt, AppendRequest, AuditSummary, NewestCheckpoint
from mycelos.wire.conversation import AssistantMessage
from mycelos.wire.egress import CredentialSummary
from mycelos.wire.problems import ProblemCode, Refusal

rendering.Environment = Templates

TOKEN = "command-line-token-command-line-token-abcd"
WAIT = 20.0
"""Seconds after which any wait of these tests has failed."""


class SteeredRuns:
    """Runs whose events a test says, one by one; stored as the real service stores them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.events_of: dict[str, list[RunEvent]] = defaultdict(list)
        self.changed = asyncio.Condition()
        self.readers = 0
        self.cancelled: list[str] = []

    async def start(self, chat_id: str, text: str, agent: str, model: str | None) -> str:
        return (await self.store.runs.open(chat_id, text, agent, model)).id

    async def say(self, run_id: str, kind: str, **data: Any) -> None:
        number = len(self.events_of[run_id]) + 1
        event = RunEvent(number, EventKind(kind), data)
        stored = {"parts": [data["text"]]} if kind == "token" else data
        row = JournalRow(number, kind, stored, "2026-01-01T00:00:00.000000Z")
        if event.is_last:
            run = await self.store.runs.find(run_id)
            assert isinstance(run, Run)
            state = RunState.FINISHED if kind == "done" else RunState.FAILED
            answer = data.get("text", "") if kind == "done" else ""
            await self.store.runs.close(
                run, state, code=data["code"], detail=data.get("detail", ""), answer=answer, rows=[row]
            )
        else:
            await self.store.runs.append(run_id, [row])
        async with self.changed:
            self.events_of[run_id].append(event)
            self.changed.notify_all()

    async def events(self, run_id: str, after: int) -> AsyncIterator[RunEvent]:
        self.readers += 1
        try:
            while True:
                async with self.changed:
                    while len(self.events_of[run_id]) <= after:
                        await self.changed.wait()
                for event in self.events_of[run_id][after:]:
                    yield event
                    after = event.sequence
                    if event.kind in LAST_KINDS:
                        return
        finally:
            self.readers -= 1
            async with self.changed:
                self.changed.notify_all()

    async def cancel(self, run_id: str) -> bool:
        self.cancelled.append(run_id)
        await self.say(run_id, "error", code="cancelled", detail="You stopped this run.", next="Write again.")
        return True


class SteeredProxy:
    """A proxy's door that keeps what it is told, and refuses what the real ledger would."""

    def __init__(self) -> None:
        self.appended: list[AppendRequest] = []
        self.entries: list[dict[str, Any]] = []
        self.queries: list[dict[str, Any]] = []
        self.stored: list[CredentialSummary] = []
        self.is_down = False
        self.ledger_alarm: str | None = None

    async def append(self, request: AppendRequest) -> AppendReceipt:
        if self.is_down:
            raise Refusal(ProblemCode.AUDIT_UNAVAILABLE, "The ledger cannot be written.", "Look at the proxy.")
        rule = EVENTS[Event(request.event)]
        assert rule.source is Source.GATEWAY
        assert set(request.details) <= rule.fields, request
        self.appended.append(request)
        seq = len(self.appended) - 1
        return AppendReceipt(seq, hashlib.sha256(b"%d" % seq).hexdigest(), None)

    def names(self) -> list[str]:
        return [request.event for request in self.appended]

    async def credentials(self) -> list[CredentialSummary]:
        return self.stored

    async def audit_events(self, **query: str | int | bool) -> list[dict[str, Any]]:
        self.queries.append(query)
        return self.entries

    async def audit_summary(self, **query: str) -> AuditSummary:
        self.queries.append(query)
        return AuditSummary(query["since"], 0, -1, True, 0, [], [], [], 0, [], 0)

    async def remembered(self) -> Kept | None:
        return None

    async def newest_checkpoint(self) -> NewestCheckpoint:
        return NewestCheckpoint(None, None)

    async def health(self) -> bool:
        return not self.is_down


class SteeredModels:
    async def ask(self, call: ModelCall) -> AssistantMessage:
        return AssistantMessage(f"hello from {call.model.model}")


class Issues(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    repository: str


async def unused(permit: Any, args: Any) -> ToolAnswer:
    raise NotImplementedError


REGISTRY = Registry(
    [
        Tool("github.read.issues", "Lists the open issues of a repository.", Issues, unused),
        Tool("github.write.comment", "Writes a comment on an issue.", Issues, unused),
    ]
)


@dataclass
class Page:
    """A served page, and the handles to steer what is behind it."""

    app: FastAPI
    store: Store
    runs: SteeredRuns
    proxy: SteeredProxy
    port: int
    server: HttpServer
    lockdown: LockdownWatch
    sent: list[httpx2.AsyncClient] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def client(self, **options: Any) -> httpx2.AsyncClient:
        options.setdefault("base_url", self.url)
        client = httpx2.AsyncClient(trust_env=False, verify=NO_TLS, timeout=WAIT, **options)
        self.sent.append(client)
        return client

    def command_line(self) -> httpx2.AsyncClient:
        return self.client(headers={"Authorization": f"Bearer {TOKEN}"})

    async def link(self) -> str:
        answer = await self.command_line().post("/api/auth/link")
        assert answer.status_code == 200, answer.text
        return f"{self.url}/login?code={answer.json()['code']}"

    async def signed_in(self) -> httpx2.AsyncClient:
        """A client with a session, that says where its requests come from as a browser does."""
        client = self.client(headers={"Origin": self.url})
        code = (await self.link()).partition("code=")[2]
        answer = await client.post("/login", data={"code": code})
        assert answer.status_code == 303, answer.text
        return client

    async def form_token(self, client: httpx2.AsyncClient) -> str:
        text = (await client.get("/agents")).text
        return text.partition('name="form_token" value="')[2].partition('"')[0]

    async def begin_run(self, text: str = "What is open?") -> tuple[str, str]:
        """A chat and an open run in it."""
        chat = await self.store.chats.create("assistant")
        return chat.id, await self.runs.start(chat.id, text, "assistant", None)


@contextlib.asynccontextmanager
async def served_page(
    folder: Path, *, heartbeat: float = 15.0, proxy: SteeredProxy | None = None, **settings: Any
) -> AsyncIterator[Page]:
    """Serve the application on loopback until the block ends."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    port = listener.getsockname()[1]
    store = await Store.open(folder / "gateway.sqlite")
    runs, proxy = SteeredRuns(store), proxy or SteeredProxy()
    values = {
        "bind": "127.0.0.1",
        "port": port,
        "operator_url": f"http://localhost:{port + 1}",
        "command_line_token": TOKEN,
        "walls": ("landlock", "seccomp"),
        **settings,
    }
    lockdown = LockdownWatch(store, Recorder(proxy.append), proxy.credentials)
    settings_of_page = PageSettings(**values)
    app = create_app(Services(store, runs, proxy, SteeredModels(), REGISTRY, settings_of_page, lockdown), heartbeat)
    server = HttpServer(app)
    page = Page(app, store, runs, proxy, port, server, lockdown)
    await server.listen(listener)
    try:
        yield page
    finally:
        for client in page.sent:
            await client.aclose()
        await server.stop()
        await store.close()
