"""What a child writes, line by line, under its name: no child holds the log or the terminal itself.

With the log's own descriptor, a hijacked gateway could cut the log, write a line in another zone's name or send
escapes to a terminal. A pipe takes all that away; the lines are escaped as they are logged.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Final

LINE_LIMIT: Final = 8192
"""Bytes of a line; a longer one is logged in parts."""
_CHUNK: Final = 65536


class ChildOutput:
    """The pipe of one process. ``writing`` is for the child; `close_writing` when it has it.

    Args:
        say: receives each line, without its end; what is not UTF-8 in it is replaced.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        self._say = say
        self._waiting = b""

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
            os.close(self.reading)
        return bool(data)

    def finish(self) -> None:
        """Pass on what has come, without waiting for more, and close."""
        while select.select([self.reading], [], [], 0)[0]:
            if not self.read():
                return
        self._pass_on(self._waiting)
        os.close(self.reading)

    def _pass_on(self, line: bytes) -> None:
        for start in range(0, len(line), LINE_LIMIT):
            self._say(line[start : start + LINE_LIMIT].decode("utf-8", "replace"))
