from __future__ import annotations

import sqlite3

import pytest
from ledger_keys import ledger_keys

from mycelos.ledger.events import Event
from mycelos.prove import trail
from mycelos.prove.installation import Installation
from mycelos.prove.outcome import CannotShowError
from mycelos.proxy.ledger.heads import remember
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.vault.store import Vault

pytestmark = pytest.mark.anyio


async def write(layout, count):
    Vault.open(layout, bytes(32)).close()
    recorder = await Recorder.open(layout.ledger, keys=ledger_keys)
    for number in range(count):
        await recorder.fact(Event.PROXY_SSRF_BLOCKED if number % 2 else Event.PROXY_STARTED)
    remember(layout.gateway_head, recorder.checkpoint)
    await recorder.close()
    return Installation(layout, None)


@pytest.fixture
async def ledger(layout):
    return await write(layout, 9)


async def test_a_sound_ledger_holds_and_every_attacked_copy_is_located(ledger):
    findings = trail.probe_verification(ledger)
    assert [finding for finding in findings if not finding.held] == []
    assert len(findings) == 17


async def test_a_ledger_of_three_entries_is_too_short_to_be_attacked(layout):
    assert len(trail.probe_verification(await write(layout, 2))) == 1


async def test_without_the_vault_s_name_the_keepers_outside_are_missing_evidence(ledger):
    ledger.layout.vault.unlink()
    with pytest.raises(CannotShowError, match="without the vault's name"):
        trail.probe_verification(ledger)


async def test_a_checkpoint_that_cannot_be_read_is_missing_evidence(ledger):
    ledger.layout.gateway_head.write_text("{")
    with pytest.raises(CannotShowError, match="the gateway"):
        trail.probe_verification(ledger)


async def test_a_copy_that_cannot_be_made_says_nothing_of_the_ledger(ledger, monkeypatch):
    def full(_ledger):
        message = "database or disk is full"
        raise sqlite3.OperationalError(message)

    monkeypatch.setattr(trail, "attack_copy", full)
    with pytest.raises(CannotShowError, match="database or disk is full"):
        trail.probe_verification(ledger)


async def test_a_ledger_that_is_gone_is_a_fault(layout):
    (finding,) = trail.probe_verification(Installation(layout, None))
    assert not finding.held


async def test_a_twin_whose_files_were_changed_or_are_old_does_not_start(layout):
    findings = trail.probe_forks(Installation(layout, None))
    assert [finding for finding in findings if not finding.held] == []
    assert [finding.happened.partition("cannot start: ")[2] != "" for finding in findings] == [True, True, True, False]


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
