from __future__ import annotations

import errno
import os
import sqlite3
import stat
import threading

import pytest
from ledger_rows import row

from mycelos.proxy.ledger.database import (
    INSERT,
    PAGE,
    ROWS_AT_ONCE,
    SELECT,
    LedgerError,
    LedgerUnavailableError,
    LockedError,
    begin,
    copy_back,
    insert_entries,
    lies_there,
    open_for_reading,
    open_for_writing,
)


@pytest.mark.parametrize("count", [1, 2, ROWS_AT_ONCE, ROWS_AT_ONCE + 1, 2 * ROWS_AT_ONCE + 3])
def test_many_entries_are_written_as_one_by_one(writer, count):
    rows = [row(seq) for seq in range(count)]
    insert_entries(writer, rows)
    assert writer.execute(f"{SELECT} ORDER BY seq").fetchall() == rows


@pytest.mark.parametrize("places", [(0, 1, 3), (0, 1, 1), (1, 2)])
def test_of_many_entries_in_one_statement_each_must_have_the_next_place(writer, places):
    with pytest.raises(sqlite3.IntegrityError, match="next number only"):
        insert_entries(writer, [row(seq) for seq in places])
    assert writer.execute("SELECT count(*) FROM audit_events").fetchone() == (0,)


def test_each_commit_of_the_writer_is_synced(writer):
    writer.set_authorizer(None)
    assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,)


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
        "UPDATE tree_nodes SET hash = x'00'",
        "DELETE FROM tree_nodes",
        "DELETE FROM checkpoints",
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


def test_a_schema_that_sqlite_cannot_read_is_no_fault_of_the_disk_and_its_tables_can_be_asked_for(
    writer, intruder, path
):
    intruder.execute("PRAGMA writable_schema = ON")
    intruder.execute("UPDATE sqlite_master SET sql = 'CREATE INDEX nonsense' WHERE type = 'index'")
    writer.close()
    intruder.close()
    for opened in (open_for_reading, open_for_writing):
        with pytest.raises(LedgerError, match="mycelos db audit rebuild"):
            opened(path)
    connection = open_for_reading(path, any_schema=True)
    assert connection.execute("SELECT count(*) FROM audit_events").fetchone() == (1,)
    connection.close()
    path.write_bytes(b"nothing of the kind " * 400)
    with pytest.raises(LedgerError, match="keep the file as evidence$"):
        open_for_reading(path, any_schema=True)


@pytest.mark.parametrize("kind", ["FIFO", "directory", "link", "dangling link"])
def test_what_lies_in_the_ledger_s_place_is_named_to_reader_and_writer_alike_and_what_is_said_leads_on(
    path, tmp_path, kind
):
    open_for_writing(path).close()
    path.rename(tmp_path / "elsewhere")
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / ("elsewhere" if kind == "link" else "nowhere"))
    for opened in (open_for_reading, open_for_writing):
        with pytest.raises(LedgerError, match=f"{path} is not a regular file of this user") as caught:
            opened(path)
        assert f"move {path} and all beside it that begins with ledger. out of the folder" in str(caught.value)
        assert str(caught.value).endswith("mycelos backup adopt")
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_the_system_does_not_let_be_seen_is_no_ledger_that_is_gone(path, monkeypatch):
    def refuse(_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(type(path), "lstat", refuse)
    for asked in (open_for_reading, lies_there):
        with pytest.raises(LedgerUnavailableError, match="Permission denied"):
            asked(path)


@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_sqlite_would_wait_for_beside_the_ledger_is_refused_by_name(path, suffix, make):
    open_for_writing(path).close()
    beside = path.with_name(path.name + suffix)
    make(beside)
    for opened in (open_for_reading, open_for_writing):
        with pytest.raises(LedgerError, match=f"{beside.name} is not a regular file"):
            opened(path)


def test_a_ledger_that_the_system_does_not_let_be_read_is_told_apart(path, monkeypatch):
    open_for_writing(path).close()

    def refuse(*_, **__):
        error = sqlite3.OperationalError("unable to open")
        error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_CANTOPEN, "SQLITE_CANTOPEN"
        raise error

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with pytest.raises(LedgerUnavailableError, match="SQLITE_CANTOPEN"):
        open_for_reading(path)


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


def test_a_damaged_schema_that_sqlite_quotes_is_a_plain_refusal(path, writer):
    writer.close()
    image = path.read_bytes()
    place = image.index(b"checkpoints_newer_only")
    path.write_bytes(image[: place + 3] + b"\xc5" + image[place + 4 :])
    for opened in (open_for_reading, open_for_writing):
        with pytest.raises(LedgerError, match="cannot be read as a ledger"):
            opened(path)


def test_whoever_begins_waits_for_another_as_long_as_it_says(writer, path):
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LockedError):
        begin(writer, 0.0)
    assert not writer.in_transaction
    end = threading.Timer(0.1, lambda: other.execute("ROLLBACK"))
    end.start()
    begin(writer, 20.0)
    assert writer.in_transaction
    end.join()
    other.close()


def test_what_a_reader_made_the_write_ahead_log_grow_to_is_given_back(path, monkeypatch):
    monkeypatch.setattr("mycelos.proxy.ledger.database.LOG_LIMIT", 40_000)
    writer = open_for_writing(path)
    log = path.with_name(path.name + "-wal")
    for seq in range(30):
        insert_entries(writer, [row(seq)])
    grown = log.stat().st_size
    assert grown > 100_000
    # Copied, and then begun anew by whoever writes next.
    assert copy_back(writer) == 0
    insert_entries(writer, [row(30)])
    assert log.stat().st_size <= 40_000
    writer.close()


def test_the_write_ahead_log_is_copied_except_what_a_reader_needs(writer, path):
    for seq in range(3):
        insert_entries(writer, [row(seq)])
    reader = open_for_reading(path)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM audit_events").fetchone() == (3,)
    insert_entries(writer, [row(3)])
    assert copy_back(writer) > 0
    reader.close()
    assert copy_back(writer) == 0
    alone = path.with_name("alone.sqlite")
    alone.write_bytes(path.read_bytes())
    copied = sqlite3.connect(alone)
    assert copied.execute("SELECT count(*) FROM audit_events").fetchone() == (4,)
    copied.close()


def test_no_commit_copies_the_write_ahead_log(writer, path):
    before = path.read_bytes()
    log = path.with_name(path.name + "-wal")
    seq = 0
    # Twice what SQLite by itself would copy.
    while log.stat().st_size < 2 * 1000 * PAGE:
        insert_entries(writer, [row(seq + more) for more in range(1000)])
        seq += 1000
    assert path.read_bytes() == before
