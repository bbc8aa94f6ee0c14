"""What no layer or route has answered becomes a problem document here, and the exception's text goes nowhere."""

from __future__ import annotations

import logging
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mycelos.gateway.middleware.problems import send_refusal
from mycelos.serving.cause import named
from mycelos.wire.problems import ProblemCode, Refusal

_logger: Final = logging.getLogger(__name__)


class BrokenAnswerError(RuntimeError):
    """An answer that had begun could not be finished; the server cuts the connection."""


class ErrorBoundary:
    """Stands just below the security headers, so that an error page has them too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        has_begun = False

        async def watched_send(message: Message) -> None:
            nonlocal has_begun
            has_begun = has_begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except Refusal as refusal:
            answer = refusal
        except Exception as error:  # noqa: BLE001 - the last one to look; it answers 500 and does nothing else
            _logger.error("unexpected %s", named(error))  # noqa: TRY400 - the text may quote a request
            answer = _internal()
        else:
            return
        if has_begun or scope["type"] != "http":
            message = "the answer had begun"
            raise BrokenAnswerError(message) from None
        await send_refusal(answer, scope, receive, send)


def _internal() -> Refusal:
    return Refusal(
        ProblemCode.INTERNAL,
        "The gateway met an error that it did not expect.",
        "Try again; if it happens again, `mycelos doctor` and the gateway's log show more.",
    )
