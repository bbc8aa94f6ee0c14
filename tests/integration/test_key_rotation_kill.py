"""The rotation of the master key, killed at every write, and on a disk that refuses each of them: nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rotation_victim import SECRETS

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.database import Database
from mycelos.proxy.egress.rules import EgressRules
from mycelos.proxy.lockdown import Lockdown
from mycelos.proxy.vault import next_key, slots
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.keys import load_master_key, read_master_key
from mycelos.proxy.vault.next_key import Settled, settle_at_start
from mycelos.proxy.vault.store import Vault
from mycelos.wire.keys import LONG_LIVED_KEYS
from mycelos.wire.operator import WebAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

VICTIM = Path(__file__).resolve().parents[1] / "support" / "rotation_victim.py"
STEP = 512 if os.environ.get("MYCELOS_TEST_DEPTH") == "deep" else 4096
"""Bytes between two lengths at which a write is cut in two; SQLite's pages have 4096."""


def run_victims(folder: Path, how: str) -> list[dict[str, Any]]:
    """Every child of one kind; the last one got through."""
    command = [sys.executable, str(VICTIM), str(folder), how, str(STEP)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=600)
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert lines[-1].get("through"), "no child ever got through"
    return lines


def opening_keys(layout: DataLayout) -> list[Path]:
    """Which of the key files open the vault as it lies there."""
    files = [path for path in (layout.master_key, layout.master_key_next) if path.exists()]
    keys = {path: read_master_key(path) for path in files}
    return [path for path in files if Database.look(layout.vault, lambda c, path=path: slots.opens(c, keys[path]))]


def old_wraps(template: DataLayout) -> list[bytes]:
    """Every wrap of the vault before its rotation."""
    connection = sqlite3.connect(template.vault)
    found = [
        wrap
        for table, column in (("key_slots", "wrapped_root"), ("credential_versions", "wrapped_key"),
                              ("wrapped_keys", "wrapped_key"))
        for (wrap,) in connection.execute(f"SELECT {column} FROM {table}")
    ]  # fmt: skip
    connection.close()
    assert len(found) == 1 + len(SECRETS) + len(LONG_LIVED_KEYS)
    return found


def long_lived(vault: Vault) -> dict[str, bytes]:
    found = {}
    for name in LONG_LIVED_KEYS:
        with vault.wrapped_key(name) as key:
            found[name] = key.reveal()
    return found


def demand_all(layout: DataLayout, template: DataLayout) -> bool:
    """Everything is there, under one key; whether it is the new one."""
    assert not layout.master_key_next.exists()
    assert not layout.master_key_draft.exists()
    assert layout.master_key.stat().st_mode & 0o7777 == 0o600
    key, old_key = load_master_key(layout, None), read_master_key(template.master_key)
    shutil.copytree(template.root, layout.root / "before")
    before = Vault.open(DataLayout(layout.root / "before"), old_key)
    vault = Vault.open(layout, key)
    try:
        secrets = {}
        for credential in vault.list():
            with vault.open_secret(credential) as secret:
                secrets[credential.service] = secret.reveal().decode()
        assert secrets == SECRETS
        assert vault.list() == before.list()
        assert long_lived(vault) == long_lived(before)
        rules = EgressRules.open(vault.database, vault.keys)
        assert [rule.host for rule in rules.list()] == ["docs.example"]
        assert rules.web is WebAnswer.OFF
        kept = Lockdown.open(vault.database, vault.keys).state
        assert kept == Lockdown.open(before.database, before.keys).state
        assert kept.locked
        assert kept.since is not None
        is_new = vault.keys.kid != before.keys.kid
    finally:
        vault.close()
        before.close()
    shutil.rmtree(layout.root / "before")
    assert is_new == (key != old_key)
    if is_new:
        with pytest.raises(VaultError, match="does not fit"):
            Vault.open(layout, old_key)
        for path in layout.proxy.iterdir():
            content = path.read_bytes()
            assert not any(wrap in content for wrap in old_wraps(template)), path.name
    return is_new


def test_killed_at_every_call_and_every_statement_nothing_is_lost_and_one_key_opens(
    data_directory: Path,
) -> None:
    lines = run_victims(data_directory, "kill")
    template = DataLayout(data_directory / "template")
    killed = [line for line in lines if line["signal"] == signal.SIGKILL]
    assert killed == lines[:-1]
    reached = " ".join(line["reached"] for line in killed)
    for what in ("os.open", "os.link", "os.replace", "INSERT INTO key_slots", "UPDATE credentials", "COMMIT",
                 "UPDATE egress_rules", "UPDATE operator_settings", "UPDATE wrapped_keys", "DELETE FROM key_slots",
                 "wal_checkpoint"):  # fmt: skip
        assert what in reached, f"no child was killed at {what}"
    outcomes = []
    for line in killed:
        layout = DataLayout(data_directory / str(line["at"]))
        (opening,) = opening_keys(layout)
        opens, is_next = read_master_key(opening), opening == layout.master_key_next
        settled = settle_at_start(layout, None)
        assert load_master_key(layout, None) == opens, "the key that opened it before is the one that stays"
        assert (settled is Settled.FINISHED) == is_next, line
        is_new = demand_all(layout, template)
        outcomes.append(is_new)
    assert outcomes == sorted(outcomes), "once the new key has opened it, no later death brings the old one back"
    assert True in outcomes
    assert False in outcomes


def test_cut_in_the_middle_of_every_write_nothing_is_lost(data_directory: Path) -> None:
    lines = run_victims(data_directory, "cut")
    template = DataLayout(data_directory / "template")
    killed = lines[:-1]
    assert {line["signal"] for line in killed} == {signal.SIGXFSZ}
    outcomes = set()
    for line in killed:
        layout = DataLayout(data_directory / str(line["at"]))
        assert len(opening_keys(layout)) == 1
        settle_at_start(layout, None)
        outcomes.add(demand_all(layout, template))
    assert outcomes == {True, False}


@pytest.mark.parametrize("how", ["ENOSPC", "EROFS", "short"])
def test_a_disk_that_refuses_any_write_is_said_and_nothing_is_lost(data_directory: Path, how: str) -> None:
    lines = run_victims(data_directory, how)
    template = DataLayout(data_directory / "template")
    assert len(lines) > 5
    for line in lines:
        assert (line["signal"], line["code"]) == (0, 0), line
        assert line["opened"], "the process that was refused went on serving every secret"
        if line["refused"]:
            assert not line["changed"]
            assert "nothing was changed" in line["refused"]
            assert "free space" in line["next"]
        else:
            assert line["changed"]
        layout = DataLayout(data_directory / str(line["at"]))
        # The process has tried again when the disk had room, and then it went through.
        assert settle_at_start(layout, None) is Settled.NONE
        assert demand_all(layout, template)
    assert {bool(line["refused"]) for line in lines} == {True, False}
    assert any(line["unfinished"] for line in lines)


def test_a_start_that_does_not_ask_the_vault_would_lose_it(
    data_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = run_victims(data_directory, "kill")
    (died,) = (line for line in lines if "wal_checkpoint" in line.get("reached", ""))
    layout = DataLayout(data_directory / str(died["at"]))
    choose: Callable[..., Settled] = next_key._choose
    assert Database.look(layout.vault, lambda connection: choose(connection, layout, None)) is Settled.FINISHED
    monkeypatch.setattr(next_key, "_choose", lambda *_: Settled.UNDONE)
    settle_at_start(layout, None)
    with pytest.raises(VaultError, match="does not fit"):
        Vault.open(layout, load_master_key(layout, None))
