"""`/api/auth`: links for the command line, and the end of a session."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from mycelos.gateway.api.schemas import EndedAll, Link, Session
from mycelos.gateway.identity.one_time_links import OneTimeLinks
from mycelos.gateway.identity.principal import SignIn, require_principal
from mycelos.gateway.identity.sessions import Sessions, clear_cookie
from mycelos.gateway.identity.sign_in_record import SignInRecord
from mycelos.gateway.lockdown import LockdownWatch
from mycelos.wire.problems import ProblemCode, Refusal


def auth_routes(links: OneTimeLinks, sessions: Sessions, record: SignInRecord, lockdown: LockdownWatch) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/auth", tags=["auth"])

    @router.post("/link")
    async def create_link(request: Request) -> Link:
        """A one-time link to the page, for the command line alone."""
        _demand_command_line(
            request, "Links are made with", next_step="Run `mycelos open` on the machine of this Mycelos."
        )
        await record.link_created()
        link = await links.create()
        return Link(code=link.code, expires_at=link.expires_at)

    @router.get("/session")
    async def show_session(request: Request) -> Session:
        """Who this request counts as, and how it showed it."""
        principal = require_principal(request.scope)
        return Session(principal=principal.name, sign_in=principal.sign_in.value)

    @router.post("/logout", status_code=204)
    async def sign_out(request: Request) -> Response:
        """End the session that this request came with."""
        principal = require_principal(request.scope)
        if principal.sign_in is SignIn.SESSION:
            await record.signed_out(principal.session_id)
            await sessions.end(principal.session_id)
        response = Response(status_code=204)
        clear_cookie(response, request.state.origin)
        return response

    @router.post("/end-all")
    async def end_all(request: Request) -> EndedAll:
        """End every session, unused link and run: the gateway's part of `mycelos lockdown`."""
        _demand_command_line(
            request, "Everything is ended with", next_step="Run `mycelos lockdown` on the machine of this Mycelos."
        )
        ended = await lockdown.end_all()
        return EndedAll(sessions=ended.sessions, runs=ended.runs)

    return router


def _demand_command_line(request: Request, what: str, *, next_step: str) -> None:
    if require_principal(request.scope).sign_in is not SignIn.COMMAND_LINE:
        raise Refusal(ProblemCode.FORBIDDEN, f"{what} the command line's token only.", next_step)
