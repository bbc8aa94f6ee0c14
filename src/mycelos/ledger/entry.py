"""Entry v1: one row of `audit_events`. The columns are a contract; the leaf hash covers every one but itself."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

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

_BASE_SIZE: Final = 512
"""What an entry weighs besides its texts, about."""

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
    intent_seq: int | None
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
    size: int
    """Characters of its texts, and something for the rest: what a waiting draft weighs."""


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
        details = _parsed(self.details)
        if details is None:
            message = f"entry {self.seq}: details is not a JSON object"
            raise EntryError(message)
        return self._asdict() | {"details": details}


COLUMNS: Final = Entry._fields
"""The names of the columns, in their order in the table."""


def read_details(entry: Entry) -> dict[str, Any]:
    """The details; empty in a row that was changed so that they are no object."""
    return _parsed(entry.details) or {}


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
    texts = (tenant, principal, actor, run, agent, subject, outcome, reason)
    together = "".join(texts)
    if len(together) > COLUMN_LIMIT or not together.isprintable():
        texts = tuple([_cleaned(text, COLUMN_LIMIT) for text in texts])  # type: ignore[assignment]  # as many
        together = "".join(texts)
    written = _written_details(event, details) if details else "{}"
    size = _BASE_SIZE + len(together) + len(written)
    return Draft(event, phase, intent_seq, EVENTS[event].source, *texts, args_mac, written, size)


def body(row: Sequence[Any]) -> bytes:
    """The canonical form (RFC 8785) of every column but the leaf hash: what is hashed.

    ``row`` is an `Entry`, or a stored row with columns of the types of one. Written out by hand because it is the inner
    loop of appending and verifying; a property test holds it against `canonical` and against the package ``rfc8785``.
    ``details`` is canonical already and goes in as it is.

    Raises:
        UnicodeEncodeError: text with half a surrogate pair.
    """
    (
        seq, v, epoch, at, mono, event, phase, intent_seq, source, tenant, principal,
        actor, run, agent, subject, outcome, reason, args_mac, details, prev_hash, _,
    ) = row  # fmt: skip
    if args_mac is not None:
        args_mac = _quote(args_mac)
    return (
        f'{{"actor":{_quote(actor)},"agent":{_quote(agent)},"args_mac":{args_mac or "null"},"at":{_quote(at)},'
        f'"details":{details},"epoch":{epoch},"event":{_quote(event)},'
        f'"intent_seq":{"null" if intent_seq is None else intent_seq},"mono":{mono},"outcome":{_quote(outcome)},'
        f'"phase":{_quote(phase)},"prev_hash":{_quote(prev_hash)},"principal":{_quote(principal)},'
        f'"reason":{_quote(reason)},"run":{_quote(run)},"seq":{seq},"source":{_quote(source)},'
        f'"subject":{_quote(subject)},"tenant":{_quote(tenant)},"v":{v}}}'
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


def _parsed(details: str) -> dict[str, Any] | None:
    try:
        found = json.loads(details)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _row_types(intent_seq: type, args_mac: type) -> tuple[type, ...]:
    types: dict[str, type] = dict.fromkeys(COLUMNS, str) | dict.fromkeys(("seq", "v", "epoch", "mono"), int)
    return tuple((types | {"intent_seq": intent_seq, "args_mac": args_mac}).values())


_ROW_TYPES: Final = frozenset(
    _row_types(intent_seq, args_mac) for intent_seq in (int, type(None)) for args_mac in (str, type(None))
)


def _cleaned(text: str, limit: int) -> str:
    return shorten(escape(text), limit)


def _written_details(event: Event, details: Mapping[str, Any]) -> str:
    """``details`` in their canonical form; a property test holds it against `mycelos.ledger.canonical`."""
    forms = _FORMS[event]
    members = []
    for name, value in details.items():
        form = forms.get(name)
        if form is None:
            message = f"details.{_cleaned(name, 64)}: {event.value} does not hold this field"
            raise EntryError(message)
        if value is not None:
            written = form(value)
            if written is None:
                message = f"details.{name} must be of the type {FIELDS[name].value}"
                raise EntryError(message)
            members.append(f'"{name}":{written}')
    # No name holds anything that sorts before the quotation mark at its end.
    members.sort()
    return f"{{{','.join(members)}}}"


# Each gives the canonical form of a value, or None where it is of another type.
def _boolean(value: object) -> str | None:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else None


def _number(value: object) -> str | None:
    is_one = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
    return int.__repr__(value) if is_one else None


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    text = str(value)
    # Most texts need no cleaning, and a call for each would cost as much as the rest.
    return _quote(text if len(text) <= TEXT_LIMIT and text.isprintable() else _cleaned(text, TEXT_LIMIT))


def _texts(value: object) -> str | None:
    if not isinstance(value, list | tuple) or len(value) > LIST_LIMIT:
        return None
    written = [_text(text) for text in value]
    return None if None in written else f"[{','.join(written)}]"  # type: ignore[arg-type]  # none is None


_OF_TYPE: Final = {
    FieldType.BOOLEAN: _boolean,
    FieldType.NUMBER: _number,
    FieldType.TEXT: _text,
    FieldType.TEXTS: _texts,
}
_FORMS: Final = {event: {name: _OF_TYPE[FIELDS[name]] for name in rule.fields} for event, rule in EVENTS.items()}
