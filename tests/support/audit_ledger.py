"""A small ledger of a stopped system, the command that looks at it, and what somebody with its file can do."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ledger_keys import ledger_keys

from mycelos.cli.audit import app
from mycelos.configuration.layout import DataLayout
from mycelos.ledger.entry import Entry
from mycelos.ledger.events import Event
from mycelos.ledger.export import to_checkpoint_line, to_line
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.wire.audit import AppendRequest


async def write_ledger(layout: DataLayout) -> None:
    """Five entries, the first of which names the ledger's key."""
    recorder = await Recorder.open(layout.ledger, keys=ledger_keys)
    await recorder.fact(Event.PROXY_STARTED)
    await recorder.fact(Event.PROXY_SSRF_BLOCKED, run="r1", reason="private", details={"host": "10.0.0.1"})
    await recorder.append_claimed(AppendRequest(event="run.started", run="r2", agent="assistant"))
    await recorder.append_claimed(AppendRequest(event="policy.denied", run="r2", agent="assistant"))
    await recorder.close()


async def write_starts(layout: DataLayout, *reasons: str) -> None:
    """The entry of the ledger's key, and one more for each reason."""
    recorder = await Recorder.open(layout.ledger, keys=ledger_keys)
    for reason in reasons:
        await recorder.fact(Event.PROXY_STARTED, reason=reason)
    await recorder.close()


def call(*arguments: object) -> int:
    """Exit code of `mycelos db audit ARGUMENTS`, for the data folder of the environment."""
    # In a thread of its own, as a process of its own has: an export starts an event loop.
    with ThreadPoolExecutor(1) as pool, pytest.raises(SystemExit) as ended:
        pool.submit(app, list(map(str, arguments))).result()
    return int(ended.value.code or 0)


def tamper(layout: DataLayout, *statements: str) -> None:
    """Change the file."""
    connection = sqlite3.connect(layout.ledger, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def changed(layout: DataLayout, *statements: str) -> None:
    """As `tamper`, and the guards are put back as they were."""
    connection = sqlite3.connect(layout.ledger, isolation_level=None)
    guards = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    connection.close()
    tamper(layout, *(f"DROP TRIGGER {name}" for name, _ in guards), *statements, *(sql for _, sql in guards))


def write_export(ledger: Path, target: Path) -> Path:
    """What `mycelos db audit export` writes of ``ledger``, with nothing recorded of it; gives ``target``."""
    with LedgerReader(ledger) as reader:
        lines = [to_checkpoint_line(one) if isinstance(one, bytes) else to_line(Entry(*one)) for one in reader.items()]
    target.write_bytes(b"".join(line + b"\n" for line in lines))
    return target
