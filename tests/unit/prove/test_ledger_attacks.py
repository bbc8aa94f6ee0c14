from __future__ import annotations

from pathlib import Path

import pytest
from ledger_keys import ledger_keys

from mycelos.ledger.entry import Phase, make_draft
from mycelos.ledger.events import Event
from mycelos.ledger.verify import RememberedNote
from mycelos.prove import ledger_attacks
from mycelos.prove.ledger_attacks import attack_copy
from mycelos.prove.ledger_copy import LedgerCopy
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.wire.identifiers import DEFAULT_TENANT

pytestmark = pytest.mark.anyio


async def written(path: Path, *sizes: int) -> Path:
    recorder = await Recorder.open(path, keys=ledger_keys)
    for size in sizes:
        draft = make_draft(Event.PROXY_HTTP_REQUEST, Phase.FACT, tenant=DEFAULT_TENANT)
        await recorder._submit((draft,) * (size - recorder.head.seq - 1))
    await recorder.close()
    return path


@pytest.mark.parametrize("sizes", [(4,), (5,), (255,), (256,), (200, 300), (200, 400, 600, 1100, 1300)])
async def test_each_attack_on_a_log_of_any_length_is_located(layout, sizes):
    before = (await written(layout.ledger, *sizes)).read_bytes()
    findings = attack_copy(layout.ledger)
    assert [finding for finding in findings if not finding.held] == []
    assert len(findings) == 16 + (sizes[-1] >= 256)
    assert layout.ledger.read_bytes() == before


async def test_a_log_that_is_too_short_is_not_attacked(layout):
    assert attack_copy(await written(layout.ledger, 3)) == []


async def test_an_attack_that_is_located_elsewhere_is_not_taken_for_located(layout, tmp_path):
    copy = LedgerCopy.read(await written(layout.ledger, 9), 9)
    remembered = RememberedNote(copy.notes[9].encode())
    path = tmp_path / "ledger.sqlite"
    copy.write(path)

    def located(seq):
        attack = ledger_attacks._Attack("cut", ledger_attacks._with_sql("DELETE FROM audit_events WHERE seq = 4"), seq)
        return ledger_attacks._located(attack, path, remembered).held

    assert [located(-1), located(4)] == [True, False]
    ledger_attacks._with_sql("DELETE FROM audit_events WHERE seq = 4")(copy, path)
    assert [located(-1), located(3), located(4)] == [False, False, True]
