"""What the gateway may read of the ledger: entries, counts, checkpoints and proofs. Nothing here writes.

A search walks the whole log where nothing matches, on a thread of the pool that the rest of the proxy uses as well.
So few of them go on at a time: a gateway that asks without end waits for itself and not the operator for it.
"""

from __future__ import annotations

import asyncio
import base64
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NoReturn, Protocol
from urllib.parse import parse_qsl

import msgspec

from mycelos.ledger.checkpoint import parse_text
from mycelos.ledger.merkle import ProofError
from mycelos.ledger.query import (
    read_consistency_query,
    read_event_query,
    read_inclusion_query,
    read_nothing,
    read_summary_query,
)
from mycelos.ledger.signed_note import parse_note
from mycelos.proxy import asgi
from mycelos.proxy.asgi import Receive, Scope, Send
from mycelos.proxy.ledger.database import LedgerError, LedgerUnavailableError
from mycelos.wire.audit import ConsistencyAnswer, InclusionAnswer, NewestCheckpoint
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mycelos.ledger.entry import Entry
    from mycelos.ledger.log_filter import CountFilter
    from mycelos.ledger.query import EventQuery
    from mycelos.ledger.signed_note import VerifierKey
    from mycelos.wire.audit import AuditSummary

READINGS: Final = 2
"""Searches at a time."""


class Ledger(Protocol):
    """The recorder, as these routes see it."""

    async def events(self, wanted: EventQuery) -> list[Entry]:
        """Entries."""
        ...

    async def summary(self, wanted: CountFilter) -> AuditSummary:
        """Counts."""
        ...

    async def entry(self, seq: int) -> Entry | None:
        """One entry."""
        ...

    async def inclusion(self, seq: int, size: int) -> list[bytes]:
        """The path of an entry to the root."""
        ...

    async def consistency(self, old: int, new: int) -> list[bytes]:
        """That one tree begins with another."""
        ...

    @property
    def checkpoint(self) -> str | None:
        """The newest signed note."""
        ...

    @property
    def key(self) -> VerifierKey | None:
        """The key that signs now."""
        ...


class AuditRoutes:
    """The reading routes below `/audit` of the gateway's door."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._readings = asyncio.Semaphore(READINGS)

    async def events(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`GET /audit/events`."""
        query = read_event_query(_pairs(scope), datetime.now(UTC))
        # A thousand entries are work for a while: beside the event loop.
        async with self._reading():
            entries = await self._ledger.events(query)
            answer = await asyncio.to_thread(_as_json, entries)
        await asgi.answer_json(send, msgspec.Raw(answer))

    async def summary(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`GET /audit/summary`."""
        query = read_summary_query(_pairs(scope), datetime.now(UTC))
        async with self._reading():
            found = await self._ledger.summary(query)
        await asgi.answer_json(send, found)

    async def checkpoint(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`GET /audit/checkpoint`."""
        read_nothing(_pairs(scope))
        key = self._ledger.key
        await asgi.answer_json(send, NewestCheckpoint(self._ledger.checkpoint, None if key is None else str(key)))

    async def inclusion(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`GET /audit/proof/inclusion`."""
        query = read_inclusion_query(_pairs(scope))
        note = self._ledger.checkpoint
        signed = None if note is None else parse_text(parse_note(note.encode()).text).size
        size = signed if query.size is None else query.size
        if size is None:
            _refuse("nothing is signed yet", "Name a size.")
        async with self._reading():
            path = await self._ledger.inclusion(query.seq, size)
            entry = await self._ledger.entry(query.seq)
        if entry is None:
            _refuse(f"there is no entry {query.seq}", "Take one that there is: GET /audit/events.")
        shown = note if size == signed else None
        await asgi.answer_json(send, InclusionAnswer(query.seq, size, entry.leaf_hash, _texts(path), shown))

    async def consistency(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`GET /audit/proof/consistency`."""
        query = read_consistency_query(_pairs(scope))
        async with self._reading():
            path = await self._ledger.consistency(query.old, query.new)
        await asgi.answer_json(send, ConsistencyAnswer(query.old, query.new, _texts(path)))

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[None]:
        async with self._readings:
            try:
                yield
            except ProofError as error:
                _refuse(str(error), "Ask for entries and sizes that there are: GET /audit/checkpoint.")
            except LedgerUnavailableError:
                raise Refusal(
                    ProblemCode.AUDIT_UNAVAILABLE,
                    "The ledger cannot be read now.",
                    "Try again; if it stays so, see: mycelos doctor",
                ) from None
            except LedgerError:
                # Its text may quote a row.
                raise Refusal(
                    ProblemCode.AUDIT_UNAVAILABLE,
                    "The ledger's file is damaged, or is no ledger.",
                    "Keep it as evidence, and see what is wrong with: mycelos db audit verify",
                ) from None


def _as_json(entries: list[Entry]) -> bytes:
    return msgspec.json.encode({"entries": [entry.as_dict() for entry in entries]})


def _refuse(detail: str, next_step: str) -> NoReturn:
    raise Refusal(ProblemCode.INVALID_REQUEST, detail, next_step) from None


def _texts(path: list[bytes]) -> list[str]:
    return [base64.b64encode(found).decode() for found in path]


def _pairs(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
