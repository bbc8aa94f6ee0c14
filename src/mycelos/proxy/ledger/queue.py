"""What waits for the writer: bounded in number and weight, with a part and a place that no flood can take."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from mycelos.ledger.events import Source
from mycelos.proxy.ledger.precedence import comes_first

if TYPE_CHECKING:
    from mycelos.ledger.entry import Draft

ENTRY_LIMIT: Final = 4096
"""Appends that may wait at once."""

WEIGHT_LIMIT: Final = 16 * 1024 * 1024
"""Characters that may wait at once."""

_SHARES: Final = {Source.OPERATOR: 0.875, Source.PROXY: 0.75, Source.GATEWAY: 0.5, Source.INGRESS: 0.5}
"""The share of both up to which a source may fill the queue with what does not come first."""

GROUP_ENTRIES: Final = 512
"""Entries of one group that do not come first."""

GROUP_WEIGHT: Final = 1024 * 1024
"""Characters of them. Whoever comes first waits for one such group at most, and then shares the next."""


class QueueFullError(Exception):
    """Too much waits already. Nothing was taken."""


class Append:
    """Drafts that belong together: all of them are written in one transaction, or none is.

    ``waiter`` is whoever asked; the writer hands it back beside the result. ``weight`` is in characters, about.
    """

    __slots__ = ("drafts", "waiter", "weight")

    def __init__(self, drafts: tuple[Draft, ...], waiter: object) -> None:
        self.drafts = drafts
        self.waiter = waiter
        self.weight = sum([draft.size for draft in drafts])


class AppendQueue:
    """A queue between any threads and the writer's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._has_come = threading.Condition(self._lock)
        self._is_awaited = False
        self._is_claimed = False
        self._first: list[Append] = []
        self._others: deque[Append] = deque()
        self._entries = 0
        self._weight = 0
        self._is_closed = False

    def put(self, append: Append) -> None:
        """Queue ``append``.

        Raises:
            QueueFullError: the limits of its source are reached, or the queue is closed.
        """
        share = 1.0
        is_first = True
        for draft in append.drafts:
            if not comes_first(draft):
                is_first = False
                share = min(share, _SHARES.get(draft.source, 0.5))
        with self._lock:
            entries = self._entries + len(append.drafts)
            weight = self._weight + append.weight
            if self._is_closed or entries > ENTRY_LIMIT * share or weight > WEIGHT_LIMIT * share:
                raise QueueFullError
            self._entries, self._weight = entries, weight
            (self._first if is_first else self._others).append(append)
            if self._is_awaited:
                self._is_awaited = False
                self._has_come.notify()

    def take_group(self) -> list[Append]:
        """The next group, as soon as anything waits: what comes first, then as much of the rest as it may hold.

        Empty once the queue is closed and drained.
        """
        with self._lock:
            while self._is_claimed or not (self._first or self._others or self._is_closed):
                self._is_awaited = True
                self._has_come.wait()
            taken, self._first = self._first, []
            entries = weight = 0
            others = self._others
            while others:
                append = others[0]
                entries += len(append.drafts)
                weight += append.weight
                # One alone is taken whatever it weighs: nothing waits for ever.
                if entries > len(append.drafts) and (entries > GROUP_ENTRIES or weight > GROUP_WEIGHT):
                    break
                taken.append(others.popleft())
            self._entries -= sum([len(append.drafts) for append in taken])
            self._weight -= sum([append.weight for append in taken])
            return taken

    def claim(self) -> bool:
        """Where the writer waits in `take_group` and nothing else does: hold it there until `release`."""
        with self._lock:
            if not self._is_awaited or self._is_closed:
                return False
            self._is_awaited, self._is_claimed = False, True
            return True

    def release(self) -> None:
        """Let the writer go on with what came meanwhile."""
        with self._lock:
            self._is_claimed = False
            self._is_awaited = not (self._first or self._others or self._is_closed)
            if not self._is_awaited:
                self._has_come.notify()

    def close(self) -> None:
        """Take nothing more; what waits is still given out."""
        with self._lock:
            self._is_closed = True
            self._has_come.notify()
