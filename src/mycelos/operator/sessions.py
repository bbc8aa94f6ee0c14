"""Sessions of the vault page: in the memory of its process, kept as hashes, twelve hours at most.

A session is two secrets that belong together: a token in the path of its pages, and a cookie that the browser sends
to that path only. Neither opens anything without the other.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

LIFETIME_SECONDS: Final = 12 * 3600
FRESH_SECONDS: Final = 600
"""After a sign-in, this long, a session may change who can sign in."""
_LIMIT: Final = 64


@dataclass(frozen=True)
class NewSession:
    """What a sign-in made: 256 random bits each, given to the browser once and stored nowhere."""

    path_token: str = field(repr=False)
    cookie: str = field(repr=False)


@dataclass(frozen=True)
class Session:
    """One signed-in browser. ``form_token`` stands in each of its forms.

    ``lockdown`` names the newest lockdown before it began, ``passkey`` the passkey that it began with, if one did: once
    there is another lockdown, or that passkey is removed, the session is over.
    """

    path_digest: bytes = field(repr=False)
    cookie_digest: bytes = field(repr=False)
    form_token: str = field(repr=False)
    ends: float
    lockdown: str
    passkey: str = ""

    @property
    def name(self) -> str:
        """What the proxy knows this session by; it opens nothing."""
        return self.path_digest.hex()

    def accepts(self, token: str) -> bool:
        """Whether ``token`` is this session's form token; compared in constant time."""
        return hmac.compare_digest(self.form_token.encode("ascii"), token.encode("utf-8", "surrogatepass"))

    def has_cookie(self, value: str) -> bool:
        """Whether ``value`` is this session's cookie; compared in constant time."""
        return hmac.compare_digest(self.cookie_digest, _digest(value))


class Sessions:
    """Every session that has not ended."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._sessions: dict[bytes, Session] = {}

    def begin(self, lockdown: str = "", passkey: str = "") -> NewSession:
        """A new session. The oldest ends when there are more than 64."""
        now = self._monotonic()
        self._sessions = {digest: session for digest, session in self._sessions.items() if session.ends > now}
        while len(self._sessions) >= _LIMIT:
            del self._sessions[next(iter(self._sessions))]
        new = NewSession(secrets.token_urlsafe(32), secrets.token_urlsafe(32))
        digest = _digest(new.path_token)
        self._sessions[digest] = Session(
            digest, _digest(new.cookie), secrets.token_urlsafe(32), now + LIFETIME_SECONDS, lockdown, passkey
        )
        return new

    def find(self, path_token: str, cookies: Iterable[str]) -> Session | None:
        """The session of this path, unless it ended or none of these cookies is its own."""
        # Looked up by a hash: how long that takes says nothing about a token that could be guessed.
        session = self._sessions.get(_digest(path_token))
        if session is None or session.ends <= self._monotonic():
            return None
        return session if any(session.has_cookie(value) for value in cookies) else None

    def is_fresh(self, session: Session) -> bool:
        """Whether its person has signed in just now: what was stolen from an open browser later is not."""
        return session.ends - LIFETIME_SECONDS + FRESH_SECONDS > self._monotonic()

    def end(self, session: Session) -> None:
        """End this session."""
        self._sessions.pop(session.path_digest, None)

    def end_all(self) -> int:
        """End every session; how many there were."""
        now = self._monotonic()
        count = sum(session.ends > now for session in self._sessions.values())
        self._sessions = {}
        return count


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()
