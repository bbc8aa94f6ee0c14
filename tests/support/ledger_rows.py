"""Rows for the ledger's table, one by one."""

from __future__ import annotations

from mycelos.ledger.chain import EMPTY, seal
from mycelos.ledger.entry import Entry, Phase, make_draft
from mycelos.ledger.events import Event


def row(seq: int) -> Entry:
    """An entry with its place, which follows no other."""
    draft = make_draft(Event.PROXY_HTTP_REQUEST, Phase.FACT, tenant="t")
    return seal(draft, EMPTY, 0, "2026-01-31T12:00:00.000000Z", 0)._replace(seq=seq)
