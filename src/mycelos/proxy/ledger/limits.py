"""How much each source may put on record, and what is kept free for the operator when the disk is nearly full.

Every entry that is written because of a request at the gateway's door is counted: what the gateway claims, and what
the proxy records of its requests. Each of the two sources has a bucket of its own, and so has what whoever reaches the
vault page can cause without a token: a sign-in that failed. What `precedence` puts first is never refused here; an
outcome is counted all the same, and the next intent pays for it.

A day of flooding costs the rate times 86,400: with the default of 64 KiB a second, 5.3 GiB for each of the two
sources, about 110 entries a second each; one of failed sign-ins at most 44 MB, about one a second.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from mycelos.ledger.events import Source
from mycelos.proxy.ledger.precedence import comes_first
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mycelos.configuration.operator_file import LedgerSettings
    from mycelos.ledger.entry import Draft
    from mycelos.proxy.ledger.disk_reserve import DiskReserve

STRANGERS_RATE: Final = 512
"""Bytes a second of failed sign-ins: enough to see who guesses, and the gateway's flood takes none of it."""

STRANGERS_BURST: Final = 64 * 1024
"""Bytes of them at once."""

REPORT_EVERY: Final = 60.0
"""Seconds between two entries that say of one limit that it refuses."""


_FLOODING: Final = (
    "Try again in a second. If nobody means to do so much, look for a flood: mycelos db audit --suspicious. "
    "The limit is ledger.bytes_per_second in operator.toml."
)
_GUESSING: Final = (
    "Somebody tries to sign in again and again: mycelos db audit --suspicious. "
    "A good link still signs in; make a fresh one with: mycelos open --operator"
)


class LimitedError(Refusal):
    """An entry was refused here. ``report`` is how many since the last report, or zero while that is too new."""

    def __init__(self, code: ProblemCode, detail: str, next_step: str, *, source: Source, report: int) -> None:
        super().__init__(code, detail, next_step)
        self.source = source
        self.report = report


class Bucket:
    """Bytes that flow in at a rate, up to a burst. What is owed is paid before anything else is given."""

    def __init__(self, rate: int, burst: int, monotonic: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._monotonic = monotonic
        self._left = float(burst)
        self._at = monotonic()

    def take(self, size: int) -> bool:
        """Take ``size`` bytes, if they are there; else none."""
        now = self._monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < size:
            return False
        self._left -= size
        return True

    def owe(self, size: int) -> None:
        """Take ``size`` bytes that may not be there."""
        self._left -= size


class _Reports:
    """Counts refusals, and says once in a while how many there were."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._count = 0
        self._at = float("-inf")

    def count(self) -> int:
        """One more; how many to report now, zero for none."""
        self._count += 1
        now = self._monotonic()
        if now - self._at < REPORT_EVERY:
            return 0
        self._at = now
        count, self._count = self._count, 0
        return count


class LedgerLimits:
    """Admits drafts before they are queued."""

    def __init__(
        self, settings: LedgerSettings, disk: DiskReserve, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._disk = disk
        self._buckets = {
            source: Bucket(settings.bytes_per_second, settings.burst_bytes, monotonic)
            for source in (Source.PROXY, Source.GATEWAY)
        }
        self._buckets[Source.OPERATOR] = Bucket(STRANGERS_RATE, STRANGERS_BURST, monotonic)
        self._reports = {source: _Reports(monotonic) for source in Source}
        self._disk_reports = _Reports(monotonic)

    def __call__(self, drafts: Sequence[Draft]) -> None:
        """Admit ``drafts``.

        Raises:
            LimitedError: `rate_limited`, or `audit_unavailable` where the rest of the disk is for others.
        """
        for draft in drafts:
            # A source that has no door here yet shares the bucket of the one that is trusted least.
            bucket = self._buckets.get(draft.source, self._buckets[Source.GATEWAY])
            if comes_first(draft):
                if draft.source is Source.PROXY:
                    bucket.owe(draft.size)
                continue
            if self._disk.is_reached():
                raise LimitedError(
                    ProblemCode.AUDIT_UNAVAILABLE,
                    f"Fewer than {self._settings.reserve_bytes} bytes are free where the ledger is, and they are kept "
                    "for the operator.",
                    "Make room on the disk of the data folder; ledger.reserve_bytes in operator.toml says how much is "
                    "kept.",
                    source=draft.source,
                    report=self._disk_reports.count(),
                )
            if not bucket.take(draft.size):
                raise LimitedError(
                    ProblemCode.RATE_LIMITED,
                    "More was to be recorded than is within a second.",
                    _GUESSING if draft.source is Source.OPERATOR else _FLOODING,
                    source=draft.source,
                    report=self._reports[draft.source].count(),
                )
