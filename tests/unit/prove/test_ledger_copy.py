from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from ledger_keys import ledger_keys

from mycelos.ledger.entry import Phase, make_draft
from mycelos.ledger.events import Event
from mycelos.ledger.verify import RememberedNote, Verdict
from mycelos.prove.ledger_copy import LedgerCopy, unguarded
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.ledger.verification import verify_ledger
from mycelos.wire.identifiers import DEFAULT_TENANT

pytestmark = pytest.mark.anyio


@pytest.fixture
async def path(layout, anyio_backend):
    """A signed log of 600 entries, whose kept checkpoints are of 200, 400 and 600."""
    recorder = await Recorder.open(layout.ledger, keys=ledger_keys)
    for size in (200, 400, 600):
        draft = make_draft(Event.PROXY_HTTP_REQUEST, Phase.FACT, tenant=DEFAULT_TENANT)
        await recorder._submit((draft,) * (size - recorder.head.seq - 1))
    await recorder.close()
    return layout.ledger


async def test_what_was_read_and_written_back_is_the_same_ledger(path, tmp_path):
    copy = LedgerCopy.read(path, 1000)
    assert (len(copy.entries), sorted(copy.notes)) == (600, [200, 400, 600])
    copy.write(tmp_path / "ledger.sqlite")
    result = verify_ledger(tmp_path / "ledger.sqlite", {"": RememberedNote(copy.notes[600].encode())}).result
    assert (result.verdict, result.entries) == (Verdict.HOLDS, 600)


async def test_a_copy_ends_with_a_checkpoint(path, tmp_path):
    copy = LedgerCopy.read(path, 599)
    assert (len(copy.entries), sorted(copy.notes), copy.signed) == (400, [200, 400], copy.notes[400])
    copy.write(tmp_path / "ledger.sqlite")
    assert verify_ledger(tmp_path / "ledger.sqlite", {}).result.signed_size == 400
    assert LedgerCopy.read(path, 199) == LedgerCopy([], {}, "")


async def test_a_copy_can_be_cut_and_linked_anew(path):
    copy = LedgerCopy.read(path, 1000)
    copy.cut(500)
    assert (len(copy.entries), sorted(copy.notes)) == (500, [200, 400])
    before = list(copy.entries)
    copy.link()
    assert copy.entries == before


async def test_guards_are_away_inside_the_block_and_back_after_it(path):
    with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute("DELETE FROM audit_events")
    with unguarded(path) as connection:
        connection.execute("DELETE FROM audit_events WHERE seq = 5")
    with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute("DELETE FROM audit_events")
    assert verify_ledger(path, {}).result.fault.seq == 5
