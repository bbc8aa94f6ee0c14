"""The installation that is there now: that it does not run, whether it is locked down, what it is to remember."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.events import Event
from mycelos.ledger.log_filter import Filter
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.snapshot import open_read_only
from mycelos.proxy.database import take_lock
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.operator_settings import Setting
from mycelos.proxy.vault.errors import VaultError
from mycelos.wire.lockdown import LockdownState


@contextmanager
def occupy(layout: DataLayout) -> Iterator[None]:
    """Keep every proxy from starting on this folder, where there is one.

    Raises:
        BackupError: one runs.
    """
    if not layout.proxy.is_dir():
        yield
        return
    try:
        lock = take_lock(layout.vault)
    except VaultError:
        raise BackupError(
            detail=f"Mycelos runs in {layout.root}; a folder in use is not replaced.",
            next_step="Stop it first: mycelos stop",
        ) from None
    try:
        yield
    finally:
        os.close(lock)


def record_while_stopped(layout: DataLayout, event: Event, details: Mapping[str, Any]) -> None:
    """Put something that the operator did on record where no proxy runs that could.

    Raises:
        BackupError: one runs.
        LedgerError, Refusal, sqlite3.Error: the ledger cannot be written.
    """
    with occupy(layout):
        record_in(layout.ledger, event, details)


def record_in(ledger: Path, event: Event, details: Mapping[str, Any]) -> None:
    """The same in a ledger that nobody else has, whose folder is kept from starting.

    Raises:
        LedgerError, Refusal, sqlite3.Error: the ledger cannot be written.
    """

    async def write() -> None:
        recorder = await Recorder.open(ledger)
        try:
            await recorder.fact(event, principal="operator", outcome="ok", details=details)
        finally:
            await recorder.close()

    asyncio.run(write())


def is_locked_down(layout: DataLayout) -> bool:
    """Whether vault or ledger there says so, or cannot be read, so that nobody can say that it is not.

    Read without a key: a row that somebody else wrote can lock down, and lift nothing.
    """
    return _vault_says_so(layout) or _ledger_says_so(layout)


def _vault_says_so(layout: DataLayout) -> bool:
    if not layout.vault.exists():
        return False
    try:
        with open_read_only(layout.vault) as connection:
            rows = connection.execute(
                "SELECT value FROM operator_settings WHERE name = ?", (Setting.LOCKDOWN.value,)
            ).fetchall()
        return any(msgspec.json.decode(value, type=LockdownState).locked for (value,) in rows)
    except (BackupError, sqlite3.Error, msgspec.DecodeError, TypeError):
        return True


def _ledger_says_so(layout: DataLayout) -> bool:
    if not layout.ledger.exists():
        return False
    try:
        with LedgerReader(layout.ledger) as reader:
            newest = reader.newest(1, Filter(event="lockdown"))
    except LedgerError:
        return True
    return bool(newest) and newest[0].event == Event.LOCKDOWN_SET
