"""What waits for the writer: bounded in number and weight, with a part that the gateway cannot fill."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mycelos.ledger.events import Source

if TYPE_CHECKING:
    from mycelos.ledger.entry import Draft

ENTRY_LIMIT: Final = 4096
"""Appends that may wait at once."""

WEIGHT_LIMIT: Final = 16 * 1024 * 1024
"""Characters that may wait at once."""

CLAIMED_SHARE: Final = 0.75
"""The share of both that sources other than proxy and operator may take up."""


class QueueFullError(Exception):
    """Too much waits already. Nothing was taken."""


@dataclass(frozen=True, slots=True)
class Append:
    """Drafts that belong together: all of them are written in one transaction, or none is.

    ``waiter`` is whoever asked; the writer hands it back beside the result.
    """

    drafts: tuple[Draft, ...]
    waiter: object

    @property
    def weight(self) -> int:
        """Characters, about."""
        return sum(draft.size for draft in self.drafts)


class AppendQueue:
    """A queue between any threads and the writer's."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: list[Append] = []
        self._entries = 0
        self._weight = 0
        self._is_closed = False

    def put(self, append: Append) -> None:
        """Queue ``append``.

        Raises:
            QueueFullError: the limits of its source are reached, or the queue is closed.
        """
        is_ours = all(draft.source in {Source.PROXY, Source.OPERATOR} for draft in append.drafts)
        share = 1.0 if is_ours else CLAIMED_SHARE
        with self._condition:
            entries = self._entries + len(append.drafts)
            weight = self._weight + append.weight
            if self._is_closed or entries > ENTRY_LIMIT * share or weight > WEIGHT_LIMIT * share:
                raise QueueFullError
            self._entries, self._weight = entries, weight
            self._waiting.append(append)
            self._condition.notify()

    def take_all(self) -> list[Append]:
        """Everything that waits, as soon as anything does; empty once the queue is closed and drained."""
        with self._condition:
            self._condition.wait_for(lambda: self._waiting or self._is_closed)
            taken, self._waiting = self._waiting, []
            self._entries = self._weight = 0
            return taken

    def close(self) -> None:
        """Take nothing more; what waits is still given out."""
        with self._condition:
            self._is_closed = True
            self._condition.notify()
