"""The ledger on disk is verified in one reading, while it is written and when it is not."""

from __future__ import annotations

import asyncio
import json
import sqlite3

import pytest
from ledger_keys import ledger_keys

from mycelos.ledger.events import Event
from mycelos.ledger.query import EventQuery
from mycelos.ledger.verify import RememberedNote, Verdict
from mycelos.prove.ledger_copy import forge_index, unguarded
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.last_signed import BLOCK, file_of
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.ledger.verification import verify_ledger

pytestmark = pytest.mark.anyio


@pytest.fixture
async def signing(path, clock, anyio_backend):
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    for _ in range(6):
        # As many as may wait: what comes on top of a full queue is refused.
        await asyncio.gather(*(recorder.fact(Event.PROXY_HTTP_REQUEST) for _ in range(100)))
    await recorder.fact(Event.PROXY_STARTED)
    yield recorder
    await recorder.close()


def remembered(recorder):
    return {"the test": RememberedNote(recorder.checkpoint.encode())}


async def test_a_running_ledger_holds_with_every_checkpoint_that_was_kept(signing, path):
    told = []
    found = verify_ledger(path, remembered(signing), progress=told.append)
    assert (found.result.verdict, found.result.entries, found.result.signed_size) == (Verdict.HOLDS, 602, 602)
    assert (found.checkpoint, told[-1]) == (signing.checkpoint, 602)


async def test_what_is_written_meanwhile_is_left_for_the_next_time(signing, path, monkeypatch):
    before = remembered(signing)
    reader = sqlite3.connect(path)
    count = reader.execute("SELECT count(*) FROM audit_events").fetchone()[0]
    reader.close()

    def write_meanwhile(entries):
        if entries == 0:
            signing.note(Event.PROXY_STARTED)

    found = verify_ledger(path, before, progress=write_meanwhile)
    assert (found.result.verdict, found.result.entries) == (Verdict.HOLDS, count)


async def test_a_ledger_that_is_gone_is_one_whose_end_is_missing_where_it_is_remembered(signing, path):
    evidence = remembered(signing)
    path.unlink()
    found = verify_ledger(path, evidence)
    assert (found.result.verdict, found.checkpoint) == (Verdict.BROKEN, None)
    with pytest.raises(LedgerError):
        verify_ledger(path, {})


async def test_a_last_note_that_was_forged_or_taken_away_is_a_fault(signing, path):
    evidence = remembered(signing)
    file_of(path).write_bytes(b"none".ljust(512, b"\0"))
    assert "a checkpoint cannot be read" in verify_ledger(path, evidence).result.reason
    file_of(path).unlink()
    assert "signed is gone" in verify_ledger(path, evidence).result.reason


async def test_guards_that_were_taken_away_are_a_fault_behind_any_other(signing, path):
    evidence = remembered(signing)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DROP TRIGGER audit_events_no_update")
    assert "audit_events_no_update" in verify_ledger(path, evidence).result.fault.found
    connection.execute("UPDATE audit_events SET outcome = 'x' WHERE seq = 7")
    connection.close()
    assert verify_ledger(path, evidence).result.fault.seq == 7


@pytest.mark.parametrize(
    ("statement", "seq", "what"),
    [
        ("UPDATE tree_nodes SET hash = zeroblob(32) WHERE place = 1", 511, "another hash of level 8 at place 1"),
        ("UPDATE tree_nodes SET place = 7 WHERE place = 1", 511, "another hash of level 8 at place 1"),
        ("DELETE FROM tree_nodes WHERE place = 0", 255, "another hash of level 8 at place 0"),
        ("DELETE FROM tree_nodes WHERE place = 1", 511, "another hash of level 8 at place 1"),
        ("INSERT INTO tree_nodes VALUES (8, 2, zeroblob(32))", 602, "a hash of level 8 for entries that are not there"),
        ("INSERT INTO tree_nodes VALUES (16, 0, zeroblob(32))", 602, "a hash of level 16 for entries"),
    ],
)
async def test_a_stored_tree_that_is_not_that_of_the_entries_is_a_fault(signing, path, statement, seq, what):
    """The chain and every checkpoint hold: only the proofs that are made of it would not."""
    connection = sqlite3.connect(path, isolation_level=None)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(statement)
    connection.close()
    fault = verify_ledger(path, remembered(signing)).result.fault
    assert fault.seq == seq
    assert what in fault.what


async def test_a_newest_checkpoint_that_is_gone_shows_by_the_file_beside_the_database(signing, path):
    evidence = remembered(signing)
    connection = sqlite3.connect(path, isolation_level=None)
    (guard,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'checkpoints_no_delete'").fetchone()
    for gone in "size = (SELECT max(size) FROM checkpoints)", "true":
        connection.execute("DROP TRIGGER checkpoints_no_delete")
        connection.execute(f"DELETE FROM checkpoints WHERE {gone}")
        connection.execute(guard)
        fault = verify_ledger(path, evidence).result.fault
        assert fault.what == "the newest checkpoint is gone from the database"
        assert fault.expected.startswith("one of 602 entries")
    connection.close()


async def test_an_index_that_leaves_an_entry_out_is_a_fault_there_behind_any_other(signing, path):
    evidence = remembered(signing)
    forge_index(path, where="event = 'ledger.checkpoint'")
    found = await signing.verify(evidence)
    assert (found.verdict, found.reason) == (Verdict.BROKEN, "the index of rare entries leaves this entry out")
    assert (found.fault.seq, found.fault.expected) == (601, "proxy.started at 601")
    # That is on record, where a search walks the rows.
    assert [
        json.loads(entry.details)["seq"] for entry in await signing.events(EventQuery(event=Event.LEDGER_VERIFY_FAILED))
    ] == [601]
    with unguarded(path) as connection:
        connection.execute("UPDATE audit_events SET outcome = 'x' WHERE seq = 7")
    assert verify_ledger(path, evidence).result.fault.seq == 7


async def test_where_the_index_is_gone_the_schema_is_what_was_changed(signing, path):
    evidence = remembered(signing)
    await signing.close()
    file_of(path).write_bytes(b"\0" * BLOCK)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DROP INDEX audit_events_rare")
    connection.close()
    assert verify_ledger(path, evidence).result.fault.found == "changed: audit_events_rare"


async def test_a_schema_of_another_version_is_a_fault(signing, path):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA user_version = 4")
    connection.close()
    assert verify_ledger(path, remembered(signing)).result.fault.found == "changed: version 4"


@pytest.mark.parametrize(
    ("text", "other"),
    [(b"size INTEGER NOT NULL", b"sise INTEGER NOT NULL"), (b"tree_nodes_no_update", b"tree\xc5nodes_no_update")],
)
async def test_a_file_that_is_damaged_below_its_rows_is_a_plain_refusal(signing, path, text, other):
    evidence = remembered(signing)
    await signing.close()
    image = path.read_bytes()
    path.write_bytes(image.replace(text, other, 1))
    with pytest.raises(LedgerError, match="evidence"):
        verify_ledger(path, evidence)


async def test_a_checkpoint_that_is_no_text_is_a_plain_refusal(signing, path):
    evidence = remembered(signing)
    await signing.close()
    connection = sqlite3.connect(path, isolation_level=None)
    for name, _ in connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'STRICT', '') WHERE name = 'checkpoints'")
    connection.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE checkpoints SET note = x'00'")
    connection.close()
    with pytest.raises(LedgerError, match="its newest checkpoint cannot be read"):
        verify_ledger(path, evidence)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("INSERT INTO checkpoints VALUES (9, 2400, 'a text')")
    connection.close()
    with pytest.raises(LedgerError, match="its checkpoints cannot be read"):
        verify_ledger(path, evidence)
