"""Looking through an answer that an upstream made costly, beside the event loop: nobody else waits for it.

An upstream chooses what it answers, and so how long looking takes. Where that could be long it happens on one thread,
a piece at a time, and each host has one piece there at most: the others' pieces come in between.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_LEADS: Final = (b"%", b"\\", b"&")
_FEW: Final = 32
"""So many escapes are undone at once; more of them count as costly."""
_SMALL: Final = 1024
"""Bytes that are looked through at once. In more of them a find would be traced to its place for milliseconds."""


def is_costly(data: bytes) -> bool:
    """Whether looking through ``data`` could keep others waiting."""
    return len(data) > _SMALL or sum(map(data.count, _LEADS)) > _FEW


class CostlyWork:
    """One thread, and whose turn it is."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scrubber")
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}

    async def run(self, host: str, work: Callable[[bytes], bytes], data: bytes, *, costly: bool = False) -> bytes:
        """``work(data)``; at once where it is not ``costly`` and cannot be, else when it is ``host``'s turn."""
        if not costly and not is_costly(data):
            return work(data)
        lock, users = self._turns.get(host, (asyncio.Lock(), 0))
        self._turns[host] = lock, users + 1
        try:
            async with lock:
                return await asyncio.get_running_loop().run_in_executor(self._thread, work, data)
        finally:
            lock, users = self._turns.pop(host)
            if users > 1:
                self._turns[host] = lock, users - 1

    def close(self) -> None:
        """Take nothing more; what is being looked through ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)
