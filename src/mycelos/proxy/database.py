"""The vault's database: its tables, and one SQLite file worked on by one thread.

No secret stands in a plain column. Rows that are not sealed by encryption carry ``row_mac``, a MAC over their
columns under a key that only the master key opens (`mycelos.proxy.vault.envelope.SlotKeys`).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from mycelos.proxy.vault.errors import VaultError
from mycelos.wire.problems import ProblemCode, Refusal

Result = TypeVar("Result")

REVISION: Final = "0001"
"""The newest revision in `mycelos.proxy.migrations`; Alembic is imported only where a file has another."""

METADATA: Final = sa.MetaData()


def _table(name: str, *columns: sa.schema.SchemaItem) -> sa.Table:
    return sa.Table(name, METADATA, *columns, sqlite_strict=True)


def _text(name: str, *arguments: sa.schema.SchemaItem, nullable: bool = False, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, *arguments, nullable=nullable, primary_key=key)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False)


def _kid() -> sa.Column[str]:
    return _text("kid", sa.ForeignKey("key_slots.kid"))


KEY_SLOTS: Final = _table(
    "key_slots",
    _text("kid", key=True),
    _text("tenant_id"),
    _text("kdf"),
    _bytes("wrapped_root"),
    # How many keys this slot has wrapped: random nonces are good for a bounded number.
    sa.Column("wraps", sa.Integer, nullable=False),
    _text("created_at"),
    _text("retired_at", nullable=True),
)

WRAPPED_KEYS: Final = _table(
    "wrapped_keys",
    _text("id", key=True),
    _text("tenant_id"),
    _text("name"),
    _kid(),
    _bytes("wrapped_key"),
    _text("created_at"),
    _text("retired_at", nullable=True),
)
sa.Index(
    "wrapped_keys_in_use",
    WRAPPED_KEYS.c.tenant_id,
    WRAPPED_KEYS.c.name,
    unique=True,
    sqlite_where=WRAPPED_KEYS.c.retired_at.is_(None),
    postgresql_where=WRAPPED_KEYS.c.retired_at.is_(None),
)

CREDENTIALS: Final = _table(
    "credentials",
    _text("id", key=True),
    _text("tenant_id"),
    _text("service"),
    sa.Column("version", sa.Integer, nullable=False),
    _text("created_at"),
    # Written lazily and outside row_mac: what it says of the past protects nothing.
    _text("last_used_at", nullable=True),
    _kid(),
    _bytes("row_mac"),
    sa.UniqueConstraint("tenant_id", "service"),
)

CREDENTIAL_VERSIONS: Final = _table(
    "credential_versions",
    _text("credential_id", sa.ForeignKey("credentials.id", ondelete="CASCADE"), key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    _text("tenant_id"),
    _text("label"),
    _text("bindings"),
    _text("created_at"),
    _kid(),
    _bytes("wrapped_key"),
    _bytes("payload"),
)

EGRESS_RULES: Final = _table(
    "egress_rules",
    _text("id", key=True),
    _text("tenant_id"),
    _text("method"),
    _text("scheme"),
    # An exact host, or "*" for every public one.
    _text("host"),
    sa.Column("port", sa.Integer, nullable=False),
    _text("created_at"),
    _kid(),
    _bytes("row_mac"),
    sa.UniqueConstraint("tenant_id", "method", "scheme", "host", "port"),
)

# The table that Alembic keeps, so that a fresh file needs no Alembic.
REVISIONS: Final = _table("alembic_version", _text("version_num", key=True))


class Database:
    """One SQLite file. Every piece of work runs on one thread, each in one transaction of its own."""

    def __init__(self, path: Path, engine: sa.Engine, lock: int) -> None:
        self.path = path
        self._engine = engine
        self._lock = lock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vault")

    @classmethod
    def open(cls, path: Path, before_upgrade: Callable[[sa.Connection], None]) -> Database:
        """Open or create the file. ``before_upgrade`` sees an existing file before anything in it changes.

        Raises:
            VaultError: wrong mode or owner, another process has it open, damaged, or of a newer Mycelos.
        """
        prepare_folder(path.parent)
        lock = _take_lock(path.with_name(path.name + ".lock"))
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

    def run_now(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Run ``work`` and wait for it: for start-up and the command line, never on an event loop."""
        return self._thread.submit(self._transact, work, None).result()

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

    def close(self) -> None:
        """Wait for the work in hand and close the file."""
        self._thread.shutdown(wait=True)
        self._engine.dispose()
        os.close(self._lock)

    def _transact(self, work: Callable[[sa.Connection], Result], then: Callable[[Result], None] | None) -> Result:
        try:
            with self._engine.begin() as connection:
                result = work(connection)
        except sa.exc.DBAPIError as error:
            raise self._unavailable(getattr(error.orig, "sqlite_errorname", "an unknown error")) from None
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
    """An engine with one connection to ``path``, durable at each commit; a transaction takes the write lock at once."""
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


def _take_lock(path: Path) -> int:
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
    tables = set(sa.inspect(connection).get_table_names())
    if not tables:
        # A new file, or one whose making was cut short before its one transaction ended.
        METADATA.create_all(connection)
        connection.execute(REVISIONS.insert().values(version_num=REVISION))
        return
    if connection.exec_driver_sql("PRAGMA quick_check(1)").scalar() != "ok":
        raise VaultError(
            detail=f"The vault {path} is damaged.", next_step="Put back a copy of the data folder that is sound."
        )
    if not {REVISIONS.name, KEY_SLOTS.name} <= tables:
        raise VaultError(
            detail=f"{path} is not a vault of Mycelos.", next_step="Move it away, or name another data folder."
        )
    revision = connection.scalar(sa.select(REVISIONS.c.version_num))
    before_upgrade(connection)
    if revision != REVISION:
        from mycelos.proxy.migrations import upgrade  # noqa: PLC0415 - Alembic is seldom needed and large

        upgrade(connection, path, revision)
