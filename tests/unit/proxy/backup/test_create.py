from __future__ import annotations

import errno
import fcntl
import io
import os
import sqlite3
import tarfile

import pyrage
import pytest
from backup_world import KEY, SECRET, SERVICES, left_in, quiet, snapshot_of

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.backup import create as creating
from mycelos.proxy.backup.archive import digest
from mycelos.proxy.backup.check import check, unpack
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.snapshot import open_read_only
from mycelos.wire.secret_forms import secret_forms


def opened(world, path):
    return pyrage.decrypt(path.read_bytes(), [world.identity])


def test_a_backup_holds_all_of_it_and_is_for_its_owner_alone(world):
    made = world.create()
    assert left_in(world.folder) == ["b.age"]
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert (made.size, made.sha256) == (made.path.stat().st_size, digest(made.path))
    with tarfile.open(fileobj=io.BytesIO(opened(world, made.path))) as archive:
        assert archive.getnames() == [
            "manifest.json", "vault.sqlite", "ledger.sqlite", "gateway.sqlite", "operator.toml", "gateway.toml"
        ]  # fmt: skip
        assert b"requests_per_run = 7" in archive.extractfile("operator.toml").read()


def test_neither_key_nor_token_nor_a_secret_is_in_it(world):
    world.layout.proxy_token.write_text("proxy-token-that-stays-here")
    world.layout.operator_token.write_text("operator-token-that-stays-here")
    world.layout.command_line_token.write_text("command-line-token-that-stays-here")
    content = opened(world, world.create().path)
    for name in ("proxy", "operator", "command-line"):
        assert f"{name}-token-that-stays-here".encode() not in content
    for secret in (KEY, SECRET.encode()):
        assert not [form for form in secret_forms(secret) if form in content]
    # The search finds what is there.
    assert b"about moss" in content


def test_the_installation_is_as_it_was(world):
    before = snapshot_of(world.layout.root)
    world.create()
    assert snapshot_of(world.layout.root) == before
    assert left_in(world.layout.root / creating.SCRATCH) == []


def test_it_is_on_record_before_the_file_has_its_name(world):
    seen = []
    world.create(record=lambda made: seen.append((made.path.exists(), left_in(world.folder))))
    ((was_there, (partial,)),) = seen
    assert not was_there
    assert partial.startswith(".b.age.")
    assert partial.endswith(".partial")


def test_what_cannot_be_recorded_is_not_made(world):
    def record(_made):
        raise BackupError(detail="The ledger is full.", next_step="Make room.")

    with pytest.raises(BackupError, match="ledger is full"):
        world.create(record=record)
    assert left_in(world.folder) == []
    assert left_in(world.layout.root / creating.SCRATCH) == []


def test_a_file_that_is_there_stays_unless_it_is_told_to_go(world):
    (world.folder / "b.age").write_text("mine")
    with pytest.raises(BackupError, match="stays as it is"):
        world.create()
    assert (world.folder / "b.age").read_text() == "mine"
    world.create(overwrite=True)
    assert (world.folder / "b.age").read_bytes().startswith(b"age-encryption.org/v1\n")
    assert (world.folder / "b.age").stat().st_mode & 0o777 == 0o600


def test_a_file_that_comes_meanwhile_stays(world):
    with pytest.raises(FileExistsError):
        world.create(record=lambda made: made.path.write_text("mine"))
    assert (world.folder / "b.age").read_text() == "mine"
    assert left_in(world.folder) == ["b.age"]


def test_what_a_killed_run_has_left_is_in_nobodys_way(world):
    scratch = world.layout.root / creating.SCRATCH
    (scratch / "below").mkdir(parents=True)
    (scratch / "vault.sqlite").write_text("half")
    (world.folder / ".old.age.0123.partial").write_text("half")
    (scratch / "partial").write_bytes(os.fsencode(world.folder / ".old.age.0123.partial"))
    world.create()
    assert left_in(world.folder) == ["b.age"]
    assert left_in(scratch) == []


def test_a_file_of_somebody_elses_beside_it_stays(world):
    (world.folder / "b.age.partial").write_text("mine")
    world.create()
    assert left_in(world.folder) == ["b.age", "b.age.partial"]
    assert (world.folder / "b.age.partial").read_text() == "mine"


def change(path, *statements):
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_triggers_and_views_of_the_gateway_are_left_out_and_named(world, tmp_path):
    change(
        world.layout.gateway_database,
        "CREATE TRIGGER t AFTER INSERT ON chats BEGIN DELETE FROM chats; END",
        "CREATE VIEW v AS SELECT 1",
    )
    made = world.create()
    assert made.left_out == ("trigger t", "view v")
    root = tmp_path / "unpacked"
    root.mkdir()
    layout = DataLayout(root)
    checked = check(layout, unpack(made.path, [world.identity], layout, quiet), KEY, quiet)
    assert checked.credentials == SERVICES
    # The installation's own file is as it was: what a hostile gateway made there is evidence.
    assert acting(world.layout.gateway_database) == 2


def acting(path):
    with open_read_only(path) as connection:
        return connection.execute("SELECT count(*) FROM sqlite_master WHERE type IN ('trigger', 'view')").fetchone()[0]


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("vault", "CREATE TRIGGER t BEFORE DELETE ON credentials BEGIN SELECT raise(ignore); END"),
        ("vault", "CREATE VIEW v AS SELECT 1"),
        ("ledger", "DROP TRIGGER audit_events_no_delete"),
    ],
)
def test_what_could_not_be_restored_is_not_made(world, name, statement):
    change(getattr(world.layout, name), statement)
    recorded = []
    with pytest.raises(BackupError, match=rf"No backup was made.*{name}.*mycelos doctor"):
        world.create(record=recorded.append)
    assert (recorded, left_in(world.folder)) == ([], [])


def test_a_pipe_in_the_gateways_place_is_named(world):
    world.layout.gateway_database.unlink()
    os.mkfifo(world.layout.gateway_database)
    with pytest.raises(BackupError, match=r"gateway\.sqlite is not a plain file"):
        world.create()


def test_a_pipe_in_the_place_of_settings_is_named(world):
    world.layout.operator_file.unlink(missing_ok=True)
    os.mkfifo(world.layout.operator_file)
    with pytest.raises(BackupError, match=r"operator\.toml is no plain file"):
        world.create()


def test_a_pipe_in_the_place_of_the_note_goes_with_the_rest(world):
    scratch = world.layout.root / creating.SCRATCH
    scratch.mkdir()
    os.mkfifo(scratch / "partial")
    world.create()
    assert left_in(scratch) == []


def test_two_at_once_do_not_meet(world):
    scratch = world.layout.root / creating.SCRATCH
    scratch.mkdir()
    descriptor = os.open(scratch, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(BackupError, match="Another backup"):
        world.create()
    os.close(descriptor)
    world.create()


def test_a_place_in_the_data_folder_is_refused(world):
    with pytest.raises(BackupError, match="lost with it"):
        creating.create(
            world.layout, [world.identity.to_public()], world.layout.root / "b.age", record=quiet, progress=quiet
        )


def test_a_folder_that_is_not_there_is_named(world):
    with pytest.raises(BackupError, match="no folder"):
        world.create("absent/b.age")


def test_a_full_disk_leaves_nothing(world, monkeypatch):
    real = os.write

    def write(descriptor, data):
        if len(data) > 10_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space"):
        world.create()
    assert left_in(world.folder) == []


def test_settings_that_are_no_plain_file_are_refused(world):
    world.layout.operator_file.unlink()
    world.layout.operator_file.symlink_to(world.layout.master_key)
    with pytest.raises(BackupError, match="plain file"):
        world.create()
    assert left_in(world.folder) == []


def test_an_installation_without_gateway_and_settings_can_be_kept_too(world):
    for path in (world.layout.gateway_database, world.layout.operator_file, world.layout.gateway_file):
        path.unlink()
    assert [member.name for member in world.create().manifest.members] == ["vault.sqlite", "ledger.sqlite"]


def test_progress_ends_with_all_of_it(world):
    told = []
    world.create(progress=lambda what, done: told.append((what, done)))
    assert told[-1] == ("encryption", 1.0)
