"""A binding's quota: requests and bytes sent upstream in one day (UTC)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from mycelos.wire.binding import Quota


def utc_day() -> str:
    """Today's date."""
    return datetime.now(UTC).date().isoformat()


@dataclass
class _Used:
    requests: int = 0
    bytes_sent: int = 0


@dataclass
class QuotaBook:
    """Counts by credential. A changed binding does not start a new count; a new day does."""

    today: Callable[[], str] = utc_day
    _day: str = ""
    _used: dict[str, _Used] = field(default_factory=dict)

    def take_request(self, credential_id: str, quota: Quota | None) -> None:
        """Count one request.

        Raises:
            Refusal: `rate_limited`; the day's requests or bytes are used up.
        """
        used = self._of(credential_id)
        if quota is not None and (used.requests >= quota.requests_per_day or used.bytes_sent >= quota.bytes_per_day):
            raise _used_up()
        used.requests += 1

    def take_bytes(self, credential_id: str, quota: Quota | None, amount: int) -> None:
        """Count bytes before they are sent.

        Raises:
            Refusal: `rate_limited`; they would go beyond the day's bytes.
        """
        used = self._of(credential_id)
        if quota is not None and used.bytes_sent + amount > quota.bytes_per_day:
            raise _used_up()
        used.bytes_sent += amount

    def count(self, credential_id: str, *, requests: int = 0, bytes_sent: int = 0) -> None:
        """Count what was on record before the start."""
        used = self._of(credential_id)
        used.requests += requests
        used.bytes_sent += bytes_sent

    def _of(self, credential_id: str) -> _Used:
        day = self.today()
        if day != self._day:
            self._day, self._used = day, {}
        return self._used.setdefault(credential_id, _Used())


def _used_up() -> Refusal:
    return Refusal(
        ProblemCode.RATE_LIMITED,
        "The quota of this credential's binding is used up for today (UTC).",
        "Wait for the next day, or bind the credential with a larger quota.",
    )
