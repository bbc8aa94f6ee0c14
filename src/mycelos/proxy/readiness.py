"""What the proxy says of its start, on the pipe that the supervisor gave it: ``busy`` while it goes on, then ``ready``.

A start reads as much of the ledger as the last life has written, from a disk that may be slow. Each ``busy`` gives it
the supervisor's whole deadline again; a start that hangs says nothing and is ended.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY: Final = 1.0
"""Seconds between two words of ``busy``."""


class Readiness:
    """The writing end of the pipe. From any thread."""

    def __init__(self, descriptor: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._descriptor = descriptor
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._said = monotonic()
        self._is_over = False

    def busy(self) -> None:
        """Something of the start was done. Said at most once in `EVERY`, and no more once the proxy is ready."""
        with self._lock:
            now = self._monotonic()
            if not self._is_over and now - self._said >= EVERY:
                self._said = now
                os.write(self._descriptor, b"busy\n")

    def ready(self) -> None:
        """The proxy serves; the pipe is closed."""
        with self._lock:
            self._is_over = True
            os.write(self._descriptor, b"ready\n")
            os.close(self._descriptor)
