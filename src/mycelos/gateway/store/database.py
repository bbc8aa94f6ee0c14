"""One SQLite file, one dedicated thread, one transaction a call; and the schema brought up to date at start."""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import URL, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from mycelos.configuration.plain_file import demand_plain_database
from mycelos.wire.identifiers import Kind, make_identifier
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Connection

Answer = TypeVar("Answer")

REVISION: Final = "0001"
"""The newest revision below `migrations/versions`; a database that says so needs no Alembic."""


class Database:
    """The gateway's database. Blocking work runs in a thread of its own, never on the event loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._engine: Engine = create_engine(URL.create("sqlite", database=str(path)))
        event.listen(self._engine, "connect", _prepare_connection)

    async def open(self) -> None:
        """Create the file or bring its schema up to date.

        Raises:
            Refusal: `internal`; the file cannot be used or was written by a newer version.
        """
        await self._in_thread(self._migrate)

    async def run(self, work: Callable[[Connection], Answer]) -> Answer:
        """Run ``work`` in one transaction in the store's thread.

        Raises:
            Refusal: `conflict` where a constraint refuses the change, `internal` where the file cannot be used.
        """

        def transaction() -> Answer:
            with self._engine.begin() as connection:
                return work(connection)

        return await self._in_thread(transaction)

    async def close(self) -> None:
        """Finish what is queued and close the file."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._engine.dispose)
        self._thread.shutdown(wait=True)

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except IntegrityError:
            raise Refusal(
                ProblemCode.CONFLICT,
                "The change contradicts what is stored: a name is taken, or what it belongs to is gone",
                "Reload the page and choose another name.",
            ) from None
        except SQLAlchemyError:
            raise Refusal(
                ProblemCode.INTERNAL,
                f"The gateway's database {self.path.name} cannot be read or written",
                "Check free disk space and who owns the data folder: mycelos doctor",
            ) from None

    def _migrate(self) -> None:
        try:
            demand_plain_database(self.path)
        except OSError as error:
            raise Refusal(
                ProblemCode.INTERNAL,
                f"{error.filename} is {error.strerror}",
                "Stop the system, move it away, and start again: the next start makes a new one.",
            ) from None
        with self._engine.connect() as connection:
            found = None
            if inspect(connection).has_table("alembic_version"):
                found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if found == REVISION:
            return
        # Imported here: Alembic costs start-up time and memory, and most starts need no migration.
        from mycelos.gateway.store.migrations.upgrade import is_known, upgrade  # noqa: PLC0415

        if found is not None and not is_known(found):
            raise Refusal(
                ProblemCode.INTERNAL,
                f"The database {self.path.name} was written by a newer version of Mycelos",
                "Start that newer version, or restore a backup made by this one.",
            )
        with self._engine.begin() as connection:
            upgrade(connection, REVISION)


def now() -> str:
    """The present time, RFC 3339, UTC, microseconds: as text it sorts by time."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def new_identifier(kind: Kind) -> str:
    """A fresh identifier of this kind."""
    return make_identifier(kind, time.time_ns() // 1_000_000, os.urandom(10))


def _prepare_connection(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for statement in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {statement}")
    cursor.close()
