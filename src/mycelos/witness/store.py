"""What the witness has cosigned: the newest checkpoint of each log, on disk before anybody is told.

One process at a time holds the folder. A log's file is replaced whole, so that a crash leaves the old or the new one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path
from typing import Final

from mycelos.configuration.environment import ConfigurationError
from mycelos.configuration.plain_file import read_plain_file
from mycelos.ledger.signed_note import NOTE_LIMIT

_MODE: Final = 0o600


class WitnessStore:
    """The folder of one witness."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; make it, mode 0700, where there is none.

        Raises:
            ConfigurationError: another witness runs in it.
            OSError: the system refuses.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._held)
            message = f"another witness runs in {folder}; two would cosign two histories of one log"
            raise ConfigurationError(message) from None

    @property
    def key(self) -> Path:
        """The file of the witness's key."""
        return self._folder / "witness.key"

    def newest(self, origin: str) -> bytes | None:
        """The newest checkpoint of the log ``origin`` that was cosigned; None where none was.

        Raises:
            OSError: it cannot be read. Nothing may be cosigned then.
        """
        try:
            return read_plain_file(self._path(origin, "note"), NOTE_LIMIT)
        except FileNotFoundError:
            return None

    def keep(self, origin: str, note: bytes) -> None:
        """Put ``note`` in the place of the newest one; on disk when it returns.

        Raises:
            OSError: it is not certain to be on disk.
        """
        self._write(self._path(origin, "note"), note)

    def keep_evidence(self, origin: str, note: bytes) -> None:
        """Keep the first checkpoint that the log signed and that does not follow the newest one: it proves a fork.

        Raises:
            OSError: it cannot be written.
        """
        path = self._path(origin, "fork")
        if not os.path.lexists(path):
            self._write(path, note)

    def close(self) -> None:
        """Let the folder go."""
        os.close(self._held)

    def _write(self, path: Path, note: bytes) -> None:
        draft = path.with_suffix(".draft")
        descriptor = os.open(
            draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, _MODE
        )
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(note)
            stream.flush()
            os.fsync(descriptor)
        draft.replace(path)
        os.fsync(self._held)

    def _path(self, origin: str, kind: str) -> Path:
        return self._folder / f"{hashlib.sha256(origin.encode()).hexdigest()}.{kind}"
