"""Routes of the operator's door: how a person gets into the vault page, and out."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.routing import Route

from mycelos.ledger.events import Event
from mycelos.proxy.operator_door.answers import answer, read_message
from mycelos.proxy.operator_door.recorded import OPERATOR
from mycelos.wire import operator as messages
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mycelos.proxy.ledger.recorder import Recorder
    from mycelos.proxy.operator_door.links import OneTimeLinks


class SignInRoutes:
    """One-time links, the end of a session of the vault page, and what that page refused by itself."""

    def __init__(self, links: OneTimeLinks, recorder: Recorder) -> None:
        self._links = links
        self._recorder = recorder

    def routes(self) -> list[Route]:
        """/link/create, /link/redeem, /session/end and /session/refused."""
        return [
            Route("/link/create", self._create_link, methods=["POST"]),
            Route("/link/redeem", self._redeem_link, methods=["POST"]),
            Route("/session/end", self._end_session, methods=["POST"]),
            Route("/session/refused", self._record_refusal, methods=["POST"]),
        ]

    async def _create_link(self, request: Request) -> Response:
        await read_message(request, messages.Empty)
        await self._recorder.fact(Event.OPERATOR_LINK_CREATED, principal=OPERATOR, details={"door": "operator"})
        return answer(self._links.create(), HTTPStatus.CREATED)

    async def _redeem_link(self, request: Request) -> Response:
        wanted = await read_message(request, messages.RedeemLink)
        if not self._links.redeem(wanted.code):
            await self._recorder.fact(Event.OPERATOR_LOGIN_FAILED, outcome="refused", details={"method": "link"})
            raise Refusal(
                ProblemCode.FORBIDDEN,
                "This link was used already, or is older than ten minutes.",
                "Make a fresh one with: mycelos open --operator",
            )
        await self._recorder.fact(Event.OPERATOR_LOGIN, principal=OPERATOR, outcome="ok", details={"method": "link"})
        return answer(messages.Empty())

    async def _end_session(self, request: Request) -> Response:
        ended = await read_message(request, messages.EndSessions)
        details = {"count": ended.count}
        await self._recorder.fact(Event.OPERATOR_LOGOUT, principal=OPERATOR, outcome="ok", details=details)
        return answer(messages.Empty())

    async def _record_refusal(self, request: Request) -> Response:
        refused: messages.PageRefusal = await read_message(request, messages.PageRefusal)
        details = {"method": refused.method, "status": refused.status, "attempts": refused.attempts}
        await self._recorder.fact(Event.OPERATOR_REFUSED, outcome="refused", details=details)
        return answer(messages.Empty())
