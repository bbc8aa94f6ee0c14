"""The service's log: one JSON object a line on stderr, or in the bounded file that `--log-file` names."""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

SIZE_LIMIT: Final = 10 * 1024 * 1024
"""Bytes from which on the file is put aside; one that was put aside is kept."""
_OUTPUT, _ERRORS = 1, 2


class LogFileError(Exception):
    """The file cannot be the log. The text names it."""


class ServiceLog:
    """Writes lines; with a file, standard output and error of this process go there too.

    A line that cannot be written, on a full disk for one, is counted and the count is written later: what watches the
    zones must not end because nobody can be told.
    """

    def __init__(self, file: Path | None = None, size_limit: int = SIZE_LIMIT) -> None:
        self._file = file
        self._size_limit = size_limit
        self._lost = 0
        if file is not None:
            self._open(file)

    def write(self, event: str, **fields: object) -> None:
        """One line: time, event, fields, in ASCII. Nothing secret ever comes here."""
        lines = [_line("log.lost", {"lines": self._lost})] if self._lost else []
        try:
            self._put_aside_when_full()
            _write_whole("".join([*lines, _line(event, fields)]).encode("ascii"))
        except (OSError, LogFileError):
            self._lost += 1
        else:
            self._lost = 0

    def _open(self, file: Path) -> None:
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(file, flags, 0o600)
        except OSError as error:
            message = f"{file} cannot be the log: {os.strerror(error.errno or 0)}"
            raise LogFileError(message) from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                message = f"{file} cannot be the log: it is not a plain file"
                raise LogFileError(message)
            os.fchmod(descriptor, 0o600)
            os.dup2(descriptor, _OUTPUT)
            os.dup2(descriptor, _ERRORS)
        finally:
            os.close(descriptor)

    def _put_aside_when_full(self) -> None:
        if self._file is not None and os.fstat(_ERRORS).st_size >= self._size_limit:
            self._file.replace(self._file.with_name(f"{self._file.name}.1"))
            self._open(self._file)


def now() -> str:
    """The present time, RFC 3339, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _line(event: str, fields: dict[str, object]) -> str:
    return json.dumps({"at": now(), "event": event, **fields}) + "\n"


def _write_whole(data: bytes) -> None:
    while data:
        data = data[os.write(_ERRORS, data) :]
