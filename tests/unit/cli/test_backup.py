from __future__ import annotations

import base64
import errno
import fcntl
import json
import os
import shutil
import sqlite3
import stat

import pytest
from backup_world import KEY, SERVICES, World, furnish, left_in, snapshot_of
from pyrage.x25519 import Identity

from mycelos.proxy.backup import create as creating
from mycelos.proxy.ledger.reader import LedgerReader


@pytest.fixture
def world(layout, tmp_path):
    furnish(layout)
    return World(layout, Identity.generate(), tmp_path)


@pytest.fixture
def backup(world):
    """A backup of the world, and what is kept apart from it."""
    world.create()
    return ("b.age", world.identity_file(), world.key_file())


def words(world, command, backup, *flags):
    name, identity, _ = backup
    return ("backup", command, str(world.folder / name), "--identity", str(identity), *flags)


def newest(world):
    with LedgerReader(world.layout.ledger) as reader:
        return reader.newest(1)[0].as_dict()


def test_a_backup_of_a_stopped_system_is_made_and_on_record(mycelos, world):
    target = world.folder / "made.age"
    code, out, err = mycelos(
        "backup", "create", "--recipient", str(world.identity.to_public()), "--output", str(target), "--json"
    )
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["file"] == str(target)
    assert told["recipients"] == [str(world.identity.to_public())]
    assert told["members"][:2] == ["vault.sqlite", "ledger.sqlite"]
    entry = newest(world)
    assert (entry["event"], entry["details"]["sha256"]) == ("backup.created", told["sha256"])
    assert entry["details"]["file_label"] == "made.age"


def test_a_backup_that_cannot_be_recorded_before_a_start_is_not_made(mycelos, world, monkeypatch):
    monkeypatch.setattr("mycelos.proxy.ledger.writer.LIMIT", 0)
    before, target = newest(world), world.folder / "made.age"
    code, _, err = mycelos("backup", "create", "--recipient", str(world.identity.to_public()), "--output", str(target))
    assert code == 1
    assert "may wait for a start that signs them. Start the system once" in err
    assert not [path for path in world.folder.iterdir() if path.name.startswith((".made", "made"))]
    assert newest(world) == before


def test_a_backup_of_a_running_system_is_recorded_by_it(mycelos, operator_system, tmp_path):
    operator_system.client.create_link()
    recipient = str(Identity.generate().to_public())
    code, out, _ = mycelos("backup", "create", "--recipient", recipient, "--output", str(tmp_path / "b.age"))
    assert code == 0
    assert "The master key is not in it." in out
    (entry,) = operator_system.events("backup.created")
    assert (entry["source"], entry["details"]["size"]) == ("operator", (tmp_path / "b.age").stat().st_size)


def test_recipients_come_from_a_file_too(mycelos, world):
    listed = world.folder / "recipients"
    listed.write_text(f"# two\n{world.identity.to_public()}\n\n{Identity.generate().to_public()}\n")
    code, out, _ = mycelos(
        "backup", "create", "--recipients-file", str(listed), "--output", str(world.folder / "x.age"), "--json"
    )
    assert (code, len(json.loads(out)["recipients"])) == (0, 2)


def test_without_a_recipient_it_is_said_how_to_make_one(mycelos, world):
    code, _, err = mycelos("backup", "create", "--output", str(world.folder / "x.age"))
    assert code == 1
    assert "mycelos backup create --new-identity FILE" in err
    assert left_in(world.folder) == []


def test_a_new_identity_is_made_for_its_owner_and_kept_apart(mycelos, world):
    (world.folder / "stick").mkdir()
    identity = world.folder / "stick" / "identity.txt"
    target = world.folder / "x.age"
    code, out, _ = mycelos("backup", "create", "--new-identity", str(identity), "--output", str(target))
    assert code == 0
    assert f"Keep {identity} away" in out
    assert "AGE-SECRET-KEY" not in out
    assert stat.S_IMODE(identity.stat().st_mode) == 0o600
    code, out, _ = mycelos("backup", "verify", str(target), "--identity", str(identity))
    assert (code, "2, each opens" in out) == (0, True)


@pytest.mark.parametrize("place", ["beside", "in the data folder"])
def test_an_identity_beside_the_backup_or_in_the_data_folder_is_refused(mycelos, world, place):
    identity = (world.folder if place == "beside" else world.layout.root) / "identity.txt"
    code, _, err = mycelos("backup", "create", "--new-identity", str(identity), "--output", str(world.folder / "x.age"))
    assert code == 2
    assert "Name another place" in err
    assert not identity.exists()
    assert left_in(world.folder) == []


def test_an_identity_stays_where_its_backup_has_its_name_and_something_fails_afterwards(mycelos, world, monkeypatch):
    """Else the backup would be there, and nobody could read it any more."""
    target, identity = world.folder / "made.age", world.folder / "stick" / "identity.txt"
    identity.parent.mkdir()
    name = creating._name

    def fail_afterwards(*arguments, **keywords):
        name(*arguments, **keywords)
        raise OSError(errno.EIO, "the disk is gone")

    monkeypatch.setattr(creating, "_name", fail_afterwards)
    assert mycelos("backup", "create", "--new-identity", str(identity), "--output", str(target))[0] == 1
    assert mycelos("backup", "verify", str(target), "--identity", str(identity))[0] in {0, 6}


def test_a_new_identity_for_a_backup_that_failed_does_not_stay(mycelos, world):
    (world.folder / "x.age").write_text("mine")
    (world.folder / "stick").mkdir()
    code, _, err = mycelos(
        "backup",
        "create",
        "--new-identity",
        str(world.folder / "stick" / "id"),
        "--output",
        str(world.folder / "x.age"),
    )
    assert (code, "stays as it is" in err) == (1, True)
    assert left_in(world.folder / "stick") == []


def test_the_secret_half_as_a_recipient_is_not_repeated(mycelos, world):
    code, out, err = mycelos("backup", "create", "--recipient", str(world.identity))
    assert (code, out) == (1, "")
    assert "secret half" in err
    assert str(world.identity)[16:30] not in err


def test_a_sound_backup_verifies_and_nothing_is_left(mycelos, world, backup, monkeypatch, tmp_path):
    (tmp_path / "t").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t"))
    before = snapshot_of(world.layout.root)
    code, out, _ = mycelos(*words(world, "verify", backup, "--json"))
    assert code == 0
    told = json.loads(out)
    assert (told["verdict"], told["credentials"]) == ("holds", list(SERVICES))
    assert snapshot_of(world.layout.root) == before
    assert left_in(tmp_path / "t") == []


def test_without_a_key_it_cannot_tell_whether_the_vault_opens(mycelos, world, backup):
    world.layout.master_key.unlink()
    code, out, _ = mycelos(*words(world, "verify", backup))
    assert code == 6
    assert "cannot tell" in out
    code, out, _ = mycelos(*words(world, "verify", backup, "--master-key-file", str(backup[2])))
    assert code == 0


@pytest.mark.parametrize("fault", ["cut", "changed", "foreign", "no age file", "another identity", "another key"])
def test_a_backup_that_does_not_verify_is_refused_and_nothing_is_left(
    mycelos, world, backup, monkeypatch, tmp_path, fault
):
    (tmp_path / "t").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t"))
    path = world.folder / "b.age"
    content = path.read_bytes()
    if fault == "cut":
        path.write_bytes(content[:-40_000])
    elif fault == "changed":
        path.write_bytes(content[:50_000] + b"x" + content[50_001:])
    elif fault == "foreign":
        shutil.copy(world.layout.vault, path)
    elif fault == "no age file":
        path.write_bytes(b"")
    elif fault == "another identity":
        backup[1].write_text(str(Identity.generate()))
    else:
        world.layout.master_key.write_text("AA" * 21 + "A=\n")
    for command in ("verify", "restore"):
        before = snapshot_of(world.layout.root)
        code, out, err = mycelos(*words(world, command, backup))
        assert (code, out) == (1, ""), fault
        assert err.startswith("mycelos: ")
        assert snapshot_of(world.layout.root) == before
        assert left_in(world.layout.root.parent) == ["data"]
    assert left_in(tmp_path / "t") == []


def test_a_restore_says_what_came_back_and_what_did_not(mycelos, world, backup):
    code, out, _ = mycelos(*words(world, "restore", backup))
    assert code == 0
    assert "Parked until you confirm each: github, slack" in out
    assert "mycelos egress allow https://rule.example:443 --method GET" in out
    assert "mycelos egress web on" in out
    assert "before-restore-" in out
    # Made anew: it is in no backup.
    assert stat.S_IMODE(world.layout.proxy_token.stat().st_mode) == 0o600
    code, out, _ = mycelos("db", "audit", "verify")
    assert code == 0


def test_a_restore_without_the_key_is_refused(mycelos, world, backup):
    shutil.rmtree(world.layout.root)
    code, _, err = mycelos(*words(world, "restore", backup))
    assert (code, "--master-key-file" in err) == (1, True)
    code, out, _ = mycelos(*words(world, "restore", backup, "--master-key-file", str(backup[2]), "--json"))
    assert (code, json.loads(out)["aside"]) == (0, None)


def test_a_key_in_the_environment_is_used_and_not_written(mycelos, world, backup, monkeypatch):
    monkeypatch.setenv("MYCELOS_MASTER_KEY", backup[2].read_text().strip())
    shutil.rmtree(world.layout.root)
    assert mycelos(*words(world, "restore", backup))[0] == 0
    assert not world.layout.master_key.exists()


def test_an_old_copy_is_adopted(mycelos, world):
    code, out, _ = mycelos("backup", "adopt", "--json")
    told = json.loads(out)
    assert (code, told["parked"], told["web"]) == (0, list(SERVICES), "on")
    assert newest(world)["event"] == "ledger.restored"


@pytest.mark.parametrize("command", ["restore", "adopt"])
def test_while_it_runs_nothing_is_replaced(mycelos, operator_system, tmp_path, command):
    operator_system.client.create_link()
    world = World(operator_system.layout, Identity.generate(), tmp_path)
    world.create()
    key = tmp_path / "key"
    key.write_bytes(base64.b64encode(KEY))
    key.chmod(0o600)
    flags = (str(tmp_path / "b.age"), "--identity", str(world.identity_file())) if command == "restore" else ()
    code, _, err = mycelos("backup", command, *flags, "--master-key-file", str(key))
    assert (code, "mycelos stop" in err) == (1, True)


def test_a_supervisor_that_runs_is_not_pulled_from_under(mycelos, world, backup):
    world.layout.run.mkdir()
    descriptor = os.open(world.layout.run / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    code, _, err = mycelos(*words(world, "restore", backup))
    os.close(descriptor)
    assert (code, "mycelos stop" in err) == (1, True)


def test_on_a_terminal_long_work_shows_how_far_it_is(mycelos, world, backup, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    code, _, err = mycelos(*words(world, "restore", backup))
    assert code == 0
    assert "decryption: 100 %" in err
    assert "exchange" in err


@pytest.mark.parametrize("command", ["restore", "verify"])
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o640])
def test_an_identity_that_others_may_read_is_warned_about(mycelos, world, backup, command, mode):
    backup[1].chmod(mode)
    code, _, err = mycelos(*words(world, command, backup, "--master-key-file", str(backup[2])))
    assert code == 0
    assert (f"other users may open {backup[1]}" in err) is (mode != 0o600)


@pytest.mark.parametrize("command", ["restore", "adopt"])
def test_help_and_output_say_what_comes_back_as_it_was(mycelos, world, backup, command):
    shown = mycelos("backup", command, "--help")[1]
    rest = words(world, "restore", backup)[2:] if command == "restore" else ()
    code, out, _ = mycelos("backup", command, *rest, "--master-key-file", str(backup[2]))
    assert code == 0
    for text in (shown, out):
        assert "Agents with their capabilities, models and chats" in " ".join(text.replace("│", " ").split())
        assert "mycelos agent list" in " ".join(text.replace("│", " ").split())


def test_what_of_a_hostile_gateway_is_not_in_the_backup_is_said(mycelos, world):
    with sqlite3.connect(world.layout.gateway_database) as connection:
        connection.execute("CREATE VIEW v AS SELECT 1")
    connection.close()
    recipient = ("--recipient", str(world.identity.to_public()))
    code, _, err = mycelos("backup", "create", *recipient, "--output", str(world.folder / "one.age"))
    assert (code, "not in the backup: view v of gateway.sqlite" in err) == (0, True)
    code, out, _ = mycelos("backup", "create", *recipient, "--output", str(world.folder / "two.age"), "--json")
    assert (code, json.loads(out)["left_out"]) == (0, ["view v"])
