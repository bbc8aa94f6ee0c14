"""The witness that is a file: each checkpoint is appended to it."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from mycelos.proxy.witness.log import FaultCode, WitnessFault, demand_prefix, read_note
from mycelos.proxy.witness.record_file import DamagedFileError, ShortenedFileError, append, remembered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from mycelos.proxy.witness.log import LogView


class FileWitness:
    """Appends to ``path``. It remembers; whether it agrees is asked at the start and by whoever verifies.

    ``on_taken`` is told the size of each checkpoint that was appended. Where some were ``given`` before, the file must
    be there: a new one in its place would remember nothing of them.
    """

    leaves = False
    """It is no request: a lockdown does not stop it."""

    def __init__(
        self,
        path: Path,
        log: LogView,
        on_taken: Callable[[int], Awaitable[None]] | None = None,
        *,
        given: bool = False,
    ) -> None:
        self.place = str(path)
        self._path = path
        self._log = log
        self._on_taken = on_taken
        self._length = 1 if given else 0

    async def give(self) -> int | None:
        """Append the newest checkpoint; its size, or None where there is none yet.

        Raises:
            WitnessFault: the file cannot be written, is gone, or was shortened.
        """
        note = self._log.checkpoint
        if note is None:
            return None
        try:
            self._length = await asyncio.to_thread(append, self._path, note, length=self._length)
        except OSError as error:
            raise WitnessFault(FaultCode.UNREACHABLE, _why("written", error)) from None
        except ShortenedFileError as error:
            why = f"{error}: put it back, or mount what it lies on; to begin anew on purpose, name another file"
            raise WitnessFault(FaultCode.FORGOTTEN, why) from None
        size = read_note(note)[1].size
        if self._on_taken is not None:
            await self._on_taken(size)
        return size


async def demand_file_prefix(path: Path, log: LogView) -> int | None:
    """That the ledger begins with what the file remembers; the newest size in it, or None where it holds nothing.

    Raises:
        WitnessFault: it does not, or the file cannot be read.
    """
    try:
        found = await asyncio.to_thread(remembered, path)
    except OSError as error:
        raise WitnessFault(FaultCode.UNREACHABLE, _why("read", error)) from None
    except DamagedFileError as error:
        raise WitnessFault(FaultCode.INVALID_ANSWER, str(error)) from None
    for note in found:
        await demand_prefix(log, note)
    return read_note(found[0])[1].size if found else None


def _why(verb: str, error: OSError) -> str:
    return f"the file cannot be {verb}: {os.strerror(error.errno) if error.errno else 'the system refused'}"
