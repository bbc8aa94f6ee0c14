"""What every page of the vault has in common: who asks, how the proxy is at that moment, and the HTML around it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import anyio.to_thread
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mycelos.operator import wording
from mycelos.operator.client import OperatorClient
from mycelos.operator.session_cookie import SessionCookie, home_of
from mycelos.operator.session_gate import home_at, session_of
from mycelos.operator.sessions import Session, Sessions
from mycelos.operator.visible import visible
from mycelos.wire.operator import ANY_HOST, DoorStatus
from mycelos.wire.problems import ProblemCode, Refusal

Result = TypeVar("Result")

_PAGES: Final = Path(__file__).parent / "pages"


@dataclass(frozen=True)
class Visit:
    """One request of somebody who is signed in, and how the proxy is at that moment."""

    session: Session
    home: str = field(repr=False)
    status: DoorStatus


Page = Callable[[Request, Visit], Awaitable[Response]]


class Frame:
    """One client and one set of sessions, and the pages' templates over both."""

    def __init__(self, client: OperatorClient, sessions: Sessions, address: str) -> None:
        self.client = client
        self.sessions = sessions
        self.address = address
        self.cookie = SessionCookie(is_https=address.startswith("https://"))
        self._pages = Environment(
            loader=FileSystemLoader(_PAGES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        self._pages.globals.update(
            describe=wording.describe, address=wording.address, any_host=ANY_HOST, quote=quote, visible=visible
        )

    def signed_in(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        """``page`` for a session that neither a lockdown nor the removal of its passkey has ended."""

        async def guarded(request: Request) -> Response:
            session, home = session_of(request), home_at(request)
            status = await call(self.client.status)
            if session.lockdown != status.lockdown.last:
                return self.end(session, home, RedirectResponse("/login?ended=lockdown", 303))
            if session.passkey and session.passkey not in status.passkeys:
                return self.end(session, home, RedirectResponse("/login?ended=passkey", 303))
            return await page(request, Visit(session, home, status))

        return guarded

    def widening(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        """As `signed_in`, for what lets more out, or in, than before: a session alone may do it while it is fresh."""

        async def guarded(request: Request, visit: Visit) -> Response:
            self.demand_fresh(visit)
            return await page(request, visit)

        return self.signed_in(guarded)

    def may_widen(self, visit: Visit) -> bool:
        """Whether this session may: always, until there is a passkey that somebody could be asked for."""
        return not visit.status.passkeys or self.sessions.is_fresh(visit.session)

    def demand_fresh(self, visit: Visit) -> None:
        """Refuse where the session may not.

        Raises:
            Refusal: `forbidden`.
        """
        if not self.may_widen(visit):
            raise Refusal(
                ProblemCode.FORBIDDEN,
                "Since a passkey is enrolled, this is done within ten minutes of a sign-in.",
                "Sign out and in again, with your passkey or with: mycelos open --operator",
            )

    def end(self, session: Session, home: str, answer: Response) -> Response:
        """``answer``, with which the session is over here and in the browser."""
        self.sessions.end(session)
        self.cookie.clear(answer, home)
        return answer

    def begin_session(self, lockdown: str, passkey: str = "") -> Response:
        """A session of its own for each sign-in: nothing that the browser brought along becomes one."""
        new = self.sessions.begin(lockdown, passkey)
        answer = RedirectResponse(f"{home_of(new.path_token)}/", 303)
        self.cookie.give(answer, new)
        return answer

    def elsewhere(self, request: Request) -> str:
        """The page's one address that passkeys work at, where the browser is at another one; else nothing."""
        host = request.headers.get("host", "").lower()
        return "" if host == urlsplit(self.address).netloc else self.address

    def show(self, page: str, visit: Visit | None, status: int = 200, /, **values: Any) -> Response:
        """A page from its template; without a visit, nothing in it is of a session."""
        values.setdefault("home", "" if visit is None else visit.home)
        values["form_token"] = "" if visit is None else visit.session.form_token
        values["lockdown"] = None if visit is None else visit.status.lockdown
        values["web"] = None if visit is None else visit.status.web.value
        values["has_passkey"] = visit is not None and bool(visit.status.passkeys)
        return HTMLResponse(self._pages.get_template(page).render(**values), status)


async def call(function: Callable[..., Result], *arguments: Any) -> Result:
    """Ask the proxy, beside the event loop.

    Raises:
        Refusal: the proxy's own.
        OperatorUnavailableError: it does not answer.
    """
    return await anyio.to_thread.run_sync(partial(function, *arguments))
