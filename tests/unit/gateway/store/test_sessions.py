"""Sessions and links: expired ones are not found, a link opens once."""

from __future__ import annotations

import asyncio

import pytest

from mycelos.gateway.store import Store

pytestmark = pytest.mark.anyio

PAST, FUTURE = "2000-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"


async def test_a_session_is_found_until_it_expires_or_ends(store: Store) -> None:
    session = await store.sessions.create("digest", "owner", "link", FUTURE)
    await store.sessions.create("old", "owner", "link", PAST)
    assert await store.sessions.find("digest") == session
    assert await store.sessions.find("old") is None
    assert await store.sessions.find("other") is None
    assert await store.sessions.all() == [session]
    assert await store.sessions.delete_expired() == 1
    assert await store.sessions.delete(session.id)
    assert not await store.sessions.delete(session.id)


async def test_all_sessions_end_at_once(store: Store) -> None:
    await store.sessions.create("a", "owner", "link", FUTURE)
    await store.sessions.create("b", "owner", "basic", FUTURE)
    assert await store.sessions.delete_all() == 2
    assert await store.sessions.all() == []


async def test_of_many_who_use_a_link_at_once_one_gets_in(store: Store) -> None:
    await store.links.create("digest", "sign_in", FUTURE)
    assert not await store.links.redeem("digest", "operator"), "a link is for one purpose"
    answers = await asyncio.gather(*(store.links.redeem("digest", "sign_in") for _ in range(5)))
    assert sorted(answers) == [False] * 4 + [True]


async def test_an_expired_link_opens_nothing_and_is_forgotten(store: Store) -> None:
    await store.links.create("digest", "sign_in", PAST)
    assert not await store.links.redeem("digest", "sign_in")
    await store.sessions.delete_expired()
    await store.links.create("digest", "sign_in", FUTURE)


async def test_all_links_are_over_at_once(store: Store) -> None:
    await store.links.create("a", "sign_in", FUTURE)
    await store.links.delete_all()
    assert not await store.links.redeem("a", "sign_in")
