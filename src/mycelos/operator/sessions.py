"""Sessions of the vault page: in the memory of its process, kept as hashes, twelve hours at most."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

LIFETIME_SECONDS: Final = 12 * 3600
_LIMIT: Final = 64


@dataclass(frozen=True)
class Session:
    """One signed-in browser. ``form_token`` stands in each of its forms."""

    form_token: str = field(repr=False)
    ends: float

    def accepts(self, token: str) -> bool:
        """Whether ``token`` is this session's form token; compared in constant time."""
        return hmac.compare_digest(self.form_token.encode("ascii"), token.encode("utf-8", "surrogatepass"))


class Sessions:
    """Every session that has not ended."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._sessions: dict[bytes, Session] = {}

    def begin(self) -> str:
        """A new session; its cookie's value, 256 random bits. The oldest ends when there are more than 64."""
        now = self._monotonic()
        self._sessions = {digest: session for digest, session in self._sessions.items() if session.ends > now}
        while len(self._sessions) >= _LIMIT:
            del self._sessions[next(iter(self._sessions))]
        value = secrets.token_urlsafe(32)
        self._sessions[_digest(value)] = Session(secrets.token_urlsafe(32), now + LIFETIME_SECONDS)
        return value

    def find(self, value: str | None) -> Session | None:
        """The session of this cookie, unless it ended."""
        session = self._sessions.get(_digest(value or ""))
        return session if session is not None and session.ends > self._monotonic() else None

    def end(self, value: str | None) -> None:
        """End the session of this cookie."""
        self._sessions.pop(_digest(value or ""), None)


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()
