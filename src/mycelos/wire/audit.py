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


class AppendReceipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The entry is durable. ``checkpoint`` is a signed note, or null while the ledger signs none."""

    seq: int
    leaf_hash: str
    checkpoint: str | None
