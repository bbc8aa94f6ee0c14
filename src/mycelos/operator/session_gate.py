"""The gate before the session's pages: path and cookie of one session, or the way to the sign-in."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from mycelos.operator.session_cookie import HOMES, SessionCookie, home_of
from mycelos.operator.sessions import Session, Sessions


class SessionGate:
    """Stands before every route below a session's path, so that an unknown path and a foreign cookie look alike."""

    def __init__(self, pages: ASGIApp, sessions: Sessions, cookie: SessionCookie) -> None:
        self._pages = pages
        self._sessions = sessions
        self._cookie = cookie

    def mount(self) -> Mount:
        """The gate as a route of the page."""
        return Mount(HOMES + "/{path_token}", app=self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what comes with the session's cookie at the session's path; lead anything else to the sign-in."""
        path_token = scope["path_params"]["path_token"]
        session = self._sessions.find(path_token, self._cookie.values(scope))
        if session is None:
            await RedirectResponse("/login", 303)(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["session"], state["home"] = session, home_of(path_token)
        await self._pages(scope, receive, send)


def session_of(request: Request) -> Session:
    """The session whose path and cookie this request came with."""
    session: Session = request.state.session
    return session


def home_at(request: Request) -> str:
    """The path of the session's pages, or nothing where the request passed no gate."""
    home: str = getattr(request.state, "home", "")
    return home
