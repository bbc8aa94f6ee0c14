"""Reading the query of `/audit/events`: each key known, once and understood; anything else is refused by its name."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec

from mycelos.ledger.since import SinceError, parse_since
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

MOST_ENTRIES: Final = 1000
"""Entries in one answer at most."""

_NUMBER: Final = re.compile(r"[0-9]{1,15}")


class EventQuery(msgspec.Struct, frozen=True):
    """Which entries are wanted. ``after`` is a sequence number, -1 for the first; ``since`` is as entries have it."""

    after: int | None = None
    limit: int = 100
    suspicious: bool = False
    since: str | None = None
    event: str | None = None
    agent: str | None = None
    run: str | None = None


def read_event_query(pairs: Iterable[tuple[str, str]], now: datetime) -> EventQuery:
    """The query's values.

    Args:
        pairs: keys and values as the address has them.
        now: what a span of ``since`` is counted back from, with its zone.

    Raises:
        Refusal: `invalid_request`; the detail names the key.
    """
    listed = list(pairs)
    check_keys((key for key, _ in listed), EventQuery.__struct_fields__)
    query = dict(listed)
    after = query.get("after")
    return EventQuery(
        after=-1 if after == "-1" else None if after is None else _number("after", after, 0, 10**15),
        limit=_number("limit", query.get("limit", "100"), 1, MOST_ENTRIES),
        suspicious=_flag("suspicious", query.get("suspicious", "false")),
        since=None if "since" not in query else read_since(query["since"], now),
        event=query.get("event"),
        agent=query.get("agent"),
        run=query.get("run"),
    )


def check_keys(keys: Iterable[str], known: Collection[str]) -> None:
    """Refuse a key that is not ``known``, with the nearest that is, and one that is there twice.

    Raises:
        Refusal: `invalid_request`.
    """
    seen: set[str] = set()
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key[:64], sorted(known), n=1, cutoff=0.0)[0]
            shown = key if re.fullmatch(r"[A-Za-z0-9_-]{1,32}", key) else "(key)"
            _refuse(f"{shown}: the query has no such key", f"The nearest one that exists is {near}.")
        if key in seen:
            _refuse(f"{key}: given more than once", f"Give {key} once.")
        seen.add(key)


def read_since(text: str, now: datetime) -> str:
    """The moment that ``text`` names, as entries write theirs; a span is counted back from ``now``.

    Raises:
        Refusal: `invalid_request`.
    """
    try:
        return parse_since(text, now)
    except SinceError as error:
        fix = str(error)
        _refuse("since: neither a span nor a time", f"{fix[0].upper()}{fix[1:]}.")


def _number(key: str, text: str, least: int, most: int) -> int:
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        _refuse(f"{key}: expected a whole number from {least} to {most}", f"Correct {key}.")
    return int(text)


def _flag(key: str, text: str) -> bool:
    if text not in {"true", "false"}:
        _refuse(f"{key}: expected true or false", f"Correct {key}.")
    return text == "true"


def _refuse(detail: str, next_step: str) -> NoReturn:
    raise Refusal(ProblemCode.INVALID_REQUEST, detail, next_step) from None
