from __future__ import annotations

import pytest

from mycelos.ledger.events import Event
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.ledger.recovery import examine
from mycelos.wire.audit import AppendRequest

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
    assert len(await last.events(event="intent.unresolved")) == 1
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


async def test_an_empty_ledger_has_nothing_to_settle(recorder, path):
    found = examine(path)
    assert (found.head.seq, found.unresolved, found.drafts()) == (-1, (), ())
