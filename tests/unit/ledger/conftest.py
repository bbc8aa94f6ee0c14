"""Logs made in memory, for tests of the pure core."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from mycelos.ledger.chain import EMPTY, Head, seal
from mycelos.ledger.entry import Entry, Phase, make_draft
from mycelos.ledger.events import Event
from mycelos.wire.identifiers import DEFAULT_TENANT

collect_ignore = ["test_another_reader.py"] if sys.version_info < (3, 12) else []
"""The package that it compares with is for Python 3.12 on: not skipped, but not there."""


@pytest.fixture
def make_log() -> Callable[[int], list[Entry]]:
    """A function that returns a sound log of so many entries."""

    def make(count: int) -> list[Entry]:
        head = EMPTY
        entries = []
        for number in range(count):
            draft = make_draft(
                Event.PROXY_HTTP_REQUEST,
                Phase.FACT,
                tenant=DEFAULT_TENANT,
                principal="gateway",
                run=f"run-{number}",
                details={"host": "api.example", "port": 443, "status": 200},
            )
            entry = seal(draft, head, 0, f"2026-01-31T12:00:00.{number:06}Z", number)
            head = Head(entry.seq, entry.leaf_hash)
            entries.append(entry)
        return entries

    return make
