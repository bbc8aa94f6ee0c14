from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing

import pytest
from ledger_keys import ledger_keys

from mycelos.ledger.events import Event
from mycelos.ledger.query import EventQuery
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.ledger.recovery import examine
from mycelos.wire.audit import AppendRequest
from mycelos.wire.problems import Refusal

pytestmark = pytest.mark.anyio


async def test_intents_without_an_outcome_are_found_in_order(recorder, path):
    first = await recorder.intent(Event.PROXY_HTTP_REQUEST)
    second = await recorder.intent(Event.PROXY_HTTP_REQUEST)
    third = await recorder.intent(Event.PROXY_HTTP_REQUEST)
    await recorder.outcome(second, outcome="ok")
    found = examine(path)
    assert [entry.seq for entry in found.unresolved] == [first.seq, third.seq]
    assert found.head == recorder.head


async def test_intents_of_the_gateway_count_too(recorder, path):
    receipt = await recorder.append_claimed(AppendRequest(event="tool.called", phase="intent"))
    assert [entry.seq for entry in examine(path).unresolved] == [receipt.seq]
    await recorder.append_claimed(AppendRequest(event="tool.called", phase="outcome", intent_seq=receipt.seq))
    assert examine(path).unresolved == ()


async def test_an_unresolved_intent_is_reported_once(recorder, path, clock):
    await recorder.intent(Event.PROXY_HTTP_REQUEST)
    await recorder.close()
    for _ in range(3):
        again = await Recorder.open(path, clock)
        await again.fact(Event.PROXY_STARTED)
        await again.close()
    last = await Recorder.open(path, clock)
    assert len(await last.events(EventQuery(event="intent.unresolved"))) == 1
    await last.close()


async def test_a_start_that_dies_before_it_wrote_anything_loses_no_unresolved_intent(recorder, path, clock):
    await recorder.intent(Event.PROXY_HTTP_REQUEST)
    await recorder.close()
    Recorder(path, clock)._writer.close()
    assert len(examine(path).unresolved) == 1


async def test_the_links_of_a_long_log_s_tail_are_checked_from_an_anchor(recorder, path, monkeypatch):
    monkeypatch.setattr("mycelos.proxy.ledger.recovery.TAIL", 5)
    for _ in range(12):
        await recorder.fact(Event.PROXY_STARTED)
    assert examine(path).head == recorder.head


@pytest.mark.parametrize("lives", range(1, 6))
async def test_the_newest_epoch_is_found_whatever_came_before(path, clock, lives):
    for life in range(lives):
        recorder = await Recorder.open(path, clock)
        for _ in range(life):
            await recorder.fact(Event.PROXY_STARTED)
        intent = await recorder.intent(Event.PROXY_HTTP_REQUEST)
        await recorder.close()
    assert [entry.seq for entry in examine(path).unresolved] == [intent.seq]


async def test_no_number_of_open_intents_keeps_the_proxy_from_starting(recorder, path, clock, monkeypatch):
    # Each of them would be an entry of its own, and all are written at once: more than the queue takes.
    monkeypatch.setattr("mycelos.proxy.ledger.recovery.EACH", 3)
    monkeypatch.setattr("mycelos.proxy.ledger.queue.ENTRY_LIMIT", 8)
    own = await recorder.intent(Event.PROXY_HTTP_REQUEST)
    claimed = [await recorder.append_claimed(AppendRequest(event="tool.called", phase="intent")) for _ in range(9)]
    await recorder.append_claimed(AppendRequest(event="tool.called", phase="outcome", intent_seq=claimed[2].seq))
    await recorder.close()
    again = await Recorder.open(path, clock)
    together, *each = await again.events(EventQuery(event="intent.unresolved"))
    await again.close()
    assert [entry.intent_seq for entry in each] == [own.seq, *(receipt.seq for receipt in claimed[-3:])]
    assert (together.subject, together.intent_seq) == ("gateway", None)
    assert json.loads(together.details) == {"count": 5, "first_seq": claimed[0].seq, "last_seq": claimed[5].seq}


async def test_told_one_by_one_they_do(recorder, path, clock, monkeypatch):
    monkeypatch.setattr("mycelos.proxy.ledger.queue.ENTRY_LIMIT", 8)
    for _ in range(9):
        await recorder.append_claimed(AppendRequest(event="tool.called", phase="intent"))
    await recorder.close()
    with pytest.raises(Refusal, match="too much waits"):
        await Recorder.open(path, clock)


async def test_an_empty_ledger_has_nothing_to_settle(recorder, path):
    found = examine(path)
    assert (found.head.seq, found.unresolved, found.drafts()) == (-1, (), ())


def change(path, statement):
    """Change rows past the guards."""
    with closing(sqlite3.connect(path, isolation_level=None)) as intruder:
        intruder.execute("DROP TRIGGER audit_events_no_update")
        intruder.execute(statement)


@pytest.mark.parametrize("seq", [0, 6])
async def test_a_row_that_is_no_entry_is_a_ledger_that_does_not_hold(recorder, path, monkeypatch, seq):
    """An intent from before the end that is looked at, and the entry with which that end begins."""
    monkeypatch.setattr("mycelos.proxy.ledger.recovery.TAIL", 5)
    await recorder.intent(Event.PROXY_HTTP_REQUEST)
    for _ in range(11):
        await recorder.fact(Event.PROXY_STARTED)
    change(path, f"UPDATE audit_events SET v = 9 WHERE seq = {seq}")
    with pytest.raises(LedgerError, match="a row of the ledger is no entry: .* mycelos db audit verify"):
        examine(path)


async def test_while_a_long_life_is_read_it_shows(path):
    signs = []
    recorder = await Recorder.open(path, keys=ledger_keys)
    await asyncio.gather(*(recorder.intent(Event.PROXY_HTTP_REQUEST) for _ in range(2000)))
    await recorder.close()
    examine(path, lambda: signs.append(1))
    assert not signs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mycelos.proxy.ledger.database._STEPS", 1000)
        examine(path, lambda: signs.append(1))
    assert len(signs) > 5
