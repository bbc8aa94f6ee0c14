"""The start takes up a log only where its end is the one that was signed."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path

import pytest
from ledger_keys import ledger_keys, note_of

from mycelos.ledger.chain import Head, seal
from mycelos.ledger.checkpoint import parse_text
from mycelos.ledger.entry import Phase, make_draft
from mycelos.ledger.events import Event
from mycelos.ledger.query import EventQuery
from mycelos.ledger.signed_note import parse_note
from mycelos.ledger.unsigned import LIMIT
from mycelos.proxy.ledger.database import INSERT, LedgerError
from mycelos.proxy.ledger.last_signed import LastSigned, file_of
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.ledger.refusals import UnsignedLimitError
from mycelos.proxy.ledger.signed_end import demand_signed_end, demand_unused
from mycelos.wire.identifiers import DEFAULT_TENANT

pytestmark = pytest.mark.anyio


@pytest.fixture
async def signed(path, clock, anyio_backend):
    """A stopped log of 300 signed entries."""
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    for number in range(299):
        await recorder.fact(Event.PROXY_HTTP_REQUEST, run=str(number))
    head = recorder.head
    await recorder.close()
    return head


def change(path: Path, *statements: str) -> None:
    """What somebody with the file can do: take the guards away, change rows, put the guards back."""
    connection = sqlite3.connect(path, isolation_level=None)
    guards = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in guards:
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    for _, sql in guards:
        connection.execute(sql)
    connection.close()


def put_last(path: Path, note: str) -> None:
    kept = LastSigned.open(path)
    kept.write(note)
    kept.close()


def append_forged(path: Path, head: Head, event: Event) -> None:
    entry = seal(make_draft(event, Phase.FACT, tenant="t"), head, 9, "2026-01-31T12:00:00.000000Z", 1)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(INSERT, entry)
    connection.close()


async def test_what_was_closed_well_is_taken_up(signed, path):
    keys = demand_signed_end(path)
    assert keys is not None
    assert [key.public_key for key in keys.keys] == [ledger_keys().public_key]
    assert keys.origin.startswith("ledger.mycelos.internal/")


async def test_a_log_that_nobody_signs_has_no_keys(recorder, path):
    await recorder.fact(Event.PROXY_STARTED)
    assert demand_signed_end(path) is None


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (["DELETE FROM audit_events WHERE seq = 299"], "was cut off"),
        (["UPDATE audit_events SET leaf_hash = prev_hash WHERE seq = 298"], "written anew"),
        (["UPDATE tree_nodes SET hash = zeroblob(32)"], "written anew"),
        (["DELETE FROM tree_nodes"], "lacks hashes of level 8"),
        (["DELETE FROM checkpoints"], "names a key, and has no checkpoint"),
        (["UPDATE checkpoints SET tile = 7 WHERE tile = 1"], "not in their places"),
        (["DELETE FROM checkpoints WHERE tile = 1"], "entry 255 of the ledger"),
        (["UPDATE checkpoints SET size = 299 WHERE tile = 1"], "not of the size"),
        (["UPDATE checkpoints SET note = 'none' WHERE tile = 1"], "cannot be trusted"),
        (["UPDATE checkpoints SET note = CAST(x'ff' AS TEXT) WHERE tile = 1"], "cannot be trusted"),
        ([f"UPDATE checkpoints SET note = '{note_of(300, number=1)}' WHERE tile = 1"], "no trusted key"),
        (
            ["UPDATE audit_events SET event = 'proxy.started' WHERE event = 'ledger.checkpoint'"],
            "finds no entry that names a key",
        ),
        (
            ["UPDATE audit_events SET details = '{}' WHERE event = 'ledger.checkpoint'"],
            "finds no entry that names a key",
        ),
        (
            ["UPDATE audit_events SET details = '{\"public_key\":\"00\"}' WHERE event = 'ledger.checkpoint'"],
            "names its signing key",
        ),
    ],
)
async def test_a_database_that_was_changed_is_not_taken_up(signed, path, statements, message):
    change(path, *statements)
    with pytest.raises(LedgerError, match=message):
        demand_signed_end(path)


async def test_a_database_that_was_put_back_alone_is_refused_and_can_be_adopted(signed, path, clock, tmp_path):
    shutil.copy(path, tmp_path / "copy")
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    await recorder.fact(Event.PROXY_STARTED)
    await recorder.close()
    shutil.copy(tmp_path / "copy", path)
    with pytest.raises(LedgerError, match=r"old copy or was cut off: .*ledger.signed .*backup adopt"):
        await Recorder.open(path, clock, keys=ledger_keys)
    adopted = await Recorder.open(path, clock, keys=ledger_keys, adopt=True)
    await adopted.fact(Event.PROXY_STARTED)
    await adopted.close()
    assert demand_signed_end(path) is not None


async def test_the_twin_without_the_file_an_old_database_goes_on_and_signs_a_fork(signed, path, clock, tmp_path):
    """Take the wall away: the last-signed file is put back together with the database."""
    for one in (path, file_of(path)):
        shutil.copy(one, tmp_path)
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    await recorder.fact(Event.PROXY_STARTED, run="first")
    hidden = recorder.checkpoint
    await recorder.close()
    for one in (path, file_of(path)):
        shutil.copy(tmp_path / one.name, one)
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    await recorder.fact(Event.PROXY_STARTED, run="second")
    fork = recorder.checkpoint
    await recorder.close()
    first, second = (parse_text(parse_note(note.encode()).text) for note in (hidden, fork))
    assert first.size == second.size
    assert first.root != second.root


async def test_an_older_last_note_is_what_a_power_cut_leaves(signed, path, clock):
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    before = recorder.checkpoint
    await recorder.fact(Event.PROXY_STARTED)
    await recorder.close()
    put_last(path, before)
    assert demand_signed_end(path) is not None


async def test_a_last_note_is_empty_in_the_first_life_of_a_log_and_never_after(signed, path, clock):
    file_of(path).write_bytes(b"")
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    await recorder.fact(Event.PROXY_STARTED)
    await recorder.close()
    for content in (b"", bytes(512)):
        file_of(path).write_bytes(content)
        with pytest.raises(LedgerError, match="was emptied"):
            demand_signed_end(path)


@pytest.mark.parametrize(
    ("note", "message"),
    [
        (note_of(299), "written anew"),
        (note_of(301), "was cut off"),
        (note_of(300, number=1), "no trusted key"),
        ("none", "cannot be trusted"),
    ],
)
async def test_a_last_note_of_another_log_is_refused(signed, path, note, message):
    put_last(path, note)
    with pytest.raises(LedgerError, match=message):
        demand_signed_end(path)


async def test_a_last_note_that_is_gone_is_refused(signed, path, clock):
    file_of(path).unlink()
    with pytest.raises(LedgerError, match="is gone"):
        demand_signed_end(path)
    # Twice: the first refusal does not make the file that the second one asks for.
    for _ in range(2):
        with pytest.raises(LedgerError, match="is gone"):
            await Recorder.open(path, clock, keys=ledger_keys)
    file_of(path).mkdir()
    with pytest.raises(LedgerError, match="cannot be read"):
        demand_signed_end(path)


async def test_an_empty_database_in_the_place_of_a_signed_one_is_refused(signed, path, clock):
    path.unlink()
    with pytest.raises(LedgerError, match="signed over another ledger"):
        await Recorder.open(path, clock)
    recorder = await Recorder.open(path, clock, keys=ledger_keys, adopt=True)
    await recorder.close()


async def test_an_entry_that_somebody_added_without_the_key_is_refused(signed, path, clock):
    append_forged(path, signed, Event.PROXY_HTTP_REQUEST)
    with pytest.raises(LedgerError, match=r"entry 300 of the ledger: an entry that no checkpoint covers"):
        await Recorder.open(path, clock, keys=ledger_keys)


async def test_what_a_command_adds_beside_a_stopped_system_is_signed_at_the_next_start(signed, path, clock):
    recorder = await Recorder.open(path, clock)
    await recorder.fact(Event.BACKUP_CREATED, outcome="ok")
    await recorder.close()
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    await recorder.fact(Event.PROXY_STARTED)
    assert parse_text(parse_note(recorder.checkpoint.encode()).text).size == 302
    await recorder.close()


async def test_another_key_in_the_vault_than_the_log_names_is_refused(signed, path, clock):
    with pytest.raises(LedgerError, match="not of the same time"):
        await Recorder.open(path, clock, keys=lambda: ledger_keys(1))


async def test_a_log_with_entries_that_names_no_key_is_not_taken_up_by_who_has_one(path, clock):
    recorder = await Recorder.open(path, clock)
    await recorder.fact(Event.BACKUP_CREATED, outcome="ok")
    await recorder.close()
    demand_unused(path)
    recorder = await Recorder.open(path, clock)
    await recorder.fact(Event.PROXY_HTTP_REQUEST)
    await recorder.close()
    with pytest.raises(LedgerError, match=r"entry 1 of the ledger: an entry that no checkpoint covers"):
        await Recorder.open(path, clock, keys=ledger_keys)
    adopted = await Recorder.open(path, clock, keys=ledger_keys, adopt=True)
    await adopted.close()


async def test_entries_that_need_no_signature_are_few(signed, path, clock):
    """Else the ten thousandth and first hides behind those that were looked at."""
    recorder = await Recorder.open(path, clock)
    for at in range(0, LIMIT, 200):
        await asyncio.gather(*(recorder.fact(Event.AUDIT_EXPORTED) for _ in range(at, at + 200)))
    head = recorder.head
    await recorder.close()
    assert demand_signed_end(path) is not None
    append_forged(path, head, Event.AUDIT_EXPORTED)
    with pytest.raises(LedgerError, match="entry 300 of the ledger: an entry that no checkpoint covers.*more"):
        demand_signed_end(path)


async def test_the_last_one_that_needs_no_signature_is_refused_and_the_next_start_signs_all(signed, path, clock):
    recorder = await Recorder.open(path, clock)
    drafts = tuple(make_draft(Event.AUDIT_EXPORTED, Phase.FACT, tenant=DEFAULT_TENANT) for _ in range(LIMIT))
    await recorder._submit(drafts)
    head = recorder.head
    with pytest.raises(UnsignedLimitError, match="1,000 entries of the ledger at most") as refused:
        await recorder.fact(Event.AUDIT_EXPORTED)
    assert "mycelos serve" in refused.value.problem.next
    assert recorder.head == head
    await recorder.close()
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    await recorder.fact(Event.PROXY_STARTED)
    assert parse_text(parse_note(recorder.checkpoint.encode()).text).size == 300 + LIMIT + 1
    await recorder.close()
    recorder = await Recorder.open(path, clock)
    await recorder.fact(Event.AUDIT_EXPORTED)
    await recorder.close()


async def test_a_log_that_was_never_signed_is_not_filled_past_what_its_first_start_takes_up(path, clock):
    recorder = await Recorder.open(path, clock)
    drafts = tuple(
        make_draft(Event.BACKUP_CREATED, Phase.FACT, tenant=DEFAULT_TENANT, outcome="ok") for _ in range(LIMIT)
    )
    await recorder._submit(drafts)
    with pytest.raises(UnsignedLimitError):
        await recorder.fact(Event.BACKUP_CREATED, outcome="ok")
    await recorder.close()
    await (await Recorder.open(path, clock, keys=ledger_keys)).close()


async def test_a_start_that_has_the_key_writes_nothing_without_a_signature(signed, path, clock):
    """What a crash left open and a step of the clock with it: however many, none is counted as unsigned."""
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    await asyncio.gather(*(recorder.intent(Event.PROXY_HTTP_REQUEST) for _ in range(LIMIT + 1)))
    await recorder.close()
    clock.wall -= 3600
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    assert recorder.head.seq > 300 + 2 * LIMIT
    assert parse_text(parse_note(recorder.checkpoint.encode()).text).size == recorder.head.seq + 1
    await recorder.close()


async def test_what_was_left_open_is_found_behind_what_commands_added_meanwhile(path, clock):
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    intent = await recorder.intent(Event.PROXY_HTTP_REQUEST)
    await recorder.close()
    for _ in range(2):
        beside = await Recorder.open(path, clock)
        await beside.fact(Event.AUDIT_EXPORTED)
        await beside.close()
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    found = [entry.intent_seq for entry in await recorder.events(EventQuery(event="intent.unresolved"))]
    await recorder.close()
    assert found == [intent.seq]
