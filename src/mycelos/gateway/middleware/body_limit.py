"""Second layer: no body larger than the gateway will ever need, declared or not."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mycelos.gateway.middleware.problems import send_refusal
from mycelos.gateway.middleware.request_headers import single_header
from mycelos.wire.problems import ProblemCode, Refusal

MAXIMUM_BODY_BYTES: Final = 256 * 1024
"""A chat message has 32,000 characters at most; four bytes each, and JSON's escapes, fit."""

BODY_SECONDS: Final = 30.0
"""How long a body may take to arrive."""

_DROPPED_BYTES: Final = 4 * 1024 * 1024


class BodyLimit:
    """Reads the body before the routes do, so that one that is too large never reaches them."""

    def __init__(self, app: ASGIApp, maximum_bytes: int = MAXIMUM_BODY_BYTES, seconds: float = BODY_SECONDS) -> None:
        self._app = app
        self._maximum = maximum_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on a request whose body is within the limit; others get 413."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
        except Refusal as refusal:
            # The rest of the body is not read: the connection cannot be used for another request.
            await send_refusal(refusal, scope, receive, send, {"Connection": "close"})
            return
        if body is None:
            return
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body, or None where the client went away."""
        declared = single_header(scope, b"content-length")
        # ASCII digits only: int() would take digits of every script.
        if declared is not None and not (declared.isascii() and declared.isdigit() and len(declared) < 20):
            raise Refusal(
                ProblemCode.INVALID_REQUEST, "Content-Length is not a number.", "Send the body's length in bytes."
            )
        if int(declared or 0) > self._maximum + _DROPPED_BYTES:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._seconds):
                return await self._collect(receive)
        except TimeoutError:
            raise Refusal(
                ProblemCode.INVALID_REQUEST,
                f"The request's body did not arrive within {self._seconds:g} seconds.",
                "Send the request again, whole.",
            ) from None

    async def _collect(self, receive: Receive) -> bytes | None:
        body, size = bytearray(), 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            piece = message.get("body", b"")
            size += len(piece)
            # What is over is dropped for a while: a client that is still sending would miss the answer.
            if size <= self._maximum:
                body += piece
            if size > self._maximum + _DROPPED_BYTES:
                raise self._too_large()
            if not message.get("more_body", False):
                if size > self._maximum:
                    raise self._too_large()
                return bytes(body)

    def _too_large(self) -> Refusal:
        return Refusal(
            ProblemCode.TOO_LARGE,
            f"The request's body is larger than {self._maximum} bytes.",
            "Send less at once; a long text can be split into several messages.",
        )
