from __future__ import annotations

import fcntl
import os
import shutil

import pytest
from backup_world import KEY, SERVICES, left_in, quiet, record, snapshot_of
from pyrage.x25519 import Identity

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.events import Event
from mycelos.ledger.log_filter import Filter
from mycelos.proxy.backup import restore as restoring
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.restore import Key, adopt, find_key, restore
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.rollback import WAYS_ON
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.store import Vault


def put_back(world, made, root=None, key=KEY, identity=None, **options):
    options = {"furnish": quiet, "step": quiet, "progress": quiet, **options}
    layout = world.layout if root is None else DataLayout(root)
    return restore(made.path, [identity or world.identity], layout, Key(key, keep=True), **options)


def services(layout):
    vault = Vault.open(layout, KEY)
    found = tuple(credential.service for credential in vault.list())
    vault.close()
    return found


@pytest.mark.parametrize("there", ["absent", "empty"])
def test_into_an_absent_or_empty_folder_all_of_it_comes_back(world, tmp_path, there):
    made = world.create()
    root = tmp_path / "new" / "data"
    root.parent.mkdir()
    if there == "empty":
        root.mkdir()
    done = put_back(world, made, root)
    assert (done.aside, done.reopened.parked) == (None, SERVICES)
    layout = DataLayout(root)
    assert left_in(root.parent) == ["data"]
    assert services(layout) == SERVICES
    assert layout.gateway_file.read_text() == "# ours\n"
    assert layout.operator_file.read_text() == "[egress]\nrequests_per_run = 7\n"
    assert layout.master_key.stat().st_mode & 0o777 == 0o600
    assert not (root / restoring.MARK).exists()


def test_over_an_installation_that_one_is_kept_whole(world, tmp_path):
    made = world.create()
    (world.layout.root / "of-mine").write_text("mine")
    before = snapshot_of(world.layout.root)
    done = put_back(world, made)
    assert done.aside.parent == world.layout.root.parent
    assert done.aside.name.startswith("data.before-restore-")
    assert snapshot_of(done.aside) == before
    assert not (world.layout.root / "of-mine").exists()
    assert left_in(world.layout.root.parent) == sorted([world.layout.root.name, done.aside.name])


def test_the_restore_is_on_record_with_what_was_restored(world):
    made = world.create()
    put_back(world, made)
    with LedgerReader(world.layout.ledger) as reader:
        (entry,) = reader.newest(1, Filter(event="backup.restored"))
    details = entry.as_dict()["details"]
    assert (details["file_label"], details["seq"], details["size"]) == ("b.age", made.manifest.ledger.seq, made.size)


def test_a_key_that_does_not_fit_changes_nothing(world):
    made = world.create()
    before = snapshot_of(world.layout.root.parent)
    with pytest.raises(BackupError, match="does not open this vault"):
        put_back(world, made, key=bytes(32))
    assert snapshot_of(world.layout.root.parent) == before
    assert left_in(world.layout.root.parent) == ["data"]


def test_a_file_that_is_not_whole_changes_nothing(world):
    made = world.create()
    before = snapshot_of(world.layout.root.parent)
    made.path.write_bytes(made.path.read_bytes()[:-1])
    with pytest.raises(BackupError, match="cut short"):
        put_back(world, made)
    with pytest.raises(BackupError):
        put_back(world, made, identity=Identity.generate())
    assert snapshot_of(world.layout.root.parent) == before
    assert left_in(world.layout.root.parent) == ["data"]


def test_an_installation_that_runs_is_not_replaced(world):
    made = world.create()
    vault = Vault.open(world.layout, KEY)
    with pytest.raises(BackupError, match="mycelos stop"):
        put_back(world, made)
    vault.close()
    assert left_in(world.layout.root.parent) == ["data"]


def test_a_key_of_the_environment_is_not_written_down(world, tmp_path):
    made = world.create()
    root = tmp_path / "data"
    restore(
        made.path, [world.identity], DataLayout(root), Key(KEY, keep=False), furnish=quiet, step=quiet, progress=quiet
    )
    assert not DataLayout(root).master_key.exists()


def test_the_new_folder_is_furnished_before_it_is_in_place(world):
    made = world.create()
    seen = []
    put_back(world, made, furnish=lambda layout: seen.append(layout.root.name))
    assert seen == [".data.restoring"]


def test_a_lockdown_of_the_present_installation_stays(world):
    made = world.create()
    record(world.layout, Event.LOCKDOWN_SET, {"since": "2026-01-01T00:00:00Z"})
    assert put_back(world, made).reopened.locked


def test_a_lockdown_of_the_backup_stays(world, tmp_path):
    record(world.layout, Event.LOCKDOWN_SET, {"since": "2026-01-01T00:00:00Z"})
    assert put_back(world, world.create(), tmp_path / "data").reopened.locked


def test_over_a_damaged_installation_a_restore_locks_down(world):
    made = world.create()
    world.layout.vault.write_bytes(b"damaged " * 4000)
    assert put_back(world, made).reopened.locked


@pytest.mark.parametrize("kind", ["link", "mount"])
def test_what_cannot_be_exchanged_is_refused(world, tmp_path, monkeypatch, kind):
    made = world.create()
    root = tmp_path / "data"
    if kind == "link":
        root.symlink_to(world.layout.root)
    else:
        root.mkdir()
        monkeypatch.setattr(os.path, "ismount", lambda path: path == root)
    with pytest.raises(BackupError, match="cannot be exchanged"):
        put_back(world, made, root)


def test_a_folder_of_another_user_is_refused(world, monkeypatch):
    made = world.create()
    monkeypatch.setattr(restoring.os, "geteuid", lambda: 4711)
    with pytest.raises(BackupError, match="belongs to user id"):
        put_back(world, made)


def test_a_second_restore_waits_for_the_first(world):
    made = world.create()
    folder = world.layout.root.with_name(".data.restoring")
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(BackupError, match="Another restore"):
        put_back(world, made)
    os.close(descriptor)


def test_what_is_unfinished_is_removed_and_what_is_not_marked_is_kept(world):
    made = world.create()
    folder = world.layout.root.with_name(".data.restoring")
    (folder / "proxy").mkdir(parents=True)
    (folder / restoring.MARK).touch()
    (folder / "half").touch()
    put_back(world, made)
    # Only what was there before stands aside.
    assert len(left_in(world.layout.root.parent)) == 2
    folder.mkdir()
    (folder / "somebodys").write_text("installation")
    put_back(world, made)
    kept = [path for path in world.layout.root.parent.iterdir() if (path / "somebodys").exists()]
    assert [path.name.partition("-restore-")[0] for path in kept] == ["data.before"]


def test_where_the_exchange_is_refused_what_was_prepared_is_removed(world, monkeypatch):
    made = world.create()

    def refuse(*_arguments):
        raise BackupError(detail="It cannot exchange.", next_step="Move it.")

    monkeypatch.setattr(restoring, "put_in_place", refuse)
    with pytest.raises(BackupError, match="cannot exchange"):
        put_back(world, made)
    assert left_in(world.layout.root.parent) == ["data"]


def test_an_adopted_copy_parks_everything(world):
    assert adopt(world.layout, Key(KEY, keep=True), quiet).parked == SERVICES


@pytest.mark.parametrize("gone", ["the vault", "the vault and its ledger", "everything"])
def test_where_the_vault_is_gone_there_is_nothing_to_adopt_and_it_is_said_what_leads_on(world, gone):
    names = {"the vault": "vault.sqlite*", "the vault and its ledger": "*.sqlite*", "everything": "*"}[gone]
    for path in world.layout.proxy.glob(names):
        path.unlink()
    if gone == "everything":
        for path in (world.layout.gateway_head, world.layout.command_line_head):
            path.unlink(missing_ok=True)
    before = snapshot_of(world.layout.root)
    with pytest.raises((BackupError, VaultError), match="There is no vault") as caught:
        adopt(world.layout, Key(KEY, keep=True), quiet)
    assert caught.value.next_step == WAYS_ON
    assert snapshot_of(world.layout.root) == before


def test_a_copy_whose_key_does_not_fit_is_not_adopted(world):
    before = snapshot_of(world.layout.root)
    with pytest.raises(BackupError, match="does not open"):
        adopt(world.layout, Key(bytes(32), keep=True), quiet)
    assert snapshot_of(world.layout.root) == before


def test_the_key_comes_from_the_file_the_environment_or_the_folder(world, tmp_path):
    given = world.key_file()
    other = DataLayout(tmp_path / "other")
    assert find_key(other, None, None) is None
    assert find_key(other, None, given) == Key(KEY, keep=True)
    assert find_key(other, KEY, given) == Key(KEY, keep=False)
    assert find_key(other, bytes(32), None) == Key(bytes(32), keep=False)
    assert find_key(world.layout, None, None) == Key(KEY, keep=True)
    with pytest.raises(BackupError, match="two different keys"):
        find_key(world.layout, bytes(32), given)
    given.chmod(0o644)
    with pytest.raises(VaultError, match="mode 0644"):
        find_key(world.layout, None, given)


def test_a_key_does_not_print_itself():
    assert "x" not in repr(Key(b"x" * 32, keep=True)).replace("<Key>", "")


def test_a_restore_can_be_restored_again_from_what_was_set_aside(world, tmp_path):
    done = put_back(world, world.create())
    shutil.move(done.aside, tmp_path / "again")
    assert services(DataLayout(tmp_path / "again")) == SERVICES
