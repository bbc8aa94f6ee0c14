"""The queue of runs, in this process: so many at once, so many waiting, the rest refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class RunQueue:
    """Jobs by run id. A job must not raise: it says itself how its run ended."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._most = at_once + waiting
        self._jobs: dict[str, asyncio.Task[None]] = {}

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._jobs

    def check_room(self) -> None:
        """Refuse before anything is stored.

        Raises:
            Refusal: `rate_limited`.
        """
        if len(self._jobs) >= self._most:
            raise Refusal(
                ProblemCode.RATE_LIMITED, "Too many runs are waiting", "Wait until one has ended, or cancel one."
            )

    def put(self, group: asyncio.TaskGroup, run_id: str, job: Callable[[asyncio.Semaphore], Awaitable[None]]) -> None:
        """Start a job; it takes a slot of the semaphore while it runs."""
        task = group.create_task(self._run(job), name=run_id)
        self._jobs[run_id] = task
        task.add_done_callback(lambda _: self._jobs.pop(run_id, None))

    def cancel(self, run_id: str) -> bool:
        """Cancel a job; whether it was there."""
        task = self._jobs.get(run_id)
        return task is not None and task.cancel()

    def cancel_all(self) -> None:
        """Cancel every job."""
        for task in list(self._jobs.values()):
            task.cancel()

    async def _run(self, job: Callable[[asyncio.Semaphore], Awaitable[None]]) -> None:
        await job(self._slots)
