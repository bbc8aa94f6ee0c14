from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from mycelos.proxy.egress.costly_work import CostlyWork, is_costly

pytestmark = pytest.mark.anyio

COSTLY = b"%41" * 100


@pytest.fixture
def costly() -> Iterator[CostlyWork]:
    work = CostlyWork()
    yield work
    work.close()


def test_many_escapes_and_large_pieces_are_costly_and_an_event_is_not() -> None:
    for text in (b"x" * 2000, COSTLY, b"\\n" * 100, b"&amp;" * 100, b"%" * 100):
        assert is_costly(text)
    assert not is_costly(b"data: plain words, a%20few \\n escapes\n\n" * 10)


async def test_what_costs_little_is_done_at_once(costly: CostlyWork) -> None:
    here: list[int] = []

    def work(data: bytes) -> bytes:
        here.append(threading.get_ident())
        return data.upper()

    assert await costly.run("a.example", work, b"abc") == b"ABC"
    assert await costly.run("a.example", work, COSTLY) == COSTLY
    assert await costly.run("a.example", work, b"abc", costly=True) == b"ABC"
    assert here[0] == threading.get_ident()
    assert threading.get_ident() not in here[1:]


async def test_the_event_loop_goes_on_while_costly_work_is_done(costly: CostlyWork) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(data: bytes) -> bytes:
        begun.set()
        go_on.wait(20)
        return data

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(costly.run("a.example", work, COSTLY))
        assert await asyncio.to_thread(begun.wait, 20)
        # Others are served meanwhile.
        assert await costly.run("b.example", bytes.upper, b"abc") == b"ABC"
        assert not task.done()
        go_on.set()


async def test_each_host_has_one_piece_in_the_queue_so_that_others_come_in_between(costly: CostlyWork) -> None:
    order: list[str] = []

    def noting(name: str) -> Callable[[bytes], bytes]:
        def work(data: bytes) -> bytes:
            order.append(name)
            return data

        return work

    gate = threading.Event()

    def block(data: bytes) -> bytes:
        gate.wait(20)
        return data

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(costly.run("first.example", block, COSTLY))
        for number in range(5):
            group.create_task(costly.run("flood.example", noting(f"flood {number}"), COSTLY))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        group.create_task(costly.run("quiet.example", noting("quiet"), COSTLY))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gate.set()
    assert order.index("quiet") <= 1
    assert costly._turns == {}
