"""The ledger as a download: every entry up to a place, one JSON object a line, read from the proxy in pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Any, Final, Protocol

from mycelos.ledger.canonical import canonical
from mycelos.ledger.export import to_checkpoint_line
from mycelos.ledger.query import MOST_ENTRIES
from mycelos.wire.problems import ProblemCode, Refusal

MEDIA_TYPE: Final = "application/jsonl"


class Reads(Protocol):
    """How entries are asked for."""

    def __call__(self, *, after: int, before: int, limit: int) -> Awaitable[list[dict[str, Any]]]:
        """Entries by the keys of `GET /audit/events`."""
        ...


async def all_entries(read: Reads, last: int) -> AsyncIterator[list[dict[str, Any]]]:
    """The entries from the first to the one at ``last``, in pieces.

    Raises:
        Refusal: `audit_unavailable`: some are not there, so what was read is not all of it.
    """
    seq = -1
    while seq < last:
        entries = await read(after=seq, before=last + 1, limit=MOST_ENTRIES)
        if [entry.get("seq") for entry in entries] != list(range(seq + 1, seq + 1 + len(entries))) or not entries:
            raise Refusal(
                ProblemCode.AUDIT_UNAVAILABLE,
                f"The ledger's entry {seq + 1} is not where it belongs.",
                "Look for what was changed: mycelos db audit verify",
            )
        yield entries
        seq += len(entries)


async def export_lines(read: Reads, last: int, checkpoint: str | None) -> AsyncIterator[bytes]:
    """The same as lines, as `mycelos db audit export` writes them; then the signed note, where one covers them all.

    Raises:
        Refusal: as above.
    """
    async for entries in all_entries(read, last):
        yield b"".join(canonical(entry) + b"\n" for entry in entries)
    if checkpoint is not None:
        yield to_checkpoint_line(checkpoint.encode()) + b"\n"
