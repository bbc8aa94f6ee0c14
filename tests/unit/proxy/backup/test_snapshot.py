from __future__ import annotations

import os
import sqlite3
import threading

import pytest
from backup_world import quiet

from mycelos.proxy.backup import snapshot
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.snapshot import describe, open_read_only, take_snapshots
from mycelos.proxy.ledger.rare_index import index_fault
from mycelos.proxy.ledger.schema import schema_faults


def rows(path, statement):
    with open_read_only(path) as connection:
        return connection.execute(statement).fetchall()


def test_the_copies_are_whole_databases_that_stand_alone(world, tmp_path):
    told = []
    copies = take_snapshots(world.layout, tmp_path, lambda name, done: told.append((name, done)))
    assert set(copies) == {"vault.sqlite", "ledger.sqlite", "gateway.sqlite"}
    for path in copies.values():
        assert path.stat().st_mode & 0o777 == 0o600
        assert not path.with_name(f"{path.name}-wal").exists()
        assert rows(path, "PRAGMA quick_check") == [("ok",)]
    with open_read_only(copies["ledger.sqlite"]) as ledger:
        assert (schema_faults(ledger), index_fault(ledger)) == ([], None)
    assert rows(copies["vault.sqlite"], "SELECT service FROM credentials ORDER BY 1") == [("github",), ("slack",)]
    assert rows(copies["gateway.sqlite"], "SELECT title FROM chats") == [("about moss",)]
    assert {name for name, done in told if done == 1} == set(copies)


def test_what_is_written_while_it_is_copied_is_not_in_it(world, tmp_path, monkeypatch):
    monkeypatch.setattr(snapshot, "_PAGES", 1)
    writer = sqlite3.connect(world.layout.gateway_database, isolation_level=None)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("PRAGMA busy_timeout=5000")

    def write(_name, _done):
        writer.execute("INSERT INTO chats VALUES ('too late')")

    copies = take_snapshots(world.layout, tmp_path, write)
    writer.close()
    assert rows(copies["gateway.sqlite"], "SELECT title FROM chats") == [("about moss",)]


def test_vault_and_ledger_are_of_one_moment(world, monkeypatch, tmp_path):
    """A change of the vault between the beginnings of the two is seen, and both begin again."""
    real, between = snapshot._begin, []

    def begin(connection):
        real(connection)
        if not between:
            between.append(1)
            writer = sqlite3.connect(world.layout.vault)
            writer.execute("UPDATE credentials SET last_used_at = 'then'")
            writer.commit()
            writer.close()

    monkeypatch.setattr(snapshot, "_begin", begin)
    copies = take_snapshots(world.layout, tmp_path, quiet)
    assert rows(copies["vault.sqlite"], "SELECT DISTINCT last_used_at FROM credentials") == [("then",)]


def test_a_vault_that_does_not_stop_changing_ends_in_a_refusal(world, monkeypatch, tmp_path):
    numbers = iter(range(1000))
    monkeypatch.setattr(snapshot, "_version", lambda _connection: next(numbers))
    with pytest.raises(BackupError, match="does not stop changing"):
        take_snapshots(world.layout, tmp_path, quiet)


def test_without_a_vault_there_is_nothing_to_copy(layout, tmp_path):
    with pytest.raises(BackupError, match="nothing was ever stored"):
        take_snapshots(layout, tmp_path, quiet)


def test_a_file_that_is_no_database_is_named(world, tmp_path):
    world.layout.gateway_database.write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(BackupError, match=r"gateway\.sqlite.*SQLITE_NOTADB.*move gateway"):
        take_snapshots(world.layout, tmp_path, quiet)


@pytest.mark.parametrize("name", ["vault", "ledger"])
@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_what_sqlite_would_wait_for_is_named(world, tmp_path, name, suffix):
    path = getattr(world.layout, name)
    odd = path.with_name(path.name + suffix)
    odd.unlink(missing_ok=True)
    os.mkfifo(odd, 0o600)
    with pytest.raises(BackupError, match=rf"{odd.name} is not a regular file\. Move it away"):
        take_snapshots(world.layout, tmp_path, quiet)


def test_the_description_tells_head_and_slots(world, tmp_path):
    (seq, leaf_hash), generation, slots = describe(take_snapshots(world.layout, tmp_path, quiet))
    assert (seq, len(leaf_hash)) == (4, 64)
    assert generation is None or generation > 0
    assert [slot[:4] for slot in slots] == ["kid_"]


def test_a_reader_cannot_write(world):
    with open_read_only(world.layout.vault) as connection, pytest.raises(sqlite3.OperationalError):
        connection.execute("DELETE FROM credentials")


def test_readers_do_not_wait_for_each_other(world, tmp_path):
    folders = [tmp_path / str(number) for number in range(3)]
    for folder in folders:
        folder.mkdir()
    threads = [threading.Thread(target=take_snapshots, args=(world.layout, folder, quiet)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all((folder / "proxy" / "vault.sqlite").exists() for folder in folders)
