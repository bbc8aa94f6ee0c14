"""That an entry is in the ledger that this gateway remembers: the way from its content to the root, checked by hashing.

The signature under the root is not checked here: the gateway has no cryptography. Who has the file of a proof checks
both, with the ledger's key from elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from mycelos.gateway.proxy_client.head import Kept
from mycelos.gateway.web.audit_entry import entry_of
from mycelos.ledger.chain import computed_hash
from mycelos.ledger.entry import EntryError
from mycelos.ledger.inclusion import InclusionProof
from mycelos.ledger.merkle import ProofError, verify_inclusion
from mycelos.wire.problems import Refusal


class Standing(StrEnum):
    """What is shown of an entry."""

    HOLDS = "holds"
    BROKEN = "broken"
    UNSIGNED = "unsigned"
    """No checkpoint covers it yet."""
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class EntryProof:
    """How an entry stands, in a word and a sentence; ``kept`` and ``proof`` are there where it holds."""

    standing: Standing
    reason: str
    kept: Kept | None = None
    proof: InclusionProof | None = None


class Proofs(Protocol):
    """The proxy's client, as this module sees it."""

    async def remembered(self) -> Kept | None:
        """The newest checkpoint that was proven to follow."""
        ...

    async def inclusion(self, seq: int, size: int) -> list[bytes]:
        """The path of an entry to the root."""
        ...


async def prove_entry(proxy: Proofs, columns: Mapping[str, Any]) -> EntryProof:
    """Ask for the path of the entry with these columns, and walk it from the content that they have."""
    kept = await proxy.remembered()
    try:
        entry = entry_of(columns)
        leaf = bytes.fromhex(computed_hash(entry))
    except (EntryError, ValueError):
        return EntryProof(Standing.BROKEN, "What stands here is no entry.")
    if leaf.hex() != entry.leaf_hash:
        return EntryProof(Standing.BROKEN, "The content does not have the hash that stands beside it: it was changed.")
    if kept is None or entry.seq >= kept.size:
        return EntryProof(Standing.UNSIGNED, "No checkpoint that this gateway remembers covers it yet.")
    try:
        path = await proxy.inclusion(entry.seq, kept.size)
        verify_inclusion(leaf, entry.seq, kept.size, path, kept.checkpoint.root)
    except Refusal as refusal:
        return EntryProof(Standing.UNAVAILABLE, f"The proxy gave no proof: {refusal.problem.detail}")
    except ProofError as error:
        return EntryProof(Standing.BROKEN, f"The proxy's ledger is not the one that this gateway remembers: {error}.")
    proof = InclusionProof(entry.seq, tuple(path), kept.note.encode())
    return EntryProof(Standing.HOLDS, f"It is in the ledger of {kept.size} entries that was signed.", kept, proof)
