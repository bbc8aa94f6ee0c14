"""Rows and checkpoints are read past an index and a schema that are not as they must be, and these are named."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from ledger_keys import ledger_keys

from mycelos.ledger.events import Event
from mycelos.proxy.ledger.bare_reader import BareReader
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.recorder import Recorder

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stopped(path, clock):
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    await recorder.fact(Event.PROXY_STARTED)
    await recorder.close()
    return path


def change(path, *statements):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            connection.execute(statement)


def content(reader):
    return list(reader.rows()), reader.checkpoints()


async def test_of_a_sound_ledger_it_finds_no_fault_and_reads_the_same(stopped):
    with LedgerReader(stopped) as reader, BareReader(stopped) as bare:
        assert content(bare) == content(reader)
        assert bare.readable_nodes() == reader.stored_nodes()
        assert bare.derived_faults() == ()


@pytest.mark.parametrize(
    ("statements", "faults"),
    [
        (["DROP INDEX audit_events_rare"], ("the schema was changed at audit_events_rare",)),
        (["DROP TABLE tree_nodes"], "the stored tree cannot be read"),
        (["ANALYZE"], "the schema was changed at sqlite_stat1"),
        (["PRAGMA user_version = 99"], ("the schema was changed at version 99",)),
        (["UPDATE sqlite_master SET sql = 'CREATE INDEX' WHERE type = 'index'"], "at audit_events_rare"),
        (["UPDATE sqlite_master SET sql = 'CREATE TRIGGER' WHERE type = 'trigger'"], "at audit_events_no_update"),
        (["UPDATE sqlite_master SET name = x'ff' WHERE type = 'index'"], "the schema was changed at "),
        (["UPDATE sqlite_master SET rootpage = 4711 WHERE type = 'index'"], "pages of the file are damaged"),
    ],
)
async def test_what_is_derived_may_be_of_any_kind(stopped, statements, faults):
    with LedgerReader(stopped) as reader:
        sound = content(reader)
    change(stopped, *statements)
    with BareReader(stopped) as bare:
        assert content(bare) == sound
        found = bare.derived_faults()
    assert found == faults if isinstance(faults, tuple) else any(faults in fault for fault in found), found


async def test_an_index_that_somebody_added_is_asked_for_no_row_and_no_checkpoint(stopped):
    with LedgerReader(stopped) as reader:
        sound = content(reader)
    columns = "seq, v, epoch, at, mono, event, phase, intent_seq, source, tenant, principal, actor, run, agent, subject"
    every = f"{columns}, outcome, reason, args_mac, details, prev_hash, leaf_hash"
    change(
        stopped,
        f"CREATE INDEX lying ON audit_events ({every}) WHERE seq > 0",
        "UPDATE sqlite_master SET sql = replace(sql, ' WHERE seq > 0', '') WHERE name = 'lying'",
        "CREATE INDEX small ON checkpoints (size, note) WHERE size > 99",
        "UPDATE sqlite_master SET sql = replace(sql, ' WHERE size > 99', '') WHERE name = 'small'",
    )
    with BareReader(stopped) as bare:
        assert content(bare) == sound


async def test_without_its_tables_there_is_nothing_to_read(stopped):
    change(stopped, "DROP TABLE checkpoints")
    with BareReader(stopped) as bare, pytest.raises(LedgerError, match="checkpoints cannot be read"):
        bare.checkpoints()
    change(stopped, "DROP TABLE audit_events")
    with pytest.raises(LedgerError, match="cannot be read as a ledger"):
        BareReader(stopped)
