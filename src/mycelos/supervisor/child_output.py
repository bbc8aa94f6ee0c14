"""What a child writes, line by line, under its name: no child holds the log or the terminal itself.

With the log's own descriptor, a hijacked gateway could cut the log, write a line in another zone's name or send
escapes to a terminal. A pipe takes all that away; the lines are escaped as they are logged. What it floods with is
dropped and counted, so that it cannot wash the others' lines out of the log; it is read on, so that a child whose
words somebody else causes does not stand still at a full pipe.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable
from typing import Final

LINE_LIMIT: Final = 8192
"""Bytes of a line; a longer one is logged in parts."""
BURST: Final = 128 * 1024
"""Bytes of the log that one child may fill at once."""
BYTES_PER_SECOND: Final = 2048
"""Bytes of the log that it is given back a second."""
_ENVELOPE: Final = 128
"""Bytes that time, event and name add to a line: an empty one is not for nothing."""
_CHUNK: Final = 65536


class OutputBudget:
    """How much of the log one child may fill. Used up once, it is closed until it is whole again.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = float(BURST)
        self._counted = clock()
        self._is_open = True

    def is_open(self) -> bool:
        """Whether anything may be written now."""
        now = self._clock()
        self._left = min(BURST, self._left + (now - self._counted) * BYTES_PER_SECOND)
        self._counted = now
        self._is_open = self._is_open or self._left >= BURST
        return self._is_open

    def take(self, amount: int) -> bool:
        """Use ``amount`` bytes; false where there are not as many, and from then on for a while."""
        if not self.is_open():
            return False
        if amount > self._left:
            self._is_open = False
            return False
        self._left -= amount
        return True


class ChildOutput:
    """The pipe of one process. ``writing`` is for the child; `close_writing` when it has it.

    Args:
        say: receives each line, without its end; what is not UTF-8 in it is replaced.
        tell_dropped: receives, before the next line or at the end, how many lines and bytes were dropped.
        budget: the child's; it outlives the process, so that a new one does not begin with a new burst.
    """

    def __init__(
        self, say: Callable[[str], None], tell_dropped: Callable[[int, int], None], budget: OutputBudget
    ) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        self._say = say
        self._tell_dropped = tell_dropped
        self._budget = budget
        self._waiting = b""
        self._dropped_lines = 0
        self._dropped_bytes = 0

    def close_writing(self) -> None:
        """The child has its own copy: the pipe ends when the child's ends."""
        os.close(self.writing)

    def read(self) -> bool:
        """Pass on the whole lines that have come. False when the pipe has ended; then it is closed."""
        try:
            data = os.read(self.reading, _CHUNK)
        except BlockingIOError:
            return True
        *lines, self._waiting = (self._waiting + data).split(b"\n")
        if not data or len(self._waiting) > LINE_LIMIT:
            lines.append(self._waiting)
            self._waiting = b""
        for line in lines:
            self._pass_on(line)
        if not data:
            self._close()
        return bool(data)

    def finish(self) -> None:
        """Pass on what has come, without waiting for more, and close."""
        while select.select([self.reading], [], [], 0)[0]:
            if not self.read():
                return
        self._pass_on(self._waiting)
        self._close()

    def _pass_on(self, line: bytes) -> None:
        for start in range(0, len(line), LINE_LIMIT):
            part = line[start : start + LINE_LIMIT]
            text = part.decode("utf-8", "replace")
            # Counted as it is logged: a NUL is one byte here and six there.
            if self._budget.is_open() and self._budget.take(len(json.dumps(text)) + _ENVELOPE):
                self._report()
                self._say(text)
            else:
                self._dropped_lines += 1
                self._dropped_bytes += len(part)

    def _report(self) -> None:
        if self._dropped_lines:
            self._tell_dropped(self._dropped_lines, self._dropped_bytes)
            self._dropped_lines = self._dropped_bytes = 0

    def _close(self) -> None:
        self._report()
        os.close(self.reading)
