"""One-time links: who can read the command line's output of this machine may sign in, once, for ten minutes."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from mycelos.gateway.store.sessions import Links

LIFETIME: Final = timedelta(minutes=10)
PURPOSE: Final = "sign_in"
_MAXIMUM_CODE_LENGTH: Final = 128


@dataclass(frozen=True)
class OneTimeLink:
    """A fresh link's secret, and its end in RFC 3339, UTC."""

    code: str = field(repr=False)
    expires_at: str


class OneTimeLinks:
    """Makes and redeems links. The store holds a code's SHA-256 only."""

    def __init__(self, links: Links, clock: Callable[[], datetime]) -> None:
        self._links = links
        self._clock = clock

    async def create(self) -> OneTimeLink:
        """A link with 256 random bits."""
        link = OneTimeLink(secrets.token_urlsafe(32), rfc3339(self._clock() + LIFETIME))
        await self._links.create(digest(link.code), PURPOSE, link.expires_at)
        return link

    async def redeem(self, code: str) -> bool:
        """Whether ``code`` was good. A good one is used up by this: of two callers, one gets True."""
        if not 0 < len(code) <= _MAXIMUM_CODE_LENGTH:
            return False
        return await self._links.redeem(digest(code), PURPOSE)


def digest(secret: str) -> str:
    """SHA-256 in hex. The secrets hashed here are 256 random bits: a slow hash would add nothing."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def rfc3339(moment: datetime) -> str:
    """The store's form of a time: UTC, microseconds, so that text sorts as time does."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
