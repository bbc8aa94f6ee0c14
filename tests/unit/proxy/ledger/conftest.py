"""A ledger on disk, and a clock that a test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.ledger.clock import Moment
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
