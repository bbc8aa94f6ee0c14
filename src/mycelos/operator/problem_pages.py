"""What is shown where something was refused, is not there, or does not answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mycelos.operator.client import OperatorUnavailableError
from mycelos.operator.frame import Frame
from mycelos.operator.session_gate import home_at
from mycelos.wire.problems import Refusal

_TITLES: Final = {403: "This form is not of this session", 404: "There is nothing here", 413: "This is too long"}


class ProblemPages:
    """One page for every error; its words are the refusal's own."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def handlers(self) -> Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]]:
        """By the error's type."""
        return {
            Refusal: self._show_refusal,
            OperatorUnavailableError: self._show_unavailable,
            HTTPException: self._show_http_error,
        }

    async def _show_refusal(self, request: Request, error: Exception) -> Response:
        if not isinstance(error, Refusal):
            raise error
        problem = error.problem
        return self._show(request, problem.status, problem.title, problem.detail, problem.next)

    async def _show_unavailable(self, request: Request, error: Exception) -> Response:
        if not isinstance(error, OperatorUnavailableError):
            raise error
        return self._show(request, 503, "The proxy does not answer", error.detail, error.next_step)

    async def _show_http_error(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        title = _TITLES.get(status, "This cannot be read")
        return self._show(request, status, title, "Nothing was changed.", "Go back to the credentials and try again.")

    def _show(self, request: Request, status: int, title: str, detail: str, next_step: str) -> Response:
        return self._frame.show(
            "problem.html", None, status, home=home_at(request), title=title, detail=detail, next_step=next_step
        )
