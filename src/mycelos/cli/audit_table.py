"""Entries as a table that fits the terminal. Every text is escaped once more: nothing in it can drive a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mycelos.ledger.events import EVENTS, Event, Severity
from mycelos.ledger.text import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mycelos.ledger.entry import Entry

_STYLES: Final = {
    Severity.INFO: "",
    Severity.NOTICE: "cyan",
    Severity.WARNING: "yellow",
    Severity.CRITICAL: "bold red",
}
_MARKS: Final = {"fact": "·", "intent": "→", "outcome": "←"}
"""An intent goes out, its outcome comes back."""

WIDE: Final = 110
"""Columns from which on who, what and outcome each have a column of their own."""

_TARGET_FIELDS: Final = ("tool", "method", "scheme", "host", "port", "path", "service", "name")


def show_entries(entries: Sequence[Entry], console: Console | None = None) -> None:
    """Print ``entries`` in their order, or a sentence where there are none."""
    console = console or Console()
    if not entries:
        console.print("No entries.")
        return
    console.print(_wide(entries) if console.width >= WIDE else _narrow(entries))


def _wide(entries: Sequence[Entry]) -> Table:
    table = _table()
    for title, share in (("who", 2), ("what", 4), ("came of it", 3)):
        table.add_column(title, overflow="ellipsis", no_wrap=True, ratio=share)
    for entry in entries:
        _add(table, entry, _who(entry), _what(entry), _end(entry))
    return table


def _narrow(entries: Sequence[Entry]) -> Table:
    # One column for all three, folded: a terminal of 80 columns would show three ellipses.
    table = _table()
    table.add_column("who, what, came of it", overflow="fold", ratio=1)
    for entry in entries:
        _add(table, entry, " · ".join(filter(None, (_who(entry), _what(entry), _end(entry)))))
    return table


def _table() -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    table.add_column("seq", justify="right", no_wrap=True)
    table.add_column("at (UTC)", no_wrap=True)
    table.add_column("event", no_wrap=True)
    return table


def _add(table: Table, entry: Entry, *cells: str) -> None:
    texts = (str(entry.seq), entry.at[5:19].replace("T", " "), _event(entry), *cells)
    table.add_row(*(Text(escape(text), style=_style(entry)) for text in texts))


def _style(entry: Entry) -> str:
    try:
        return _STYLES[EVENTS[Event(entry.event)].severity]
    except ValueError:
        return _STYLES[Severity.CRITICAL]


def _event(entry: Entry) -> str:
    return f"{_MARKS.get(entry.phase, '?')} {entry.event}"


def _who(entry: Entry) -> str:
    who = entry.agent or entry.actor or entry.principal or entry.source
    # What the gateway says of itself is its claim.
    return f"{who} (claimed)" if entry.source == "gateway" else who


def _what(entry: Entry) -> str:
    details = json.loads(entry.details)
    target = "" if not isinstance(details, dict) else _target(details)
    return " ".join(dict.fromkeys(filter(None, (entry.subject, target))))


def _target(details: dict[str, object]) -> str:
    told = {name: str(details[name]) for name in _TARGET_FIELDS if name in details}
    host = told.get("host", "")
    if host:
        scheme = f"{told['scheme']}://" if "scheme" in told else ""
        port = f":{told['port']}" if "port" in told else ""
        url = f"{scheme}{host}{port}{told.get('path', '')}"
        return " ".join(filter(None, (told.get("tool"), told.get("method"), url)))
    return " ".join(dict.fromkeys(told.values()))


def _end(entry: Entry) -> str:
    return ": ".join(filter(None, (entry.outcome, entry.reason)))
