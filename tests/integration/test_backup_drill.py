"""The restore drill: a system is filled, backed up running, destroyed, restored with the key kept apart, and used.

And what a backup must not do: bring to life what was revoked after it was made.
"""

from __future__ import annotations

import json
import shutil

import pytest
from running_system import TOKEN, running_system


@pytest.fixture
def system(data_directory):
    with running_system(data_directory) as running:
        running.furnish("github.read", "web.read")
        yield running


@pytest.fixture
def apart(tmp_path):
    """What a person keeps elsewhere: the copy of the key, the identity, the backups."""
    for name in ("keys", "backups"):
        (tmp_path / name).mkdir()
    return tmp_path


def keep_key(system, apart):
    shutil.copy(system.layout.master_key, apart / "keys" / "master.key")
    (apart / "keys" / "master.key").chmod(0o600)


def back_up(system, apart):
    """A backup of the running system, verified; its file."""
    target = apart / "backups" / "b.age"
    system.must("backup", "create", "--new-identity", str(apart / "keys" / "identity"), "--output", str(target))
    return target


def restore(system, apart):
    return json.loads(
        system.must(
            "backup", "restore", str(apart / "backups" / "b.age"), "--identity", str(apart / "keys" / "identity"),
            "--master-key-file", str(apart / "keys" / "master.key"), "--json",
        )
    )  # fmt: skip


def read_issues(system):
    """How a run ends in which the agent reads issues with the credential."""
    return system.ask("Read the issues")[-1]


def test_the_restore_drill(system, apart):
    assert read_issues(system)["kind"] == "done"
    uses = len(system.seen("api"))
    (chat,) = system.api("GET", "/api/chats")
    messages = system.api("GET", f"/api/chats/{chat['id']}/messages")
    keep_key(system, apart)
    backup = back_up(system, apart)
    verified = json.loads(
        system.must("backup", "verify", str(backup), "--identity", str(apart / "keys" / "identity"), "--json")
    )
    assert (verified["verdict"], verified["credentials"]) == ("holds", ["github"])
    assert "backup.created" in {entry["event"] for entry in system.audit()}
    # Nobody stops it in order: it is gone.
    system.supervisor.kill()
    system.supervisor.wait(60)
    shutil.rmtree(system.data)

    told = restore(system, apart)
    assert (told["parked"], told["aside"]) == (["github"], None)
    system.start()

    # Chats and agents are there, and the command line signs in anew.
    (again,) = system.api("GET", "/api/chats")
    assert again["id"] == chat["id"]
    assert system.api("GET", f"/api/chats/{chat['id']}/messages") == messages
    assert "gardener" in system.must("agent", "list")
    # No rule came back, so not even the model is asked until the operator says so.
    assert read_issues(system)["code"] == "egress_not_allowed"
    system.must("egress", "allow", f"http://{system.outside['model']}", "--method", "POST")
    # The agent runs, and its credential is refused with the way out.
    read_issues(system)
    assert len(system.seen("api")) == uses
    refused = [entry for entry in system.audit("--suspicious") if entry["reason"] == "credential_unknown"]
    assert refused, "the parked credential was not asked for"
    assert "PARKED" in system.must("credential", "list")
    # Confirmed, it works again, with the secret that nobody typed a second time.
    assert system.outside["api"].partition(":")[2] in system.must("credential", "confirm", "github", "--yes")
    assert read_issues(system)["kind"] == "done"
    assert len(system.seen("api")) > uses
    # The ledger says all of it, and holds.
    events = [entry["event"] for entry in system.audit()]
    for name in ("ledger.restored", "backup.restored", "credential.parked", "credential.confirmed"):
        assert name in events
    assert system.mycelos("db", "audit", "verify").returncode == 0
    assert TOKEN not in system.log()


def test_a_backup_does_not_revive_what_was_revoked_after_it(system, apart):
    keep_key(system, apart)
    back_up(system, apart)
    system.must("credential", "delete", "github", "--yes")
    system.must("egress", "remove", f"http://{system.outside['model']}")
    system.must("lockdown")
    system.stop()
    told = restore(system, apart)
    assert told["locked_down"] is True
    system.start()
    # Locked down still, over the restore and the start.
    assert read_issues(system)["code"] == "locked_down"
    assert json.loads(system.must("status", "--json"))["locked_down"] is True
    system.must("lockdown", "--lift")
    assert json.loads(system.must("egress", "list", "--json")) == []
    (credential,) = json.loads(system.must("credential", "list", "--json"))["credentials"]
    assert credential["parked_at"]
    # Its secret is in nobody's hands: using it is refused at the proxy itself.
    uses = len(system.seen("api"))
    system.must("egress", "allow", f"http://{system.outside['model']}", "--method", "POST")
    read_issues(system)
    assert len(system.seen("api")) == uses
    # What was there before the restore is kept.
    assert (system.data.parent / told["aside"] / "proxy" / "vault.sqlite").exists()


def test_an_old_copy_put_back_by_hand_is_taken_over(system, apart):
    assert read_issues(system)["kind"] == "done"
    system.stop()
    shutil.copytree(system.data, apart / "copy")
    system.start()
    system.must("credential", "delete", "github", "--yes")
    system.stop()
    shutil.rmtree(system.data)
    shutil.copytree(apart / "copy", system.data)
    # Noticed, and the way out is named.
    refused = system.launch()
    assert refused.wait(60) != 0
    assert "mycelos backup adopt" in system.log()
    told = json.loads(system.must("backup", "adopt", "--json"))
    assert told["parked"] == ["github"]
    system.start()
    assert "PARKED" in system.must("credential", "list")
    assert system.mycelos("db", "audit", "verify").returncode == 0
