"""Restoring: unpacked, checked and reopened in a folder beside, then put in place by one exchange of names.

Until the exchange the present installation is untouched; after it, it lies beside under a name that says so.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.backup.check import check, unpack
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.key_fit import demand_fit
from mycelos.proxy.backup.manifest import Manifest
from mycelos.proxy.backup.present import is_locked_down, occupy
from mycelos.proxy.backup.reopen import Reopened, Step, reopen
from mycelos.proxy.backup.swap import put_in_place, set_aside, sync_folder, sync_tree
from mycelos.proxy.rollback import WAYS_ON, demand_vault
from mycelos.proxy.vault.keys import create_master_key, read_master_key

if TYPE_CHECKING:
    from pyrage.x25519 import Identity

    from mycelos.proxy.backup.snapshot import Progress

MARK: Final = ".unfinished"
"""In a folder that is being prepared, and nowhere else: what has it may be deleted."""


@dataclass(frozen=True)
class Key:
    """The master key of the vault in hand. ``keep`` says whether its place is the data folder, or the environment."""

    value: bytes
    keep: bool

    def __repr__(self) -> str:
        return "<Key>"


@dataclass(frozen=True)
class Restored:
    """What a restore has come to; ``aside`` is where the installation that was there lies now."""

    manifest: Manifest
    reopened: Reopened
    aside: Path | None


def restore(
    source: Path,
    identities: list[Identity],
    layout: DataLayout,
    key: Key,
    *,
    furnish: Callable[[DataLayout], None],
    step: Step,
    progress: Progress,
) -> Restored:
    """Restore the backup ``source`` into the data folder ``layout``.

    Args:
        source: the backup.
        identities: one of them can read it.
        layout: the data folder: absent, empty, or of an installation that does not run.
        key: the master key of the backup's vault.
        furnish: gives the new folder what no backup holds, such as the gateway's token.
        step: told before each change.
        progress: told how far the long parts are.

    Raises:
        BackupError: the file is not a whole backup, the key does not fit, or something runs; nothing was changed.
        VaultError, LedgerError, Refusal, sqlite3.Error, OSError: the disk refuses; nothing was changed.
    """
    with ExitStack() as stack:
        _demand_movable(layout.root)
        stack.enter_context(occupy(layout))
        prepared = DataLayout(stack.enter_context(_preparing(layout.root, step)))
        if key.keep:
            step("key")
            create_master_key(prepared, lambda _length: key.value)
        step("unpack")
        manifest = unpack(source, identities, prepared, progress)
        step("check")
        check(prepared, manifest, key.value, progress)
        step("token")
        furnish(prepared)
        reopened = reopen(
            prepared, key.value, restored=_details(source, manifest), stay_locked=is_locked_down(layout), step=step
        )
        step("sync")
        if layout.root.exists():
            # Users of the sandbox may have to pass through it; nobody but its owner has to write in it.
            prepared.root.chmod(layout.root.stat().st_mode & 0o755)
        sync_tree(prepared.root)
        had_one = _exchange(prepared.root, layout.root, step)
        step("aside")
        aside = set_aside(prepared.root, _name_aside(layout.root)) if had_one else None
    step("done")
    return Restored(manifest, reopened, aside)


def adopt(layout: DataLayout, key: Key, step: Step) -> Reopened:
    """Take the data folder as it lies there, where nothing runs, for the installation from now on.

    Raises:
        BackupError: the key does not fit, or there is no vault; nothing was changed.
        VaultError, LedgerError, Refusal, sqlite3.Error, OSError: something runs, or the disk refuses; run again.
    """
    demand_vault(layout)
    if not layout.vault.exists():
        raise BackupError(detail=f"There is no vault at {layout.vault}: nothing to take over.", next_step=WAYS_ON)
    demand_fit(layout.vault, key.value)
    return reopen(layout, key.value, restored=None, stay_locked=is_locked_down(layout), step=step)


def find_key(layout: DataLayout, from_environment: bytes | None, given: Path | None) -> Key | None:
    """The master key: in the file ``given``, else the environment's, else the one in the data folder; None without one.

    Raises:
        VaultError: a file of it is not as it must be.
        BackupError: file and environment give two different ones.
    """
    if given is not None:
        value = read_master_key(given)
        if from_environment is not None and not hmac.compare_digest(value, from_environment):
            raise BackupError(
                detail=f"MYCELOS_MASTER_KEY and {given} are two different keys.", next_step="Give one of them."
            )
        return Key(value, keep=from_environment is None)
    if from_environment is not None:
        return Key(from_environment, keep=False)
    return Key(read_master_key(layout.master_key), keep=True) if os.path.lexists(layout.master_key) else None


def _demand_movable(root: Path) -> None:
    if root.is_symlink() or os.path.ismount(root):
        raise BackupError(
            detail=f"{root} is a link or a mount point: it cannot be exchanged in one step.",
            next_step="Name the folder itself with --data-dir, or restore into another one and copy it by hand.",
        )
    if not root.parent.is_dir():
        raise BackupError(detail=f"There is no folder {root.parent}.", next_step="Make it, or name another.")
    if root.exists() and root.stat().st_uid != os.geteuid():
        raise BackupError(
            detail=f"{root} belongs to user id {root.stat().st_uid}, and what is restored would belong to "
            f"{os.geteuid()}.",
            next_step="Run as its owner.",
        )


@contextmanager
def _preparing(root: Path, step: Step) -> Iterator[Path]:
    """The empty folder beside ``root`` in which the restore is prepared; removed where the restore ends in an error."""
    folder = root.with_name(f".{root.name}.restoring")
    step("folder")
    lock = _take_folder(folder, root)
    try:
        yield folder
    finally:
        # After the exchange this name is the old installation's, which has no mark.
        if (folder / MARK).exists():
            shutil.rmtree(folder)
        os.close(lock)


def _take_folder(folder: Path, root: Path) -> int:
    """Make ``folder`` an empty one with the mark, for this process alone; the descriptor that holds it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise BackupError(
            detail=f"Another restore into {root} is on its way.", next_step="Wait until it has ended."
        ) from None
    mark = folder / MARK
    if any(folder.iterdir()) and not mark.exists():
        # Cut short between the exchange and the new name, or right before: somebody's installation, which is kept.
        os.close(lock)
        set_aside(folder, _name_aside(root))
        return _take_folder(folder, root)
    for path in folder.iterdir():
        if path == mark:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    mark.touch(mode=0o600)
    sync_folder(folder)
    return lock


def _exchange(prepared: Path, root: Path, step: Step) -> bool:
    mark = prepared / MARK
    mark.unlink()
    sync_folder(prepared)
    step("exchange")
    try:
        return put_in_place(prepared, root)
    except (BackupError, OSError):
        mark.touch(mode=0o600)
        raise


def _name_aside(root: Path) -> str:
    return f"{root.name}.before-restore-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def _details(source: Path, manifest: Manifest) -> dict[str, Any]:
    return {
        "file_label": source.name,
        "size": source.stat().st_size,
        "seq": manifest.ledger.seq,
        "leaf_hash": manifest.ledger.leaf_hash,
        "version": manifest.version,
        "made_at": manifest.made_at,
        "count": len(manifest.members),
        "vault_generation": manifest.vault_generation,
    }
