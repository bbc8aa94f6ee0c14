"""What a backup holds: the closed list of its members, and the manifest that stands first in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

import msgspec

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.backup.errors import BackupError

FORMAT: Final = "mycelos/backup/1"
NAME: Final = "manifest.json"
SIZE_LIMIT: Final = 64 * 1024
"""Bytes of a manifest, at most."""

VAULT: Final = "vault.sqlite"
LEDGER: Final = "ledger.sqlite"
GATEWAY: Final = "gateway.sqlite"

DATABASES: Final[Mapping[str, Callable[[DataLayout], Path]]] = MappingProxyType(
    {
        VAULT: lambda layout: layout.vault,
        LEDGER: lambda layout: layout.ledger,
        GATEWAY: lambda layout: layout.gateway_database,
    }
)
"""Where each database of a backup lies in a data folder."""

SETTINGS: Final[Mapping[str, Callable[[DataLayout], Path]]] = MappingProxyType(
    {
        "operator.toml": lambda layout: layout.operator_file,
        "gateway.toml": lambda layout: layout.gateway_file,
    }
)
"""The same for files of settings."""

MEMBERS: Final[Mapping[str, Callable[[DataLayout], Path]]] = MappingProxyType({**DATABASES, **SETTINGS})
"""Everything that a backup can hold, in its order. No key, no token, no socket, no log is among it."""

_NEEDED: Final = (VAULT, LEDGER)
_Hex: Any = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Count: Any = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file: its name in the archive, bytes, and SHA-256 in hex."""

    name: str
    size: _Count
    sha256: _Hex


class LedgerHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last entry of the ledger in the backup."""

    seq: _Count
    leaf_hash: _Hex


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first member. ``vault_generation`` is null where the vault keeps no state; ``key_slots`` are ids, no keys."""

    format: str
    made_at: str
    version: str
    ledger: LedgerHead
    vault_generation: _Count | None
    key_slots: tuple[str, ...]
    members: tuple[Member, ...]

    @property
    def total(self) -> int:
        """Bytes of all members."""
        return sum(member.size for member in self.members)


class _AnyManifest(msgspec.Struct, frozen=True):
    format: str


def encode(manifest: Manifest) -> bytes:
    """The manifest as it stands in the archive."""
    return msgspec.json.format(msgspec.json.encode(manifest)) + b"\n"


def decode(data: bytes) -> Manifest:
    """The manifest of these bytes.

    Raises:
        BackupError: another format, a field too many, or a member that no backup holds.
    """
    try:
        found = msgspec.json.decode(data, type=_AnyManifest).format
        if found != FORMAT:
            raise BackupError(
                detail=f"The backup is of the format {found[:64]!r}, and this Mycelos reads {FORMAT}.",
                next_step="Restore it with the Mycelos that made it, or a newer one.",
            )
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise BackupError(
            detail=f"The backup's manifest is not one: {error}.", next_step="Use another copy of the backup."
        ) from None
    names = tuple(member.name for member in manifest.members)
    if names != tuple(name for name in MEMBERS if name in names) or not set(_NEEDED) <= set(names):
        raise BackupError(
            detail=f"The backup's manifest does not name {', '.join(_NEEDED)} and what else there may be, each once.",
            next_step="Use another copy of the backup.",
        )
    return manifest
