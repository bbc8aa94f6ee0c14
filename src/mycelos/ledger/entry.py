"""Entry v1: one row of `audit_events`. The columns are a contract; the leaf hash covers every one but itself."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mycelos.ledger.canonical import canonical
from mycelos.ledger.events import EVENTS, Event, Source
from mycelos.ledger.fields import FIELDS, LIST_LIMIT, TEXT_LIMIT, FieldType
from mycelos.ledger.text import escape, shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VERSION: Final = 1
MAXIMUM_BODY: Final = 65_535
"""Bytes of an entry's canonical body at most: what an entry bundle of C2SP tlog-tiles can hold."""

COLUMN_LIMIT: Final = 512
"""Characters of one text column at most; longer text is shortened."""

_quote = json.encoder.encode_basestring


class EntryError(ValueError):
    """The entry cannot be written or is not one of ours. The text names the field and never quotes a value."""


class Phase(StrEnum):
    """What an entry says: something is about to happen, what came of it, or something that has happened."""

    INTENT = "intent"
    OUTCOME = "outcome"
    FACT = "fact"


class Draft(NamedTuple):
    """An entry before the writer gives it its place and time. Make it with `make_draft`."""

    event: Event
    phase: Phase
    source: Source
    tenant: str
    principal: str
    actor: str
    run: str
    agent: str
    subject: str
    outcome: str
    reason: str
    args_mac: str | None
    details: str
    intent_seq: int | None

    @property
    def size(self) -> int:
        """Characters of its texts: what a waiting draft weighs."""
        texts = (self.principal, self.actor, self.run, self.agent, self.subject, self.outcome, self.reason)
        return 512 + len(self.details) + sum(map(len, texts))


class Entry(NamedTuple):
    """One row, its columns in the order of `COLUMNS`.

    ``at`` is RFC 3339 in UTC with microseconds; ``mono`` counts microseconds since ``epoch`` began, and an epoch is
    one life of the writer. Absent text is empty. ``details`` is canonical JSON; `as_dict` parses it.
    """

    seq: int
    v: int
    epoch: int
    at: str
    mono: int
    event: str
    phase: str
    intent_seq: int | None
    source: str
    tenant: str
    principal: str
    actor: str
    run: str
    agent: str
    subject: str
    outcome: str
    reason: str
    args_mac: str | None
    details: str
    prev_hash: str
    leaf_hash: str

    def as_dict(self) -> dict[str, Any]:
        """The columns by name, with ``details`` as an object: what exports and ``--json`` show.

        Raises:
            EntryError: ``details`` is no JSON object, so somebody has changed the row.
        """
        columns = self._asdict()
        try:
            columns["details"] = json.loads(self.details)
        except ValueError:
            columns["details"] = None
        if not isinstance(columns["details"], dict):
            message = f"entry {self.seq}: details is not a JSON object"
            raise EntryError(message)
        return columns


COLUMNS: Final = Entry._fields
"""The names of the columns, in their order in the table."""


def make_draft(
    event: Event,
    phase: Phase,
    *,
    tenant: str,
    principal: str = "",
    actor: str = "",
    run: str = "",
    agent: str = "",
    subject: str = "",
    outcome: str = "",
    reason: str = "",
    args_mac: str | None = None,
    intent_seq: int | None = None,
    details: Mapping[str, Any] | None = None,
) -> Draft:
    """Check and clean what a caller says about ``event``; the source is the event's own.

    Raises:
        EntryError: a detail that the event may not hold, of the wrong type, or an outcome without its intent.
    """
    if (intent_seq is not None) != (phase is Phase.OUTCOME) and event is not Event.INTENT_UNRESOLVED:
        message = "intent_seq: an outcome names its intent, and nothing else does"
        raise EntryError(message)
    return Draft(
        event=event,
        phase=phase,
        source=EVENTS[event].source,
        tenant=_column(tenant),
        principal=_column(principal),
        actor=_column(actor),
        run=_column(run),
        agent=_column(agent),
        subject=_column(subject),
        outcome=_column(outcome),
        reason=_column(reason),
        args_mac=args_mac,
        intent_seq=intent_seq,
        details=canonical(_clean_details(event, details or {})).decode("utf-8"),
    )


def body(entry: Entry) -> bytes:
    """The canonical form (RFC 8785) of every column but the leaf hash: what is hashed.

    Written out by hand because it is the inner loop of appending and verifying; a property test holds it against
    `canonical` and against the package ``rfc8785``. ``details`` is canonical already and goes in as it is.
    """
    intent_seq = "null" if entry.intent_seq is None else entry.intent_seq
    args_mac = "null" if entry.args_mac is None else _quote(entry.args_mac)
    return (
        f'{{"actor":{_quote(entry.actor)},"agent":{_quote(entry.agent)},"args_mac":{args_mac},'
        f'"at":{_quote(entry.at)},"details":{entry.details},"epoch":{entry.epoch},"event":{_quote(entry.event)},'
        f'"intent_seq":{intent_seq},"mono":{entry.mono},"outcome":{_quote(entry.outcome)},'
        f'"phase":{_quote(entry.phase)},"prev_hash":{_quote(entry.prev_hash)},'
        f'"principal":{_quote(entry.principal)},"reason":{_quote(entry.reason)},"run":{_quote(entry.run)},'
        f'"seq":{entry.seq},"source":{_quote(entry.source)},"subject":{_quote(entry.subject)},'
        f'"tenant":{_quote(entry.tenant)},"v":{entry.v}}}'
    ).encode()


def entry_from_row(row: Sequence[object]) -> Entry:
    """The entry of a stored row, in the order of `COLUMNS`.

    Raises:
        EntryError: a column of the wrong type, or another version.
    """
    if tuple(map(type, row)) not in _ROW_TYPES:
        message = f"the row does not have the {len(COLUMNS)} columns of an entry, each of its type"
        raise EntryError(message)
    entry = Entry._make(row)
    if entry.v != VERSION:
        message = f"column v is not {VERSION}"
        raise EntryError(message)
    return entry


def _row_types(intent_seq: type, args_mac: type) -> tuple[type, ...]:
    types: dict[str, type] = dict.fromkeys(COLUMNS, str) | dict.fromkeys(("seq", "v", "epoch", "mono"), int)
    return tuple((types | {"intent_seq": intent_seq, "args_mac": args_mac}).values())


_ROW_TYPES: Final = frozenset(
    _row_types(intent_seq, args_mac) for intent_seq in (int, type(None)) for args_mac in (str, type(None))
)


def _column(text: str) -> str:
    return shorten(escape(text), COLUMN_LIMIT)


def _clean_details(event: Event, details: Mapping[str, Any]) -> dict[str, object]:
    allowed = EVENTS[event].fields
    cleaned: dict[str, object] = {}
    for name, value in details.items():
        if name not in allowed:
            message = f"details.{shorten(escape(name), 64)}: {event.value} does not hold this field"
            raise EntryError(message)
        if value is not None:
            cleaned[name] = _clean_value(name, FIELDS[name], value)
    return cleaned


def _clean_value(name: str, field_type: FieldType, value: object) -> object:
    if field_type is FieldType.TEXT and isinstance(value, str):
        return shorten(escape(str(value)), TEXT_LIMIT)
    if field_type is FieldType.BOOLEAN and isinstance(value, bool):
        return value
    if field_type is FieldType.NUMBER and isinstance(value, int) and not isinstance(value, bool):
        if abs(value) < 2**53:
            return value
    elif field_type is FieldType.TEXTS and isinstance(value, list | tuple) and len(value) <= LIST_LIMIT:
        if all(isinstance(text, str) for text in value):
            return [shorten(escape(str(text)), TEXT_LIMIT) for text in value]
    message = f"details.{name} must be of the type {field_type.value}"
    raise EntryError(message)
