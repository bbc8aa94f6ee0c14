"""A command line against a stand-in for the gateway, and what it printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from audit_ledger import write_ledger
from scripted_gateway import ScriptedGateway, scripted_gateway

from mycelos.cli.main import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mycelos.configuration.layout import DataLayout


@pytest.fixture
def gateway(layout: DataLayout, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedGateway]:
    monkeypatch.setenv("MYCELOS_DATA_DIR", str(layout.root))
    with scripted_gateway(layout) as standing:
        yield standing


@pytest.fixture
def data_folder(layout: DataLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands look at the data folder of ``layout``."""
    monkeypatch.setenv("MYCELOS_DATA_DIR", str(layout.root))


@pytest.fixture
async def ledger(layout: DataLayout, data_folder: None) -> DataLayout:
    """A stopped system's ledger of five entries, the first of which names its key."""
    await write_ledger(layout)
    return layout


@pytest.fixture
def mycelos(
    layout: DataLayout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run one command line; exit code, stdout and stderr."""
    monkeypatch.setenv("MYCELOS_DATA_DIR", str(layout.root))

    def call(*words: str) -> tuple[int, str, str]:
        code = run(words)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call
