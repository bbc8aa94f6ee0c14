"""The ledger's own SQLite file: how it is opened, and what is written into it and read of it.

The schema's triggers and the authorizer stop mistakes and a hijacked statement. Against somebody who can write to the
file they stop nothing; that is what the chain and the remembered heads are for.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from itertools import chain
from typing import TYPE_CHECKING, Final

from mycelos.configuration.plain_file import demand_plain_database
from mycelos.ledger.entry import COLUMNS
from mycelos.proxy.ledger.schema import SCHEMA, SCHEMA_VERSION, schema_faults

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mycelos.ledger.entry import Entry

BUSY_TIMEOUT: Final = 5.0
"""Seconds to wait for somebody else's lock."""

PAGE: Final = 4096
"""Bytes of a page."""

LOG_LIMIT: Final = 64 * 1024 * 1024
"""Bytes that the write-ahead log keeps when it begins anew: far more than it has between two copies back."""

INSERT: Final = f"INSERT INTO audit_events ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - names from code
ROWS_AT_ONCE: Final = 64
"""Entries in one statement: at the end of each, the writer's thread may have to wait for the event loop's."""
INSERT_NODE: Final = "INSERT INTO tree_nodes (level, place, hash) VALUES (?, ?, ?)"
KEEP_CHECKPOINT: Final = (
    "INSERT INTO checkpoints (tile, size, note) VALUES (?, ?, ?) "
    "ON CONFLICT (tile) DO UPDATE SET size = excluded.size, note = excluded.note"
)
SELECT: Final = f"SELECT {', '.join(COLUMNS)} FROM audit_events"  # noqa: S608 - names from code

_WRITER_MAY: Final = frozenset(
    {
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_TRANSACTION,
        sqlite3.SQLITE_FUNCTION,
    }
)
_WRITER_CHANGES: Final = frozenset(
    {
        (sqlite3.SQLITE_INSERT, "audit_events"),
        (sqlite3.SQLITE_INSERT, "tree_nodes"),
        (sqlite3.SQLITE_INSERT, "checkpoints"),
        # The newest row alone, and only to a larger size: its trigger says so.
        (sqlite3.SQLITE_UPDATE, "checkpoints"),
        (sqlite3.SQLITE_PRAGMA, "wal_checkpoint"),
    }
)
_STEPS: Final = 100_000
"""Instructions of SQLite's machine between two signs of life: some thousand rows."""

_LOOK_AGAIN: Final = 0.01
"""Seconds between two looks whether a lock is free."""

_UNAVAILABLE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
    }
)
"""Codes of SQLite for what is not the file's own fault."""
_OF_THE_FILE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_NOTADB})
"""Those for a page or a schema that it cannot read."""


REBUILD: Final = "Schema, index and tree are derived: where the entries hold, make them anew: mycelos db audit rebuild"
"""The way out where nothing else is at fault."""


class LedgerError(Exception):
    """The ledger's file cannot be used as it is. The text says what to do.

    ``way_out`` is the part of it that only a start may say, ``what`` the rest.
    """

    def __init__(self, what: str, way_out: str = "") -> None:
        super().__init__(f"{what}. {way_out}" if way_out else what)
        self.what = what


class LockedError(LedgerError):
    """Another process is writing to the ledger's file. Nothing was written."""


class LedgerUnavailableError(LedgerError):
    """It cannot be read at the moment, or by this user: nothing is said against what it holds."""


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open the ledger, creating it (mode 0600) where there is none. The connection can only append and select.

    Raises:
        LedgerError: other people can read or write the file, it or a file of SQLite's beside it is not a regular file
            of ours, or its schema differs or cannot be read.
        sqlite3.Error: the disk or the file refuses.
    """
    _make_private(path)
    _demand_plain(path)
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA trusted_schema=OFF")
        # Not inside a commit, for which somebody waits: the writer calls `copy_back` between two of them.
        connection.execute("PRAGMA wal_autocheckpoint=0")
        # What a reader that was long at work has let it grow to is given back, once it begins anew.
        connection.execute(f"PRAGMA journal_size_limit={LOG_LIMIT}")
        _create(connection)
        _check_schema(connection, path)
        # How long to wait for a lock, whoever begins says.
        connection.execute("PRAGMA busy_timeout=0")
    except (UnicodeDecodeError, sqlite3.DatabaseError) as error:
        connection.close()
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF not in _OF_THE_FILE:
            raise
        raise unreadable(path, error) from None
    except BaseException:
        connection.close()
        raise
    connection.set_authorizer(_authorize)
    return connection


def open_for_reading(
    path: Path, alive: Callable[[], None] | None = None, *, any_schema: bool = False
) -> sqlite3.Connection:
    """Open the ledger read-only, whether the system runs or not.

    ``alive`` is called again and again while a statement is at work. With ``any_schema`` the tables are read where
    another part of the schema is none that SQLite can read.

    Raises:
        LedgerUnavailableError: it lies there, and the system does not let it be read now.
        LedgerError: there is no ledger, or it is not one.
    """
    if not lies_there(path):
        message = f"there is no ledger at {path}; it is made when the proxy first starts (mycelos serve)"
        raise LedgerError(message)
    # A link would do for reading, and not for a start: both say the same.
    if not stat.S_ISREG(path.lstat().st_mode):
        raise _not_regular(path)
    _demand_plain(path)
    # A stopped system on a read-only medium has no write-ahead log and lets none be made.
    is_still = not path.with_name(path.name + "-wal").exists() and not os.access(path.parent, os.W_OK)
    uri = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if is_still else ''}"
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        connection.text_factory = _text
        if any_schema:
            connection.execute("PRAGMA writable_schema=ON")
            connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("SELECT seq FROM audit_events NOT INDEXED LIMIT 1").fetchone()
        connection.set_progress_handler(alive, _STEPS)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if connection is not None:
            connection.close()
        raise unreadable(path, error, any_schema=any_schema) from None
    return connection


def lies_there(path: Path) -> bool:
    """Whether there is anything in the ledger's place.

    Raises:
        LedgerUnavailableError: the system does not let it be seen.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        message = f"{path} cannot be read now ({error.strerror}); try again, as its owner"
        raise LedgerUnavailableError(message) from None
    return True


def demand_private(path: Path) -> None:
    """What lies at ``path`` is a regular file of this user, and nobody else's to read or write.

    Raises:
        LedgerError: it is not; the text says what to do.
        OSError: there is none, or the system refuses.
    """
    # By name and not by a descriptor: closing one drops every lock that SQLite holds on the file in this process.
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        raise _not_regular(path)
    if status.st_mode & 0o077:
        message = f"{path} is open to other users; correct it with: chmod 600 {path}"
        raise LedgerError(message)


def demand_schema(path: Path) -> None:
    """`open_for_writing` would not refuse the schema; nothing is written.

    Raises:
        LedgerError: it would, or the ledger cannot be read.
    """
    connection = open_for_reading(path)
    try:
        _check_schema(connection, path)
    finally:
        connection.close()


def begin(connection: sqlite3.Connection, patience: float) -> None:
    """Begin a transaction that writes; wait up to ``patience`` seconds for somebody else's.

    Raises:
        LockedError: it has not ended by then.
        sqlite3.Error: the disk or the file refuses.
    """
    end = time.monotonic() + patience
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            if time.monotonic() >= end:
                message = "another process holds its lock"
                raise LockedError(message) from None
            time.sleep(_LOOK_AGAIN)
        else:
            return


def copy_back(connection: sqlite3.Connection) -> int:
    """Copy the write-ahead log into the database, except what a reader still needs; how many pages that leaves.

    Raises:
        sqlite3.Error: the disk or the file refuses.
    """
    _, pages, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return int(pages - copied)


def insert_entries(connection: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    """Write ``entries``, which follow each other, `ROWS_AT_ONCE` in a statement.

    Raises:
        sqlite3.Error: the disk, the file or a trigger refuses.
    """
    for start in range(0, len(entries), ROWS_AT_ONCE):
        rows = entries[start : start + ROWS_AT_ONCE]
        connection.execute(_insert_of(len(rows)), list(chain.from_iterable(rows)))


def _insert_of(count: int) -> str:
    _, _, row = INSERT.partition("VALUES ")
    return INSERT + f", {row}" * (count - 1)


def _demand_plain(path: Path) -> None:
    try:
        demand_plain_database(path)
    except OSError as error:
        message = f"{error.filename} is {error.strerror}, as SQLite's own are; move it away"
        raise LedgerError(message) from None


def derived_fault(what: str, way_out: str = "") -> LedgerError:
    """What to raise where index or schema are at fault: `REBUILD` is for who starts and for who does not."""
    return LedgerError(f"{what}. {REBUILD}", way_out)


def unreadable(path: Path, error: Exception, *, any_schema: bool = False) -> LedgerError:
    """What to raise where SQLite raised ``error`` while the ledger at ``path`` was read; as `open_for_reading`."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in _UNAVAILABLE:
        why = getattr(error, "sqlite_errorname", "")
        return LedgerUnavailableError(f"{path} cannot be read now ({why}); try again, as its owner")
    # A damaged schema is quoted in SQLite's message, which then is no text that Python can read.
    what = f"{path} cannot be read as a ledger ({type(error).__name__}); keep the file as evidence"
    return LedgerError(what) if any_schema else derived_fault(what)


def _make_private(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not lies_there(path):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    demand_private(path)


def _not_regular(path: Path) -> LedgerError:
    return LedgerError(f"{path} is not a regular file of this user", way_on(path))


def way_on(path: Path) -> str:
    """How to go on where the file itself is of no use: alone moved away, it would be missed by who remembers it."""
    return (
        f"Put back the newest copy of the data folder; without one, move {path} and all beside it that begins with "
        f"{path.stem}. out of the folder, keep them as evidence, and go on with: mycelos backup adopt"
    )


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
    faults = schema_faults(connection)
    if faults:
        message = (
            f"{path}: the ledger's schema is not the one that this version writes ({', '.join(faults)}); somebody "
            "changed it, or another version made it"
        )
        raise derived_fault(message, f"Where that refuses: {way_on(path)}")


def _authorize(action: int, table: str | None, _second: str | None, _database: str | None, _trigger: str | None) -> int:
    if action in _WRITER_MAY or (action, table) in _WRITER_CHANGES:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
