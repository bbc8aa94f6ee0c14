"""What crosses the operator's door about keys: their ids, ages and counts. Never a key, nor a digest of one."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import msgspec

LEDGER_MAC_KEY: Final = "ledger-args-mac"
"""The key under which the ledger keeps digests of arguments."""

LEDGER_SIGNING_KEY: Final = "ledger-signing"
"""The ledger's key for signatures."""

SIGNING_KEYS: Final = frozenset({LEDGER_SIGNING_KEY})
"""Long-lived keys whose 32 bytes are the seed of an Ed25519 key (RFC 8032, section 5.1.5); others are symmetric."""

LONG_LIVED_KEYS: Final = (LEDGER_MAC_KEY, LEDGER_SIGNING_KEY)
"""Every long-lived key by its name."""

MASTER_KEY: Final = "master-key"
"""What the record calls the master key."""


class KeySource(StrEnum):
    """Where the master key comes from."""

    FILE = "file"
    ENVIRONMENT = "environment"


class RotateKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /key/rotate`: the master key, or the long-lived key called ``name``."""

    name: Annotated[str, msgspec.Meta(max_length=64)] | None = None

    def __post_init__(self) -> None:
        """Refuse what the types alone let through."""
        if self.name is not None and self.name not in LONG_LIVED_KEYS:
            message = f"name: expected one of {', '.join(LONG_LIVED_KEYS)}, or none for the master key"
            raise ValueError(message)


class KeyRotated(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Answer of `POST /key/rotate`: the ids before and after, and how much was put under the new key.

    ``is_unfinished`` says that the new master key is in use and waits in `.master_key.next` for its place.
    """

    name: str
    previous_key_id: str
    key_id: str
    records: int
    keys: int
    rows: int
    is_unfinished: bool = False


class LongLivedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One long-lived key."""

    id: str
    name: str
    created_at: str
    retired_at: str | None


class KeyStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Answer of `GET /key/status`. ``is_unfinished`` says that a rotation was cut short; the next start settles it."""

    slot: str
    created_at: str
    wraps: int
    wraps_limit: int
    source: KeySource
    records: int
    keys: tuple[LongLivedKey, ...]
    is_unfinished: bool
