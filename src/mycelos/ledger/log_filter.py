"""What entries of a log can be narrowed down by. Here alone: the queries, the doors and the search in SQL follow.

A new field is declared here. Where it is a text with the name of a column that is all: it is compared with the column.
Anything else needs its condition in `mycelos.proxy.ledger.reader`, and a text with a form of its own its reading in
`mycelos.ledger.query`.
"""

from __future__ import annotations

from typing import Final

import msgspec


class CountFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are counted. None means any.

    Attributes:
        since: the moment of the oldest, as entries have theirs (RFC 3339, UTC, microseconds).
        event: an event, or an area such as ``auth`` for every event of it.
        agent: as the gateway claims it.
        run: likewise.
        outcome: the word, such as ``refused``.
        host: what the entry is about.
        source: one of `mycelos.ledger.query.SOURCES`.
    """

    since: str | None = None
    event: str | None = None
    agent: str | None = None
    run: str | None = None
    outcome: str | None = None
    host: str | None = None
    source: str | None = None


class Filter(CountFilter, frozen=True, kw_only=True):
    """Which entries are shown.

    Attributes:
        before: a place; only entries before it.
        suspicious: only events that matter to security.
        outside: only what left the machine.
    """

    before: int | None = None
    suspicious: bool = False
    outside: bool = False


EVERYTHING: Final = Filter()
