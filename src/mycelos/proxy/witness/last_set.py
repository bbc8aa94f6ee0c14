"""Which witnesses the proxy had last, and how much the file was given: kept outside of the data folder.

Whoever takes the witness's file away, or the setting, takes the witness away; by this it shows. Where that place
cannot be written the system works on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from mycelos.configuration.plain_file import read_plain_file, replace_plain_file

if TYPE_CHECKING:
    from pathlib import Path

    from mycelos.configuration.witness import WitnessSettings
    from mycelos.proxy.ledger.heads import Outside

_SIZE_LIMIT: Final = 32 * 1024
_log = logging.getLogger(__name__)


class LastSetError(ValueError):
    """The file is there and cannot be read. The text names it."""


class LastSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The witnesses of the last start, as they were set. ``given`` is the size of the newest checkpoint in ``file``."""

    file: str | None = None
    given: Annotated[int, msgspec.Meta(ge=0)] = 0
    url: str | None = None

    def after(self, settings: WitnessSettings) -> LastSet:
        """What is to be remembered of a start with ``settings``: another file was given nothing yet."""
        file = None if settings.file is None else str(settings.file)
        return LastSet(file, self.given if file is not None and file == self.file else 0, settings.url)

    def missing(self, path: Path, newest: int | None) -> str | None:
        """What is not in the file at ``path`` any more, where its newest checkpoint is of ``newest`` entries.

        None where nothing is missing. A file with another name was given nothing.
        """
        if str(path) != self.file or (newest or 0) >= self.given:
            return None
        has = "is gone or empty" if newest is None else f"ends with a checkpoint of {newest} entries"
        return f"the witness's file {path} {has}, and it was given one of {self.given} entries"

    def unset(self, settings: WitnessSettings) -> tuple[str, ...]:
        """Each witness that is not among ``settings``."""
        file = None if settings.file is None else str(settings.file)
        pairs = ((self.file, file), (self.url, settings.url))
        return tuple(last for last, now in pairs if last is not None and last != now)


def last_set_file(outside: Outside) -> Path:
    """Where it is kept."""
    return outside.folder / "witnesses.json"


def read_last_set(outside: Outside | None) -> LastSet:
    """What is kept; nothing where there is no such file, or no place for one.

    Raises:
        LastSetError: the file is there and cannot be read.
    """
    if outside is None:
        return LastSet()
    path = last_set_file(outside)
    try:
        return msgspec.json.decode(read_plain_file(path, _SIZE_LIMIT), type=LastSet)
    except FileNotFoundError:
        return LastSet()
    except (OSError, UnicodeError, msgspec.DecodeError):
        message = f"{path} cannot be read"
        raise LastSetError(message) from None


class LastSetKeeper:
    """Keeps ``now`` up to date. It works on where that place refuses."""

    def __init__(self, outside: Outside | None, now: LastSet) -> None:
        self._path = None if outside is None else last_set_file(outside)
        self._now = now
        self._written: LastSet | None = None

    async def given(self, size: int) -> None:
        """The file was given a checkpoint of ``size`` entries, which is on disk there."""
        self._now = msgspec.structs.replace(self._now, given=size)
        await self.write()

    async def write(self) -> None:
        """Keep what is true now, where it is not kept already."""
        if self._path is None or self._now == self._written:
            return
        now = self._now
        try:
            await asyncio.to_thread(replace_plain_file, self._path, msgspec.json.encode(now) + b"\n")
        except (OSError, UnicodeError) as error:
            _log.warning("%s cannot be written (%s)", self._path, getattr(error, "strerror", None) or "not UTF-8")
            return
        self._written = now
