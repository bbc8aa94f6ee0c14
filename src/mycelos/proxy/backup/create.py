"""Making a backup: copies, manifest, archive, encryption, the record, and only then the file's name."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mycelos import __version__
from mycelos.configuration.layout import DataLayout
from mycelos.configuration.plain_file import NOT_PLAIN, read_plain_file, replace_plain_file
from mycelos.proxy.backup import manifest as manifests
from mycelos.proxy.backup.archive import digest, write_archive
from mycelos.proxy.backup.check import check
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.foreign_database import remove_what_acts
from mycelos.proxy.backup.manifest import DATABASES, FORMAT, GATEWAY, MEMBERS, SETTINGS, LedgerHead, Manifest, Member
from mycelos.proxy.backup.sealing import seal
from mycelos.proxy.backup.snapshot import Progress, describe, take_snapshots

if TYPE_CHECKING:
    from pyrage.x25519 import Recipient

SCRATCH: Final = ".backup"
"""The folder of the copies while they are encrypted: inside the data folder, whose walls they need."""
_NOTE: Final = "partial"
"""In that folder: the path under which the backup grows, for the run after one that was killed."""
_NOTE_LIMIT: Final = 64 * 1024
_SETTINGS_LIMIT: Final = 1024 * 1024


@dataclass(frozen=True)
class Made:
    """A backup that is there: its file, bytes, SHA-256, and what it holds.

    ``left_out`` names the triggers and views of the gateway's database, which are not in it.
    """

    path: Path
    size: int
    sha256: str
    manifest: Manifest
    left_out: tuple[str, ...]


def create(
    layout: DataLayout,
    recipients: list[Recipient],
    output: Path,
    *,
    record: Callable[[Made], None],
    progress: Progress,
    overwrite: bool = False,
) -> Made:
    """Make a backup of the installation below ``layout``, which may be running. What would not be restored is refused.

    Args:
        layout: the installation.
        recipients: who can read it.
        output: the file, made with mode 0600.
        record: puts it on record; called once all of it is on the disk, and before it has its name.
        progress: told what is worked on.
        overwrite: whether a file that is there may be replaced.

    Raises:
        BackupError: nothing was made.
        OSError: a disk refuses; nothing was made.
    """
    _demand_free(layout, output, overwrite=overwrite)
    with _scratch(layout) as folder:
        files = {**take_snapshots(layout, folder, progress), **_copy_settings(layout, folder)}
        left_out = _clean(files)
        manifest = _describe(files)
        _demand_restorable(folder, manifest, progress)
        pieces = write_archive(
            manifests.encode(manifest), [(member.name, files[member.name]) for member in manifest.members]
        )
        descriptor, partial = _open_partial(folder, output)
        try:
            seal(_counted(pieces, manifest.total, progress), descriptor, recipients)
            made = Made(output, os.fstat(descriptor).st_size, digest(partial), manifest, left_out)
            record(made)
            _name(partial, output, overwrite=overwrite)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
    return made


def _demand_free(layout: DataLayout, output: Path, *, overwrite: bool) -> None:
    if not output.parent.is_dir():
        raise BackupError(detail=f"There is no folder {output.parent}.", next_step="Make it, or name another.")
    if os.path.lexists(output) and not overwrite:
        raise BackupError(
            detail=f"There is already a file {output}; it stays as it is.",
            next_step="Name another with --output, or replace it with --overwrite.",
        )
    if output.parent.resolve().is_relative_to(layout.root.resolve()):
        raise BackupError(
            detail=f"{output} lies in the data folder: a backup there is lost with it.",
            next_step="Name a place on another disk with --output.",
        )


def _clean(files: dict[str, Path]) -> tuple[str, ...]:
    return remove_what_acts(files[GATEWAY], called=f"the copy of {GATEWAY}") if GATEWAY in files else ()


def _demand_restorable(folder: Path, manifest: Manifest, progress: Progress) -> None:
    """The check that verify and restore begin with, on what is about to be sealed; the key's part is left to them."""
    try:
        check(DataLayout(folder), manifest, None, progress)
    except BackupError as error:
        raise BackupError(
            detail=f"No backup was made, since it could not be restored: {error.detail}",
            next_step="The installation itself was altered or is damaged: look with mycelos doctor and mycelos db "
            "audit verify, keep it as evidence, and restore an older backup.",
        ) from None


def _open_partial(folder: Path, output: Path) -> tuple[int, Path]:
    """A new file beside ``output``, mode 0600, under a name that nobody else has; the name is noted in ``folder``."""
    partial = output.with_name(f".{output.name}.{secrets.token_hex(8)}.partial")
    # First: what is noted and not there is no harm, what is there and not noted would stay after a kill.
    replace_plain_file(folder / _NOTE, os.fsencode(partial))
    return os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), partial


def _remove_noted(folder: Path) -> None:
    try:
        partial = Path(os.fsdecode(read_plain_file(folder / _NOTE, _NOTE_LIMIT)))
    except OSError as error:
        # What a run noted is a plain file; anything else goes with the rest of the folder.
        if error.errno not in {*NOT_PLAIN, errno.ENOENT}:
            raise
        return
    if partial.name.startswith(".") and partial.suffix == ".partial":
        # Its disk may be elsewhere now: then it stays there, and hinders nothing.
        with suppress(OSError):
            partial.unlink()


def _name(partial: Path, output: Path, *, overwrite: bool) -> None:
    if overwrite:
        partial.replace(output)
    else:
        # A link, unlike a rename, never replaces.
        os.link(partial, output)
        partial.unlink()
    folder = os.open(output.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _scratch(layout: DataLayout) -> Iterator[Path]:
    """An empty folder, mode 0700, for one backup at a time. What a killed run left in it is removed."""
    folder = layout.root / SCRATCH
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(
                detail="Another backup of this data folder is being made.", next_step="Wait until it has ended."
            ) from None
        _remove_noted(folder)
        _empty(folder)
        try:
            yield folder
        finally:
            # Emptied and not removed: the folder itself is the lock.
            _empty(folder)
    finally:
        os.close(lock)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _copy_settings(layout: DataLayout, folder: Path) -> dict[str, Path]:
    copies = {}
    for name, place in SETTINGS.items():
        path = place(layout)
        try:
            content = read_plain_file(path, _SETTINGS_LIMIT)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno not in NOT_PLAIN:
                raise
            raise BackupError(
                detail=f"{path} is no plain file of at most {_SETTINGS_LIMIT} bytes.", next_step="Correct it first."
            ) from None
        copies[name] = place(DataLayout(folder))
        copies[name].parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(copies[name], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
    return copies


def _describe(files: dict[str, Path]) -> Manifest:
    head, generation, slots = describe({name: path for name, path in files.items() if name in DATABASES})
    members = tuple(Member(name, files[name].stat().st_size, digest(files[name])) for name in MEMBERS if name in files)
    return Manifest(
        format=FORMAT,
        made_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        version=__version__,
        ledger=LedgerHead(*head),
        vault_generation=generation,
        key_slots=slots,
        members=members,
    )


def _counted(pieces: Iterator[bytes], total: int, progress: Progress) -> Iterator[bytes]:
    done = 0
    for piece in pieces:
        done += len(piece)
        progress("encryption", min(1.0, done / max(total, 1)))
        yield piece
