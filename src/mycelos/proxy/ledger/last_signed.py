"""The newest checkpoint that was signed, in a file beside the database: it blocks a fork after a restored copy.

One block of 512 bytes, the note, filled up with zero bytes: written in one call, so that a killed process leaves the
old note or the new one. After a power cut it may be older than the database. It is never newer.
"""

from __future__ import annotations

import errno
import os
from io import FileIO
from typing import TYPE_CHECKING, Final, Self

from mycelos.configuration.plain_file import NOT_PLAIN, read_plain_file
from mycelos.proxy.ledger.database import LedgerError, LedgerUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

BLOCK: Final = 512

_WAY_ON: Final = (
    "Move it away and put back the newest copy of the data folder; without one, move it away and go on with: mycelos "
    "backup adopt"
)


class LastSigned:
    """The open file. Its writer is the ledger's."""

    def __init__(self, stream: FileIO) -> None:
        self._stream = stream
        self._is_durable = False

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file of the ledger at ``path``, making an empty one (mode 0600) where there is none.

        Raises:
            OSError: it cannot be made or written.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        kept = cls(FileIO(os.open(file_of(path), flags, 0o600), "r+"))
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return kept

    def write(self, note: str) -> None:
        """Keep ``note`` in the place of the one before.

        Raises:
            OSError: the disk refuses.
            ValueError: the note is longer than the block.
        """
        data = note.encode().ljust(BLOCK, b"\0")
        if len(data) != BLOCK:
            message = f"a checkpoint has {BLOCK} bytes at most"
            raise ValueError(message)
        written = os.pwrite(self._stream.fileno(), data, 0)
        if written != BLOCK:
            message = "a checkpoint was written in part"
            raise OSError(message)
        if not self._is_durable:
            # Once in a life: from then on it may be older after a power cut, and is neither gone nor empty.
            os.fsync(self._stream.fileno())
            self._is_durable = True

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def file_of(ledger: Path) -> Path:
    """Where the last checkpoint of the database ``ledger`` lies."""
    return ledger.with_suffix(".signed")


def read_last_signed(ledger: Path) -> bytes | None:
    """The note; empty where none was signed yet, None where there is no file.

    Raises:
        LedgerUnavailableError: the system does not let it be read.
        LedgerError: it is no plain file, or longer than a block.
    """
    kept = file_of(ledger)
    try:
        return read_plain_file(kept, BLOCK).rstrip(b"\0")
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in NOT_PLAIN:
            message = f"{kept} cannot be read now ({error.strerror}); try again, as its owner"
            raise LedgerUnavailableError(message) from None
        why = error.strerror if error.errno == errno.EFBIG else "not a regular file"
        message = f"{kept} cannot be read ({why})"
        raise LedgerError(message, _WAY_ON) from None
