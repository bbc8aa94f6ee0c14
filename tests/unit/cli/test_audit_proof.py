from __future__ import annotations

import json

import pytest
from audit_ledger import call, write_starts
from ledger_keys import change_from, ledger_keys

from mycelos.cli.audit_proof import with_next_step
from mycelos.ledger.checkpoint import open_checkpoint
from mycelos.ledger.events import Event
from mycelos.ledger.inclusion import parse_proof
from mycelos.ledger.signed_note import VerifierKey
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.vault.signing import verifies

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("data_folder")]


@pytest.fixture
async def ledger(layout):
    """A stopped system's ledger of ten entries."""
    await write_starts(layout, *[""] * 9)
    return layout


async def test_the_newest_checkpoint_is_printed_as_it_was_signed_and_its_key_beside_it(ledger, capsys):
    assert call("checkpoint") == 0
    printed = capsys.readouterr()
    key = VerifierKey.parse(printed.err.removeprefix("signed by ").strip())
    found = open_checkpoint(printed.out.encode(), key.name, [key], verifies)
    assert (found.size, key.public_key) == (10, ledger_keys().public_key)
    assert call("checkpoint", "--key") == 0
    assert capsys.readouterr().out == f"{key}\n"
    assert call("checkpoint", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "checkpoint": printed.out, "key": str(key), "size": 10, "root": found.root.hex(), "origin": key.name
    }  # fmt: skip


async def test_the_proof_of_each_entry_is_one_that_a_reader_accepts(ledger, capsys):
    call("checkpoint", "--key")
    key = VerifierKey.parse(capsys.readouterr().out.strip())
    for seq in range(10):
        assert call("proof", str(seq)) == 0
        made = parse_proof(capsys.readouterr().out.encode())
        with LedgerReader(ledger.ledger) as reader:
            leaf = bytes.fromhex(reader.entry(seq).leaf_hash)
        assert made.verify(leaf, key.name, [key], verifies).size == 10
    assert call("proof", "3", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["entry"]["seq"], told["key"]) == (3, str(key))
    assert parse_proof(told["proof"].encode()).index == 3


@pytest.mark.parametrize("seq", ["10", "999"])
async def test_an_entry_that_is_not_there_is_said(ledger, capsys, seq):
    assert call("proof", seq) == 1
    assert f"has no entry {seq}" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["checkpoint"], ["proof", "0"]])
async def test_a_ledger_that_nobody_signed_has_neither(layout, capsys, command):
    recorder = await Recorder.open(layout.ledger)
    await recorder.fact(Event.PROXY_STARTED)
    await recorder.close()
    assert call(*command) == 1
    assert "has no checkpoint yet" in capsys.readouterr().err


async def test_nothing_is_handed_out_that_its_reader_would_refuse(ledger, capsys, monkeypatch):
    monkeypatch.setattr("mycelos.cli.audit_proof.inclusion_proof", lambda *_: [bytes(32)] * 4)
    assert call("proof", "3") == 1
    assert capsys.readouterr().out == ""


def test_the_next_step_is_named_once():
    assert with_next_step("it is damaged") == "it is damaged; run mycelos db audit verify"
    for text in ("cannot be read here; run mycelos db audit verify", "it is made when it starts (mycelos serve)"):
        assert with_next_step(text) == text


async def test_changes_of_the_key_that_were_refused_take_neither_away(ledger, capsys):
    recorder = await Recorder.open(ledger.ledger, keys=ledger_keys)
    for number in (1, 2, 3):
        intent = await recorder.intent(
            Event.KEY_ROTATED, subject="ledger-signing", details=change_from(ledger_keys(), ledger_keys(number))
        )
        await recorder.outcome(intent, outcome="refused")
        assert (call("checkpoint", "--key"), call("proof", str(intent.seq))) == (0, 0)
    await recorder.close()
    capsys.readouterr()
    call("checkpoint", "--key")
    assert VerifierKey.parse(capsys.readouterr().out.strip()).public_key == ledger_keys().public_key
