from __future__ import annotations

import sqlite3

import pytest
from backup_world import KEY, snapshot_of

from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.key_fit import demand_fit


def test_the_key_that_made_the_vault_fits_and_nothing_is_written(world):
    before = snapshot_of(world.layout.root)
    demand_fit(world.layout.vault, KEY)
    assert snapshot_of(world.layout.root) == before


@pytest.mark.parametrize("key", [bytes(32), KEY[::-1], KEY[:31]])
def test_another_key_does_not(world, key):
    with pytest.raises(BackupError, match="does not open this vault"):
        demand_fit(world.layout.vault, key)


@pytest.mark.parametrize("column", ["kid", "tenant_id", "kdf", "created_at"])
def test_a_slot_that_was_altered_does_not_open(world, column):
    with sqlite3.connect(world.layout.vault) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute(f"UPDATE key_slots SET {column} = 'ö' || {column}")
    connection.close()
    with pytest.raises(BackupError, match="does not open"):
        demand_fit(world.layout.vault, KEY)


def test_what_is_no_vault_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"no database at all, however long it may be" * 50)
    with pytest.raises(BackupError):
        demand_fit(tmp_path / "a", KEY)
    with pytest.raises(BackupError):
        demand_fit(tmp_path / "absent", KEY)
    with sqlite3.connect(tmp_path / "b") as connection:
        connection.execute("CREATE TABLE other (x)")
    connection.close()
    with pytest.raises(BackupError, match="cannot be read"):
        demand_fit(tmp_path / "b", KEY)
