"""Work that goes on beside a block of code: told to stop at its end, never cut off in the middle of a write."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence


@asynccontextmanager
async def beside(
    works: Sequence[Callable[[asyncio.Event], Coroutine[None, None, None]]], *, last_seconds: float | None = None
) -> AsyncIterator[None]:
    """Run ``works`` inside the block, however that ends; each gets the event that tells it to stop.

    Args:
        works: what is run, each in a task of its own. What one raises ends the block.
        last_seconds: how long they may go on after the block; then they are cancelled. None for as long as they take.
    """
    stop = asyncio.Event()
    failure: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work(stop)) for work in works]
            try:
                yield
            except BaseException as error:  # noqa: BLE001 - raised below, as it is: a group would hide what it is
                failure = error
            stop.set()
            if tasks:
                _, late = await asyncio.wait(tasks, timeout=last_seconds)
                for task in late:
                    task.cancel()
    except BaseExceptionGroup:
        # A block that was cancelled may have been so because of the work; any other failure of it came first.
        if failure is None or isinstance(failure, asyncio.CancelledError):
            raise
    if failure is not None:
        raise failure


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until ``stop`` is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def again_and_again(
    stop: asyncio.Event, step: Callable[[], Awaitable[None]], seconds: Callable[[], float]
) -> None:
    """One ``step`` after the other with pauses of ``seconds`` between them, and a last one after ``stop`` is set."""
    while not stop.is_set():
        await step()
        await pause(stop, seconds())
    await step()
