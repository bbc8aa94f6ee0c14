"""What the rest of the proxy calls to put something on record. Durable before the effect: await the intent first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping
    from pathlib import Path

    from mycelos.ledger.entry import Entry
    from mycelos.ledger.events import Event
    from mycelos.wire.audit import AppendReceipt, AppendRequest


@dataclass(frozen=True)
class Receipt:
    """An entry that is on disk: its place in the log, its hash in hex, and whom and what it is about."""

    seq: int
    leaf_hash: str
    event: Event
    subjects: Mapping[str, str] = field(repr=False)


class Recorder:
    """The one way onto the record. Each method raises ``Refusal(audit_unavailable)`` when nothing can be written."""

    @classmethod
    async def open(cls, path: Path) -> Recorder:
        """Open the ledger at ``path``, check its tail, and record intents that a crash left without an outcome."""
        raise NotImplementedError

    def set_mac_key(self, key: bytes) -> None:
        """Give the 32-byte key under which digests of arguments are kept. Until then entries with one are refused."""
        raise NotImplementedError

    async def fact(
        self, event: Event, *, principal: str = "", actor: str = "", run: str = "", agent: str = "", subject: str = "",
        outcome: str = "", reason: str = "", args_digest: str | None = None, details: Mapping[str, Any] | None = None,
    ) -> Receipt:
        """Record something that has happened. Durable when it returns."""
        raise NotImplementedError

    async def intent(
        self, event: Event, *, principal: str = "", actor: str = "", run: str = "", agent: str = "", subject: str = "",
        outcome: str = "", reason: str = "", args_digest: str | None = None, details: Mapping[str, Any] | None = None,
    ) -> Receipt:
        """Record what is about to happen. Durable when it returns; only then may the effect start."""
        raise NotImplementedError

    def outcome(
        self, intent: Receipt, *, outcome: str, reason: str = "", details: Mapping[str, Any] | None = None
    ) -> asyncio.Future[Receipt]:
        """Queue what came of ``intent`` into the next group commit. A caller may await the future."""
        raise NotImplementedError

    async def append_claimed(self, request: AppendRequest) -> AppendReceipt:
        """The gateway's door: the source is ``gateway``; an event of another source is refused (`forbidden`)."""
        raise NotImplementedError

    async def events(
        self, *, after: int | None = None, limit: int = 100, suspicious: bool = False, since: str | None = None,
        event: str | None = None, agent: str | None = None, run: str | None = None,
    ) -> list[Entry]:
        """Entries in the order of the log: those after ``after``, or the newest ``limit``. ``since`` is RFC 3339."""
        raise NotImplementedError

    async def close(self) -> None:
        """Write what waits and close the database."""
        raise NotImplementedError
