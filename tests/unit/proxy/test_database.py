import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.database import Database, make_engine, prepare_folder
from mycelos.proxy.migrations import make_config, upgrade
from mycelos.proxy.tables import CREDENTIALS, KEY_SLOTS, METADATA, PASSKEYS, REVISION, REVISIONS
from mycelos.proxy.vault.errors import VaultError
from mycelos.wire.problems import Refusal


def nothing(_connection: sa.Connection) -> None:
    pass


def schema(connection: sa.Connection) -> dict[str, set[tuple]]:
    tables = {}
    for (name,) in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'"):
        columns = {tuple(row)[1:] for row in connection.exec_driver_sql(f"PRAGMA table_info({name})")}
        indexes = {
            (row[2], row[4], tuple(column[2] for column in connection.exec_driver_sql(f"PRAGMA index_info({row[1]})")))
            for row in connection.exec_driver_sql(f"PRAGMA index_list({name})")
        }
        keys = {tuple(row)[2:] for row in connection.exec_driver_sql(f"PRAGMA foreign_key_list({name})")}
        tables[name] = columns | indexes | keys
    return tables


def test_a_new_file_is_for_its_owner_alone_and_has_every_table(layout: DataLayout) -> None:
    previous = os.umask(0)
    try:
        database = Database.open(layout.vault, nothing)
    finally:
        os.umask(previous)
    try:
        assert layout.proxy.stat().st_mode & 0o7777 == 0o700
        assert {path.name for path in layout.proxy.iterdir()} >= {"vault.sqlite", "vault.sqlite-wal"}
        assert {path.stat().st_mode & 0o7777 for path in layout.proxy.iterdir()} == {0o600}
        assert database.run_now(lambda connection: set(schema(connection))) == set(METADATA.tables)
    finally:
        database.close()


def test_every_table_is_strict_and_names_its_tenant(layout: DataLayout) -> None:
    database = Database.open(layout.vault, nothing)
    listed = database.run_now(lambda connection: connection.exec_driver_sql("PRAGMA table_list").all())
    database.close()
    strict = {row[1]: row[5] for row in listed if not row[1].startswith("sqlite_")}
    assert strict == dict.fromkeys(METADATA.tables, 1)
    assert all("tenant_id" in table.c for name, table in METADATA.tables.items() if name != "alembic_version")


def test_the_connection_is_durable_and_checks_references(layout: DataLayout) -> None:
    database = Database.open(layout.vault, nothing)

    def pragma(name: str) -> object:
        return database.run_now(lambda connection: connection.exec_driver_sql(f"PRAGMA {name}").scalar())

    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "secure_delete", "trusted_schema")
    assert [pragma(name) for name in names] == ["wal", 2, 1, 5000, 1, 0]
    row = {
        "id": "cred_x", "tenant_id": "t", "service": "s", "version": 1, "created_at": "", "kid": "kid_missing",
        "row_mac": b"",
    }  # fmt: skip
    with pytest.raises(Refusal, match="SQLITE_CONSTRAINT_FOREIGNKEY"):
        database.run_now(lambda connection: connection.execute(CREDENTIALS.insert().values(row)))
    database.close()


def test_an_error_quotes_no_parameter(layout: DataLayout) -> None:
    database = Database.open(layout.vault, nothing)

    texts: list[str] = []

    def work(connection: sa.Connection) -> None:
        try:
            connection.execute(CREDENTIALS.insert().values(id="canary-value"))
        except sa.exc.DBAPIError as error:
            texts.append(str(error))
            raise

    with pytest.raises(Refusal) as caught:
        database.run_now(work)
    texts.append(str(caught.value))
    assert len(texts) == 2
    assert not [text for text in texts if "canary-value" in text]
    database.close()


@pytest.mark.parametrize("which", ["folder", "file"])
def test_what_others_may_open_is_refused_with_the_command_that_mends_it(layout: DataLayout, which: str) -> None:
    Database.open(layout.vault, nothing).close()
    path = layout.proxy if which == "folder" else layout.vault
    path.chmod(0o755 if which == "folder" else 0o644)
    with pytest.raises(VaultError) as caught:
        Database.open(layout.vault, nothing)
    assert caught.value.next_step.startswith("Run: chmod ")
    path.chmod(0o700 if which == "folder" else 0o600)
    Database.open(layout.vault, nothing).close()


def test_a_linked_folder_is_refused(layout: DataLayout, tmp_path: Path) -> None:
    layout.proxy.symlink_to(tmp_path)
    with pytest.raises(VaultError, match="does not belong"):
        prepare_folder(layout.proxy)


@pytest.mark.parametrize("content", [b"no database at all, but some text that is long enough to be one" * 10])
def test_a_file_that_is_no_database_is_refused_and_kept(layout: DataLayout, content: bytes) -> None:
    layout.proxy.mkdir(mode=0o700)
    layout.vault.write_bytes(content)
    layout.vault.chmod(0o600)
    with pytest.raises(VaultError):
        Database.open(layout.vault, nothing)
    assert layout.vault.read_bytes() == content


def test_a_database_of_another_program_is_refused(layout: DataLayout) -> None:
    layout.proxy.mkdir(mode=0o700)
    other = sqlite3.connect(layout.vault)
    other.execute("CREATE TABLE chats (id TEXT)")
    other.close()
    layout.vault.chmod(0o600)
    with pytest.raises(VaultError, match="is not a vault of Mycelos"):
        Database.open(layout.vault, nothing)


def test_a_file_whose_making_was_cut_short_is_made_again(layout: DataLayout) -> None:
    layout.proxy.mkdir(mode=0o700)
    layout.vault.touch(0o600)
    Database.open(layout.vault, nothing).close()
    layout.vault.unlink()
    half = sqlite3.connect(layout.vault)
    half.execute("PRAGMA journal_mode = WAL")
    half.close()
    layout.vault.chmod(0o600)
    database = Database.open(layout.vault, nothing)
    assert database.run_now(lambda connection: set(schema(connection))) == set(METADATA.tables)
    database.close()


def test_a_damaged_page_is_found_at_the_opening(layout: DataLayout) -> None:
    database = Database.open(layout.vault, nothing)
    database.run_now(
        lambda connection: connection.execute(
            KEY_SLOTS.insert(),
            [
                {
                    "kid": f"kid_{n}",
                    "tenant_id": "t",
                    "kdf": "",
                    "wrapped_root": b"r" * 100,
                    "wraps": 0,
                    "created_at": "",
                }
                for n in range(500)
            ],
        )
    )
    database.close()
    content = bytearray(layout.vault.read_bytes())
    content[-8192:] = b"\xff" * 8192
    layout.vault.write_bytes(content)
    with pytest.raises(VaultError, match="damaged|CORRUPT"):
        Database.open(layout.vault, nothing)


def test_the_first_tables_are_those_that_the_migrations_make(layout: DataLayout) -> None:
    engine = make_engine(layout.root / "migrated.sqlite")
    with engine.begin() as connection:
        upgrade_from_nothing(connection)
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
        migrated = schema(connection)
    engine.dispose()
    database = Database.open(layout.vault, nothing)
    made = database.run_now(schema)
    database.close()
    # Alembic makes its own table, with another type for its one column.
    assert {**migrated, "alembic_version": set()} == {**made, "alembic_version": set()}


def upgrade_from_nothing(connection: sa.Connection) -> None:
    command.upgrade(make_config(connection), "head")


def test_migrations_go_down_and_up_again(layout: DataLayout) -> None:
    engine = make_engine(layout.root / "migrated.sqlite")
    with engine.begin() as connection:
        upgrade_from_nothing(connection)
        before = schema(connection)
        command.downgrade(make_config(connection), "base")
        assert set(schema(connection)) == {"alembic_version"}
        upgrade_from_nothing(connection)
        assert schema(connection) == before
    engine.dispose()


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_a_vault_of_an_older_revision_is_upgraded_and_keeps_what_it_holds(layout: DataLayout, revision: str) -> None:
    layout.proxy.mkdir(mode=0o700)
    layout.vault.touch(0o600)
    slot = {"kid": "kid_old", "tenant_id": "t", "kdf": "", "wrapped_root": b"r", "wraps": 0, "created_at": ""}
    engine = make_engine(layout.vault)
    with engine.begin() as connection:
        # As each Mycelos made it, and not as Alembic does where there is none.
        REVISIONS.create(connection)
        command.upgrade(make_config(connection), revision)
        assert PASSKEYS.name not in schema(connection)
        connection.execute(KEY_SLOTS.insert().values(slot))
    engine.dispose()
    database = Database.open(layout.vault, nothing)
    assert set(database.run_now(schema)) == set(METADATA.tables)
    assert database.run_now(lambda connection: connection.scalars(sa.select(KEY_SLOTS.c.kid)).all()) == ["kid_old"]
    database.close()


def test_the_revision_in_the_code_is_the_newest_script() -> None:
    assert ScriptDirectory.from_config(make_config()).get_heads() == [REVISION]


def test_a_file_of_an_unknown_revision_is_refused_and_unchanged(layout: DataLayout) -> None:
    database = Database.open(layout.vault, nothing)
    database.run_now(lambda connection: connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    before = layout.vault.read_bytes()
    with pytest.raises(VaultError, match="'9999', which this Mycelos does not know"):
        Database.open(layout.vault, nothing)
    assert layout.vault.read_bytes() == before


def test_a_file_of_a_known_older_revision_is_upgraded_after_the_key_was_checked(
    layout: DataLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    Database.open(layout.vault, nothing).close()
    monkeypatch.setattr("mycelos.proxy.database.REVISION", "9999")
    seen: list[str] = []
    monkeypatch.setattr("mycelos.proxy.migrations.upgrade", lambda *arguments: seen.append("upgraded"))
    Database.open(layout.vault, lambda _: seen.append("checked")).close()
    assert seen == ["checked", "upgraded"]
    monkeypatch.undo()
    engine = make_engine(layout.vault)
    with engine.begin() as connection:
        upgrade(connection, layout.vault, REVISION)
    engine.dispose()


def test_alembic_is_not_loaded_for_a_file_of_the_present_revision(layout: DataLayout) -> None:
    program = (
        "import sys; from pathlib import Path; from mycelos.proxy.database import Database\n"
        "for _ in range(2): Database.open(Path(sys.argv[1]), lambda connection: None).close()\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('alembic', 'mako')])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, str(layout.vault)], capture_output=True, timeout=60, check=True
    )
    assert done.stdout.strip() == b"[]"


@pytest.mark.anyio
async def test_work_runs_on_one_thread_and_its_result_is_used_when_it_is_durable(layout: DataLayout) -> None:
    database = Database.open(layout.vault, nothing)
    threads: set[str] = set()
    seen: list[object] = []

    def work(connection: sa.Connection) -> int:
        threads.add(threading.current_thread().name)
        return len(threads)

    assert await asyncio.gather(*(database.run(work, seen.append) for _ in range(5))) == [1] * 5
    assert len(threads) == 1
    assert threading.current_thread().name not in threads
    assert seen == [1] * 5
    database.close()


@pytest.mark.anyio
async def test_work_that_fails_leaves_nothing_and_is_not_used(layout: DataLayout) -> None:
    database = Database.open(layout.vault, nothing)
    seen: list[object] = []

    def work(connection: sa.Connection) -> None:
        values = {"kid": "k", "tenant_id": "t", "kdf": "", "wrapped_root": b"", "wraps": 0, "created_at": ""}
        connection.execute(KEY_SLOTS.insert().values(values))
        raise LookupError

    with pytest.raises(LookupError):
        await database.run(work, seen.append)
    assert seen == []
    assert database.run_now(lambda connection: connection.execute(sa.select(KEY_SLOTS)).all()) == []
    database.close()


def test_a_look_reads_a_file_that_is_there_and_makes_none(layout: DataLayout) -> None:
    def tables(connection: sa.Connection) -> set[str]:
        return set(sa.inspect(connection).get_table_names())

    with pytest.raises(FileNotFoundError):
        Database.look(layout.vault, tables)
    assert not layout.proxy.exists()
    Database.open(layout.vault, nothing).close()
    assert KEY_SLOTS.name in Database.look(layout.vault, tables)
    layout.vault.chmod(0o644)
    with pytest.raises(VaultError, match="chmod"):
        Database.look(layout.vault, tables)


def test_nothing_comes_between_the_transactions_of_one_job(layout: DataLayout) -> None:
    database = Database.open(layout.vault, nothing)
    order: list[str] = []
    begun = threading.Event()

    def job() -> None:
        database.transact(lambda _: order.append("first"))
        begun.set()
        database.checkpoint()
        database.transact(lambda _: order.append("second"))

    waiting = threading.Thread(target=lambda: database.alone_now(job))
    waiting.start()
    assert begun.wait(30)
    database.run_now(lambda _: order.append("other"))
    waiting.join(30)
    database.close()
    assert order == ["first", "second", "other"]


def test_a_checkpoint_leaves_nothing_in_the_log_and_says_where_it_cannot(layout: DataLayout) -> None:
    database = Database.open(layout.vault, nothing)
    log = layout.vault.with_name(layout.vault.name + "-wal")
    assert log.stat().st_size > 0
    database.alone_now(database.checkpoint)
    assert log.stat().st_size == 0
    database.run_now(lambda connection: connection.exec_driver_sql("CREATE TABLE more (a)"))
    reader = sqlite3.connect(layout.vault, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM key_slots").fetchone()
    database.run_now(lambda connection: connection.exec_driver_sql("CREATE TABLE still_more (a)"))
    database.run_now(lambda connection: connection.exec_driver_sql("PRAGMA busy_timeout = 50"))
    try:
        with pytest.raises(Refusal) as caught:
            database.alone_now(database.checkpoint)
        assert "SQLITE_BUSY" in caught.value.problem.detail
    finally:
        reader.close()
    database.alone_now(database.checkpoint)
    database.close()


def reopen_after(layout: DataLayout, *statements: str) -> str:
    Database.open(layout.vault, nothing).close()
    connection = sqlite3.connect(layout.vault)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    before = layout.vault.read_bytes()
    with pytest.raises(VaultError) as caught:
        Database.open(layout.vault, nothing)
    assert layout.vault.read_bytes() == before
    return caught.value.detail


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("CREATE TRIGGER revive AFTER DELETE ON egress_rules BEGIN SELECT 1; END", "revive"),
        ("CREATE VIEW another AS SELECT 1", "another"),
        ("CREATE TABLE another (x)", "another"),
        ("CREATE INDEX another ON egress_rules (host)", "another"),
        ("DROP INDEX wrapped_keys_in_use", "wrapped_keys_in_use"),
        ("DROP TABLE passkeys", "passkeys"),
    ],
)
def test_what_mycelos_does_not_make_in_a_vault_is_refused(layout: DataLayout, statement: str, name: str) -> None:
    assert name in reopen_after(layout, statement)


def test_an_index_that_misses_a_row_is_found_at_the_opening(layout: DataLayout) -> None:
    """A search by it would miss a lockdown that a walk over the rows still meets."""
    detail = reopen_after(
        layout,
        "INSERT INTO alembic_version VALUES ('another')",
        "PRAGMA writable_schema = ON",
        # The index's root becomes that of an empty table.
        "UPDATE sqlite_master SET rootpage ="
        " (SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_passkeys_1')"
        " WHERE name = 'sqlite_autoindex_alembic_version_1'",
    )
    assert "is damaged" in detail


class Settled:
    def __init__(self) -> None:
        self.taken: list[object] = []

    def settle(self, connection: sa.Connection) -> object | None:
        return connection.exec_driver_sql("SELECT count(*) FROM operator_settings").scalar() or None

    def take(self, step: object) -> None:
        self.taken.append(step)


def test_a_watcher_has_the_last_word_in_each_transaction_and_is_told_what_is_durable(layout: DataLayout) -> None:
    database = Database.open(layout.vault, nothing)
    watcher = Settled()
    database.watch(watcher)
    database.run_now(nothing)
    insert = "INSERT INTO operator_settings VALUES ('t', '{}', '', '', 'kid', x'00')"

    def write(connection: sa.Connection) -> None:
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql("INSERT INTO key_slots VALUES ('kid', '', '', x'00', 0, '', NULL)")
        connection.exec_driver_sql(insert.format("one"))

    database.run_now(write)
    with pytest.raises(Refusal):
        database.run_now(lambda connection: connection.exec_driver_sql(insert.format("one")))
    database.close()
    assert watcher.taken == [1]


@pytest.mark.parametrize("suffix", ["", "-journal", "-wal", "-shm"])
def test_what_sqlite_would_wait_for_is_refused_by_name(layout: DataLayout, suffix: str) -> None:
    Database.open(layout.vault, nothing).close()
    odd = layout.vault.with_name(layout.vault.name + suffix)
    odd.unlink(missing_ok=True)
    os.mkfifo(odd, 0o600)
    with pytest.raises(VaultError, match=f"{odd.name} is not a regular file"):
        Database.open(layout.vault, nothing)
    with pytest.raises(VaultError, match=f"{odd.name} is not a regular file"):
        Database.look(layout.vault, nothing)
