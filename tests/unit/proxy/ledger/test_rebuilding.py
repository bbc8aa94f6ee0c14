"""Index, schema and pages are damaged under a sound log: the start says so and names the way out, and it is one.

What does not hold by its rows is refused, and nothing is changed by that.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
import stat
from contextlib import closing

import pytest
from ledger_files import STATE, World, build, start
from ledger_matrix import KEPT, SIZE

from mycelos.ledger.events import ANCHORED, Event
from mycelos.ledger.verify import RememberedNote, Verdict, verify
from mycelos.prove.ledger_copy import forge_index, unguarded
from mycelos.proxy.backup.present import record_in
from mycelos.proxy.ledger import rebuilding
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.heads import remember
from mycelos.proxy.ledger.last_signed import file_of
from mycelos.proxy.ledger.rare_index import INDEX as INDEX_TEXT
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.rebuilding import RebuildRefusedError, rebuild
from mycelos.proxy.ledger.verification import verify_ledger
from mycelos.proxy.vault.signing import verifies

REBUILD = "mycelos db audit rebuild"
INDEX = "audit_events_rare"


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> World:
    return asyncio.run(build(tmp_path_factory.mktemp("rebuilding")))


@pytest.fixture
def world(template, tmp_path) -> World:
    return template.copy(tmp_path / "data")


@pytest.fixture
def environ(tmp_path):
    return {STATE: str(tmp_path / "state")}


# Damage


def root_of(path, name):
    with closing(sqlite3.connect(path)) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        return connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0], size


def change(path, *statements):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            connection.execute(statement)


def zero_the_index(path, name=INDEX):
    page, size = root_of(path, name)
    with path.open("r+b") as stream:
        stream.seek((page - 1) * size)
        stream.write(bytes(size))


def flip_a_bit(path):
    """Of the newest entry that is in the index: `proxy.started` becomes another text."""
    page, size = root_of(path, INDEX)
    with path.open("r+b") as stream:
        stream.seek((page - 1) * size)
        content = stream.read(size)
        place = content.index(b"ledger.checkpoint")
        stream.seek((page - 1) * size + place)
        stream.write(bytes([content[place] ^ 1]))


def empty_the_index(path):
    forge_index(path, where="false")


DAMAGES = {
    "a page of the index zeroed": zero_the_index,
    "a page of the stored tree zeroed": lambda path: zero_the_index(path, "tree_nodes"),
    "a bit of the index flipped": flip_a_bit,
    "the index emptied": empty_the_index,
    "the index dropped": lambda path: change(path, f"DROP INDEX {INDEX}"),
    "the index under a text that is none": lambda path: change(
        path, f"UPDATE sqlite_master SET sql = 'CREATE INDEX nonsense' WHERE name = '{INDEX}'"
    ),
    "a table of ANALYZE": lambda path: change(path, "ANALYZE"),
    "a guard taken away": lambda path: change(path, "DROP TRIGGER audit_events_no_update"),
    "an index that leaves rows out": lambda path: change(
        path, "CREATE INDEX more ON audit_events (event) WHERE seq <> 130"
    ),
    "the schema's version": lambda path: change(path, "PRAGMA user_version = 7"),
}
"""Each is met by a start of the log, whose last 1,000 entries hold none of the index but a start."""


UNREADABLE = {"a page of the index zeroed", "a page of the stored tree zeroed", "the index under a text that is none"}
"""Where verification ends before it has a result."""


def made_anew(path, note=None, record=None):
    remembered = {} if note is None else {"the test": RememberedNote(note.encode())}
    return rebuild(
        path,
        remembered,
        weigh=lambda found: found.result,
        record=record
        or (
            lambda draft, faults, last, label: record_in(
                draft,
                Event.LEDGER_REBUILT,
                {"reasons": list(faults), "count": len(faults), "last_seq": last, "file_label": label},
            )
        ),
    )


def content_of(folder):
    """But what SQLite makes beside a database that it only reads: a log of nothing and its index."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
        and not (path.name.endswith("-shm") or (path.name.endswith("-wal") and not path.stat().st_size))
    }


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_start_names_the_way_out_and_goes_on_behind_it(world, environ, damage):
    path = world.layout.ledger
    with LedgerReader(path) as reader:
        rows, notes, nodes = list(reader.rows()), reader.checkpoints(), reader.stored_nodes()
    signed = file_of(path).read_bytes()
    remember(world.layout.command_line_head, world.remembered)
    DAMAGES[damage](path)
    said = start(world.layout, environ)
    assert REBUILD in said, said
    assert "old copy, was cut off" not in said
    damaged = path.read_bytes()
    done = made_anew(path, world.remembered)
    assert done.result.verdict is Verdict.HOLDS
    assert (done.kept / path.name).read_bytes() == damaged
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert file_of(path).read_bytes() == signed
    assert not rebuilding.draft_of(path).parent.exists()
    with LedgerReader(path) as reader:
        assert reader.schema_faults() == []
        found = list(reader.rows())
        assert (found[:SIZE], reader.checkpoints()) == (rows, notes)
        assert reader.stored_nodes() == nodes
        (entry,) = reader.newest(1)
    assert (entry.seq, entry.event, entry.source) == (SIZE, "ledger.rebuilt", "operator")
    assert done.kept.name in entry.details
    assert start(world.layout, environ) == ""
    again = verify_ledger(path, {"the test": RememberedNote(world.remembered.encode())})
    assert again.result.verdict is Verdict.HOLDS
    assert made_anew(path) is None


@pytest.mark.parametrize("damage", DAMAGES)
def test_verification_says_the_same_of_it(world, damage):
    path = world.layout.ledger
    DAMAGES[damage](path)
    if damage in UNREADABLE:
        with pytest.raises(LedgerError, match=REBUILD):
            verify_ledger(path, {})
        return
    found = verify_ledger(path, {})
    assert (found.result.verdict, found.is_derived) == (Verdict.BROKEN, True)


def test_a_sound_ledger_is_left_as_it_is(world):
    before = content_of(world.layout.proxy)
    assert made_anew(world.layout.ledger) is None
    assert content_of(world.layout.proxy) == before


# What does not hold


def edit(world, path):
    with unguarded(path) as connection:
        connection.execute("UPDATE audit_events SET outcome = 'harmless' WHERE seq = 130")


def cut(world, path):
    with unguarded(path) as connection:
        connection.execute(f"DELETE FROM audit_events WHERE seq >= {SIZE - 200}")


def cut_with_checkpoints(world, path):
    """Without a memory nothing shows but by `ledger.signed`."""
    with unguarded(path) as connection:
        connection.execute("DELETE FROM audit_events WHERE seq >= 1100")
        connection.execute("DELETE FROM tree_nodes WHERE level = 8 AND place >= 1100 / 256")
        connection.execute("DELETE FROM checkpoints WHERE size > 1100")


def change_a_stored_hash(world, path):
    with unguarded(path) as connection:
        connection.execute("UPDATE tree_nodes SET hash = zeroblob(32) WHERE place = 1")


def change_a_checkpoint(world, path):
    with unguarded(path) as connection:
        connection.execute(f"UPDATE checkpoints SET note = replace(note, '{KEPT}', '{KEPT - 1}') WHERE size = {KEPT}")


def misplace_a_checkpoint(world, path):
    with unguarded(path) as connection:
        connection.execute("UPDATE checkpoints SET tile = tile + 90 WHERE tile = (SELECT max(tile) FROM checkpoints)")


def take_the_last_note_away(world, path):
    file_of(path).unlink()


def empty_it(world, path):
    """Of a later life: no crash leaves it so."""
    file_of(path).write_bytes(b"")


def take_an_old_copy(world, path):
    shutil.copy(world.old / path.name, path)


def append_unsigned(world, path):
    with closing(sqlite3.connect(path)) as connection:
        last = connection.execute("SELECT * FROM audit_events ORDER BY seq DESC LIMIT 1").fetchone()
        connection.execute(f"INSERT INTO audit_events VALUES ({', '.join('?' * len(last))})", (last[0] + 1, *last[1:]))
        connection.commit()


TAMPERED = [edit, cut, cut_with_checkpoints, change_a_stored_hash, change_a_checkpoint, misplace_a_checkpoint,
            take_the_last_note_away, empty_it, take_an_old_copy, append_unsigned]  # fmt: skip


@pytest.mark.parametrize("damage", [zero_the_index, DAMAGES["the index dropped"], empty_the_index])
@pytest.mark.parametrize("tamper", TAMPERED)
def test_what_does_not_hold_is_refused_and_left_as_it_is(world, tamper, damage):
    path = world.layout.ledger
    tamper(world, path)
    told = verify_ledger(path, {}).result
    assert told.verdict is Verdict.BROKEN
    damage(path)
    before = content_of(world.layout.proxy)
    with pytest.raises(RebuildRefusedError) as refused:
        made_anew(path)
    assert (refused.value.result.verdict, refused.value.result.reason) == (Verdict.BROKEN, told.reason)
    assert content_of(world.layout.proxy) == before


def test_a_damaged_page_of_entries_is_refused_and_left_as_it_is(world):
    path = world.layout.ledger
    zero_the_index(path)
    zero_the_index(path, "audit_events")
    before = content_of(world.layout.proxy)
    with pytest.raises(LedgerError, match="its rows can be read only up to number 0|cannot be read as a ledger"):
        made_anew(path)
    assert content_of(world.layout.proxy) == before


def test_what_somebody_remembers_is_held_against_it(world):
    """An old copy of all of data/proxy: it shows by a memory alone, and a rebuild takes nothing of that away."""
    shutil.rmtree(world.layout.proxy)
    shutil.copytree(world.old, world.layout.proxy)
    path = world.layout.ledger
    zero_the_index(path)
    before = content_of(world.layout.proxy)
    with pytest.raises(RebuildRefusedError):
        made_anew(path, world.remembered)
    assert content_of(world.layout.proxy) == before


def test_an_index_that_hid_the_newest_state_of_the_vault_is_right_again_and_the_start_refuses_the_old_vault(
    world, environ
):
    path = world.layout.ledger
    with LedgerReader(path) as reader:
        hidden = reader.newest_of(ANCHORED).seq
    for name in world.layout.proxy.glob("vault.sqlite*"):
        name.unlink()
    for name in world.old.glob("vault.sqlite*"):
        shutil.copy(name, world.layout.proxy)
    forge_index(path, where=f"{INDEX_TEXT.partition('WHERE ')[2]} AND seq < 700")
    assert hidden >= 700
    assert made_anew(path).result.verdict is Verdict.CANNOT_TELL
    assert "set back" in start(world.layout, environ)


# Its own walls


def test_without_the_walk_an_edited_entry_would_get_a_sound_database(world, environ, monkeypatch):
    """An edited entry before the last 1,000, which no start looks at: what refuses it is this walk."""
    path = world.layout.ledger
    edit(world, path)
    zero_the_index(path)
    with pytest.raises(RebuildRefusedError):
        made_anew(path)
    monkeypatch.setattr(rebuilding, "_walked", lambda *_: verify((), {}, verifies))
    monkeypatch.setattr(rebuilding, "_demand_same", lambda *_: None)
    made_anew(path)
    assert start(world.layout, environ) == ""


def test_a_refused_start_of_the_new_database_leaves_the_old_one(world):
    path = world.layout.ledger
    zero_the_index(path)
    before = content_of(world.layout.proxy)

    def refuse(draft, *_):
        message = f"{draft} is refused"
        raise LedgerError(message)

    with pytest.raises(LedgerError, match=f"^{path} is refused$"):
        made_anew(path, record=refuse)
    assert content_of(world.layout.proxy) == before


@pytest.mark.parametrize("step", ["_copy_evidence", "_copy_file", "sync_tree"])
def test_a_disk_that_is_full_leaves_the_old_one_and_gives_the_room_back(world, monkeypatch, step):
    path = world.layout.ledger
    zero_the_index(path)
    before = content_of(world.layout.proxy)

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(rebuilding, step, refuse)
    with pytest.raises(OSError, match="No space left"):
        made_anew(path)
    assert content_of(world.layout.proxy) == before


def leave_a_log(path):
    """As a kill does: an entry, and that the index is gone, stand in the write-ahead log alone."""
    other = path.with_name("other")
    keeper = sqlite3.connect(path, isolation_level=None)
    keeper.execute("PRAGMA wal_autocheckpoint = 0")
    keeper.execute("SELECT count(*) FROM audit_events").fetchone()
    record_in(path, Event.BACKUP_CREATED, {"size": 7})
    change(path, f"DROP INDEX {INDEX}")
    other.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(path.with_name(path.name + suffix), other)
    keeper.close()
    for file in other.iterdir():
        shutil.move(file, path.with_name(file.name))
    other.rmdir()
    log = path.with_name(path.name + "-wal").read_bytes()
    assert log
    return log


def test_a_log_of_the_old_database_is_taken_up_and_never_read_with_the_new_one(world, environ):
    path = world.layout.ledger
    log = leave_a_log(path)
    done = made_anew(path)
    assert (done.kept / f"{path.name}-wal").read_bytes() == log
    with LedgerReader(path) as reader:
        assert [entry.event for entry in reader.newest(2)] == ["backup.created", "ledger.rebuilt"]
    assert start(world.layout, environ) == ""


def test_a_file_that_others_can_read_is_refused(world):
    path = world.layout.ledger
    zero_the_index(path)
    path.chmod(0o644)
    with pytest.raises(LedgerError, match="chmod 600"):
        made_anew(path)
