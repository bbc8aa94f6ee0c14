"""A run's journal: each step durable before the next, and live for the pages that watch.

Tokens are shown at once and stored in bunches: a row of kind ``token`` holds ``{"parts": [...]}`` and its sequence
is that of its first part. Kinds that are no `EventKind` (``model_answer``, ``decision``) are for replay and audit
and are not shown to pages.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from mycelos.gateway.runs.events import EventKind, RunEvent
from mycelos.gateway.store.database import now
from mycelos.gateway.store.records import JournalRow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from mycelos.gateway.store.runs import Runs

FLUSH_SECONDS: Final = 0.25
FLUSH_PARTS: Final = 256
_SHOWN: Final = frozenset(kind.value for kind in EventKind)


class Journal:
    """The journal of one run that goes on."""

    def __init__(self, run_id: str, runs: Runs) -> None:
        self._run_id = run_id
        self._runs = runs
        self._events: list[RunEvent] = []
        self._sequence = 0
        self._parts: list[str] = []
        self._parts_from = 0
        self._flushed_at = time.monotonic()
        self._changed = asyncio.Event()

    @property
    def text(self) -> str:
        """Everything that the run wrote for the person."""
        return "".join(event.data["text"] for event in self._events if event.kind is EventKind.TOKEN)

    async def token(self, text: str) -> None:
        """Show a piece of text at once; store it soon."""
        self._sequence += 1
        if not self._parts:
            self._parts_from = self._sequence
        self._parts.append(text)
        self._show(RunEvent(self._sequence, EventKind.TOKEN, {"text": text}))
        if len(self._parts) >= FLUSH_PARTS or time.monotonic() - self._flushed_at >= FLUSH_SECONDS:
            await self._runs.append(self._run_id, self._take_parts())

    async def append(self, kind: EventKind | str, data: dict[str, Any]) -> None:
        """Write one row, durable when this returns; then show it, if pages see its kind."""
        rows = self._take_parts()
        self._sequence += 1
        sequence = self._sequence
        await self._runs.append(self._run_id, [*rows, JournalRow(sequence, str(kind), data, now())])
        if kind in _SHOWN:
            self._show(RunEvent(sequence, EventKind(kind), data))

    def last_rows(self, kind: EventKind, data: dict[str, Any]) -> list[JournalRow]:
        """The rows with which the run closes; `show_last` follows when they are stored."""
        rows = self._take_parts()
        self._sequence += 1
        return [*rows, JournalRow(self._sequence, kind.value, data, now())]

    def show_last(self, kind: EventKind, data: dict[str, Any]) -> None:
        """Tell the pages how it ended."""
        self._show(RunEvent(self._sequence, kind, data))

    async def events(self, after: int) -> AsyncIterator[RunEvent]:
        """The events behind ``after``, then each as it comes, up to the last."""
        place = 0
        while True:
            changed = self._changed
            while place < len(self._events):
                event = self._events[place]
                place += 1
                if event.sequence > after:
                    yield event
                if event.is_last:
                    return
            await changed.wait()

    def _take_parts(self) -> list[JournalRow]:
        self._flushed_at = time.monotonic()
        if not self._parts:
            return []
        row = JournalRow(self._parts_from, EventKind.TOKEN.value, {"parts": self._parts}, now())
        self._parts = []
        return [row]

    def _show(self, event: RunEvent) -> None:
        self._events.append(event)
        self._changed.set()
        self._changed = asyncio.Event()


def stored_events(rows: Iterable[JournalRow], after: int) -> list[RunEvent]:
    """What pages see of a journal that lies in the store, behind ``after``."""
    events: list[RunEvent] = []
    for row in rows:
        if row.kind == EventKind.TOKEN:
            parts = row.data["parts"]
            last = row.sequence + len(parts) - 1
            unseen = parts[max(0, after - row.sequence + 1) :]
            if unseen:
                events.append(RunEvent(last, EventKind.TOKEN, {"text": "".join(unseen)}))
        elif row.kind in _SHOWN and row.sequence > after:
            events.append(RunEvent(row.sequence, EventKind(row.kind), row.data))
    return events


def next_sequence(rows: list[JournalRow]) -> int:
    """The sequence of a row that is appended to a stored journal."""
    if not rows:
        return 1
    last = rows[-1]
    return last.sequence + len(last.data.get("parts", "x"))
