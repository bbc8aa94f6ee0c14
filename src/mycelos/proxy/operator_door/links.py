"""One-time links of the vault page: made for the person who holds the operator's socket, good once, for ten minutes.

They are kept in memory, as hashes, and end with the proxy: a new one is one command away.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from mycelos.wire.operator import LinkCreated

LIFETIME_SECONDS: Final = 600
_LIMIT: Final = 64


class OneTimeLinks:
    """Codes that were given out and not yet used."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._ends: dict[bytes, float] = {}

    def create(self) -> LinkCreated:
        """A new code of 256 random bits. The oldest ones end when there are more than 64."""
        self._forget_ended()
        while len(self._ends) >= _LIMIT:
            del self._ends[next(iter(self._ends))]
        code = secrets.token_urlsafe(32)
        self._ends[_digest(code)] = self._monotonic() + LIFETIME_SECONDS
        ends = datetime.now(UTC) + timedelta(seconds=LIFETIME_SECONDS)
        return LinkCreated(code=code, expires_at=ends.strftime("%Y-%m-%dT%H:%M:%SZ"))

    def redeem(self, code: str) -> bool:
        """Whether ``code`` was good; from now on it is not."""
        self._forget_ended()
        return self._ends.pop(_digest(code), None) is not None

    def forget_all(self) -> None:
        """No code that was given out is good any more."""
        self._ends = {}

    def _forget_ended(self) -> None:
        now = self._monotonic()
        self._ends = {digest: ends for digest, ends in self._ends.items() if ends > now}


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).digest()
