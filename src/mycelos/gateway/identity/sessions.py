"""Sessions: 32 random bytes in a cookie, their hash in the store, always new at sign-in."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from starlette.responses import Response
from starlette.types import Scope

from mycelos.gateway.identity.csrf import form_token
from mycelos.gateway.identity.one_time_links import digest
from mycelos.gateway.identity.principal import Principal, SignIn
from mycelos.wire.identifiers import Kind, make_identifier

LIFETIME: Final = timedelta(days=14)
_TOKEN_LENGTH: Final = 43
_MAXIMUM_CANDIDATES: Final = 4


class SessionStore(Protocol):
    """Where sessions are kept: by the SHA-256 of their token."""

    async def add_session(self, session_id: str, token_hash: str, expires_at: datetime) -> None:
        """Keep one session; expired ones may be dropped."""

    async def find_session(self, token_hash: str, now: datetime) -> str | None:
        """The id of the unexpired session with this token, if there is one."""

    async def delete_session(self, session_id: str) -> bool:
        """End a session; say whether there was one."""


@dataclass(frozen=True)
class NewSession:
    """What a sign-in made: the cookie's value is shown to the browser once and stored nowhere."""

    session_id: str
    token: str = field(repr=False)


class Sessions:
    """Opens, finds and ends sessions."""

    def __init__(self, store: SessionStore, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    async def open(self) -> NewSession:
        """A new session. The token is never one that a browser brought along (no session fixation)."""
        now = self._clock()
        session_id = make_identifier(Kind.SESSION, int(now.timestamp() * 1000), secrets.token_bytes(10))
        session = NewSession(session_id, secrets.token_urlsafe(32))
        await self._store.add_session(session.session_id, digest(session.token), now + LIFETIME)
        return session

    async def find(self, tokens: Iterable[str]) -> Principal | None:
        """The owner, by the first of these cookie values that is a session."""
        for token in tokens:
            if len(token) != _TOKEN_LENGTH or not token.isascii():
                continue
            session_id = await self._store.find_session(digest(token), self._clock())
            if session_id is not None:
                return Principal(SignIn.SESSION, session_id, form_token(token))
        return None

    async def is_open(self, tokens: Iterable[str]) -> bool:
        """Whether one of these cookie values is a session still: a long answer asks again while it lasts."""
        return await self.find(tokens) is not None

    async def end(self, session_id: str) -> bool:
        """End one session."""
        return await self._store.delete_session(session_id)


def cookie_name(origin: str) -> str:
    """The cookie's name: behind TLS with the prefix that stops other hosts and plain HTTP from setting it."""
    return "__Host-mycelos_session" if origin.startswith("https:") else "mycelos_session"


def cookie_values(scope: Scope, origin: str) -> list[str]:
    """Each value that the session's cookie came with, at most four.

    A program on another port of this machine can plant a second cookie of the same name; looking at one value
    only would let it sign the owner out.
    """
    name, values = cookie_name(origin), list[str]()
    for key, header in scope["headers"]:
        if key == b"cookie":
            for part in header.decode("latin-1").split(";"):
                found, _, value = part.strip().partition("=")
                if found == name:
                    values.append(value.strip('"'))
    return values[:_MAXIMUM_CANDIDATES]


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
