from __future__ import annotations

import json
from typing import Any

import pytest

from mycelos.gateway.web import audit_export
from mycelos.gateway.web.audit_export import all_entries, export_lines
from mycelos.ledger.export import item_from_line
from mycelos.wire.problems import Refusal

pytestmark = pytest.mark.anyio


class Log:
    """Entries by their places, and what was asked."""

    def __init__(self, *places: int) -> None:
        self.places = places
        self.asked: list[int] = []

    async def __call__(self, *, after: int, before: int, limit: int) -> list[dict[str, Any]]:
        self.asked.append(after)
        return [{"seq": seq, "agent": "ä"} for seq in self.places if after < seq < before][:limit]


async def test_all_of_it_is_read_in_pieces_and_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_export, "MOST_ENTRIES", 2)
    log = Log(0, 1, 2, 3, 4, 5, 6)
    lines = b"".join([piece async for piece in export_lines(log, 4, "a\nnote\n")]).splitlines()
    assert [json.loads(line) for line in lines[:-1]] == [{"agent": "ä", "seq": seq} for seq in range(5)]
    assert item_from_line(lines[-1]) == b"a\nnote\n"
    assert log.asked == [-1, 1, 3]


@pytest.mark.parametrize("places", [(0, 1, 3, 4), (1, 2, 3, 4), (0, 1, 2, 3), (0, 0, 1, 2, 3, 4), (1, 0, 2, 3, 4)])
async def test_an_entry_that_is_not_where_it_belongs_ends_the_export(places: tuple[int, ...]) -> None:
    with pytest.raises(Refusal, match="not where it belongs"):
        _ = [piece async for piece in all_entries(Log(*places), 4)]
