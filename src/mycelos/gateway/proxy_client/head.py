"""The newest ledger head that this gateway was given: what makes a ledger that was set back visible later."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

    from mycelos.wire.audit import AppendReceipt

WRITE_SECONDS: Final = 0.25
"""The file is written this often at most, and at stop."""

_REMEMBERED: Final = 1024


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry's place and hash, as it lies in the file."""

    seq: int
    leaf_hash: str


@dataclass(frozen=True)
class Alarm:
    """Why the ledger cannot be believed."""

    code: str
    detail: str


class RememberedHead:
    """Keeps the highest head, in memory and in a file; raises an alarm where the ledger went back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._recent: OrderedDict[int, str] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self.alarm: Alarm | None = None
        self.head: Head | None = None
        try:
            self.head = msgspec.json.decode(path.read_bytes(), type=Head)
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            self.alarm = Alarm("ledger.verify_failed", f"The remembered ledger head {path.name} cannot be read")

    @property
    def floor(self) -> int:
        """The highest place that is known; a receipt for an entry sent after this moment lies above it."""
        return -1 if self.head is None else self.head.seq

    def remember(self, receipt: AppendReceipt, floor: int) -> None:
        """Take a receipt in. ``floor`` was read before its entry was sent."""
        known = self._recent.get(receipt.seq)
        if receipt.seq <= floor or known is not None:
            self.alarm = Alarm(
                "ledger.verify_failed",
                f"The ledger gave place {receipt.seq} to a new entry, but place {max(floor, receipt.seq)} was taken:"
                " it was set back or replaced. Run: mycelos db audit verify",
            )
            return
        self._recent[receipt.seq] = receipt.leaf_hash
        if len(self._recent) > _REMEMBERED:
            self._recent.popitem(last=False)
        if receipt.seq > self.floor:
            self.head = Head(receipt.seq, receipt.leaf_hash)
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(WRITE_SECONDS, self.write)

    def write(self) -> None:
        """Write the file now, whole or not at all."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.head is None:
            return
        temporary = self._path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(msgspec.json.encode(self.head))
        temporary.replace(self._path)
