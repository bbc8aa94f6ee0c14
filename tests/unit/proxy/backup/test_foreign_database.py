from __future__ import annotations

import os
import signal
import sqlite3
import struct
import threading

import pytest

from mycelos.proxy.backup import foreign_database as foreign
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.foreign_database import (
    demand_cleanable,
    demand_inert,
    empty_tables,
    open_foreign,
    remove_what_acts,
)

ENDLESS = ", ".join(f"sqlite_master AS m{number}" for number in range(16))
KEEP = "CREATE TRIGGER t BEFORE DELETE ON links BEGIN SELECT raise(ignore); END"
HANG = f"CREATE TRIGGER t BEFORE DELETE ON sessions BEGIN SELECT count(*) FROM {ENDLESS}; END"
AUTOINDEX = (
    "INSERT INTO sqlite_master VALUES ('trigger', 'sqlite_autoindex_links_9', 'links', 0, "
    "'CREATE TRIGGER sqlite_autoindex_links_9 BEFORE DELETE ON links BEGIN SELECT raise(ignore); END')"
)
CAPITALS = (
    "INSERT INTO sqlite_master VALUES ('TRIGGER', 't', 'links', 0, "
    "'CREATE TRIGGER t BEFORE DELETE ON links BEGIN SELECT raise(ignore); END')"
)


@pytest.fixture
def path(tmp_path):
    place = tmp_path / "gateway.sqlite"
    change(
        place,
        *(f"CREATE TABLE {name} (digest TEXT UNIQUE)" for name in ("sessions", "links", "chats")),
        "CREATE INDEX chats_digest ON chats (digest)",
        *(f"INSERT INTO {name} VALUES ('one')" for name in ("sessions", "links", "chats")),
    )
    return place


def change(path, *statements):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA writable_schema=ON")
    for statement in statements:
        connection.execute(statement)
    connection.close()


def rows(path, statement):
    connection = sqlite3.connect(path)
    found = connection.execute(statement).fetchall()
    connection.close()
    return found


@pytest.mark.parametrize("statement", [KEEP, HANG, AUTOINDEX, "CREATE VIEW v AS SELECT 1"])
def test_what_acts_is_removed_and_the_rows_are_gone(path, statement):
    change(path, statement)
    assert empty_tables(path, ("sessions", "links", "absent")) == {"sessions": 1, "links": 1}
    assert rows(path, "SELECT * FROM sessions UNION ALL SELECT * FROM links") == []
    assert rows(path, "SELECT * FROM chats") == [("one",)]
    assert rows(path, "SELECT name FROM sqlite_master WHERE type NOT IN ('table', 'index')") == []


@pytest.mark.parametrize("statement", [KEEP, AUTOINDEX, CAPITALS])
def test_without_the_removal_the_row_outlives_its_deletion(path, statement):
    change(path, statement)
    change(path, "DELETE FROM links")
    assert rows(path, "SELECT * FROM links") == [("one",)]


def test_it_is_told_what_was_removed(path):
    change(path, KEEP, "CREATE VIEW v AS SELECT 1")
    assert remove_what_acts(path) == ("trigger t", "view v")
    assert remove_what_acts(path) == ()


def test_a_name_with_quotes_is_removed_too(path):
    change(path, """CREATE TRIGGER "a""b;c" BEFORE DELETE ON links BEGIN SELECT raise(ignore); END""")
    assert remove_what_acts(path) == ('trigger a"b;c',)


@pytest.mark.parametrize(
    "statement",
    [
        CAPITALS,
        "CREATE VIRTUAL TABLE f USING fts5(a)",
        "CREATE TABLE c (a, b GENERATED ALWAYS AS (instr(a, 'x')) VIRTUAL NOT NULL)",
    ],
)
def test_what_else_mycelos_does_not_make_is_refused_before_anything_is_written(path, statement):
    change(path, statement)
    before = path.read_bytes()
    with pytest.raises(BackupError, match="does not make there"):
        demand_cleanable(path)
    with pytest.raises(BackupError, match="does not make there"):
        demand_inert(path)
    assert path.read_bytes() == before
    with pytest.raises(BackupError, match="does not make there"):
        empty_tables(path, ("links",))


@pytest.mark.parametrize("statement", [KEEP, "CREATE VIEW v AS SELECT 1"])
def test_what_can_be_removed_is_no_reason_to_refuse_the_cleaning(path, statement):
    change(path, statement)
    demand_cleanable(path)
    with pytest.raises(BackupError, match="does not make there"):
        demand_inert(path)


def test_a_table_is_found_under_a_name_in_capitals(path):
    change(path, "ALTER TABLE links RENAME TO other", "ALTER TABLE other RENAME TO LINKS")
    assert empty_tables(path, ("links",)) == {"links": 1}
    assert rows(path, "SELECT * FROM links") == []


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_what_is_no_plain_file_is_not_opened(path, tmp_path, suffix, kind):
    place = path.with_name(path.name + suffix)
    place.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(place, 0o400)
    elif kind == "link":
        place.symlink_to(tmp_path / "other")
    else:
        place.mkdir()
    for work in (demand_cleanable, demand_inert, lambda it: empty_tables(it, ("links",))):
        with pytest.raises(BackupError, match=r"not a plain file|cannot be opened") as caught:
            work(path)
        assert "move gateway.sqlite" in caught.value.next_step


@pytest.mark.parametrize("content", [b"not a database, but long enough" * 200, b"SQLite format 3\0" + bytes(4080)])
def test_a_corrupt_file_is_named_with_the_way_out(path, content):
    path.write_bytes(content)
    with pytest.raises(BackupError, match="cannot be read as a database") as caught:
        demand_cleanable(path)
    assert "move gateway.sqlite" in caught.value.next_step


def name_in_journal(path, victim):
    """A rollback journal without a page in it, which names the file ``victim`` as one to delete after it."""
    magic, name = bytes.fromhex("d9d505f920a163d7"), os.fsencode(victim)
    head = (magic + struct.pack(">IIIII", 0, 1, path.stat().st_size // 4096, 512, 4096)).ljust(512, b"\0")
    tail = struct.pack(">I", 0x40000000 // 4096 + 1) + name + struct.pack(">II", len(name), sum(name)) + magic
    path.with_name(f"{path.name}-journal").write_bytes(head + tail)


def test_a_journal_that_has_another_file_deleted_is_refused(path, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    name_in_journal(path, victim)
    with pytest.raises(BackupError, match="names another file"):
        empty_tables(path, ("links",))
    assert victim.read_bytes() == b"precious"


def test_without_that_refusal_sqlite_deletes_the_file(path, tmp_path, monkeypatch):
    monkeypatch.setattr(foreign, "_JOURNAL_END", b"no such")
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    name_in_journal(path, victim)
    empty_tables(path, ("links",))
    assert not victim.exists()


def test_a_statement_without_end_is_given_up(path, monkeypatch):
    monkeypatch.setattr(foreign, "_SECONDS", 0.1)
    with pytest.raises(BackupError, match="given up"), open_foreign(path) as connection:
        connection.execute(f"SELECT count(*) FROM {ENDLESS}").fetchone()


def test_ctrl_c_ends_a_statement_without_end(path):
    begun = threading.Event()

    def press():
        begun.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt), open_foreign(path) as connection:
        begun.set()
        connection.execute(f"SELECT count(*) FROM {ENDLESS}").fetchone()
    thread.join(60)


def test_a_row_that_stays_is_noticed_whatever_was_counted(path, monkeypatch):
    monkeypatch.setattr(foreign, "remove_what_acts", lambda _path: ())
    change(path, KEEP)
    with pytest.raises(BackupError, match="keeps rows in links"):
        empty_tables(path, ("sessions", "links"))


def test_a_reader_cannot_write(path):
    with pytest.raises(BackupError, match="SQLITE_READONLY"), open_foreign(path) as connection:
        connection.execute("DELETE FROM links")


def test_a_damaged_page_is_noticed(path):
    with path.open("r+b") as stream:
        stream.seek(4096)
        stream.write(b"\xff" * 4096)
    with pytest.raises(BackupError, match=r"is damaged|SQLITE_CORRUPT"):
        demand_inert(path)
