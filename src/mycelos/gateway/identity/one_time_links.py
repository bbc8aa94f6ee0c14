"""One-time links: who can read the command line's output of this machine may sign in, once, for ten minutes."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

LIFETIME: Final = timedelta(minutes=10)
MAXIMUM_CODE_LENGTH: Final = 128


class LinkStore(Protocol):
    """Where links are kept: by the SHA-256 of their code, never by the code."""

    async def add_link(self, code_hash: str, expires_at: datetime) -> None:
        """Keep one link; expired ones may be dropped."""

    async def take_link(self, code_hash: str, now: datetime) -> bool:
        """Remove the link and say whether it was there and unexpired: of two callers, one gets True."""


@dataclass(frozen=True)
class OneTimeLink:
    """A fresh link's secret and its end."""

    code: str = field(repr=False)
    expires_at: datetime


class OneTimeLinks:
    """Makes and redeems links."""

    def __init__(self, store: LinkStore, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    async def create(self) -> OneTimeLink:
        """A link with 256 random bits; only their hash is stored."""
        link = OneTimeLink(secrets.token_urlsafe(32), self._clock() + LIFETIME)
        await self._store.add_link(digest(link.code), link.expires_at)
        return link

    async def redeem(self, code: str) -> bool:
        """Whether ``code`` was good. A good one is used up by this."""
        if not 0 < len(code) <= MAXIMUM_CODE_LENGTH:
            return False
        return await self._store.take_link(digest(code), self._clock())


def digest(secret: str) -> str:
    """SHA-256 in hex. The secrets hashed here are 256 random bits: a slow hash would add nothing."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
