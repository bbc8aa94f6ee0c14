"""Signs of life while SQLite reads a write-ahead log through, or copies it: both in one call, which says nothing."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EVERY: Final = 0.5
"""Seconds between two signs."""

BYTES_PER_SECOND: Final = 10_000_000
"""What a slow disk gives: whoever takes longer for the log that lies there is taken to hang."""


@contextmanager
def alive_while_opening(path: Path, alive: Callable[[], None] | None) -> Iterator[None]:
    """Inside the block ``alive`` is called from a thread, for as long as the write-ahead log of ``path`` may take."""
    try:
        size = path.with_name(path.name + "-wal").stat().st_size
    except OSError:
        size = 0
    if alive is None or not size:
        yield
        return
    is_over = threading.Event()

    def tell() -> None:
        for _ in range(int(size / BYTES_PER_SECOND / EVERY)):
            if is_over.wait(EVERY):
                return
            alive()

    thread = threading.Thread(target=tell, name="ledger-opening", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
