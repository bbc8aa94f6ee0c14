"""What a zone sends to the ledger, and what it gets back."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

Text = Annotated[str, msgspec.Meta(max_length=512)]


class AppendRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /audit/append`. The source and the time are set by the door, never by the body.

    ``args_digest`` is the SHA-256, in hex, of the RFC 8785 form of a tool call's arguments; the ledger
    keeps an HMAC of it only. ``outcome`` is a word such as ``ok``, ``denied``, ``failed``.
    """

    event: str
    phase: Literal["intent", "outcome", "fact"] = "fact"
    intent_seq: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] | None = None
    principal: Text | None = None
    actor: Text | None = None
    run: Text | None = None
    agent: Text | None = None
    subject: Text | None = None
    outcome: Text | None = None
    reason: Text | None = None
    args_digest: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")] | None = None
    details: dict[str, Any] = {}


class HourCount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands on record of one hour, such as ``2026-11-26T15`` (UTC). ``left`` counts requests that left."""

    hour: str
    entries: int
    left: int
    refused: int
    suspicious: int


class OutcomeCount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often a request ended so, or was refused."""

    outcome: str
    count: int


class LeftCount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What left for one host, of one agent and run: both as the gateway says. Bytes are those of ended requests."""

    host: str
    agent: str
    run: str
    left: int
    bytes_sent: int
    bytes_received: int
    last_at: str


class HostCount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What left for one host, or was kept from it."""

    host: str
    left: int
    refused: int
    bytes_sent: int
    bytes_received: int
    last_at: str


class AuditSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Answer of `GET /audit/summary`: counts of the entries since ``since``, from ``first_seq`` on.

    It is not ``complete`` where older entries of that time were not looked at, so that the work stays bounded. The
    lists hold the newest hours, the most frequent hosts and the latest of what left; ``hosts_total`` and
    ``left_total`` say how many there are.
    """

    since: str
    first_seq: int
    last_seq: int
    complete: bool
    entries: int
    hours: list[HourCount]
    outcomes: list[OutcomeCount]
    hosts: list[HostCount]
    hosts_total: int
    left: list[LeftCount]
    left_total: int


class AppendReceipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The entry is durable. ``checkpoint`` is a signed note, or null while the ledger signs none."""

    seq: int
    leaf_hash: str
    checkpoint: str | None


class NewestCheckpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Answer of `GET /audit/checkpoint`: the newest signed note and the key (a vkey, C2SP signed-note) that signs now.

    Both are null while the ledger signs none.
    """

    checkpoint: str | None
    key: str | None


class InclusionAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Answer of `GET /audit/proof/inclusion`: hashes in base64, from the leaf's sibling up.

    ``checkpoint`` is the note of that size; null where another size was asked for than the newest checkpoint's.
    """

    seq: int
    size: int
    leaf_hash: str
    path: list[str]
    checkpoint: str | None


class ConsistencyAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Answer of `GET /audit/proof/consistency`: hashes in base64 (RFC 6962, section 2.1.2)."""

    old: int
    new: int
    path: list[str]
