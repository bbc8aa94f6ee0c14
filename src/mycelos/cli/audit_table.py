"""Entries as a table that fits the terminal. Every text is escaped once more: nothing in it can drive a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mycelos.ledger.entry import read_details
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

WIDE: Final = 130
"""Columns from which on who, what and outcome each have a column of their own."""
NARROW: Final = 96
"""Columns below which an entry's words stand under it: beside it nothing would be left for them."""

_TARGET_FIELDS: Final = ("tool", "method", "scheme", "host", "port", "path", "service", "name")
_USUAL_PORTS: Final = {"https": "443", "http": "80"}


def show_entries(entries: Sequence[Entry], console: Console | None = None, *, heads: bool = True) -> None:
    """Print ``entries`` in their order, or a sentence where there are none.

    Where no terminal is, each is one whole line, for programs that search lines. ``heads`` are left out by whoever
    goes on below what was shown before.
    """
    console = console or Console()
    if not entries:
        console.print("No entries.")
    elif not console.is_terminal:
        for entry in entries:
            console.file.write(_line(entry) + "\n")
    elif console.width < NARROW:
        for entry in entries:
            _stack(console, entry)
    else:
        console.print(_table(entries, is_wide=console.width >= WIDE, heads=heads))


def _line(entry: Entry) -> str:
    words = filter(None, (_who(entry), _what(entry), _end(entry)))
    return escape(f"{entry.seq}  {entry.at}  {_event(entry)}  {' · '.join(words)}".rstrip())


def _stack(console: Console, entry: Entry) -> None:
    head = f"{entry.seq}  {entry.at[5:19].replace('T', ' ')}  {_event(entry)}"
    console.print(Text(escape(head), style=_style(entry), overflow="fold"))
    words = " · ".join(filter(None, (_who(entry), _what(entry), _end(entry))))
    console.print(Padding(Text(escape(words), overflow="fold"), (0, 0, 0, 2)))


def _table(entries: Sequence[Entry], *, is_wide: bool, heads: bool) -> Table:
    # Without heads the columns still have to stand where those above stand.
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True, show_header=heads)
    table.add_column("seq", justify="right", no_wrap=True, min_width=7)
    table.add_column("at (UTC)", no_wrap=True, min_width=14)
    table.add_column("event", no_wrap=True, min_width=24)
    if is_wide:
        for title, share in (("who", 3), ("what", 5), ("came of it", 3)):
            table.add_column(title, overflow="ellipsis", no_wrap=True, ratio=share)
    else:
        # One column for all three, folded: three would show three ellipses.
        table.add_column("who, what, came of it", overflow="fold", ratio=1)
    for entry in entries:
        cells = [_who(entry), _what(entry), _end(entry)]
        texts = (str(entry.seq), entry.at[5:19].replace("T", " "), _event(entry))
        words = cells if is_wide else [" · ".join(filter(None, cells))]
        table.add_row(*(Text(escape(text), style=_style(entry)) for text in (*texts, *words)))
    return table


def _style(entry: Entry) -> str:
    try:
        return _STYLES[EVENTS[Event(entry.event)].severity]
    except ValueError:
        return _STYLES[Severity.CRITICAL]


def _event(entry: Entry) -> str:
    return f"{_MARKS.get(entry.phase, '?')} {entry.event}"


def _who(entry: Entry) -> str:
    who = entry.agent or entry.actor or entry.principal or entry.source
    # What the gateway says of itself is its claim; and for which agent a request leaves, nobody else says.
    return f"{who} (claimed)" if entry.source == "gateway" or entry.agent else who


def _what(entry: Entry) -> str:
    details = read_details(entry)
    # The subject of a request is its host.
    subject = "" if details.get("host") == entry.subject else entry.subject
    return " ".join(dict.fromkeys(filter(None, (subject, _target(details)))))


def _target(details: dict[str, object]) -> str:
    told = {name: str(details[name]) for name in _TARGET_FIELDS if name in details}
    host = told.get("host", "")
    if host:
        scheme = f"{told['scheme']}://" if "scheme" in told else ""
        port = told.get("port", _USUAL_PORTS.get(told.get("scheme", ""), ""))
        port = f":{port}" if port and port != _USUAL_PORTS.get(told.get("scheme", "")) else ""
        url = f"{scheme}{host}{port}{told.get('path', '')}"
        return " ".join(filter(None, (told.get("tool"), told.get("method"), url)))
    return " ".join(dict.fromkeys(told.values()))


def _end(entry: Entry) -> str:
    ended = " ".join(str(word) for word in (entry.outcome, read_details(entry).get("status")) if word)
    return ": ".join(filter(None, (ended, entry.reason)))
