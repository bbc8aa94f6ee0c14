from __future__ import annotations

import os
import sqlite3
import stat

import pytest

from mycelos.ledger.chain import EMPTY, seal
from mycelos.ledger.entry import COLUMNS, Phase, make_draft
from mycelos.ledger.events import Event
from mycelos.proxy.ledger.database import (
    INSERT,
    SCHEMA,
    LedgerError,
    open_for_reading,
    open_for_writing,
    schema_faults,
)


def row(seq):
    draft = make_draft(Event.PROXY_HTTP_REQUEST, Phase.FACT, tenant="t")
    return seal(draft, EMPTY, 0, "2026-01-31T12:00:00.000000Z", 0)._replace(seq=seq)


@pytest.fixture
def writer(path):
    connection = open_for_writing(path)
    yield connection
    connection.close()


@pytest.fixture
def intruder(path, writer):
    """A connection as anybody makes one who may write to the file: without our authorizer."""
    writer.execute(INSERT, row(0))
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


def test_the_columns_of_the_table_are_those_of_an_entry(writer, path):
    reader = open_for_reading(path)
    assert [name for _, name, *_ in reader.execute("PRAGMA table_info(audit_events)")] == list(COLUMNS)
    reader.close()


def test_file_and_folder_are_for_this_user_alone(writer, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for name in ("-wal", "-shm"):
        assert stat.S_IMODE(path.with_name(path.name + name).stat().st_mode) == 0o600


def test_a_commit_is_on_disk_when_it_returns(path):
    connection = open_for_writing(path)
    connection.set_authorizer(None)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    connection.close()


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


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET outcome = ''",
        "DELETE FROM audit_events",
        "DROP TABLE audit_events",
        "DROP TRIGGER audit_events_no_update",
        "ALTER TABLE audit_events ADD COLUMN x",
        "CREATE TABLE other (x)",
        "CREATE TEMP TRIGGER t BEFORE INSERT ON audit_events BEGIN SELECT RAISE(IGNORE); END",
        "ATTACH ':memory:' AS other",
        "PRAGMA writable_schema = ON",
        "PRAGMA synchronous = OFF",
        "PRAGMA user_version = 7",
        "INSERT INTO sqlite_master VALUES ('', '', '', 0, '')",
    ],
)
def test_the_writer_s_connection_can_insert_and_select_and_nothing_else(writer, statement):
    with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|prohibited|may not be modified"):
        writer.execute(statement)


def test_a_file_that_others_can_read_is_refused_with_the_fix(writer, path):
    path.chmod(0o640)
    with pytest.raises(LedgerError, match="chmod 600"):
        open_for_writing(path)


def test_a_link_in_the_ledger_s_place_is_refused(path, tmp_path):
    path.parent.mkdir()
    target = tmp_path / "elsewhere"
    target.touch(mode=0o600)
    path.symlink_to(target)
    with pytest.raises(LedgerError, match="not a regular file"):
        open_for_writing(path)
    assert target.read_bytes() == b""


@pytest.mark.parametrize("name", [name for name in SCHEMA if name != "audit_events"])
def test_a_ledger_whose_guard_was_taken_away_is_not_written_to(writer, intruder, path, name):
    intruder.execute(f"DROP TRIGGER {name}")
    assert schema_faults(intruder) == [name]
    with pytest.raises(LedgerError, match=name):
        open_for_writing(path)


def test_a_guard_that_was_added_is_noticed_too(writer, intruder, path):
    intruder.execute("CREATE TRIGGER x BEFORE INSERT ON audit_events BEGIN SELECT RAISE(IGNORE); END")
    with pytest.raises(LedgerError, match=r"\(x\)"):
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


def test_another_schema_version_is_refused(writer, intruder, path):
    intruder.execute("PRAGMA user_version = 2")
    with pytest.raises(LedgerError, match="version 2"):
        open_for_writing(path)


def test_an_existing_ledger_is_opened_as_it_is(path):
    first = open_for_writing(path)
    first.execute(INSERT, row(0))
    first.close()
    second = open_for_writing(path)
    assert second.execute("SELECT count(*) FROM audit_events").fetchone() == (1,)
    second.close()


def test_reading_needs_a_ledger_and_says_when_there_is_none(path):
    with pytest.raises(LedgerError, match="there is no ledger"):
        open_for_reading(path)


@pytest.mark.parametrize("content", [b"", b"not a database " * 100])
def test_a_file_that_is_no_ledger_is_not_read(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="cannot be read as a ledger"):
        open_for_reading(path)


def test_the_reader_s_connection_cannot_write(writer, path):
    reader = open_for_reading(path)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute(INSERT, row(0))
    reader.close()


def test_a_stopped_ledger_in_a_folder_that_cannot_be_written_is_read_and_leaves_no_file(path, monkeypatch):
    open_for_writing(path).close()
    monkeypatch.setattr(os, "access", lambda *_: False)
    reader = open_for_reading(path)
    assert reader.execute("SELECT count(*) FROM audit_events").fetchone() == (0,)
    reader.close()
    assert list(path.parent.iterdir()) == [path]
