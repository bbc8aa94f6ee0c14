"""A ledger on disk, and a clock that a test moves."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ledger_rows import row

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.ledger.clock import Moment
from mycelos.proxy.ledger.database import INSERT, open_for_writing
from mycelos.proxy.ledger.recorder import Recorder


@dataclass
class FakeClock:
    wall: float = 1_769_860_800.0  # 2026-01-31T12:00:00Z
    monotonic: float = 1000.0

    def __call__(self) -> Moment:
        return Moment(self.wall, self.monotonic)

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(layout: DataLayout) -> Path:
    return layout.ledger


@pytest.fixture
async def recorder(path: Path, clock: FakeClock, anyio_backend: str) -> AsyncIterator[Recorder]:
    recorder = await Recorder.open(path, clock)
    try:
        yield recorder
    finally:
        await recorder.close()


@pytest.fixture
def writer(path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_for_writing(path)
    yield connection
    connection.close()


@pytest.fixture
def intruder(path: Path, writer: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """A connection as anybody makes one who may write to the file: without our authorizer."""
    writer.execute(INSERT, row(0))
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()
