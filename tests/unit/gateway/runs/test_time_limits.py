"""Limits that stand still while a person is waited for; a loop whose clock the test moves."""

from __future__ import annotations

import asyncio

import pytest

from mycelos.gateway.runs.time_limits import TimeLimits

pytestmark = pytest.mark.anyio


async def test_a_block_that_takes_longer_than_its_limit_is_ended() -> None:
    limits = TimeLimits()
    with pytest.raises(TimeoutError):
        async with limits.limit(0.01):
            await asyncio.Event().wait()
    assert limits._running == set()


async def test_resting_moves_every_limit_that_runs_by_as_much() -> None:
    limits = TimeLimits()
    loop = asyncio.get_running_loop()
    async with limits.limit(1000), limits.limit(2000):
        before = sorted(running.when() or 0 for running in limits._running)
        await limits.rest(0)
        assert sorted(running.when() or 0 for running in limits._running) == before
        resting = asyncio.create_task(limits.rest(5000))
        await asyncio.sleep(0)
        after = sorted(running.when() or 0 for running in limits._running)
        assert after == [moment + 5000 for moment in before]
        assert after[0] > loop.time() + 5000
        resting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await resting


async def test_a_limit_that_has_struck_is_left_alone() -> None:
    limits = TimeLimits()
    with pytest.raises(TimeoutError):
        async with limits.limit(0):
            while not next(iter(limits._running)).expired():
                # The limit cancels this task at its next wait.
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    await limits.rest(0)
                    raise


async def test_without_a_rest_the_limit_strikes_in_the_wait_for_a_person_too() -> None:
    """The twin: a wait that does not rest is ended."""
    limits = TimeLimits()
    with pytest.raises(TimeoutError):
        async with limits.limit(0.01):
            await asyncio.sleep(30)
