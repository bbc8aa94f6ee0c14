"""How a person gets into the vault page, and out."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from mycelos.operator.frame import Frame, call
from mycelos.operator.posted_form import demand_own_form, read_form
from mycelos.operator.refusal_record import IS_RECORDED
from mycelos.operator.session_gate import home_at, session_of
from mycelos.wire.problems import Refusal, joined


class SignInPages:
    """The sign-in by a one-time link, and the sign-out."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        """What answers without a session."""
        return [
            Route("/", self._front, methods=["GET"]),
            Route("/login", self._login_form, methods=["GET"]),
            Route("/login", self._login, methods=["POST"]),
        ]

    def session_routes(self) -> list[Route]:
        """What stands below a session's path."""
        return [
            Route("/logout", self._logout, methods=["POST"]),
            Route("/logout/everywhere", self._logout_everywhere, methods=["POST"]),
        ]

    async def _front(self, _request: Request) -> Response:
        # Nothing that a browser sends here may tell where its session lives: the sign-in page says what to do.
        return RedirectResponse("/login", 303)

    async def _login_form(self, request: Request) -> Response:
        # Shown, not redeemed: programs that preview links must not use them up.
        code = request.query_params.get("code", "")
        return show_sign_in(self._frame, request, code=code, ended=request.query_params.get("ended", ""))

    async def _login(self, request: Request) -> Response:
        fields = await read_form(request, {"code"})
        # Asked for first: a lockdown that comes in between ends the session that begins here.
        newest = (await call(self._frame.client.status)).lockdown.last
        try:
            await call(self._frame.client.redeem_link, str(fields.get("code", "")).strip()[:128])
        except Refusal as refusal:
            error = joined(refusal.problem.detail, refusal.problem.next)
            return show_sign_in(self._frame, request, refusal.problem.status, error=error)
        return self._frame.begin_session(newest)

    async def _logout(self, request: Request) -> Response:
        # Without a look at the proxy: signing out must work while it does not answer.
        session = session_of(request)
        demand_own_form(await read_form(request, set()), session)
        answer = self._frame.end(session, home_at(request), RedirectResponse("/login", 303))
        await call(self._frame.client.end_sessions)
        return answer

    async def _logout_everywhere(self, request: Request) -> Response:
        session = session_of(request)
        demand_own_form(await read_form(request, set()), session)
        count = self._frame.sessions.end_all()
        answer = self._frame.end(session, home_at(request), RedirectResponse("/login?ended=everywhere", 303))
        await call(self._frame.client.end_sessions, count)
        return answer


def show_sign_in(
    frame: Frame, request: Request, status: int = 200, *, code: str = "", error: str = "", ended: str = ""
) -> Response:
    """The sign-in page; ``ended`` says what ended the session before."""
    elsewhere = frame.elsewhere(request)
    # An error here is the proxy's own word, which it has put on record.
    setattr(request.state, IS_RECORDED, bool(error))
    return frame.show("login.html", None, status, code=code, error=error, ended=ended, elsewhere=elsewhere)
