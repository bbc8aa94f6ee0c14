"""Reading the queries of the audit routes: each key known, once and understood; else it is refused by its name."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import msgspec

from mycelos.ledger.events import Source
from mycelos.ledger.log_filter import CountFilter, Filter
from mycelos.ledger.since import SinceError, parse_since
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from datetime import datetime

MOST_ENTRIES: Final = 1000
"""Entries in one answer at most."""

_NUMBER: Final = re.compile(r"[0-9]{1,15}")


SUMMARY_SPAN: Final = "24h"
"""What is counted where a query for counts names no ``since``."""

SOURCES: Final = (*(source.value for source in Source), "known", "claimed")
"""Who may be asked for: each source, those of `KNOWN` together, all others together."""

_Filter = TypeVar("_Filter", bound=CountFilter)


class EventQuery(Filter, frozen=True, kw_only=True):
    """Which entries are shown, and how many: the first ``limit`` after the place ``after``, or else the newest."""

    after: int | None = None
    limit: int = 100


def read_event_query(pairs: Iterable[tuple[str, str]], now: datetime) -> EventQuery:
    """The query's values.

    Args:
        pairs: keys and values as the address has them.
        now: what a span of ``since`` is counted back from, with its zone.

    Raises:
        Refusal: `invalid_request`; the detail names the key.
    """
    query = _known(pairs, EventQuery.__struct_fields__)
    after = -1 if query.get("after") == "-1" else _place("after", query)
    limit = _number("limit", query.get("limit", "100"), 1, MOST_ENTRIES)
    found = _read_filter(Filter, query, now)
    return EventQuery(after=after, limit=limit, **msgspec.structs.asdict(found))


def read_summary_query(pairs: Iterable[tuple[str, str]], now: datetime) -> CountFilter:
    """The same for `/audit/summary`; its ``since`` is always there.

    Raises:
        Refusal: `invalid_request`; the detail names the key.
    """
    query = _known(pairs, CountFilter.__struct_fields__)
    return _read_filter(CountFilter, {"since": SUMMARY_SPAN} | query, now)


class InclusionQuery(msgspec.Struct, frozen=True):
    """Which entry is to be shown in which tree; ``size`` is None for the one of the newest checkpoint."""

    seq: int
    size: int | None = None


class ConsistencyQuery(msgspec.Struct, frozen=True):
    """Which tree is to be shown to begin with which."""

    old: int
    new: int


def read_inclusion_query(pairs: Iterable[tuple[str, str]]) -> InclusionQuery:
    """The same for `/audit/proof/inclusion`.

    Raises:
        Refusal: `invalid_request`; the detail names the key.
    """
    query = _known(pairs, InclusionQuery.__struct_fields__)
    return InclusionQuery(_needed("seq", query), _place("size", query))


def read_consistency_query(pairs: Iterable[tuple[str, str]]) -> ConsistencyQuery:
    """The same for `/audit/proof/consistency`.

    Raises:
        Refusal: `invalid_request`; the detail names the key.
    """
    query = _known(pairs, ConsistencyQuery.__struct_fields__)
    return ConsistencyQuery(_needed("old", query), _needed("new", query))


def read_nothing(pairs: Iterable[tuple[str, str]]) -> None:
    """The same for a route that takes no key.

    Raises:
        Refusal: `invalid_request`.
    """
    if list(pairs):
        _refuse("the query has a key, and this route takes none", "Leave the query out.")


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


def read_source(text: str) -> str:
    """``text``, which is one of `SOURCES`.

    Raises:
        Refusal: `invalid_request`.
    """
    if text not in SOURCES:
        _refuse(f"source: must be one of {', '.join(SOURCES)}", "Correct source.")
    return text


def _known(pairs: Iterable[tuple[str, str]], known: Collection[str]) -> dict[str, str]:
    listed = list(pairs)
    check_keys((key for key, _ in listed), known)
    return dict(listed)


def _read_filter(kind: type[_Filter], query: Mapping[str, str], now: datetime) -> _Filter:
    given: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.name in query:
            read = _READERS.get(field.name) or _READERS_OF_TYPE[field.type]
            given[field.name] = read(field.name, query[field.name], now)
    return kind(**given)


def _needed(key: str, query: Mapping[str, str]) -> int:
    if key not in query:
        _refuse(f"{key}: missing", f"Give {key}, a whole number.")
    return _number(key, query[key], 0, 10**15)


def _place(key: str, query: Mapping[str, str]) -> int | None:
    return None if key not in query else _number(key, query[key], 0, 10**15)


def _number(key: str, text: str, least: int, most: int) -> int:
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        _refuse(f"{key}: expected a whole number from {least} to {most}", f"Correct {key}.")
    return int(text)


def _flag(key: str, text: str) -> bool:
    if text not in {"true", "false"}:
        _refuse(f"{key}: expected true or false", f"Correct {key}.")
    return text == "true"


_READERS_OF_TYPE: Final[Mapping[Any, Callable[[str, str, datetime], object]]] = {
    bool: lambda key, text, _: _flag(key, text),
    int | None: lambda key, text, _: _number(key, text, 0, 10**15),
    str | None: lambda _key, text, _: text,
}
_READERS: Final[Mapping[str, Callable[[str, str, datetime], object]]] = {
    "since": lambda _, text, now: read_since(text, now),
    "source": lambda _key, text, _: read_source(text),
}
"""The fields with a form of their own."""


def _refuse(detail: str, next_step: str) -> NoReturn:
    raise Refusal(ProblemCode.INVALID_REQUEST, detail, next_step) from None
