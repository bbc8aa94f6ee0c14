"""The tables take what follows and let nothing be changed; what was done to them or to their guards is named."""

from __future__ import annotations

import sqlite3

import pytest
from ledger_rows import row

from mycelos.ledger.entry import COLUMNS
from mycelos.proxy.ledger.checkpoint_rows import newest_checkpoint
from mycelos.proxy.ledger.database import (
    INSERT,
    INSERT_NODE,
    KEEP_CHECKPOINT,
    LedgerError,
    demand_schema,
    open_for_reading,
    open_for_writing,
)
from mycelos.proxy.ledger.schema import SCHEMA, schema_faults

GUARDS = [name for name, sql in SCHEMA.items() if sql.startswith("CREATE TRIGGER")]


def test_the_columns_of_the_table_are_those_of_an_entry(writer, path):
    reader = open_for_reading(path)
    assert [name for _, name, *_ in reader.execute("PRAGMA table_info(audit_events)")] == list(COLUMNS)
    reader.close()


def test_the_next_number_goes_in(writer):
    writer.execute(INSERT, row(0))
    writer.execute(INSERT, row(1))
    assert writer.execute("SELECT max(seq) FROM audit_events").fetchone() == (1,)


@pytest.mark.parametrize("seq", [-1, 0, 2, None])
def test_any_other_number_is_refused(intruder, seq):
    with pytest.raises(sqlite3.IntegrityError, match="next number only"):
        intruder.execute(INSERT, row(seq))


@pytest.mark.parametrize("verb", ["INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE"])
def test_insert_or_replace_does_not_walk_past_the_triggers(intruder, verb):
    with pytest.raises(sqlite3.IntegrityError, match="next number only"):
        intruder.execute(INSERT.replace("INSERT", verb, 1), row(0)._replace(outcome="forged"))
    assert intruder.execute("SELECT outcome FROM audit_events").fetchall() == [("",)]


def test_without_the_trigger_insert_or_replace_overwrites_an_entry(intruder):
    intruder.execute("DROP TRIGGER audit_events_next_only")
    intruder.execute(INSERT.replace("INSERT", "INSERT OR REPLACE", 1), row(0)._replace(outcome="forged"))
    assert intruder.execute("SELECT outcome FROM audit_events").fetchall() == [("forged",)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET outcome = 'forged'",
        "DELETE FROM audit_events",
        "INSERT INTO audit_events SELECT * FROM audit_events WHERE true ON CONFLICT DO UPDATE SET outcome = 'forged'",
    ],
)
def test_an_entry_is_neither_changed_nor_removed(intruder, statement):
    with pytest.raises(sqlite3.IntegrityError):
        intruder.execute(statement)


@pytest.mark.parametrize("column", ["seq", "mono", "at"])
def test_a_column_takes_its_own_type_only(writer, column):
    value = b"\x00" if column == "at" else "text"
    with pytest.raises(sqlite3.IntegrityError):
        writer.execute(INSERT, row(0)._replace(**{column: value}))


@pytest.mark.parametrize("name", GUARDS)
def test_a_ledger_whose_guard_was_taken_away_is_not_written_to(writer, intruder, path, name):
    intruder.execute(f"DROP TRIGGER {name}")
    assert schema_faults(intruder) == [name]
    with pytest.raises(LedgerError, match=name):
        open_for_writing(path)


def test_a_guard_that_was_added_is_noticed_too(writer, intruder, path):
    intruder.execute("CREATE TRIGGER x BEFORE INSERT ON audit_events BEGIN SELECT RAISE(IGNORE); END")
    with pytest.raises(LedgerError, match=r"\(x\)"):
        open_for_writing(path)


@pytest.mark.parametrize("name", GUARDS)
def test_an_index_under_a_guard_s_name_is_noticed_beside_the_guard(writer, intruder, path, name):
    intruder.execute(f"DROP TRIGGER {name}")
    intruder.execute(f"CREATE INDEX {name} ON audit_events(event) WHERE event != 'lockdown.set'")
    intruder.execute(SCHEMA[name])
    assert schema_faults(intruder) == [name]
    with pytest.raises(LedgerError, match=name):
        open_for_writing(path)


@pytest.mark.parametrize("name", ["sqliteXi", "sqlite_autoindex_audit_events_1"])
def test_an_index_that_hides_rows_is_noticed_whatever_its_name(writer, intruder, path, name):
    # Made for some rows only, then declared to be for all: each filter that uses it passes over the others.
    intruder.execute("CREATE INDEX x ON audit_events(event) WHERE event != 'proxy.ssrf_blocked'")
    intruder.execute("PRAGMA writable_schema = ON")
    intruder.execute(
        "UPDATE sqlite_master SET name = ?, sql = ? WHERE name = 'x'",
        (name, f"CREATE INDEX {name} ON audit_events(event)"),
    )
    intruder.execute("PRAGMA writable_schema = RESET")
    assert schema_faults(intruder) == [name]
    with pytest.raises(LedgerError, match=name):
        open_for_writing(path)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO tree_nodes VALUES (8, 0, x'00')",
        "INSERT OR REPLACE INTO tree_nodes VALUES (8, 0, x'00')",
        "INSERT INTO tree_nodes VALUES (8, 2, x'00')",
        "INSERT INTO tree_nodes VALUES (16, 1, x'00')",
        "UPDATE tree_nodes SET hash = x'00'",
        "DELETE FROM tree_nodes",
        "INSERT INTO checkpoints VALUES (0, 5, 'another')",
        "INSERT OR REPLACE INTO checkpoints VALUES (0, 5, 'another')",
        "INSERT INTO checkpoints VALUES (1, 300, 'as large as the newest')",
        "INSERT INTO checkpoints VALUES (1, 513, 'in the tile before its own')",
        "INSERT INTO checkpoints VALUES (3, 513, 'in the tile after its own')",
        "UPDATE checkpoints SET size = 255 WHERE tile = 0",
        "UPDATE checkpoints SET note = 'another' WHERE tile = 0",
        "UPDATE checkpoints SET note = 'another' WHERE tile = 1",
        "UPDATE checkpoints SET size = 299 WHERE tile = 1",
        "UPDATE checkpoints SET size = 600, tile = 2 WHERE tile = 1",
        "DELETE FROM checkpoints",
    ],
)
def test_tree_and_checkpoints_only_grow_whoever_writes(writer, intruder, path, statement):
    intruder.execute(INSERT_NODE, (8, 0, b"a hash"))
    for tile, size in ((0, 5), (0, 9), (1, 256), (1, 300)):
        intruder.execute(KEEP_CHECKPOINT, (tile, size, f"at {size}"))
    with pytest.raises(sqlite3.IntegrityError):
        intruder.execute(statement)
    assert intruder.execute("SELECT size, note FROM checkpoints").fetchall() == [(9, "at 9"), (300, "at 300")]
    assert intruder.execute("SELECT hash FROM tree_nodes").fetchall() == [(b"a hash",)]
    assert newest_checkpoint(intruder, path) == (300, "at 300")


def test_another_schema_version_is_refused(writer, intruder, path):
    intruder.execute("PRAGMA user_version = 1")
    with pytest.raises(LedgerError, match="version 1"):
        open_for_writing(path)


@pytest.mark.parametrize(
    "statements",
    [
        ["DROP INDEX audit_events_rare"],
        ["DROP INDEX audit_events_rare", "CREATE INDEX audit_events_rare ON audit_events (event)"],
    ],
)
def test_a_ledger_without_the_index_of_rare_entries_is_not_written_to(writer, intruder, path, statements):
    for statement in statements:
        intruder.execute(statement)
    assert schema_faults(intruder) == ["audit_events_rare"]
    with pytest.raises(LedgerError, match="audit_events_rare"):
        open_for_writing(path)


def test_an_altered_schema_names_the_whole_way_out(writer, intruder, path):
    intruder.execute("ANALYZE")
    for asked in (open_for_writing, demand_schema):
        with pytest.raises(LedgerError, match="sqlite_stat1") as caught:
            asked(path)
        assert "make them anew: mycelos db audit rebuild. Where that refuses: Put back the newest copy of" in str(
            caught.value
        )
        assert f"move {path} and all beside it that begins with ledger. out of the folder" in str(caught.value)
        assert str(caught.value).endswith("mycelos backup adopt")
