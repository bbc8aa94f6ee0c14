"""The ledger's own SQLite file: its table, the triggers that keep it append-only, and how it is opened.

The triggers and the authorizer stop mistakes and a hijacked statement. Against somebody who can write to the file
they stop nothing; that is what the chain and the remembered heads are for.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from typing import TYPE_CHECKING, Final

from mycelos.ledger.entry import COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION: Final = 1
BUSY_TIMEOUT: Final = 5.0
"""Seconds to wait for a lock of a reader's checkpoint."""

TABLE: Final = """
CREATE TABLE audit_events (
    seq INTEGER PRIMARY KEY,
    v INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    at TEXT NOT NULL,
    mono INTEGER NOT NULL,
    event TEXT NOT NULL,
    phase TEXT NOT NULL,
    intent_seq INTEGER,
    source TEXT NOT NULL,
    tenant TEXT NOT NULL,
    principal TEXT NOT NULL,
    actor TEXT NOT NULL,
    run TEXT NOT NULL,
    agent TEXT NOT NULL,
    subject TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    args_mac TEXT,
    details TEXT NOT NULL,
    prev_hash TEXT NOT NULL,
    leaf_hash TEXT NOT NULL
) STRICT
"""

# INSERT OR REPLACE deletes the old row without firing the DELETE trigger: the demand for the next number closes that.
NEXT_ONLY: Final = """
CREATE TRIGGER audit_events_next_only BEFORE INSERT ON audit_events
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), -1) + 1 FROM audit_events)
BEGIN SELECT RAISE(ABORT, 'audit_events takes the next number only'); END
"""

NO_UPDATE: Final = """
CREATE TRIGGER audit_events_no_update BEFORE UPDATE ON audit_events
BEGIN SELECT RAISE(ABORT, 'audit_events is append-only'); END
"""

NO_DELETE: Final = """
CREATE TRIGGER audit_events_no_delete BEFORE DELETE ON audit_events
BEGIN SELECT RAISE(ABORT, 'audit_events is append-only'); END
"""

SCHEMA: Final = {
    "audit_events": TABLE.strip(),
    "audit_events_next_only": NEXT_ONLY.strip(),
    "audit_events_no_update": NO_UPDATE.strip(),
    "audit_events_no_delete": NO_DELETE.strip(),
}

INSERT: Final = f"INSERT INTO audit_events ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - names from code
SELECT: Final = f"SELECT {', '.join(COLUMNS)} FROM audit_events"  # noqa: S608 - names from code

_WRITER_MAY: Final = frozenset(
    {
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_TRANSACTION,
        sqlite3.SQLITE_FUNCTION,
    }
)


class LedgerError(Exception):
    """The ledger's file cannot be used as it is. The text says what to do."""


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open the ledger, creating it (mode 0600) where there is none. The connection can insert and select only.

    Raises:
        LedgerError: other people can read or write the file, it is not a regular file of ours, or its schema differs.
        sqlite3.Error: the disk or the file refuses.
    """
    _make_private(path)
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA trusted_schema=OFF")
        _create(connection)
        _check_schema(connection, path)
    except BaseException:
        connection.close()
        raise
    connection.set_authorizer(_authorize)
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open the ledger read-only, whether the system runs or not.

    Raises:
        LedgerError: there is no ledger, or it is not one.
    """
    if not path.is_file():
        message = f"there is no ledger at {path}; it is made when the proxy first starts (mycelos serve)"
        raise LedgerError(message)
    # A stopped system on a read-only medium has no write-ahead log and lets none be made.
    is_still = not path.with_name(path.name + "-wal").exists() and not os.access(path.parent, os.W_OK)
    uri = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if is_still else ''}"
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        connection.text_factory = _text
        connection.execute("SELECT seq FROM audit_events LIMIT 1").fetchone()
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        message = f"{path} cannot be read as a ledger ({type(error).__name__}); keep the file as evidence"
        raise LedgerError(message) from None
    return connection


def schema_faults(connection: sqlite3.Connection) -> list[str]:
    """The names of tables, triggers and indexes that are not as `SCHEMA` says: missing, changed or added.

    No name is passed over, SQLite's own neither: an index that leaves rows out would hide them from every filter.
    """
    rows = connection.execute("SELECT name, sql FROM sqlite_master").fetchall()
    found = {str(name): str(sql) for name, sql in rows}
    return sorted(name for name in SCHEMA.keys() | found.keys() if SCHEMA.get(name) != found.get(name))


def _make_private(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        status = path.lstat()
    except FileNotFoundError:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        status = path.lstat()
    # By name and not by a descriptor: closing one drops every lock that SQLite holds on the file in this process.
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        message = f"{path} is not a regular file of this user; move it away"
        raise LedgerError(message)
    if status.st_mode & 0o077:
        message = f"{path} is open to other users; correct it with: chmod 600 {path}"
        raise LedgerError(message)


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    (count,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if (count, version) == (0, 0):
        for statement in SCHEMA.values():
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _check_schema(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    faults = schema_faults(connection)
    if version != SCHEMA_VERSION or faults:
        what = ", ".join(faults) or f"version {version}"
        message = (
            f"{path}: the ledger's schema is not the one that this version writes ({what}); somebody changed it, or "
            "another version made it. Keep the file as evidence, run mycelos db audit verify, then move it away"
        )
        raise LedgerError(message)


def _authorize(action: int, table: str | None, _second: str | None, _database: str | None, _trigger: str | None) -> int:
    if action in _WRITER_MAY or (action == sqlite3.SQLITE_INSERT and table == "audit_events"):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
