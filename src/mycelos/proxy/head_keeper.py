"""The running proxy remembers the ledger's newest checkpoint and the vault's generation outside of the data folder.

Where that place cannot be written the system works on. What is missing then is evidence; the log and `mycelos doctor`
say so.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from mycelos.proxy.background import again_and_again, beside
from mycelos.proxy.ledger.heads import remember

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mycelos.proxy.ledger.heads import Outside
    from mycelos.proxy.ledger.recorder import Recorder
    from mycelos.proxy.vault.state import VaultState

WRITE_SECONDS: Final = 2.0
"""The file is written this often at most, and at start and stop."""
_INCOMPLETE: Final = "an old copy of the whole data folder would not be noticed"
_log = logging.getLogger(__name__)


class HeadKeeper:
    """Writes what is true now; nothing where it has not moved."""

    def __init__(self, outside: Outside | None, recorder: Recorder, state: VaultState) -> None:
        self._path = None if outside is None else outside.proxy
        self._recorder = recorder
        self._state = state
        self._written: tuple[str, int] | None = None
        self._has_warned = False
        if self._path is None:
            _log.warning("there is no state folder outside the data folder (XDG_STATE_HOME): %s", _INCOMPLETE)

    async def write(self) -> None:
        """Remember what is newest. A place that refuses is said once, until it takes one again."""
        # The generation first: a checkpoint that is read after it already holds the intent that explains it.
        generation, note = self._state.anchor.generation, self._recorder.checkpoint
        if self._path is None or note is None or (note, generation) == self._written:
            return
        try:
            await asyncio.to_thread(remember, self._path, note, generation)
        except OSError as error:
            if not self._has_warned:
                _log.warning("%s cannot be written (%s): %s", self._path, error.strerror, _INCOMPLETE)
            self._has_warned = True
            return
        self._written = (note, generation)
        self._has_warned = False


@asynccontextmanager
async def keeping(keeper: HeadKeeper) -> AsyncIterator[None]:
    """Remember now, every few seconds inside the block, and at its end."""
    await keeper.write()
    # Never cancelled: a write that is on its way in a thread would outlive it, and could put back an older one.
    async with beside([partial(again_and_again, step=keeper.write, seconds=lambda: WRITE_SECONDS)]):
        yield
