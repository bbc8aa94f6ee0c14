"""The gateway's database, which a hostile zone may have written: the one way in which an operator's command opens it.

A command of the operator runs outside the walls. So nothing in the file may act in its name, keep it for good, or make
it touch another file. The limits of every function here are the same: plain files alone, a bounded time, no trust in
the schema, and a reading back of what was done.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mycelos.proxy.backup.errors import BackupError

BUSY_TIMEOUT: Final = 10.0
_SECONDS: Final = 60.0
_BYTES_A_SECOND: Final = 8 * 1024 * 1024
"""How long statements may take together: a minute, and more for a large file."""
_STEPS: Final = 1000
"""Steps of SQLite's machine between two looks at the clock."""

_BESIDE: Final = ("", "-wal", "-shm", "-journal")
_JOURNAL_END: Final = bytes.fromhex("d9d505f920a163d7")
"""A rollback journal that ends so names a second file, which SQLite deletes (SQLite file format, section 3)."""

_NOT_OURS: Final = (
    "SELECT type, name FROM sqlite_master WHERE NOT coalesce("
    "(type = 'table' AND substr(sql, 1, 13) = 'CREATE TABLE ') OR "
    "(type = 'index' AND (sql IS NULL OR substr(sql, 1, 13) = 'CREATE INDEX ' "
    "OR substr(sql, 1, 20) = 'CREATE UNIQUE INDEX ')), 0)"
)
# By the text that SQLite writes itself: it takes a type in capitals too, and ends the row of none that it drops.
_COMPUTED: Final = (
    "SELECT m.name, x.name FROM sqlite_master AS m, pragma_table_xinfo(m.name) AS x "
    "WHERE m.type = 'table' AND x.hidden > 1"
)
_DROP: Final = {"trigger": "DROP TRIGGER", "view": "DROP VIEW"}
MOVE_AWAY: Final = (
    "Keep the file as evidence: move gateway.sqlite, and what lies beside it under this name, out of the data folder. "
    "The chats and agents in it go with it; the next start makes a new one."
)


@contextmanager
def open_foreign(
    path: Path, *, write: bool = False, called: str | None = None, next_step: str = MOVE_AWAY
) -> Iterator[sqlite3.Connection]:
    """A connection to a database that may be hostile, closed with the block; the last two are for errors.

    Raises:
        BackupError: it is no plain file, no database, or takes longer than its size explains.
        KeyboardInterrupt: the operator ended it, whatever was under way.
    """
    name = called or str(path)
    size = sum(_demand_plain(path.with_name(path.name + suffix), next_step) for suffix in _BESIDE)
    deadline = time.monotonic() + _SECONDS + size / _BYTES_A_SECOND
    connection = None
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={'rw' if write else 'ro'}",
            uri=True,
            timeout=BUSY_TIMEOUT,
            isolation_level=None,
        )
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        # One call of LIKE is one step, however long it takes.
        connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 16)
        for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "ignore_check_constraints=ON", "foreign_keys=OFF"):
            connection.execute(f"PRAGMA {pragma}")
        yield connection
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorname", "") or type(error).__name__
        if code != "SQLITE_INTERRUPT":
            raise BackupError(detail=f"{name} cannot be read as a database ({code}).", next_step=next_step) from None
        if time.monotonic() <= deadline:
            # Python drops what is raised in a progress handler, Ctrl-C among it, and interrupts the statement.
            raise KeyboardInterrupt from None
        raise BackupError(
            detail=f"{name} takes longer than its size explains; it was given up.", next_step=next_step
        ) from None
    finally:
        if connection is not None:
            connection.close()


def remove_what_acts(path: Path, *, called: str | None = None, next_step: str = MOVE_AWAY) -> tuple[str, ...]:
    """Remove every trigger and view, and refuse what else Mycelos does not make there; what was removed.

    Dropping fires no trigger (SQLite fires none for its own tables).

    Raises:
        BackupError: as `open_foreign`, or something is left.
    """
    with open_foreign(path, write=True, called=called, next_step=next_step) as connection:
        connection.execute("BEGIN IMMEDIATE")
        found = _not_ours(connection)
        for kind, name in found:
            if kind in _DROP:
                connection.execute(f"{_DROP[kind]} IF EXISTS {_quoted(name)}")
        connection.execute("COMMIT")
    # Read back by a connection that has not seen it before.
    demand_inert(path, called=called, next_step=next_step)
    return tuple(f"{kind} {name}" for kind, name in found)


def demand_inert(path: Path, *, called: str | None = None, next_step: str = MOVE_AWAY) -> None:
    """Refuse a database that is damaged, or holds anything but tables and indexes of plain columns.

    Raises:
        BackupError: it is so, or as `open_foreign`.
    """
    name = called or str(path)
    with open_foreign(path, called=called, next_step=next_step) as connection:
        # First: the next look through it would compute what is computed.
        _demand_ours(connection, name, next_step)
        if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise BackupError(detail=f"{name} is damaged.", next_step=next_step)


def demand_cleanable(path: Path) -> None:
    """Refuse, before anything is written, a database that `remove_what_acts` and `empty_tables` could not work on.

    Raises:
        BackupError: it is so, or as `open_foreign`.
    """
    with open_foreign(path) as connection:
        _demand_ours(connection, str(path), MOVE_AWAY, but=_DROP)


def empty_tables(path: Path, tables: Sequence[str]) -> dict[str, int]:
    """Delete every row of these tables, where they are there, once nothing acts; how many each had.

    Raises:
        BackupError: a row is left, or as `remove_what_acts`.
    """
    remove_what_acts(path)
    with open_foreign(path, write=True) as connection:
        connection.execute("BEGIN IMMEDIATE")
        # SQLite's names have no case.
        there = {name.lower() for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        wanted = [table for table in tables if table in there]
        counts = {
            table: connection.execute(f"DELETE FROM {_quoted(table)}").rowcount  # noqa: S608 - names from code
            for table in wanted
        }
        connection.execute("COMMIT")
    with open_foreign(path) as connection:
        for table in wanted:
            # From the table itself: an index may hold less.
            row = connection.execute(f"SELECT 1 FROM {_quoted(table)} NOT INDEXED LIMIT 1").fetchone()  # noqa: S608 - names from code
            if row is not None:
                raise BackupError(detail=f"{path} keeps rows in {table} that were deleted.", next_step=MOVE_AWAY)
    return counts


def _demand_ours(connection: sqlite3.Connection, name: str, next_step: str, *, but: Collection[str] = ()) -> None:
    alien = [f"the {kind} {what}" for kind, what in _not_ours(connection) if kind not in but]
    if not alien:
        alien = [f"the computed column {table}.{column}" for table, column in connection.execute(_COMPUTED)]
    if alien:
        raise BackupError(
            detail=f"{name} holds {alien[0][:200]!r}, which Mycelos does not make there.", next_step=next_step
        )


def _not_ours(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return [(str(kind), str(name)) for kind, name in connection.execute(_NOT_OURS)]


def _demand_plain(path: Path, next_step: str) -> int:
    """The size of a plain file or of none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise BackupError(
            detail=f"{path} cannot be opened ({os.strerror(error.errno or 0)}).", next_step=next_step
        ) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BackupError(detail=f"{path} is not a plain file.", next_step=next_step)
        is_journal = path.name.endswith("-journal") and status.st_size >= len(_JOURNAL_END)
        if is_journal and os.pread(descriptor, 8, status.st_size - 8) == _JOURNAL_END:
            raise BackupError(detail=f"{path} names another file, which SQLite would delete.", next_step=next_step)
    finally:
        os.close(descriptor)
    return status.st_size


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
