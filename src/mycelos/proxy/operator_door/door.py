"""The door itself: a unix socket for the owner alone, the token beside it asked for on every route."""

from __future__ import annotations

import hmac
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from mycelos.ledger.events import Event
from mycelos.proxy.operator_door.answers import failure, problem
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route
    from starlette.types import ASGIApp, Receive, Scope, Send

    from mycelos.proxy.ledger.recorder import Recorder
    from mycelos.proxy.lockdown_step import LockdownStep

_log: Final = logging.getLogger(__name__)


class OperatorDoor:
    """The door as an ASGI application over the routes that it is given."""

    def __init__(self, *, recorder: Recorder, lockdown: LockdownStep, token: str, routes: Sequence[Route]) -> None:
        self._recorder = recorder
        self._lockdown = lockdown
        self._authorization = b"Bearer " + token.encode("ascii")
        self._app: ASGIApp = Starlette(
            routes=routes,
            exception_handlers={
                Refusal: _answer_refusal,
                HTTPException: self._answer_http_error,
                Exception: _answer_failure,
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the token is asked for before anything else is looked at."""
        if scope["type"] != "http":
            return
        answered = False

        async def watched_send(message: Any) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._authenticate(scope)
            await self._lockdown.catch_up()
            await self._app(scope, receive, watched_send)
        except Refusal as refusal:
            await problem(refusal)(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - the border: whatever it is, its text could quote a secret
            _log.error("a request at the operator's door failed: %s", type(error).__name__)
            if not answered:
                await failure()(scope, receive, send)

    async def _authenticate(self, scope: Scope) -> None:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) == 1 and hmac.compare_digest(given[0], self._authorization):
            return
        await self._recorder.fact(
            Event.PROXY_AUTH_FAILED, outcome="refused", reason="operator token", details={"door": "operator"}
        )
        raise Refusal(
            ProblemCode.UNAUTHORIZED,
            "The operator's token is missing or not the one of this start.",
            "Read it from proxy/operator.token in the data folder; it is new at each start.",
        )

    async def _answer_http_error(self, _request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
        code, detail = {
            404: (ProblemCode.NOT_FOUND, "The operator's door has no such route."),
            405: (ProblemCode.METHOD_NOT_ALLOWED, "This route answers another method."),
        }.get(status, (ProblemCode.INVALID_REQUEST, "The request cannot be read."))
        # Nothing of ours asks for what is not here.
        details = {"door": "operator", "code": code.value}
        await self._recorder.fact(Event.PROXY_AUTH_FAILED, outcome="refused", reason="route", details=details)
        return problem(Refusal(code, detail, "Its routes are listed in docs/reference/proxy-routes.md."))


async def _answer_failure(_request: Request, _error: Exception) -> Response:
    return failure()


async def _answer_refusal(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):
        raise error
    return problem(error)
