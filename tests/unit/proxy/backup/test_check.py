from __future__ import annotations

import os
import sqlite3

import pytest
from backup_world import KEY, SERVICES, left_in, quiet
from pyrage.x25519 import Identity
from schema_mutations import MUTATIONS, mutate

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.chain import computed_hash
from mycelos.ledger.entry import COLUMNS, entry_from_row
from mycelos.prove.ledger_copy import forge_index
from mycelos.proxy.backup import check as checking
from mycelos.proxy.backup import create as creating
from mycelos.proxy.backup.check import check, unpack
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.snapshot import open_read_only


@pytest.fixture(autouse=True)
def unchecked(monkeypatch):
    """Backups as a stranger makes them: `create` would refuse."""
    monkeypatch.setattr(creating, "check", quiet)
    monkeypatch.setattr(creating, "remove_what_acts", lambda *_path, **_names: ())


@pytest.fixture
def place(tmp_path):
    root = tmp_path / "unpacked"
    root.mkdir(mode=0o700)
    return DataLayout(root)


def looked_through(world, place, key=KEY):
    """A backup of the world as it is now, unpacked and looked through."""
    made = world.create(overwrite=True)
    return check(place, unpack(made.path, [world.identity], place, quiet), key, quiet)


def refused(world, place, match):
    with pytest.raises(BackupError, match=match):
        looked_through(world, place)


def change(path, *statements):
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_a_sound_backup_is_looked_through_with_every_seal(world, place):
    checked = looked_through(world, place)
    assert checked.credentials == SERVICES
    assert checked.entries == 5


def test_without_a_key_the_vault_stays_unknown(world, place):
    assert looked_through(world, place, None).credentials is None


def test_another_key_does_not_verify(world, place):
    with pytest.raises(BackupError, match="does not open this vault"):
        looked_through(world, place, bytes(32))


def test_the_decrypted_archive_does_not_stay(world, place):
    looked_through(world, place)
    assert left_in(place.root) == ["gateway", "operator.toml", "proxy"]


@pytest.mark.parametrize("cut", [100, 70_000, -1, -20])
def test_of_a_damaged_file_nothing_is_unpacked(world, place, cut):
    made = world.create()
    made.path.write_bytes(made.path.read_bytes()[:cut])
    with pytest.raises(BackupError):
        unpack(made.path, [world.identity], place, quiet)
    assert left_in(place.root) == []


def test_of_a_file_for_somebody_else_nothing_is_unpacked(world, place):
    with pytest.raises(BackupError, match="other recipients"):
        unpack(world.create().path, [Identity.generate()], place, quiet)
    assert left_in(place.root) == []


def test_a_file_for_which_there_is_no_room_is_not_begun(world, place, monkeypatch):
    made = world.create()
    monkeypatch.setattr(checking, "_SPARE", 1 << 60)
    with pytest.raises(BackupError, match="bytes free"):
        unpack(made.path, [world.identity], place, quiet)
    assert left_in(place.root) == []


@pytest.mark.parametrize(
    "statement", ["CREATE TRIGGER t AFTER UPDATE ON credentials BEGIN SELECT 1; END", "CREATE VIEW v AS SELECT 1"]
)
def test_a_vault_that_would_act_by_itself_is_refused(world, place, statement):
    change(world.layout.vault, statement)
    refused(world, place, r"vault\.sqlite.*trigger or a view")


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_vault_whose_schema_somebody_changed_is_refused_without_a_key_too(world, place, name):
    manifest = unpack(world.create().path, [world.identity], place, quiet)
    mutate(place.vault, MUTATIONS[name])
    with pytest.raises(BackupError):
        check(place, manifest, None, quiet)


def test_without_the_comparison_a_generated_column_passes(world, place, monkeypatch):
    """The twin."""
    manifest = unpack(world.create().path, [world.identity], place, quiet)
    mutate(place.vault, MUTATIONS["a generated column"])
    with pytest.raises(BackupError, match="than Mycelos makes: credentials"):
        check(place, manifest, None, quiet)
    monkeypatch.setattr(checking, "_demand_own_schema", lambda _path: None)
    check(place, manifest, None, quiet)


def test_a_gateway_that_would_act_by_itself_is_refused(world, place):
    change(world.layout.gateway_database, "CREATE TRIGGER t AFTER INSERT ON chats BEGIN DELETE FROM chats; END")
    refused(world, place, r"gateway\.sqlite.*trigger")


def test_a_ledger_without_its_guards_is_refused(world, place):
    change(world.layout.ledger, "DROP TRIGGER audit_events_no_delete")
    refused(world, place, "another schema")


def test_an_index_that_leaves_an_entry_out_is_refused(world, place):
    forge_index(world.layout.ledger, where="event <> 'ledger.checkpoint'")
    refused(world, place, "does not hold: entry 0: the index of rare entries leaves this entry out")


def test_an_entry_that_was_edited_is_refused(world, place):
    change(
        world.layout.ledger, "DROP TRIGGER audit_events_no_update", "UPDATE audit_events SET subject='x' WHERE seq=1"
    )
    refused(world, place, "does not hold")


def test_a_ledger_that_was_written_anew_is_refused_by_the_manifest(world, place):
    made = world.create()
    manifest = unpack(made.path, [world.identity], place, quiet)
    with open_read_only(place.ledger) as connection:
        last = entry_from_row(
            connection.execute(f"SELECT {', '.join(COLUMNS)} FROM audit_events WHERE seq = 3").fetchone()
        )
    other = last._replace(subject="other")
    change(
        place.ledger,
        "DROP TRIGGER audit_events_no_update",
        f"UPDATE audit_events SET subject = 'other', leaf_hash = '{computed_hash(other)}' WHERE seq = 3",
    )
    with pytest.raises(BackupError, match="does not hold"):
        check(place, manifest, KEY, quiet)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE credential_versions SET payload = randomblob(length(payload)) WHERE bindings LIKE '%slack%'",
        "UPDATE credential_versions SET label = 'other' WHERE bindings LIKE '%slack%'",
        "UPDATE credentials SET row_mac = randomblob(32) WHERE service = 'slack'",
        "UPDATE credentials SET parked_at = '2026-01-01T00:00:00Z' WHERE service = 'slack'",
    ],
)
def test_a_vault_with_an_altered_record_is_refused(world, place, statement):
    change(world.layout.vault, statement)
    refused(world, place, "vault in the backup")


def test_a_database_that_is_damaged_is_refused(world, place, monkeypatch):
    made = world.create()
    manifest = unpack(made.path, [world.identity], place, quiet)
    size = place.gateway_database.stat().st_size
    with place.gateway_database.open("r+b") as stream:
        stream.seek(4096)
        stream.write(os.urandom(size - 4096))
    with pytest.raises(BackupError, match=r"gateway\.sqlite in the backup (is damaged|cannot be read as a database)"):
        check(place, manifest, KEY, quiet)


def test_a_database_of_another_kind_in_a_members_place_is_refused(world, place, tmp_path, monkeypatch):
    other = tmp_path / "other.sqlite"
    change(other, "CREATE TABLE audit_events (seq)")
    real = creating.take_snapshots

    def swapped(layout, folder, progress):
        return {**real(layout, folder, progress), "vault.sqlite": other}

    monkeypatch.setattr(creating, "take_snapshots", swapped)
    monkeypatch.setattr(creating, "describe", lambda _copies: ((3, "ab" * 32), None, ()))
    refused(world, place, "has other tables")
