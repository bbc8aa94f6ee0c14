"""Following a lockdown: once, over restarts, whether or not the ledger takes the entry."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from gateway_back import WAIT

from mycelos.gateway import lockdown as module
from mycelos.gateway.lockdown import LockdownWatch
from mycelos.gateway.recorder import Recorder
from mycelos.gateway.store import Store
from mycelos.wire.audit import AppendReceipt, AppendRequest
from mycelos.wire.lockdown import LockdownState
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio
FUTURE = "2999-01-01T00:00:00Z"


def locked(name: str) -> LockdownState:
    return LockdownState(locked=True, since="2026-11-26T08:00:00Z", last=name)


def lifted(name: str) -> LockdownState:
    return LockdownState(locked=False, since=None, last=name)


class Ledger:
    """Tells of the lockdown with each receipt, as the proxy does."""

    def __init__(self) -> None:
        self.entries: list[AppendRequest] = []
        self.is_full = False
        self.says: LockdownState | None = None
        self.asked = asyncio.Event()
        self.appended = asyncio.Event()
        self.watch: LockdownWatch

    async def append(self, request: AppendRequest) -> AppendReceipt:
        await self.ask()
        if self.is_full:
            raise Refusal(ProblemCode.AUDIT_UNAVAILABLE, "The disk is full.", "Free some space.")
        self.entries.append(request)
        self.appended.set()
        return AppendReceipt(len(self.entries), "0" * 64, None)

    async def ask(self) -> None:
        if self.says is not None:
            self.watch.note(self.says)
        self.asked.set()


@pytest.fixture
async def store(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "gateway.sqlite")
    yield opened
    await opened.close()


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def make_watch(store: Store, ledger: Ledger) -> Callable[[], LockdownWatch]:
    def make() -> LockdownWatch:
        watch = LockdownWatch(store, Recorder(ledger.append), ledger.ask)
        watch.end_runs = lambda: 3
        ledger.watch = watch
        return watch

    return make


async def sign_in(store: Store, name: str) -> None:
    await store.sessions.create(name, "owner", "link", FUTURE)


async def bounded(event: asyncio.Event) -> None:
    async with asyncio.timeout(WAIT):
        await event.wait()


@contextlib.asynccontextmanager
async def running(watch: LockdownWatch) -> AsyncIterator[None]:
    await watch.start()
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(watch.run())
        yield
        following.cancel()


async def test_the_first_answer_that_tells_of_a_lockdown_ends_all_and_later_ones_nothing(
    store: Store, ledger: Ledger, make_watch: Any
) -> None:
    watch = make_watch()
    async with running(watch):
        await sign_in(store, "old")
        await store.links.create("link", "sign_in", FUTURE)
        ledger.says = locked("one")
        watch.note(ledger.says)
        await bounded(ledger.appended)
        # Waits for the ending that goes on, and finds nothing left to do.
        await watch._follow()
        assert await store.settings.get("lockdown.followed") == "one"
        assert await store.sessions.all() == []
        assert not await store.links.redeem("link", "sign_in")
        await sign_in(store, "new")
        for state in (locked("one"), lifted("one"), locked("one")):
            watch.note(state)
            await asyncio.sleep(0)
        assert len(await store.sessions.all()) == 1
    assert [(entry.event, entry.reason, entry.details) for entry in ledger.entries] == [
        ("auth.session_revoked", "lockdown", {"count": 1})
    ]


async def test_a_lockdown_that_this_gateway_slept_through_is_followed_at_its_start(
    store: Store, ledger: Ledger, make_watch: Any
) -> None:
    await sign_in(store, "old")
    watch = make_watch()
    ledger.says = lifted("one")
    watch.note(ledger.says)
    await watch.start()
    assert await store.sessions.all() == []
    await sign_in(store, "new")
    again = make_watch()
    again.note(ledger.says)
    await again.start()
    assert len(await store.sessions.all()) == 1
    assert len(ledger.entries) == 1


async def test_without_a_lockdown_nothing_ends(store: Store, ledger: Ledger, make_watch: Any) -> None:
    await sign_in(store, "old")
    await make_watch().start()
    assert len(await store.sessions.all()) == 1
    assert ledger.entries == []


async def test_what_the_ledger_does_not_take_has_ended_all_the_same_and_is_tried_again(
    store: Store, ledger: Ledger, make_watch: Any
) -> None:
    watch = make_watch()
    await sign_in(store, "old")
    ledger.says, ledger.is_full = locked("one"), True
    with pytest.raises(Refusal, match="1 sessions and 3 runs have ended, which is not on record"):
        await watch.end_all()
    assert await store.sessions.all() == []
    watch.note(ledger.says)
    await watch.start()
    assert ledger.entries == []
    ledger.is_full = False
    async with running(watch):
        watch.note(ledger.says)
        await bounded(ledger.appended)
        assert len(ledger.entries) == 1


async def test_the_command_and_the_news_of_the_same_lockdown_end_all_once(
    store: Store, ledger: Ledger, make_watch: Any
) -> None:
    watch = make_watch()
    async with running(watch):
        await sign_in(store, "old")
        ledger.says = locked("one")
        ended = await watch.end_all()
        assert (ended.sessions, ended.runs) == (1, 3)
        await sign_in(store, "new")
        watch.note(ledger.says)
        await asyncio.sleep(0)
        await watch._follow()
        assert len(await store.sessions.all()) == 1
    assert len(ledger.entries) == 1


async def test_the_command_counts_what_the_news_has_ended_before_it(
    store: Store, ledger: Ledger, make_watch: Any
) -> None:
    watch = make_watch()
    await sign_in(store, "one")
    ledger.says = locked("first")
    watch.note(ledger.says)
    await watch.start()
    assert (await watch.end_all()).sessions == 1
    await sign_in(store, "two")
    ledger.says = locked("second")
    assert (await watch.end_all()).sessions == 1


async def test_while_it_is_set_the_proxy_is_asked_so_that_its_end_is_seen(
    ledger: Ledger, make_watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    watch = make_watch()
    ledger.says = locked("one")
    async with running(watch):
        watch.note(ledger.says)
        await bounded(ledger.appended)
        ledger.says = lifted("one")
        ledger.asked.clear()
        await bounded(ledger.asked)
        assert not watch.state.locked


async def test_an_answer_that_was_cut_is_explained_by_the_lockdown(ledger: Ledger, make_watch: Any) -> None:
    watch = make_watch()
    await watch.refuse()
    ledger.says = locked("one")
    with pytest.raises(Refusal, match="locked_down"):
        await watch.refuse()
