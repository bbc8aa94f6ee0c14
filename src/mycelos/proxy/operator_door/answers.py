"""How the door reads a request and writes an answer: JSON both ways, refusals as problem documents (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import Response

from mycelos.wire.decoding import decode_request
from mycelos.wire.problems import MEDIA_TYPE, REFUSED_HEADER, ProblemCode, Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

BODY_LIMIT: Final = 512 * 1024
"""Bytes of a request at most: a secret of 64 KiB with every byte escaped, and its bindings."""


async def read_message(request: Request, message_type: Any) -> Any:
    """The body as a message of this type.

    Raises:
        Refusal: `invalid_request` for another content type or another form, `too_large`.
    """
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise Refusal(
            ProblemCode.INVALID_REQUEST, "The content type is not application/json.", "Send the body as JSON."
        )
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise Refusal(
                ProblemCode.TOO_LARGE, f"The request is longer than {BODY_LIMIT} bytes.", "Send a shorter one."
            )
    return decode_request(bytes(body), message_type, "request")


def answer(message: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """A message as an answer that no cache keeps."""
    headers = {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(message), status, headers, media_type="application/json")


def problem(refusal: Refusal) -> Response:
    """A refusal as a problem document."""
    document = refusal.problem
    headers = {REFUSED_HEADER: document.code.value, "Cache-Control": "no-store"}
    return Response(msgspec.json.encode(document), document.status, headers, media_type=MEDIA_TYPE)


def failure() -> Response:
    """What is said of an error of ours: nothing of its text, which could quote a secret."""
    return problem(
        Refusal(
            ProblemCode.INTERNAL,
            "The proxy failed at this request.",
            "See the audit log for what was done: mycelos db audit",
        )
    )
