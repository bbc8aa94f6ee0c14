"""An export is on record and whole, or there is none."""

from __future__ import annotations

import errno
import json

import pytest
from audit_ledger import call, tamper

from mycelos.cli import audit_export
from mycelos.ledger.entry import Phase, make_draft
from mycelos.ledger.events import Event
from mycelos.ledger.unsigned import LIMIT
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.wire.identifiers import DEFAULT_TENANT

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("data_folder")]


@pytest.fixture
def place(tmp_path):
    """An empty folder."""
    folder = tmp_path / "exports"
    folder.mkdir()
    return folder


def names(folder):
    return [path.name for path in folder.iterdir()]


async def test_a_file_holds_all_of_it_for_its_owner_alone(ledger, place):
    target = place / "ledger.jsonl"
    assert call("export", "--output", str(target)) == 0
    assert names(place) == ["ledger.jsonl"]
    assert target.stat().st_mode & 0o777 == 0o600
    lines = target.read_bytes().splitlines()
    assert len(lines) == 7
    assert sum(b'"audit.exported"' in line for line in lines) == 1
    assert all(map(json.loads, lines))


async def test_an_export_never_overwrites_a_file(ledger, tmp_path, capsys):
    target = tmp_path / "mine"
    target.write_text("precious")
    assert call("export", "--output", str(target)) == 1
    assert target.read_text() == "precious"
    assert "File exists; name one that is not there yet" in capsys.readouterr().err
    assert call("export", "--output", str(tmp_path / "nodir" / "x")) == 1
    assert "No such file or directory; make its folder first" in capsys.readouterr().err


async def test_an_export_goes_to_standard_output(ledger, capfdbinary):
    assert call("export") == 0
    assert len(capfdbinary.readouterr().out.splitlines()) == 7


def cut_short(ledger):
    """An entry in the middle is none: what stands before it has been written by then."""
    tamper(ledger, "DROP TRIGGER audit_events_no_update", "UPDATE audit_events SET v = 9 WHERE seq = 2")


async def test_a_failed_export_leaves_no_part_that_would_hold(ledger, place, capsys):
    cut_short(ledger)
    assert call("export", "--output", str(place / "ledger.jsonl")) == 1
    assert names(place) == []
    assert "throw it away" not in capsys.readouterr().err


async def test_an_interrupted_export_leaves_none_either(ledger, place, monkeypatch):
    def interrupted(_reader):
        yield b"a line\n"
        raise KeyboardInterrupt

    monkeypatch.setattr(audit_export, "_lines", interrupted)
    assert call("export", "--output", str(place / "ledger.jsonl")) == 130
    assert names(place) == []


async def test_a_part_on_standard_output_is_said_to_be_one(ledger, capfdbinary):
    cut_short(ledger)
    assert call("export") == 1
    assert b"what went to standard output, if anything, is not the whole ledger" in capfdbinary.readouterr().err


async def test_nothing_is_exported_that_cannot_be_put_on_record_before_a_start(ledger, place, capfdbinary):
    recorder = await Recorder.open(ledger.ledger)
    await recorder._submit((make_draft(Event.AUDIT_EXPORTED, Phase.FACT, tenant=DEFAULT_TENANT),) * LIMIT)
    await recorder.close()
    for arguments in ((), ("--output", str(place / "ledger.jsonl"))):
        assert call("export", *arguments) == 1
        printed = capfdbinary.readouterr()
        assert printed.out == b""
        assert b"may wait for a start that signs them. Start the system once" in printed.err
        assert b"mycelos serve" in printed.err
        assert printed.err.count(b"\n") == 1
    assert names(place) == []
    with LedgerReader(ledger.ledger) as reader:
        assert reader.last() == 4 + LIMIT


async def test_a_disk_that_refuses_is_named(ledger, place, monkeypatch, capsys):
    def refuse(_reader):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(audit_export, "_lines", refuse)
    assert call("export", "--output", str(place / "ledger.jsonl")) == 1
    assert "cannot be written: No space left on device; make room on that disk" in capsys.readouterr().err
    assert names(place) == []
