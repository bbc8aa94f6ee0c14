"""What the witnesses of this installation remember, as far as it lies on this machine: notes, not yet believed."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mycelos.configuration.plain_file import read_plain_file, replace_plain_file
from mycelos.ledger.signed_note import NOTE_LIMIT
from mycelos.proxy.witness.last_set import LastSet, LastSetError, read_last_set
from mycelos.proxy.witness.log import read_note
from mycelos.proxy.witness.record_file import DamagedFileError, remembered

if TYPE_CHECKING:
    from mycelos.configuration.witness import WitnessSettings
    from mycelos.proxy.ledger.heads import Outside
    from mycelos.proxy.witness.url_witness import Taken

WITNESS_FILE: Final = "the witness's file"
LAST_SET: Final = "the proxy's list of its witnesses"
COSIGNED: Final = "the witness with a URL, as kept outside the data folder"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Witnessed:
    """Each witness's newest checkpoint, and those whose file is there but cannot be read as one.

    ``older`` are checkpoints of the file from before its newest one (see `record_file.remembered`). ``missing`` says of
    each that has no word, or not all of it, why: it holds nothing, or the proxy had it and it is not set here.
    """

    notes: dict[str, bytes]
    older: tuple[bytes, ...]
    unreadable: tuple[str, ...]
    missing: tuple[str, ...] = ()


def cosigned_file(outside: Outside) -> Path:
    """Where the newest cosigned checkpoint is kept."""
    return outside.folder / "witness.note"


def witnessed(settings: WitnessSettings, outside: Outside | None) -> Witnessed:
    """What the file and the kept cosignature say. Read it before the ledger: both only ever remember the past.

    What is older in the file, and the witness itself, is for `mycelos.proxy.witness.consult`.
    """
    notes: dict[str, bytes] = {}
    older: tuple[bytes, ...] = ()
    unreadable: list[str] = []
    last = LastSet()
    try:
        # Before the file: what was given by now must be in it.
        last = read_last_set(outside)
    except LastSetError:
        unreadable.append(LAST_SET)
    missing = [f"the proxy had the witness {place}, and it is not set here" for place in last.unset(settings)]
    if settings.file is not None:
        try:
            found = remembered(settings.file)
        except (OSError, DamagedFileError):
            unreadable.append(WITNESS_FILE)
        else:
            older = tuple(found[1:])
            notes |= dict.fromkeys((WITNESS_FILE,), found[0]) if found else {}
            what = last.missing(settings.file, read_note(found[0])[1].size if found else None)
            if what is None and not found:
                what = f"the witness's file {settings.file} is gone, empty, or was never given anything"
            missing += [] if what is None else [what]
    if outside is not None:
        try:
            notes[COSIGNED] = read_plain_file(cosigned_file(outside), NOTE_LIMIT)
        except FileNotFoundError:
            pass
        except OSError:
            unreadable.append(COSIGNED)
    return Witnessed(notes, older, tuple(unreadable), tuple(missing))


class CosignedKeeper:
    """Keeps the newest cosigned checkpoint outside of the data folder. It works on where that place refuses."""

    def __init__(self, outside: Outside | None) -> None:
        self._path = None if outside is None else cosigned_file(outside)

    async def keep(self, taken: Taken) -> None:
        """Put it in the place of the one before."""
        if self._path is None:
            return
        try:
            await asyncio.to_thread(replace_plain_file, self._path, str(taken.note).encode())
        except OSError as error:
            _log.warning("%s cannot be written (%s)", self._path, error.strerror)
