"""The journal: live order, bunched tokens, resuming at any place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.gateway.runs.events import EventKind
from mycelos.gateway.runs.journal import FLUSH_PARTS, Journal, next_sequence, stored_events
from mycelos.gateway.store import Store
from mycelos.gateway.store.records import JournalRow

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stored(tmp_path: Path, anyio_backend: str) -> AsyncIterator[tuple[Store, Journal]]:
    store = await Store.open(tmp_path / "g.sqlite")
    chat = await store.chats.create("assistant")
    run = await store.runs.open(chat.id, "hello", "assistant", None)
    yield store, Journal(run.id, store.runs)
    await store.close()


async def test_what_is_written_is_stored_before_the_next_step_and_tokens_before_it(
    stored: tuple[Store, Journal],
) -> None:
    store, journal = stored
    for piece in ("a", "b"):
        await journal.token(piece)
    await journal.append("model_answer", {"text": "ab"})
    await journal.append(EventKind.TOOL_CALL, {"id": "t1"})
    rows = await store.runs.journal(journal._run_id)
    assert [(row.sequence, row.kind) for row in rows] == [(1, "token"), (3, "model_answer"), (4, "tool_call")]
    assert journal.text == "ab"


async def test_many_tokens_are_bunched(stored: tuple[Store, Journal]) -> None:
    store, journal = stored
    for _ in range(FLUSH_PARTS):
        await journal.token("x")
    rows = await store.runs.journal(journal._run_id)
    assert len(rows) < FLUSH_PARTS / 8
    assert sum(len(row.data["parts"]) for row in rows) == FLUSH_PARTS


async def test_a_page_sees_each_event_as_it_comes_and_the_journals_own_rows_never(
    stored: tuple[Store, Journal],
) -> None:
    _, journal = stored
    seen: list[Any] = []

    async def watch() -> None:
        async for event in journal.events(0):
            seen.append(event)

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(watch())
        await journal.token("a")
        await journal.append("model_answer", {})
        data = {"code": "answered", "text": "a"}
        rows = journal.last_rows(EventKind.DONE, data)
        journal.show_last(EventKind.DONE, data)
    assert [(event.sequence, event.kind) for event in seen] == [(1, "token"), (3, "done")]
    assert [row.kind for row in rows] == ["done"]


@given(parts=st.lists(st.text(max_size=3), min_size=1, max_size=6), after=st.integers(0, 10), first=st.integers(1, 4))
def test_resuming_gives_exactly_the_parts_behind_the_place(parts: list[str], after: int, first: int) -> None:
    rows = [JournalRow(first, "token", {"parts": parts}, "t"), JournalRow(first + len(parts), "done", {}, "t")]
    events = stored_events(rows, after)
    text = "".join(event.data["text"] for event in events if event.kind is EventKind.TOKEN)
    assert text == "".join(part for place, part in enumerate(parts, first) if place > after)
    assert any(event.kind is EventKind.DONE for event in events) is (after < first + len(parts))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], 1),
        ([JournalRow(3, "tool_call", {}, "t")], 4),
        ([JournalRow(3, "token", {"parts": ["a", "b"]}, "t")], 5),
    ],
)
def test_a_row_appended_later_takes_the_next_place(rows: list[JournalRow], expected: int) -> None:
    assert next_sequence(rows) == expected
