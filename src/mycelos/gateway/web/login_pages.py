"""`/login` and `/logout`: signing in by a one-time link, and out again."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from mycelos.gateway.identity.lockout import Lockout
from mycelos.gateway.identity.one_time_links import OneTimeLinks
from mycelos.gateway.identity.principal import SignIn, require_principal
from mycelos.gateway.identity.sessions import Sessions, clear_cookie, cookie_values, set_cookie
from mycelos.gateway.identity.sign_in_record import IS_RECORDED, SignInRecord
from mycelos.gateway.web.forms import read_form, read_open_form
from mycelos.gateway.web.rendering import Pages


def login_routes(
    pages: Pages,
    links: OneTimeLinks,
    sessions: Sessions,
    record: SignInRecord,
    lockout: Lockout,
    *,
    has_password: bool,
) -> APIRouter:
    """The routes."""
    router = APIRouter(include_in_schema=False)

    @router.get("/login")
    async def show(request: Request, code: str = "") -> Response:
        # Only the form below uses the code up: a preview that fetches the address must not.
        return pages.respond(request, "login.html", code=code[:128], failed=False, has_password=has_password)

    @router.post("/login")
    async def redeem(request: Request) -> Response:
        form = await read_open_form(request, "code")
        client, origin = request.state.client, request.state.origin
        if not await links.redeem(form["code"]):
            # Guessing is hopeless and so not stopped, but recorded: a few times, not without end.
            if not lockout.seconds_left(f"link {client}"):
                await record.failed(
                    client, "link", "unknown, used or expired", lockout.record_failure(f"link {client}").attempts
                )
            setattr(request.state, IS_RECORDED, True)
            return pages.respond(request, "login.html", 403, code="", failed=True, has_password=has_password)
        # The session that the browser had, if any, ends: signing in always makes a new one.
        former = await sessions.find(cookie_values(request.scope, origin))
        session = await record.open_session(sessions, client, "link")
        if former is not None:
            await record.signed_out(former.session_id)
            await sessions.end(former.session_id)
        response = RedirectResponse("/", 303)
        set_cookie(response, origin, session.token)
        return response

    @router.post("/logout")
    async def sign_out(request: Request) -> Response:
        await read_form(request)
        principal = require_principal(request.scope)
        if principal.sign_in is SignIn.SESSION:
            await record.signed_out(principal.session_id)
            await sessions.end(principal.session_id)
        response = RedirectResponse("/login", 303)
        clear_cookie(response, request.state.origin)
        return response

    return router
