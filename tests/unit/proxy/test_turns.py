from __future__ import annotations

import asyncio

import pytest

from mycelos.proxy.turns import Turns

pytestmark = pytest.mark.anyio


async def rounds_of(turns, count, done):
    """Start ``count`` who take a turn each; returns the tasks."""

    async def one(number):
        await turns.take()
        done.append(number)

    tasks = [asyncio.get_running_loop().create_task(one(number)) for number in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_so_many_are_given_out_in_a_round_in_the_order_of_asking():
    done, seen = [], []
    tasks = await rounds_of(Turns(3), 10, done)
    while len(done) < 10:
        seen.append(len(done))
        await asyncio.sleep(0)
    await asyncio.wait(tasks)
    assert done == list(range(10))
    steps = [after - before for before, after in zip(seen, [*seen[1:], 10], strict=True)]
    assert max(steps) <= 3
    assert seen[0] == 3


async def test_who_asks_for_none_has_a_turn_in_each_round_meanwhile():
    done = []
    tasks = await rounds_of(Turns(3), 300, done)
    await asyncio.sleep(0)
    assert len(done) <= 6
    await asyncio.wait(tasks)


async def test_without_the_bound_all_of_them_come_first():
    done = []
    await rounds_of(Turns(300), 300, done)
    assert len(done) == 300


async def test_who_goes_away_while_waiting_takes_no_turn():
    done = []
    turns = Turns(1)
    tasks = await rounds_of(turns, 4, done)
    tasks[1].cancel()
    tasks[2].cancel()
    await asyncio.wait(tasks)
    assert done == [0, 3]
    await asyncio.wait_for(turns.take(), 10)
