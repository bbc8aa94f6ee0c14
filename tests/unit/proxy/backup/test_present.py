from __future__ import annotations

import asyncio
import os
import sqlite3

import pytest
from backup_world import KEY, record

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.entry import Phase, make_draft
from mycelos.ledger.events import Event
from mycelos.ledger.unsigned import LIMIT
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.present import is_locked_down, occupy, record_while_stopped
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.ledger.refusals import UnsignedLimitError
from mycelos.proxy.lockdown import Lockdown
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.store import Vault
from mycelos.wire.identifiers import DEFAULT_TENANT

pytestmark = pytest.mark.anyio

DRAFT = make_draft(Event.AUDIT_EXPORTED, Phase.FACT, tenant=DEFAULT_TENANT, principal="operator", outcome="ok")


def test_an_installation_in_use_is_not_occupied(world):
    vault = Vault.open(world.layout, KEY)
    with pytest.raises(BackupError, match="mycelos stop"), occupy(world.layout):
        pass
    vault.close()
    with occupy(world.layout), pytest.raises(VaultError, match="Another process"):
        Vault.open(world.layout, KEY)
    Vault.open(world.layout, KEY).close()


def test_where_nothing_lies_nothing_is_made(tmp_path):
    with occupy(DataLayout(tmp_path / "absent")):
        assert not (tmp_path / "absent").exists()


def test_what_the_operator_did_is_recorded_where_nothing_runs(world):
    record_while_stopped(world.layout, Event.BACKUP_CREATED, {"size": 7})
    with LedgerReader(world.layout.ledger) as reader:
        (entry,) = reader.newest(1)
    assert (entry.event, entry.source, entry.principal) == ("backup.created", "operator", "operator")


def test_where_something_runs_it_is_not_recorded_beside_it(world):
    vault = Vault.open(world.layout, KEY)
    with pytest.raises(BackupError, match="runs"):
        record_while_stopped(world.layout, Event.BACKUP_CREATED, {})
    vault.close()


def forge(layout, count):
    """What somebody can do who may write the file: ``count`` entries of the kind that nobody needs to sign."""

    async def write():
        forger = await Recorder.open(layout.ledger)
        await forger._submit((DRAFT,) * count)
        await forger.close()
        return forger.head.seq

    return asyncio.run(write())


def test_what_would_keep_the_system_from_starting_is_refused_before_it_is_written(world):
    last = forge(world.layout, LIMIT)
    with pytest.raises(UnsignedLimitError) as refused:
        record_while_stopped(world.layout, Event.BACKUP_CREATED, {"size": 7})
    assert "mycelos serve" in refused.value.problem.next
    with LedgerReader(world.layout.ledger) as reader:
        assert reader.last() == last
    # The way out that it names: a start has the key and signs them.
    record(world.layout, Event.LOCKDOWN_LIFTED, {})
    record_while_stopped(world.layout, Event.BACKUP_CREATED, {"size": 7})


def test_without_that_wall_one_command_would_end_it(world, monkeypatch):
    monkeypatch.setattr("mycelos.proxy.ledger.writer._demand_room", lambda *_: None)
    forge(world.layout, LIMIT)
    record_while_stopped(world.layout, Event.BACKUP_CREATED, {"size": 7})
    with pytest.raises(LedgerError, match="an entry that no checkpoint covers"):
        record(world.layout, Event.LOCKDOWN_LIFTED, {})


async def test_a_lockdown_is_read_from_the_vault_without_a_key(world):
    assert not is_locked_down(world.layout)
    vault = Vault.open(world.layout, KEY)
    lockdown = Lockdown.open(vault.database, vault.keys)
    lockdown.stop()
    await lockdown.keep()
    vault.close()
    assert is_locked_down(world.layout)


def test_a_lockdown_is_read_from_the_ledger_too(world):
    record(world.layout, Event.LOCKDOWN_SET, {"since": "2026-01-01T00:00:00Z"})
    assert is_locked_down(world.layout)
    record(world.layout, Event.LOCKDOWN_LIFTED, {})
    assert not is_locked_down(world.layout)


@pytest.mark.parametrize("name", ["vault", "ledger"])
def test_what_cannot_be_read_is_taken_for_locked_down(world, name):
    getattr(world.layout, name).write_bytes(b"damaged beyond recognition " * 400)
    assert is_locked_down(world.layout)


@pytest.mark.parametrize("name", ["vault", "ledger"])
@pytest.mark.parametrize("suffix", ["", "-journal", "-wal", "-shm"])
def test_what_sqlite_would_wait_for_is_taken_for_locked_down(world, name, suffix):
    path = getattr(world.layout, name)
    odd = path.with_name(path.name + suffix)
    odd.unlink(missing_ok=True)
    os.mkfifo(odd, 0o600)
    assert is_locked_down(world.layout)


def test_a_row_that_cannot_be_understood_is_taken_for_locked_down(world):
    with sqlite3.connect(world.layout.vault) as connection:
        connection.execute(
            "INSERT INTO operator_settings SELECT 't', 'lockdown', '{}', 'then', kid, x'00' FROM key_slots"
        )
    connection.close()
    assert is_locked_down(world.layout)


def test_where_nothing_lies_nothing_is_locked_down(tmp_path):
    assert not is_locked_down(DataLayout(tmp_path))
