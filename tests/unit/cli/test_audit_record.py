from __future__ import annotations

import errno
import json
import sqlite3
from typing import Any

import pytest

from mycelos.cli import audit_record
from mycelos.cli.audit_record import record_export
from mycelos.ledger.events import Event
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.ledger.refusals import UnsignedLimitError
from mycelos.wire.problems import ProblemCode, Refusal


@pytest.fixture
def ledger(layout: Any) -> Any:
    """A stopped system's ledger of one entry."""
    audit_record.record_while_stopped(layout, Event.BACKUP_CREATED, {})
    return layout


def entries(layout: Any) -> list[tuple[str, str, dict[str, Any]]]:
    with LedgerReader(layout.ledger) as reader:
        return [(entry.event, entry.source, json.loads(entry.details)) for entry in reader.newest(10)]


def export(layout: Any) -> None:
    with LedgerReader(layout.ledger) as reader:
        record_export(layout, reader, "ledger.jsonl")


def test_beside_a_stopped_system_it_is_in_the_ledger_before_it_is_written(ledger: Any, capsys: Any) -> None:
    export(ledger)
    assert entries(ledger)[-1] == ("audit.exported", "operator", {"last_seq": 0, "file_label": "ledger.jsonl"})
    assert capsys.readouterr().err == ""


def test_a_running_proxy_records_it(operator_system: Any) -> None:
    operator_system.client.create_link()
    export(operator_system.layout)
    (entry,) = operator_system.events("audit.exported")
    assert (entry["source"], entry["principal"], entry["outcome"]) == ("operator", "operator", "ok")
    assert entry["details"] == {"last_seq": entry["seq"] - 1, "file_label": "ledger.jsonl"}


@pytest.mark.parametrize(
    ("error", "said"),
    [(OSError(errno.EROFS, "", "/there"), "/there cannot be written: Read-only file system; mount it so that it can"),
     (PermissionError(errno.EACCES, "", "/there"), "/there cannot be written: Permission denied; run as the owner of"),
     (OSError(errno.EIO, ""), "ledger.sqlite cannot be written: Input/output error; see: mycelos doctor"),
     (sqlite3.OperationalError("readonly"), "ledger.sqlite cannot be written (OperationalError); see: mycelos doctor"),
     (LedgerError("the ledger does not hold"), "the ledger does not hold"),
     (Refusal(ProblemCode.AUDIT_UNAVAILABLE, "the disk is full", "Make room."), "the disk is full")],
)  # fmt: skip
def test_where_nothing_can_be_written_it_says_why_and_goes_on(
    ledger: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr(audit_record, "record_while_stopped", refuse)
    export(ledger)
    printed = capsys.readouterr().err
    assert printed.startswith("mycelos: this export is not on record: ")
    assert said in printed
    assert len(entries(ledger)) == 1


def test_a_sound_ledger_that_takes_no_more_before_a_start_is_no_reason_to_go_on(
    ledger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mycelos.proxy.ledger.writer.LIMIT", 1)
    with pytest.raises(UnsignedLimitError):
        export(ledger)
    assert len(entries(ledger)) == 1


@pytest.mark.anyio
async def test_an_empty_ledger_is_not_written_to(layout: Any, capsys: Any) -> None:
    await (await Recorder.open(layout.ledger)).close()
    export(layout)
    assert entries(layout) == []
