"""So many at once, so many waiting, the rest refused."""

from __future__ import annotations

import asyncio

import pytest

from mycelos.gateway.runs.queue import RunQueue
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio


async def test_no_more_run_at_once_than_may_and_the_one_too_many_is_refused() -> None:
    queue = RunQueue(at_once=2, waiting=1)
    go_on, running, most = asyncio.Event(), 0, 0
    all_started = asyncio.Event()

    async def job(slots: asyncio.Semaphore) -> None:
        nonlocal running, most
        async with slots:
            running += 1
            most = max(most, running)
            if running == 2:
                all_started.set()
            await go_on.wait()
            running -= 1

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for number in range(3):
            queue.check_room()
            queue.put(group, f"run_{number}", job)
        with pytest.raises(Refusal) as refused:
            queue.check_room()
        assert refused.value.problem.code is ProblemCode.RATE_LIMITED
        await all_started.wait()
        go_on.set()
    assert most == 2
    assert "run_0" not in queue
    queue.check_room()


async def test_a_job_is_cancelled_by_its_run_alone() -> None:
    queue = RunQueue(at_once=2, waiting=0)
    ended: list[str] = []

    def job(name: str) -> object:
        async def wait(_slots: asyncio.Semaphore) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(name)

        return wait

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        queue.put(group, "a", job("a"))
        queue.put(group, "b", job("b"))
        await asyncio.sleep(0)
        assert queue.cancel("a")
        assert not queue.cancel("c")
        await asyncio.sleep(0)
        assert ended == ["a"]
        queue.cancel_all()
    assert ended == ["a", "b"]
