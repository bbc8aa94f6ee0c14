"""Sessions: 32 random bytes in a cookie, their hash in the store, always new at sign-in."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from starlette.responses import Response
from starlette.types import Scope

from mycelos.gateway.identity.csrf import form_token
from mycelos.gateway.identity.one_time_links import digest, rfc3339
from mycelos.gateway.identity.principal import OWNER, Principal, SignIn
from mycelos.gateway.store.sessions import Sessions as StoredSessions

LIFETIME: Final = timedelta(days=14)
_TOKEN_LENGTH: Final = 43
_MAXIMUM_CANDIDATES: Final = 4


@dataclass(frozen=True)
class NewSession:
    """What a sign-in made: the cookie's value is shown to the browser once and stored nowhere."""

    session_id: str
    token: str = field(repr=False)


class Sessions:
    """Opens, finds and ends sessions."""

    def __init__(self, stored: StoredSessions, clock: Callable[[], datetime]) -> None:
        self._stored = stored
        self._clock = clock

    async def open(self, method: str) -> NewSession:
        """A new session. Its token is never one that a browser brought along (no session fixation)."""
        token = secrets.token_urlsafe(32)
        stored = await self._stored.create(digest(token), OWNER, method, rfc3339(self._clock() + LIFETIME))
        return NewSession(stored.id, token)

    async def find(self, tokens: Iterable[str]) -> Principal | None:
        """The owner, by the first of these cookie values that is a session."""
        for token in tokens:
            if len(token) != _TOKEN_LENGTH or not token.isascii():
                continue
            stored = await self._stored.find(digest(token))
            if stored is not None:
                return Principal(SignIn.SESSION, stored.id, form_token(token))
        return None

    async def end(self, session_id: str) -> bool:
        """End one session; whether there was one."""
        return await self._stored.delete(session_id)


def cookie_name(origin: str) -> str:
    """The cookie's name: behind TLS with the prefix that stops other hosts and plain HTTP from setting it."""
    return "__Host-mycelos_session" if origin.startswith("https:") else "mycelos_session"


def cookie_values(scope: Scope, origin: str) -> list[str]:
    """Each value that the session's cookie came with, at most the last four.

    A program on another port of this machine can plant more cookies of the same name; looking at one value only
    would let it sign the owner out. Ours has the shortest path, and browsers send that one last (RFC 6265, section
    5.4).
    """
    name, values = cookie_name(origin), list[str]()
    for key, header in scope["headers"]:
        if key == b"cookie":
            for part in header.decode("latin-1").split(";"):
                found, _, value = part.strip().partition("=")
                if found == name:
                    values.append(value.strip('"'))
    return values[-_MAXIMUM_CANDIDATES:]


def set_cookie(response: Response, origin: str, token: str) -> None:
    """Hand the session to the browser.

    SameSite=Strict works with the one-time link: the link itself needs no cookie, and the form that redeems it is
    this site's own.
    """
    response.set_cookie(
        cookie_name(origin),
        token,
        max_age=int(LIFETIME.total_seconds()),
        path="/",
        secure=origin.startswith("https:"),
        httponly=True,
        samesite="strict",
    )


def clear_cookie(response: Response, origin: str) -> None:
    """Take the session's cookie away from the browser."""
    response.delete_cookie(
        cookie_name(origin), path="/", secure=origin.startswith("https:"), httponly=True, samesite="strict"
    )
