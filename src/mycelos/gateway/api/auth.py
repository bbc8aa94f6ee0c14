"""`/api/auth`: links for the command line, and the end of a session."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from mycelos.gateway.api.schemas import Link, Session
from mycelos.gateway.identity.one_time_links import OneTimeLinks
from mycelos.gateway.identity.principal import SignIn, require_principal
from mycelos.gateway.identity.sessions import Sessions, clear_cookie
from mycelos.gateway.identity.sign_in_record import SignInRecord
from mycelos.wire.problems import ProblemCode, Refusal


def auth_routes(links: OneTimeLinks, sessions: Sessions, record: SignInRecord, page_url: str) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/auth", tags=["auth"])

    @router.post("/link")
    async def create_link(request: Request) -> Link:
        """A one-time link to the page, for the command line alone."""
        if require_principal(request.scope).sign_in is not SignIn.COMMAND_LINE:
            raise Refusal(
                ProblemCode.FORBIDDEN,
                "Links are made with the command line's token only.",
                "Run `mycelos open` on the machine of this Mycelos.",
            )
        await record.link_created()
        link = await links.create()
        return Link(url=f"{page_url}/login?code={link.code}", expires_at=link.expires_at)

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

    return router
