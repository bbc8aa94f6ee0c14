from __future__ import annotations

import asyncio

import pytest

from mycelos.proxy.background import again_and_again, beside, pause

pytestmark = pytest.mark.anyio


async def test_work_is_told_to_stop_and_waited_for_however_the_block_ends() -> None:
    ended = []

    async def work(stop: asyncio.Event) -> None:
        await stop.wait()
        # A write that is on its way.
        await asyncio.sleep(0.01)
        ended.append(True)

    async with asyncio.timeout(10), beside([work, work]):
        pass
    with pytest.raises(OSError, match="no socket"):
        async with asyncio.timeout(10), beside([work]):
            raise OSError(98, "no socket")
    assert ended == [True] * 3


async def test_work_that_does_not_end_is_cancelled_after_its_last_seconds() -> None:
    async def work(_stop: asyncio.Event) -> None:
        await asyncio.Event().wait()

    async with asyncio.timeout(10), beside([work], last_seconds=0.01):
        pass


async def test_what_work_raises_ends_the_block() -> None:
    async def work(_stop: asyncio.Event) -> None:
        raise ValueError

    with pytest.raises(ExceptionGroup) as raised:
        async with asyncio.timeout(10), beside([work]):
            await asyncio.Event().wait()
    assert raised.group_contains(ValueError)


async def test_what_the_block_raised_stays_the_error_where_work_fails_after_it() -> None:
    async def work(stop: asyncio.Event) -> None:
        await stop.wait()
        raise ValueError

    with pytest.raises(OSError, match="no socket"):
        async with asyncio.timeout(10), beside([work]):
            raise OSError(98, "no socket")


async def test_a_step_is_taken_at_the_start_after_each_pause_and_once_more_at_the_end() -> None:
    stop, taken = asyncio.Event(), []

    async def step() -> None:
        taken.append(stop.is_set())
        if len(taken) == 3:
            stop.set()

    async with asyncio.timeout(10):
        await again_and_again(stop, step, lambda: 0.0)
    assert taken == [False, False, False, True]


async def test_a_pause_ends_with_the_stop() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_soon(stop.set)
    async with asyncio.timeout(10):
        await pause(stop, 1000)
