"""The vault's database: one SQLite file, worked on by one thread, each piece of work in a transaction of its own."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import stat
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from mycelos.configuration.plain_file import demand_plain_database
from mycelos.proxy.database_thread import DatabaseThread, Watcher
from mycelos.proxy.own_schema import demand_own_schema
from mycelos.proxy.tables import KEY_SLOTS, METADATA, REVISION, REVISIONS
from mycelos.proxy.vault.errors import VaultError
from mycelos.wire.problems import ProblemCode, Refusal

Result = TypeVar("Result")

_BUSY: Final = "SQLITE_BUSY"
_NOT_TEXT: Final = "something that is not UTF-8"


class Database:
    """One SQLite file. Every piece of work runs on one thread, each in one transaction of its own."""

    def __init__(self, path: Path, engine: sa.Engine, lock: int) -> None:
        self.path = path
        self._watcher: Watcher | None = None
        self._engine = engine
        self._lock = lock
        self._thread = DatabaseThread("vault")

    @classmethod
    def open(cls, path: Path, before_upgrade: Callable[[sa.Connection], None]) -> Database:
        """Open or create the file. ``before_upgrade`` sees an existing file before anything in it changes.

        Raises:
            VaultError: wrong mode or owner, another process has it open, damaged, or of a newer Mycelos.
        """
        prepare_folder(path.parent)
        lock = take_lock(path)
        try:
            _create_file(path)
            engine = make_engine(path)
            database = cls(path, engine, lock)
        except BaseException:
            os.close(lock)
            raise
        try:
            database.run_now(lambda connection: _prepare(connection, path, before_upgrade))
        except Refusal as refusal:
            database.close()
            raise VaultError(detail=refusal.problem.detail, next_step=refusal.problem.next) from None
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def look(cls, path: Path, work: Callable[[sa.Connection], Result]) -> Result:
        """What ``work`` reads in a file that is there, as it stands: nothing is brought up to date.

        Raises:
            VaultError: wrong mode or owner, another process has it open, or tables that Mycelos does not make.
            Refusal: `vault_unavailable`; the file cannot be read.
        """
        _demand_private(path.parent, 0o700)
        _demand_private(path, 0o600)
        database = cls(path, make_engine(path), take_lock(path))

        def look(connection: sa.Connection) -> Result:
            demand_own_schema(connection.exec_driver_sql, path)
            return work(connection)

        try:
            return database.run_now(look)
        finally:
            database.close()

    def watch(self, watcher: Watcher) -> None:
        """From here on, ``watcher`` settles every transaction."""
        self._watcher = watcher

    def run_now(self, work: Callable[[sa.Connection], Result], then: Callable[[Result], None] | None = None) -> Result:
        """Run ``work`` and wait for it: for start-up and the command line, never on an event loop."""
        return self.submit(work, then).result()

    def submit(
        self, work: Callable[[sa.Connection], Result], then: Callable[[Result], None] | None = None
    ) -> Future[Result]:
        """Run ``work`` some time soon; ``then`` gets its result once it is durable, on the database's thread."""
        return self._thread.submit(self._transact, work, then)

    async def run(
        self, work: Callable[[sa.Connection], Result], then: Callable[[Result], None] | None = None
    ) -> Result:
        """Run ``work`` and await it. Once begun it ends, ``then`` included, also when the caller is cancelled.

        Raises:
            Refusal: `vault_unavailable`; nothing of ``work`` is kept.
        """
        return await asyncio.shield(asyncio.wrap_future(self.submit(work, then)))

    async def alone(self, job: Callable[[], Result]) -> Result:
        """Run ``job`` on the database's thread, where it calls `transact` and `checkpoint`; nothing comes between.

        Once begun it ends, also when the caller is cancelled.
        """
        return await asyncio.shield(asyncio.wrap_future(self._thread.submit(job)))

    def alone_now(self, job: Callable[[], Result]) -> Result:
        """The same, waiting: for start-up and the command line, never on an event loop."""
        return self._thread.submit(job).result()

    def transact(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Run ``work`` here and now, in a transaction of its own; for a job of `alone`.

        Raises:
            Refusal: `vault_unavailable`; nothing of ``work`` is kept.
        """
        return self._transact(work, None)

    def checkpoint(self) -> None:
        """Bring the write-ahead log into the file and empty it; for a job of `alone`.

        Afterwards nothing that was overwritten, and nothing whose commit failed, can come back out of the log.

        Raises:
            Refusal: `vault_unavailable`; both are as they were.
        """
        try:
            connection = self._engine.raw_connection()
            try:
                (is_busy, _, _) = connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise self._unavailable(error.sqlite_errorname) from None
        if is_busy:
            raise self._unavailable(_BUSY)

    def close(self) -> None:
        """Wait for the work in hand and close the file."""
        self._thread.shutdown(wait=True)
        self._engine.dispose()
        os.close(self._lock)

    def _transact(self, work: Callable[[sa.Connection], Result], then: Callable[[Result], None] | None) -> Result:
        watcher, step = self._watcher, None
        try:
            with self._engine.begin() as connection:
                result = work(connection)
                if watcher is not None:
                    step = watcher.settle(connection)
        except sa.exc.DBAPIError as error:
            raise self._unavailable(getattr(error.orig, "sqlite_errorname", "an unknown error")) from None
        except sqlite3.Error as error:
            # From the pragmas of a new connection, which SQLAlchemy does not look at.
            raise self._unavailable(getattr(error, "sqlite_errorname", "an unknown error")) from None
        except UnicodeDecodeError:
            # The driver quotes what it found in a damaged file, and cannot.
            raise self._unavailable(_NOT_TEXT) from None
        if watcher is not None and step is not None:
            watcher.take(step)
        if then is not None:
            then(result)
        return result

    def _unavailable(self, name: str) -> Refusal:
        return Refusal(
            ProblemCode.VAULT_UNAVAILABLE,
            f"The vault's database {self.path} answered {name}; nothing was changed.",
            "Check free space and the rights of the folder; for SQLITE_CORRUPT or SQLITE_NOTADB put back a sound copy.",
        )


def make_engine(path: Path) -> sa.Engine:
    """An engine with one connection to ``path``, durable at each commit; a transaction takes the write lock at once.

    Raises:
        VaultError: ``path``, or what SQLite would open beside it, is not a regular file.
    """
    _demand_plain(path)
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        poolclass=sa.pool.StaticPool,
        connect_args={"check_same_thread": False},
        # Parameters hold sealed secrets and metadata: they belong in no error message.
        hide_parameters=True,
    )

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        for pragma in (
            "busy_timeout = 5000",
            "foreign_keys = ON",
            "journal_mode = WAL",
            "synchronous = FULL",
            # Deleted rows are overwritten: a wrapped key that is gone shall be gone.
            "secure_delete = ON",
            "trusted_schema = OFF",
            # The rows that a transaction has changed are noted in memory, and also where a REPLACE removes one.
            "temp_store = MEMORY",
            "recursive_triggers = ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def prepare_folder(folder: Path) -> None:
    """Make ``folder`` for its owner alone, or refuse one that others may enter.

    Raises:
        VaultError: the folder belongs to someone else or its mode is not 0700.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _demand_private(folder, 0o700)


def _demand_private(path: Path, mode: int) -> None:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode) or status.st_uid != os.geteuid():
        raise VaultError(
            detail=f"{path} does not belong to the user that runs the proxy.",
            next_step="Run as its owner, or give it back with: chown",
        )
    if status.st_mode & 0o077:
        raise VaultError(detail=f"{path} may be opened by other users.", next_step=f"Run: chmod {mode:o} {path}")


def _demand_plain(path: Path) -> None:
    try:
        demand_plain_database(path)
    except OSError as error:
        raise VaultError(detail=f"{error.filename} is {error.strerror}.", next_step="Move it away.") from None


def take_lock(vault: Path) -> int:
    """Take the vault at this path for one process; the descriptor that holds it until it is closed.

    Raises:
        VaultError: another process has it.
    """
    path = vault.with_name(vault.name + ".lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise VaultError(
            detail=f"Another process has the vault {path.with_suffix('')} open.",
            next_step="Stop it first: mycelos stop",
        ) from None
    return descriptor


def _create_file(path: Path) -> None:
    """Make an empty file with mode 0600, which SQLite also gives to its log, unless there is one."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        _demand_private(path, 0o600)


def _prepare(connection: sa.Connection, path: Path, before_upgrade: Callable[[sa.Connection], None]) -> None:
    if not connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar():
        # A new file, or one whose making was cut short before its one transaction ended.
        METADATA.create_all(connection)
        connection.execute(REVISIONS.insert().values(version_num=REVISION))
        return
    # The whole check, indexes included: one that misses a row would hide it from a search, and not from the state.
    if connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar() != "ok":
        raise VaultError(
            detail=f"The vault {path} is damaged.", next_step="Put back a copy of the data folder that is sound."
        )
    if not {REVISIONS.name, KEY_SLOTS.name} <= set(sa.inspect(connection).get_table_names()):
        raise VaultError(
            detail=f"{path} is not a vault of Mycelos.", next_step="Move it away, or name another data folder."
        )
    revision = demand_own_schema(connection.exec_driver_sql, path)
    before_upgrade(connection)
    if revision != REVISION:
        from mycelos.proxy.migrations import upgrade  # noqa: PLC0415 - Alembic is seldom needed and large

        upgrade(connection, path, revision)
        demand_own_schema(connection.exec_driver_sql, path)
