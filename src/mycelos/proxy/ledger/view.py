"""What the rest of the proxy reads of the ledger, on a thread of the pool; it works while nothing can be written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from mycelos.ledger.merkle import ProofError, consistency_proof, inclusion_proof
from mycelos.ledger.query import EventQuery
from mycelos.proxy.ledger.counts import summarize
from mycelos.proxy.ledger.reader import LedgerReader

if TYPE_CHECKING:
    from pathlib import Path

    from mycelos.ledger.entry import Entry
    from mycelos.ledger.events import Event
    from mycelos.ledger.log_filter import CountFilter
    from mycelos.ledger.merkle import Lookup
    from mycelos.wire.audit import AuditSummary

Read = TypeVar("Read")

_NEWEST: Final = EventQuery()


class LedgerView:
    """The ledger at ``path``, read-only. Each method raises `LedgerError` where the file cannot be read as a ledger.

    ``alive`` is called, on any thread, while something is read.
    """

    def __init__(self, path: Path, alive: Callable[[], None] | None = None) -> None:
        self._path = path
        self._alive = alive

    async def events(self, wanted: EventQuery = _NEWEST) -> list[Entry]:
        """Entries in the order of the log."""

        def read(reader: LedgerReader) -> list[Entry]:
            if wanted.after is None:
                return reader.newest(wanted.limit, wanted)
            return reader.after(wanted.after, wanted.limit, wanted)

        return await asyncio.to_thread(self._with_reader, read)

    async def entry(self, seq: int) -> Entry | None:
        """The entry at ``seq``, or None."""
        return await asyncio.to_thread(self._with_reader, lambda reader: reader.entry(seq))

    async def newest_of(self, *events: Event) -> Entry | None:
        """The newest entry of rare ``events``, or None."""
        return await asyncio.to_thread(self._with_reader, lambda reader: reader.newest_of(events))

    async def summary(self, wanted: CountFilter) -> AuditSummary:
        """Counts of the entries that ``wanted`` describes; its ``since`` must be there."""
        return await asyncio.to_thread(summarize, self._path, wanted)

    async def inclusion(self, seq: int, size: int) -> list[bytes]:
        """The path of entry ``seq`` to the root over the first ``size`` entries (RFC 6962, section 2.1.1).

        Raises:
            ProofError: there is no such entry.
        """
        return await asyncio.to_thread(self._with_reader, lambda reader: _prove(reader, inclusion_proof, seq, size))

    async def consistency(self, old: int, new: int) -> list[bytes]:
        """That the first ``new`` entries begin with the first ``old`` (RFC 6962, section 2.1.2).

        Raises:
            ProofError: there are not so many entries.
        """
        return await asyncio.to_thread(self._with_reader, lambda reader: _prove(reader, consistency_proof, old, new))

    def _with_reader(self, read: Callable[[LedgerReader], Read]) -> Read:
        with LedgerReader(self._path, self._alive) as reader:
            return read(reader)


class SavedLog(LedgerView):
    """The ledger on disk as a witness sees it, whether a proxy writes on it or not."""

    @property
    def checkpoint(self) -> str | None:
        """The newest one that was signed. Not from `ledger.signed`, which may be older after a power cut."""
        newest = self._with_reader(lambda reader: reader.newest_checkpoint())
        return None if newest is None else newest[1]


def _prove(
    reader: LedgerReader, prove: Callable[[int, int, Lookup], list[bytes]], first: int, size: int
) -> list[bytes]:
    tree = reader.tree
    if size > tree.size:
        message = f"the ledger has {tree.size} entries, not {size}"
        raise ProofError(message)
    return prove(first, size, tree.node)
