"""Chats and messages."""

from __future__ import annotations

import pytest

from mycelos.gateway.store import Store

pytestmark = pytest.mark.anyio


async def test_the_chat_used_last_stands_first_and_is_named_by_its_first_message(store: Store) -> None:
    first, second = [await store.chats.create("assistant") for _ in range(2)]
    await store.runs.open(first.id, "What   are\nthe issues? " + "x" * 100, "assistant", None)
    assert [chat.id for chat in await store.chats.all()] == [first.id, second.id]
    found = await store.chats.find(first.id)
    assert found is not None
    assert found.title.startswith("What are the issues? x")
    assert len(found.title) == 80


async def test_a_deleted_chat_takes_its_messages_and_runs_with_it(store: Store) -> None:
    chat = await store.chats.create("assistant")
    run = await store.runs.open(chat.id, "hello", "assistant", None)
    assert await store.chats.delete(chat.id)
    assert await store.chats.messages(chat.id) == []
    assert await store.runs.find(run.id) is None
    assert not await store.chats.delete(chat.id)
    assert await store.chats.find(chat.id) is None
