"""Whether a backup is whole: decrypted first, then every member, database, link of the ledger and seal of the vault."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.chain import Head
from mycelos.ledger.verify import Verdict, verify
from mycelos.proxy.backup.archive import read_archive
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.foreign_database import demand_inert
from mycelos.proxy.backup.key_fit import demand_fit
from mycelos.proxy.backup.manifest import DATABASES, GATEWAY, LEDGER, VAULT, Manifest
from mycelos.proxy.backup.sealing import unseal
from mycelos.proxy.backup.snapshot import Progress, open_read_only
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.own_schema import demand_own_schema
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.signing import verifies
from mycelos.proxy.vault.store import Vault
from mycelos.wire.problems import Refusal

if TYPE_CHECKING:
    from pyrage.x25519 import Identity

_ARCHIVE: Final = ".archive.tar"
_ANOTHER: Final = "Use another copy of the backup."
_EVIDENCE: Final = "Keep the file as evidence, and use another copy."
_SPARE: Final = 16 * 1024 * 1024
"""Bytes that must stay free beside what is unpacked."""


@dataclass(frozen=True)
class Checked:
    """What was found in a backup. ``credentials`` is None where no master key was there to open the vault with."""

    manifest: Manifest
    entries: int
    credentials: tuple[str, ...] | None


def unpack(source: Path, identities: list[Identity], layout: DataLayout, progress: Progress) -> Manifest:
    """Put the members of the backup ``source`` into their places below ``layout``, whose folder is there and empty.

    Nothing is read of the content before all of it is authentic.

    Raises:
        BackupError: it is not a whole backup for these identities, or there is no room for it.
        OSError: a disk refuses.
    """
    size = source.stat().st_size
    _demand_room(source, size, layout.root)
    archive = layout.root / _ARCHIVE
    descriptor = os.open(archive, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "rb") as stream:
            unseal(source, descriptor, identities, _counted(size, progress))
            progress("decryption", 1.0)
            stream.seek(0)
            return read_archive(stream, layout)
    finally:
        archive.unlink()


def check(layout: DataLayout, manifest: Manifest, master_key: bytes | None, progress: Progress) -> Checked:
    """Look through what `unpack` has put below ``layout``; with ``master_key``, open every credential of the vault.

    Raises:
        BackupError: a database is damaged or of another form, the ledger does not hold, or the vault does not open.
    """
    for member in manifest.members:
        if member.name in DATABASES:
            progress(f"check of {member.name}", 0.0)
            if member.name == GATEWAY:
                demand_inert(layout.gateway_database, called=f"{GATEWAY} in the backup", next_step=_ANOTHER)
                continue
            _demand_whole(member.name, DATABASES[member.name](layout))
    entries = _demand_ledger(layout, manifest)
    if master_key is None:
        return Checked(manifest, entries, None)
    demand_fit(layout.vault, master_key)
    progress("check of the credentials", 0.0)
    return Checked(manifest, entries, _open_everything(layout, master_key))


def _demand_room(source: Path, size: int, folder: Path) -> None:
    # Plaintext is never longer than its encryption. Once as the archive, once as its members.
    free = shutil.disk_usage(folder).free
    if free < 2 * size + _SPARE:
        raise BackupError(
            detail=f"{folder} has {free} bytes free, and {2 * size + _SPARE} are needed to unpack {source}.",
            next_step="Make room, or use another disk.",
        )


def _demand_whole(name: str, path: Path) -> None:
    try:
        with open_read_only(path) as connection:
            sound = connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
            # A trigger would act in the name of whoever writes next.
            acting = connection.execute(
                "SELECT count(*) FROM sqlite_master WHERE type IN ('trigger', 'view')"
            ).fetchone()
    except sqlite3.Error:
        raise BackupError(detail=f"{name} in the backup is not a database.", next_step=_ANOTHER) from None
    if not sound:
        raise BackupError(detail=f"{name} in the backup is damaged.", next_step=_ANOTHER)
    if name != LEDGER and acting != (0,):
        raise BackupError(
            detail=f"{name} in the backup holds a trigger or a view, which Mycelos does not make there.",
            next_step=_EVIDENCE,
        )
    if name == VAULT:
        _demand_own_schema(path)


def _demand_own_schema(path: Path) -> None:
    """A column or an index acts too: what the vault's file holds must be what Mycelos makes, to the word."""
    try:
        with open_read_only(path) as connection:
            demand_own_schema(connection.execute, path)
    except VaultError as error:
        raise BackupError(detail=f"In the backup: {error.detail}", next_step=_EVIDENCE) from None
    except (sqlite3.Error, UnicodeDecodeError):
        raise BackupError(detail="The vault in the backup is damaged.", next_step=_ANOTHER) from None


def _demand_ledger(layout: DataLayout, manifest: Manifest) -> int:
    promised = Head(manifest.ledger.seq, manifest.ledger.leaf_hash)
    try:
        with LedgerReader(layout.ledger) as reader:
            result = verify(reader.items(), {"the manifest": promised}, verifies, stored=reader.stored_nodes())
            changed = reader.schema_faults()
            of_index = None if changed else reader.index_fault()
    except LedgerError:
        raise BackupError(detail="The ledger in the backup cannot be read.", next_step=_ANOTHER) from None
    if result.verdict is not Verdict.HOLDS or result.head != promised:
        raise BackupError(detail=f"The ledger in the backup does not hold: {result.reason}.", next_step=_ANOTHER)
    if changed:
        raise BackupError(
            detail=f"The ledger in the backup has another schema ({', '.join(changed)}).", next_step=_ANOTHER
        )
    if of_index is not None:
        raise BackupError(detail=f"The ledger in the backup does not hold: {of_index}.", next_step=_ANOTHER)
    return result.entries


def _open_everything(layout: DataLayout, master_key: bytes) -> tuple[str, ...]:
    try:
        vault = Vault.open(layout, master_key)
    except VaultError as error:
        raise BackupError(detail=f"The vault in the backup does not open: {error.detail}", next_step=_ANOTHER) from None
    try:
        damaged = vault.damaged()
        if damaged:
            raise BackupError(
                detail=f"The vault in the backup holds records that do not verify: {', '.join(damaged)}.",
                next_step=_ANOTHER,
            )
        # Opened, looked at by the seal itself, and closed: parked ones too.
        with vault.every_secret():
            pass
        return tuple(credential.service for credential in vault.list())
    except Refusal as refusal:
        raise BackupError(
            detail=f"The vault in the backup does not open: {refusal.problem.detail}.", next_step=_ANOTHER
        ) from None
    finally:
        vault.close()


def _counted(size: int, progress: Progress) -> Callable[[int], None]:
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress("decryption", min(1.0, done / max(size, 1)))

    return count
