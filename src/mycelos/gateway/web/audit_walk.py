"""Walking the whole ledger: each link, and the tree against the checkpoint that this gateway remembers. In pieces.

Signatures are not checked here, and what gateway and proxy agree to hide, neither shows: `mycelos db audit verify` does
both, beside the gateway.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mycelos.gateway.proxy_client.head import Kept
from mycelos.gateway.web.audit_entry import row_of
from mycelos.gateway.web.audit_export import Reads
from mycelos.ledger.query import MOST_ENTRIES
from mycelos.ledger.verify import RememberedNote, Verification, Verifier

KEEPER: Final = "this gateway"


@dataclass(frozen=True)
class Walked:
    """How many of ``size`` entries were walked and hold."""

    entries: int
    size: int


async def walk(read: Reads, kept: Kept | None, size: int) -> AsyncIterator[Walked | Verification]:
    """Walk the first ``size`` entries: after each piece how far it is, and in the end the verdict.

    Args:
        read: gives entries by place.
        kept: what is remembered; where it is there, ``size`` is its size.
        size: entries.

    Raises:
        Refusal: they cannot be read.
    """
    verifier = Verifier({} if kept is None else {KEEPER: RememberedNote(kept.note.encode(), is_operators=False)}, None)
    walked = 0
    while walked < size and verifier.fault is None:
        entries = await read(after=walked - 1, before=size, limit=MOST_ENTRIES)
        if not entries:
            break
        verifier.take(_rows(entries))
        walked += len(entries)
        yield Walked(min(walked, size), size)
    if kept is not None:
        verifier.take([kept.note.encode()])
    yield verifier.end()


def _rows(entries: Sequence[Mapping[str, Any]]) -> list[Sequence[Any]]:
    return [row_of(entry) for entry in entries]
