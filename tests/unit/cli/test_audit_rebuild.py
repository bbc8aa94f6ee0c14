from __future__ import annotations

import json
import os
from typing import Any

import pytest
from audit_ledger import call, changed, tamper
from ledger_keys import ledger_keys

from mycelos.ledger.entry import Phase, make_draft
from mycelos.ledger.events import Event
from mycelos.ledger.unsigned import LIMIT
from mycelos.proxy.database import take_lock
from mycelos.proxy.ledger.heads import outside_of, remember
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.ledger.verification import verify_ledger
from mycelos.proxy.vault.installation import installation_of
from mycelos.proxy.vault.store import Vault
from mycelos.wire.identifiers import DEFAULT_TENANT

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("data_folder")]

DROP = "DROP INDEX audit_events_rare"


@pytest.fixture
async def ledger(ledger: Any) -> Any:
    """With the vault that names the installation."""
    Vault.open(ledger, bytes(32)).close()
    return ledger


def entries(layout: Any) -> list[Any]:
    with LedgerReader(layout.ledger) as reader:
        return reader.newest(10)


def kept(layout: Any) -> list[Any]:
    return list(layout.proxy.glob("ledger.before-rebuild-*"))


async def test_verification_names_the_command_and_the_command_says_what_it_did(ledger: Any, capsys: Any) -> None:
    tamper(ledger, DROP)
    assert call("verify") == 1
    assert "Every entry and signature holds." in (said := capsys.readouterr().out)
    assert "mycelos db audit rebuild" in said
    assert call("rebuild") == 0
    (folder,) = kept(ledger)
    said = capsys.readouterr().out
    assert "the schema was changed at audit_events_rare" in said
    assert str(folder) in said
    assert call("verify") == 6
    newest = entries(ledger)[-1]
    assert (newest.event, newest.principal, newest.outcome) == ("ledger.rebuilt", "operator", "ok")
    assert json.loads(newest.details) == {
        "reasons": ["the schema was changed at audit_events_rare"],
        "count": 1,
        "last_seq": 4,
        "file_label": folder.name,
    }


async def test_a_second_run_does_nothing_and_says_so(ledger: Any, capsys: Any) -> None:
    assert call("rebuild") == 0
    assert "nothing was done" in capsys.readouterr().out
    assert call("rebuild", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"rebuilt": False, "faults": [], "kept": None}
    assert (len(entries(ledger)), kept(ledger)) == (5, [])
    tamper(ledger, DROP)
    assert call("rebuild", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rebuilt"], told["kept"]) == (True, str(kept(ledger)[0]))


async def test_a_tampered_row_is_refused_in_the_words_of_verification(ledger: Any, capsys: Any) -> None:
    changed(ledger, "UPDATE audit_events SET run = 'x' WHERE seq = 2")
    tamper(ledger, DROP)
    before = ledger.ledger.read_bytes()
    assert call("verify") == 1
    told = capsys.readouterr().out
    assert "rebuild" not in told
    assert call("rebuild") == 1
    said = capsys.readouterr()
    assert said.out == told
    assert "nothing was rebuilt or changed" in said.err
    assert "mycelos backup adopt" in said.err
    assert (ledger.ledger.read_bytes(), kept(ledger)) == (before, [])


async def test_what_is_remembered_outside_is_held_against_it(ledger: Any, capsys: Any) -> None:
    """Cut to its state of before, its file of the last note too: only who remembers more knows."""
    outside = outside_of(ledger, os.environ, installation_of(ledger.vault))
    assert outside is not None
    old = {path.name: path.read_bytes() for path in ledger.proxy.glob("ledger.*")}
    recorder = await Recorder.open(ledger.ledger, keys=ledger_keys)
    await recorder.fact(Event.PROXY_STARTED)
    assert recorder.checkpoint is not None
    remember(outside.command_line, recorder.checkpoint)
    await recorder.close()
    for path in ledger.proxy.glob("ledger.*"):
        path.unlink()
    for name, data in old.items():
        (ledger.proxy / name).write_bytes(data)
        (ledger.proxy / name).chmod(0o600)
    tamper(ledger, DROP)
    assert call("rebuild") == 1
    assert capsys.readouterr().out.startswith("does not hold")
    assert kept(ledger) == []


async def test_a_running_system_is_refused(ledger: Any, capsys: Any) -> None:
    tamper(ledger, DROP)
    lock = take_lock(ledger.vault)
    try:
        with pytest.raises(Exception, match="mycelos stop"):
            call("rebuild")
    finally:
        os.close(lock)
    assert kept(ledger) == []


async def test_where_no_more_may_stand_without_a_signature_it_is_done_and_says_so(ledger: Any, capsys: Any) -> None:
    recorder = await Recorder.open(ledger.ledger)
    draft = make_draft(Event.AUDIT_EXPORTED, Phase.FACT, tenant=DEFAULT_TENANT)
    await recorder._submit((draft,) * LIMIT)
    await recorder.close()
    tamper(ledger, DROP)
    assert call("rebuild") == 0
    assert "this rebuild is not on record" in capsys.readouterr().err
    assert verify_ledger(ledger.ledger, {}).result.fault is None
    assert entries(ledger)[-1].event == "audit.exported"


async def test_names_that_somebody_chose_are_short_and_harmless_in_the_record(ledger: Any, capsys: Any) -> None:
    tamper(ledger, *(f'CREATE TABLE "\x1b{number}{"x" * 3000}" (a)' for number in range(30)))
    assert call("rebuild") == 0
    assert "\x1b" not in capsys.readouterr().out
    told = json.loads(entries(ledger)[-1].details)
    assert (told["count"], len(told["reasons"])) == (30, 10)
    assert all(len(reason) <= 200 and "\x1b" not in reason for reason in told["reasons"])


async def test_a_file_that_is_no_ledger_is_refused(ledger: Any, capsys: Any) -> None:
    ledger.ledger.write_bytes(b"nothing of the kind " * 400)
    assert call("rebuild") == 1
    assert "cannot be read as a ledger" in (said := capsys.readouterr().err)
    assert "db audit rebuild" not in said


async def test_without_a_ledger_there_is_nothing_to_make_anew(layout: Any, capsys: Any) -> None:
    layout.proxy.mkdir(mode=0o700)
    assert call("rebuild") == 1
    assert "ledger" in capsys.readouterr().err
