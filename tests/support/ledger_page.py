"""A page whose proxy reads and writes a real, signed ledger, for tests of what is shown of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway_page import SteeredProxy
from ledger_keys import ledger_keys

from mycelos.gateway.proxy_client.head import Kept, RememberedHead
from mycelos.gateway.proxy_client.head_follower import HeadFollower
from mycelos.ledger.events import Event
from mycelos.ledger.log_filter import CountFilter
from mycelos.ledger.query import EventQuery
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.wire.audit import AppendReceipt, AppendRequest, AuditSummary, NewestCheckpoint


class LedgerProxy(SteeredProxy):
    """The door over a recorder, without the wire between, and what the gateway remembers of it."""

    def __init__(self, recorder: Recorder, folder: Path) -> None:
        super().__init__()
        self.recorder = recorder
        self.head = RememberedHead(folder / "remembered.json")
        self._follower = HeadFollower(self.head, recorder.consistency)

    async def append(self, request: AppendRequest) -> AppendReceipt:
        await super().append(request)
        floor = self.head.floor
        receipt = await self.recorder.append_claimed(request)
        self.head.remember(receipt, floor)
        return receipt

    async def audit_events(self, **query: Any) -> list[dict[str, Any]]:
        return [entry.as_dict() for entry in await self.recorder.events(EventQuery(**query))]

    async def audit_summary(self, **query: Any) -> AuditSummary:
        return await self.recorder.summary(CountFilter(**query))

    async def remembered(self) -> Kept | None:
        await self._follower.prove()
        return self.head.kept

    async def newest_checkpoint(self) -> NewestCheckpoint:
        return NewestCheckpoint(self.recorder.checkpoint, str(self.recorder.key))

    async def inclusion(self, seq: int, size: int) -> list[bytes]:
        return await self.recorder.inclusion(seq, size)


@asynccontextmanager
async def signed_ledger(path: Path, clock: Any = None) -> AsyncIterator[Recorder]:
    """A ledger whose entry 0 names its key."""
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    try:
        yield recorder
    finally:
        await recorder.close()


async def send(recorder: Recorder, host: str, path: str, *, run: str, agent: str, outcome: str = "ok") -> int:
    """One request on record as the proxy writes it; the place of its outcome."""
    details = {"door": "http", "method": "GET", "scheme": "https", "host": host, "port": 443, "path": path}
    about = {"run": run, "agent": agent, "subject": host}
    intent = await recorder.intent(Event.PROXY_HTTP_REQUEST, details=details, **about)  # type: ignore[arg-type]
    ended = {"bytes_sent": 320, "elapsed_ms": 41, "status": 200, "bytes_received": 5120, "truncated": False}
    return (await recorder.outcome(intent, outcome=outcome, details=ended)).seq
