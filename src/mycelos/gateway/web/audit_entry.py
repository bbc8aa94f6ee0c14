"""One ledger entry in full: every column and detail, who says each, and whether its content has its hash. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mycelos.gateway.web.audit_view import details_of, is_known
from mycelos.ledger.canonical import CanonicalError, canonical
from mycelos.ledger.chain import computed_hash
from mycelos.ledger.entry import COLUMNS, Entry, EntryError, entry_from_row
from mycelos.ledger.text import escape

_DETAILS: Final = COLUMNS.index("details")
_CLAIMED: Final = frozenset({"agent", "run"})
_CLAIMED_DETAILS: Final = frozenset({"purpose", "run_id", "agent_id"})
_SAID: Final = frozenset({"principal", "actor", "subject", "outcome", "reason"})


@dataclass(frozen=True)
class Fact:
    """One column or detail. ``is_claimed`` marks what only the gateway says."""

    name: str
    value: str
    is_claimed: bool = False


@dataclass(frozen=True)
class FullEntry:
    """All that an entry holds. ``hash_holds`` is None where the content cannot be hashed at all."""

    columns: list[Fact]
    details: list[Fact]
    as_json: str
    hash_holds: bool | None


def full_entry(columns: Mapping[str, Any]) -> FullEntry:
    """The entry whose columns by name are ``columns``, as the proxy's door gives them."""
    claimed = _CLAIMED if is_known(columns) else _CLAIMED | _SAID
    facts = [
        Fact(name, _shown(columns.get(name)), name in claimed and columns.get(name) not in {None, ""})
        for name in COLUMNS
        if name != "details"
    ]
    details = [
        Fact(escape(str(name)), _shown(value), not is_known(columns) or name in _CLAIMED_DETAILS)
        for name, value in details_of(columns).items()
    ]
    return FullEntry(facts, details, json.dumps(columns, indent=2, ensure_ascii=True), _hash_holds(columns))


def entry_of(columns: Mapping[str, Any]) -> Entry:
    """The entry itself.

    Raises:
        EntryError: the columns are not those of one.
    """
    return entry_from_row(row_of(columns))


def row_of(columns: Mapping[str, Any]) -> Sequence[Any]:
    """The row that ``columns`` are of, unchecked; an empty one, which is no entry, where they are of none."""
    try:
        row = [columns[name] for name in COLUMNS]
        row[_DETAILS] = canonical(row[_DETAILS]).decode("utf-8")
    except (KeyError, CanonicalError, RecursionError):
        return ()
    return row


def _hash_holds(columns: Mapping[str, Any]) -> bool | None:
    try:
        entry = entry_of(columns)
    except EntryError:
        return None
    return computed_hash(entry) == entry.leaf_hash


def _shown(value: object) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, list):
        return ", ".join(escape(str(member)) for member in value)
    return escape(json.dumps(value))
