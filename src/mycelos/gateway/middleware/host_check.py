"""First layer: the request must name this gateway, once, in headers of a bounded size."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from mycelos.gateway.middleware.origins import Origins
from mycelos.gateway.middleware.problems import problem_response
from mycelos.gateway.middleware.request_headers import single_header
from mycelos.wire.problems import ProblemCode, Refusal

MAXIMUM_HEADER_BYTES: Final = 32 * 1024
"""Bytes of all header names and values together. The HTTP server below sets no limit."""


class HostCheck:
    """Puts the request's origin into ``scope["state"]["origin"]``; an unknown name gets 421 and goes no further."""

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request; a websocket, which this gateway does not speak, is closed."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            origin = self._check(scope)
        except Refusal as refusal:
            # Always a document: a page under a foreign name would be that name's page.
            await problem_response(refusal.problem)(scope, receive, send)
            return
        scope.setdefault("state", {})["origin"] = origin
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> str:
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAXIMUM_HEADER_BYTES:
            raise Refusal(
                ProblemCode.TOO_LARGE,
                f"The request's headers are larger than {MAXIMUM_HEADER_BYTES} bytes together.",
                "Send fewer or shorter headers; delete this site's cookies if a browser sent them.",
            )
        origin = self._origins.origin_of(single_header(scope, b"host"))
        if origin is None:
            raise Refusal(
                ProblemCode.HOST_NOT_ALLOWED,
                "The Host header does not name this gateway.",
                "Open the address that `mycelos open` prints, or set MYCELOS_PUBLIC_URL to the name that you use.",
            )
        return origin
