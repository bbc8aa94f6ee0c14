"""Whether a master key opens a vault, asked of the file without a change to it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.snapshot import open_read_only
from mycelos.proxy.vault import hazmat
from mycelos.proxy.vault.envelope import KeySlot
from mycelos.proxy.vault.hazmat import SealBrokenError


def demand_fit(vault: Path, master_key: bytes) -> None:
    """Refuse a key that opens no slot in use of the vault at this path.

    Raises:
        BackupError: it does not fit, or the file cannot be read as a vault.
    """
    try:
        with open_read_only(vault) as connection:
            rows = connection.execute(
                "SELECT kid, tenant_id, kdf, wrapped_root, created_at, retired_at FROM key_slots "
                "WHERE retired_at IS NULL"
            ).fetchall()
    except sqlite3.Error:
        raise BackupError(detail="The vault cannot be read.", next_step="Use another copy.") from None
    if not any(_opens(KeySlot(*row), master_key) for row in rows):
        raise BackupError(
            detail="The master key does not open this vault; nothing was changed.",
            next_step="Give the key that belongs to it with --master-key-file.",
        )


def _opens(slot: KeySlot, master_key: bytes) -> bool:
    try:
        hazmat.open_slot(master_key, slot)
    except (SealBrokenError, TypeError, AttributeError, ValueError):
        # Columns of another type than a vault has: somebody else's file.
        return False
    return True
