"""Runs and their journal."""

from __future__ import annotations

import pytest

from mycelos.gateway.store import Store
from mycelos.gateway.store.records import JournalRow, RunState
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio


async def test_a_run_goes_from_queued_to_its_recorded_end(store: Store) -> None:
    chat = await store.chats.create("assistant")
    run = await store.runs.open(chat.id, "hello", "assistant", "big")
    assert run.state is RunState.QUEUED
    assert await store.runs.open_run_of(chat.id) == run
    await store.runs.mark_running(run.id)
    await store.runs.append(run.id, [JournalRow(1, "token", {"parts": ["a", "b"]}, "t")])
    last = JournalRow(3, "done", {"text": "ab", "code": "answered"}, "t")
    await store.runs.close(run, RunState.FINISHED, code="answered", detail="", answer="ab", rows=[last])
    closed = await store.runs.find(run.id)
    assert closed is not None
    assert not closed.is_open
    assert closed.finished_at is not None
    assert await store.runs.open_run_of(chat.id) is None
    assert [row.sequence for row in await store.runs.journal(run.id)] == [1, 3]
    assert [(one.role, one.text) for one in await store.chats.messages(chat.id)] == [
        ("user", "hello"),
        ("assistant", "ab"),
    ]
    assert await store.runs.unrecorded() == [closed]
    await store.runs.mark_recorded(run.id)
    assert await store.runs.unrecorded() == []
    assert await store.runs.all(chat.id) == await store.runs.all() == [closed]


async def test_a_run_without_its_chat_is_refused_and_stores_nothing(store: Store) -> None:
    with pytest.raises(Refusal) as refused:
        await store.runs.open("chat_00000000000000000000000000", "hello", "assistant", None)
    assert refused.value.problem.code is ProblemCode.NOT_FOUND
    assert await store.runs.all() == []


async def test_a_place_in_the_journal_is_taken_once(store: Store) -> None:
    chat = await store.chats.create("assistant")
    run = await store.runs.open(chat.id, "hello", "assistant", None)
    await store.runs.append(run.id, [JournalRow(1, "done", {}, "t")])
    with pytest.raises(Refusal, match="conflict"):
        await store.runs.append(run.id, [JournalRow(1, "error", {}, "t")])
    assert [row.kind for row in await store.runs.journal(run.id)] == ["done"]
