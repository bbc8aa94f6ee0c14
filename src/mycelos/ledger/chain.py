"""The chain: each entry's hash covers its content and the hash of the entry before it.

The leaf hash is that of RFC 6962, section 2.1: SHA-256 of a zero byte and the entry's canonical body. So the same
hashes serve the chain and a Merkle tree.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from mycelos.ledger.entry import MAXIMUM_BODY, VERSION, Draft, Entry, EntryError, body

GENESIS: Final = "00" * 32
"""``prev_hash`` of the first entry."""

_LEAF_PREFIX: Final = b"\x00"


class Head(NamedTuple):
    """The end of a log: the newest entry's place and hash. What a reader remembers to compare with later."""

    seq: int
    leaf_hash: str


EMPTY: Final = Head(-1, GENESIS)
"""The head of a log without entries."""


def leaf_hash(content: bytes) -> str:
    """The RFC 6962 leaf hash of an entry's canonical body, in hex."""
    return hashlib.sha256(_LEAF_PREFIX + content).hexdigest()


def seal(draft: Draft, head: Head, epoch: int, at: str, mono: int) -> Entry:
    """Give ``draft`` the place after ``head``, its time and its hash.

    Raises:
        EntryError: the entry would be larger than `MAXIMUM_BODY`.
    """
    event, phase, intent_seq, source, *texts, _ = draft
    # As plain text: what is written and hashed are strings, not members of an enumeration.
    place = (head.seq + 1, VERSION, epoch, at, mono, str(event), str(phase), intent_seq, str(source))
    unsealed = (*place, *texts, head.leaf_hash)
    content = body((*unsealed, ""))
    if len(content) > MAXIMUM_BODY:
        message = f"an entry holds {MAXIMUM_BODY} bytes at most, not {len(content)}"
        raise EntryError(message)
    return Entry._make((*unsealed, leaf_hash(content)))


def computed_hash(entry: Entry) -> str:
    """The hash of the content that ``entry`` has now, to compare with its ``leaf_hash``."""
    try:
        return leaf_hash(body(entry))
    except UnicodeEncodeError:
        # Bytes in the file that are not UTF-8: nobody hashed those.
        return "text that is not UTF-8"


def forerunner_of(entry: Entry, place: int, wanted: str) -> str:
    """The hash that the entry before must have: a step of a walk from the end back.

    Args:
        entry: what stands at ``place``.
        place: its number.
        wanted: the hash that the walk asks of it.

    Raises:
        EntryError: it stands elsewhere, or does not have that hash.
    """
    if entry.seq != place:
        message = f"entry {place} is missing"
        raise EntryError(message)
    if entry.leaf_hash != wanted or computed_hash(entry) != wanted:
        message = f"entry {place} was changed"
        raise EntryError(message)
    return entry.prev_hash
