"""The file, its schema and its thread."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from mycelos.gateway.store import Store
from mycelos.gateway.store.database import REVISION, Database, new_identifier, now
from mycelos.gateway.store.migrations.upgrade import downgrade, script_directory, upgrade
from mycelos.gateway.store.tables import METADATA
from mycelos.wire.identifiers import Kind, parse_identifier
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio


async def test_a_fresh_file_has_the_tables_and_the_newest_revision(tmp_path: Path) -> None:
    database = Database(tmp_path / "g.sqlite")
    await database.open()
    await database.close()
    engine = create_engine(f"sqlite:///{tmp_path}/g.sqlite")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()
    assert script_directory().get_current_head() == REVISION


async def test_a_second_opening_keeps_what_is_stored(tmp_path: Path) -> None:
    for _ in range(2):
        store = await Store.open(tmp_path / "g.sqlite")
        assert [agent.name for agent in await store.agents.all()] == ["assistant"]
        await store.close()


async def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    store = await Store.open(path)
    await store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    before = path.read_bytes()
    database = Database(path)
    with pytest.raises(Refusal, match="newer version"):
        await database.open()
    await database.close()
    assert path.read_bytes() == before


async def test_what_is_no_database_is_refused_without_the_librarys_text(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    database = Database(path)
    with pytest.raises(Refusal, match="cannot be read or written") as refused:
        await database.open()
    await database.close()
    assert refused.value.problem.code is ProblemCode.INTERNAL


@pytest.mark.parametrize("suffix", ["", "-journal", "-wal", "-shm"])
async def test_what_sqlite_would_wait_for_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"g.sqlite{suffix}")
    database = Database(tmp_path / "g.sqlite")
    with pytest.raises(Refusal, match=rf"g\.sqlite{suffix} is not a regular file"):
        await database.open()
    await database.close()


async def test_work_runs_in_one_thread_that_is_not_the_loops(tmp_path: Path) -> None:
    database = Database(tmp_path / "g.sqlite")
    await database.open()
    threads = {await database.run(lambda _: threading.get_ident()) for _ in range(5)}
    await database.close()
    assert len(threads) == 1
    assert threading.get_ident() not in threads


async def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "g.sqlite")
    with pytest.raises(Refusal) as refused:
        await store.agents.create("assistant", "twice")
    assert refused.value.problem.code is ProblemCode.CONFLICT
    assert len(await store.agents.all()) == 1
    await store.close()


def test_the_migrations_go_down_to_nothing_and_up_again(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/g.sqlite")
    for _ in range(2):
        with engine.begin() as connection:
            upgrade(connection, REVISION)
        with engine.begin() as connection:
            downgrade(connection, "base")
        with engine.connect() as connection:
            tables = set(MigrationContext.configure(connection).connection.dialect.get_table_names(connection))
        assert tables <= {"alembic_version"}
    engine.dispose()


def test_identifiers_are_typed_and_times_sort() -> None:
    identifier = new_identifier(Kind.RUN)
    assert parse_identifier(Kind.RUN, identifier) == identifier
    assert now() <= now()
    assert now().endswith("Z")
