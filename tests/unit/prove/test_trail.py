from __future__ import annotations

import pytest

from mycelos.ledger.chain import Head
from mycelos.ledger.events import Event
from mycelos.prove import trail
from mycelos.prove.installation import Installation
from mycelos.prove.outcome import CannotShowError
from mycelos.proxy.ledger.heads import remember
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.recorder import Recorder

pytestmark = pytest.mark.anyio


@pytest.fixture
async def ledger(layout):
    recorder = await Recorder.open(layout.ledger)
    for number in range(9):
        await recorder.fact(Event.PROXY_SSRF_BLOCKED if number % 2 else Event.PROXY_STARTED)
    remember(layout.gateway_head, recorder.head)
    await recorder.close()
    return Installation(layout, None)


async def test_a_sound_ledger_holds_and_every_tampered_copy_is_located(ledger):
    findings = trail.probe_verification(ledger)
    assert [finding for finding in findings if not finding.held] == []
    assert len(findings) == 8


async def test_a_ledger_of_two_entries_is_too_short_to_tamper_with(layout):
    recorder = await Recorder.open(layout.ledger)
    await recorder.fact(Event.PROXY_STARTED)
    remember(layout.gateway_head, recorder.head)
    await recorder.close()
    assert len(trail.probe_verification(Installation(layout, None))) == 2


async def test_a_head_that_cannot_be_read_is_missing_evidence(ledger):
    ledger.layout.gateway_head.write_text("{")
    with pytest.raises(CannotShowError, match="the gateway"):
        trail.probe_verification(ledger)


async def test_a_ledger_that_is_gone_is_a_fault(layout):
    (finding,) = trail.probe_verification(Installation(layout, None))
    assert not finding.held


async def test_an_attack_that_is_located_elsewhere_is_not_taken_for_located(ledger):
    with LedgerReader(ledger.layout.ledger) as reader:
        entries = reader.after(-1, 99)
    last = Head(entries[-1].seq, entries[-1].leaf_hash)
    assert trail._located("cut", entries[:4], last, 4).held
    assert not trail._located("cut", entries[:4], last, 5).held
    assert not trail._located("nothing", entries, last, 0).held


async def test_filters_show_exactly_what_is_there(ledger):
    assert all(finding.held for finding in trail.probe_looking(ledger))


async def test_an_empty_ledger_cannot_be_looked_at(layout):
    recorder = await Recorder.open(layout.ledger)
    await recorder.close()
    with pytest.raises(CannotShowError, match="empty"):
        trail.probe_looking(Installation(layout, None))


async def test_each_call_at_a_twin_is_on_record_before_it_arrives(layout):
    findings = trail.probe_records(Installation(layout, None))
    assert [finding for finding in findings if not finding.held] == []


async def test_a_twin_without_its_ledger_does_nothing(layout):
    assert [finding for finding in trail.probe_fail_closed(Installation(layout, None)) if not finding.held] == []
