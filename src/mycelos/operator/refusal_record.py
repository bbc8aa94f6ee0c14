"""What the vault page refuses by itself is put on record by the proxy, which would else not hear of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mycelos.operator.client import OperatorClient, OperatorUnavailableError
from mycelos.operator.frame import call
from mycelos.wire.binding import Method
from mycelos.wire.operator import PageRefusal
from mycelos.wire.problems import Refusal

IS_RECORDED: Final = "mycelos_is_recorded"
"""In a request's state: that it is refused stands in the ledger already."""

_ALWAYS: Final = frozenset({403, 421})
_OF_CHANGES: Final = frozenset({404, 405})
_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
_EVERY_SECONDS: Final = 1.0


class RefusalRecord:
    """Stands outermost. One entry a second at most, with how many there were: a page elsewhere may post without end."""

    def __init__(self, app: ASGIApp, client: OperatorClient, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._client = client
        self._monotonic = monotonic
        self._attempts = 0
        self._recorded_at = float("-inf")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_recorded(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_event(scope, message["status"]):
                await self._note(scope["method"], message["status"])
            await send(message)

        await self._app(scope, receive, send_recorded)

    async def _note(self, method: str, status: int) -> None:
        self._attempts += 1
        now = self._monotonic()
        if now - self._recorded_at < _EVERY_SECONDS:
            return
        self._recorded_at, attempts, self._attempts = now, self._attempts, 0
        named = method if method in set(Method) else "other"
        # Where the proxy does not answer, what was asked for stays refused.
        with suppress(Refusal, OperatorUnavailableError):
            await call(self._client.record_refusal, PageRefusal(method=named, status=status, attempts=attempts))


def _is_event(scope: Scope, status: int) -> bool:
    if scope.get("state", {}).get(IS_RECORDED):
        return False
    is_change = scope["method"] not in _SAFE_METHODS
    is_sent_away = is_change and status == 303 and not scope.get("state", {}).get("session") and _is_inside(scope)
    return status in _ALWAYS or (is_change and status in _OF_CHANGES) or is_sent_away


def _is_inside(scope: Scope) -> bool:
    """Whether the request was for a session's pages."""
    return "path_token" in scope.get("path_params", {})
