from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mycelos.gateway.identity.one_time_links import LIFETIME, OneTimeLinks, digest, rfc3339
from mycelos.gateway.store.store import Store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "gateway.sqlite")
    yield opened
    await opened.close()


async def test_a_link_opens_once(store: Store) -> None:
    links = OneTimeLinks(store.links, lambda: datetime.now(UTC))
    link = await links.create()
    assert await links.redeem(link.code)
    assert not await links.redeem(link.code)


async def test_of_many_who_come_at_once_one_gets_in(store: Store) -> None:
    links = OneTimeLinks(store.links, lambda: datetime.now(UTC))
    link = await links.create()
    assert sorted(await asyncio.gather(*[links.redeem(link.code) for _ in range(10)])) == [False] * 9 + [True]


async def test_a_link_lives_ten_minutes(store: Store) -> None:
    made = datetime.now(UTC) - LIFETIME
    for age, is_good in ((timedelta(seconds=-30), True), (timedelta(seconds=1), False)):
        link = await OneTimeLinks(store.links, lambda age=age: made - age).create()
        assert await OneTimeLinks(store.links, lambda: datetime.now(UTC)).redeem(link.code) is is_good
    assert timedelta(minutes=10) == LIFETIME


async def test_the_code_is_stored_nowhere(store: Store, tmp_path: Path) -> None:
    link = await OneTimeLinks(store.links, lambda: datetime.now(UTC)).create()
    written = everything_in(tmp_path)
    assert digest(link.code).encode() in written
    assert link.code.encode() not in written
    assert link.code not in repr(link)


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


@pytest.mark.parametrize("code", ["", "x", "x" * 129, "\ud800", "' OR 1=1 --"])
async def test_what_is_no_code_opens_nothing(store: Store, code: str) -> None:
    links = OneTimeLinks(store.links, lambda: datetime.now(UTC))
    await links.create()
    assert not await links.redeem(code)


def test_times_sort_as_text() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert rfc3339(moment) == "2026-01-02T03:04:05.000000Z" < rfc3339(moment + timedelta(microseconds=1))
