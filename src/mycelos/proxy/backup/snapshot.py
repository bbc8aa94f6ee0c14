"""Copies of the databases as they are at one moment, made beside a running system by SQLite's own backup interface."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Final

from mycelos.configuration.layout import DataLayout
from mycelos.configuration.plain_file import demand_plain_database
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.foreign_database import BUSY_TIMEOUT, open_foreign
from mycelos.proxy.backup.manifest import DATABASES, GATEWAY, LEDGER, VAULT

_PAGES: Final = 2048
_TRIES: Final = 20
"""How often a moment is looked for in which the vault does not change between two statements."""

Progress = Callable[[str, float], None]
"""Told what is worked on, and how much of it is done, from 0 to 1."""


def take_snapshots(layout: DataLayout, folder: Path, progress: Progress) -> dict[str, Path]:
    """Copy every database that is there to its place below ``folder``; the copies by the names of their members.

    Vault and ledger are of one moment: no change of the vault lies between them, so neither is ahead of the other.

    Raises:
        BackupError: there is no vault or no ledger, or a file cannot be read as a database.
        OSError: a copy cannot be written.
    """
    places = {name: place(layout) for name, place in DATABASES.items() if os.path.lexists(place(layout))}
    if not {VAULT, LEDGER} <= places.keys():
        raise BackupError(
            detail=f"There is no vault and ledger in {layout.proxy}: nothing was ever stored there.",
            next_step="Start it once with: mycelos serve - or name its folder with --data-dir.",
        )
    copies = {name: DATABASES[name](DataLayout(folder)) for name in places}
    with ExitStack() as stack:
        sources = {name: stack.enter_context(_open(name, path)) for name, path in places.items()}
        with _told(places[VAULT]):
            watch = stack.enter_context(open_read_only(places[VAULT]))
            _begin_together(watch, sources[VAULT], sources[LEDGER])
        if GATEWAY in sources:
            _begin(sources[GATEWAY])
        for name, source in sources.items():
            copies[name].parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # What is wrong with the gateway's is told where it is opened.
            with nullcontext() if name == GATEWAY else _told(places[name]):
                _copy(source, copies[name], lambda done, name=name: progress(name, done))  # type: ignore[misc]
    return copies


@contextmanager
def open_read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that can only read, closed with the block.

    Raises:
        BackupError: ``path``, or what SQLite would open beside it, is no plain file, or cannot be opened.
    """
    try:
        demand_plain_database(path)
    except OSError as error:
        raise BackupError(detail=f"{error.filename} is {error.strerror}.", next_step="Move it away.") from None
    with _told(path):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT, isolation_level=None
        )
    try:
        yield connection
    finally:
        connection.close()


def _open(name: str, path: Path) -> AbstractContextManager[sqlite3.Connection]:
    return open_foreign(path) if name == GATEWAY else open_read_only(path)


def _begin_together(watch: sqlite3.Connection, vault: sqlite3.Connection, ledger: sqlite3.Connection) -> None:
    for _ in range(_TRIES):
        before = _version(watch)
        _begin(vault)
        _begin(ledger)
        if _version(watch) == before:
            return
        vault.execute("ROLLBACK")
        ledger.execute("ROLLBACK")
    raise BackupError(detail="The vault does not stop changing.", next_step="Try again when less is going on.")


def _begin(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")
    # The transaction's view of the file begins with its first read.
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return int(version)


def _copy(source: sqlite3.Connection, path: Path, progress: Callable[[float], None]) -> None:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    target = sqlite3.connect(path, isolation_level=None)
    try:
        source.backup(target, pages=_PAGES, progress=lambda _, left, total: progress(1 - left / max(total, 1)))
        # One file that stands alone, without a write-ahead log beside it.
        target.execute("PRAGMA journal_mode=DELETE")
    finally:
        target.close()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "") or type(error).__name__
        raise BackupError(
            detail=f"{path} cannot be copied ({name}).",
            next_step="Check free space and the rights of the folder; see: mycelos db audit verify",
        ) from None


def describe(copies: Mapping[str, Path]) -> tuple[tuple[int, str], int | None, tuple[str, ...]]:
    """The ledger's head, the vault's generation where it keeps one, and its key slots in use, read from the copies.

    Raises:
        BackupError: the ledger is empty, or a copy is not the database that its name says.
    """
    with open_read_only(copies[LEDGER]) as ledger, _told(copies[LEDGER]):
        head = ledger.execute("SELECT seq, leaf_hash FROM audit_events ORDER BY seq DESC LIMIT 1").fetchone()
    with open_read_only(copies[VAULT]) as vault, _told(copies[VAULT]):
        generation = vault.execute("SELECT generation FROM vault_state").fetchone()
        slots = vault.execute("SELECT kid FROM key_slots WHERE retired_at IS NULL ORDER BY kid").fetchall()
    if head is None:
        raise BackupError(detail="The ledger is empty.", next_step="Start it once with: mycelos serve")
    return (int(head[0]), str(head[1])), generation[0] if generation else None, tuple(str(kid) for (kid,) in slots)
