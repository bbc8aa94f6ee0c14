"""A vault that was set back shows in what the log says of it, also where every link and the index hold."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from ledger_keys import ledger_keys

from mycelos.ledger.events import Event
from mycelos.ledger.verify import RememberedNote, Verdict
from mycelos.prove.ledger_copy import forge_index
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.ledger.recovery import TAIL
from mycelos.proxy.ledger.vault_order import vault_fault
from mycelos.proxy.ledger.verification import verify_ledger

pytestmark = pytest.mark.anyio


def at(generation):
    return {"vault_generation": generation, "vault_digest": f"{generation:064x}"}


async def change(recorder, event, generation):
    return await recorder.outcome(await recorder.intent(event), outcome="ok", details=at(generation))


def judged(path):
    with LedgerReader(path) as reader:
        fault = vault_fault(reader)
    return None if fault is None else (fault.seq, fault.expected, fault.found)


async def test_changes_that_grow_are_no_fault(recorder, path):
    await recorder.fact(Event.PROXY_STARTED, details=at(3))
    await recorder.fact(Event.PROXY_STARTED)
    await change(recorder, Event.CREDENTIAL_STORED, 4)
    await recorder.fact(Event.PROXY_STARTED, details=at(4))
    await change(recorder, Event.CREDENTIAL_DELETED, 9)
    assert judged(path) is None


async def test_an_earlier_change_is_told_where_it_is_spoken_of(recorder, path):
    await change(recorder, Event.CREDENTIAL_DELETED, 5)
    await recorder.fact(Event.PROXY_STARTED, details=at(4))
    await change(recorder, Event.CREDENTIAL_STORED, 6)
    assert judged(path) == (2, "change 5 or a later one", "change 4")


async def test_a_restore_that_is_on_record_is_no_fault_and_covers_nothing_after_it(recorder, path):
    await change(recorder, Event.CREDENTIAL_DELETED, 5)
    await change(recorder, Event.LEDGER_RESTORED, 2)
    await recorder.fact(Event.PROXY_STARTED, details=at(2))
    assert judged(path) is None
    await recorder.fact(Event.PROXY_STARTED, details=at(1))
    assert judged(path) == (5, "change 2 or a later one", "change 1")


async def test_an_old_vault_behind_an_index_that_lied_for_one_start_is_found_afterwards(path, clock, anyio_backend):
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    await recorder.fact(Event.PROXY_STARTED, details=at(4))
    last = await change(recorder, Event.CREDENTIAL_DELETED, 5)
    for _ in range(TAIL):
        await recorder.fact(Event.PROXY_HTTP_REQUEST)
    await recorder.close()
    # Further back than a start holds the index against the rows.
    forge_index(path, where=f"event IN ('ledger.checkpoint', 'proxy.started') AND seq <> {last.seq}")
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    started = await recorder.fact(Event.PROXY_STARTED, details=at(4))
    remembered = {"the test": RememberedNote(recorder.checkpoint.encode())}
    await recorder.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("REINDEX")
    result = verify_ledger(path, remembered).result
    assert result.verdict is Verdict.BROKEN
    assert (result.fault.seq, result.fault.found) == (started.seq, "change 4")
