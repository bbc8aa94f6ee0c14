"""Innermost layer: a body sent as JSON is UTF-8, is JSON (RFC 8259), names no key twice, and is not nested deep.

RFC 8259, section 4, leaves it open which of two equal keys counts; two readers that choose otherwise see two requests.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mycelos.gateway.middleware.problems import send_refusal
from mycelos.gateway.middleware.request_headers import single_header
from mycelos.wire.problems import ProblemCode, Refusal

DEEPEST: Final = 16
"""Levels of arrays and objects; the routes' bodies have two."""


class JsonBody:
    """Checks the body before the routes read it. `BodyLimit` stands outside and hands it on in one piece."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on a request whose body can have one meaning only; others get 400."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        message: Message | None = await receive()
        body = message.get("body", b"") if message else b""
        try:
            if body and _is_json(scope):
                check_json(body)
        except Refusal as refusal:
            await send_refusal(refusal, scope, receive, send)
            return

        async def replay() -> Message:
            nonlocal message
            kept, message = message, None
            return await receive() if kept is None else kept

        await self._app(scope, replay, send)


def check_json(body: bytes) -> None:
    """Refuse ``body`` unless it is JSON with one meaning.

    Raises:
        Refusal: `invalid_request`; it says what is wrong with the body, and repeats nothing of it but a plain key.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse(f"The body is not UTF-8, from its byte {error.start} on", "Send the JSON text encoded as UTF-8.")
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        _refuse(
            f"The body is not valid JSON, at line {error.lineno}, column {error.colno}", "Correct it and send it again."
        )
    except RecursionError:
        _too_deep()
    except ValueError:
        # Python reads no number of more than 4300 digits.
        _refuse("The body holds a number that is too long", "Send numbers of a few digits.")
    level, depth = [value], 0
    while level := [inner for outer in level for inner in _inner(outer)]:
        depth += 1
        if depth > DEEPEST:
            _too_deep()


def _inner(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values()) or [None]
    return (value or [None]) if isinstance(value, list) else []


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            plain = key.replace("_", "").isalnum() and key.isascii() and len(key) <= 32
            _refuse(f"The body has the key {key if plain else '(key)'} more than once", "Send each key once.")
        found[key] = value
    return found


def _constant(word: str) -> NoReturn:
    _refuse(f"The body holds {word}, which is not JSON", "Send a number, or leave the field out.")


def _too_deep() -> NoReturn:
    _refuse(
        f"The body is nested deeper than {DEEPEST} levels", "Send the fields that /openapi.json describes, no deeper."
    )


def _refuse(detail: str, next_step: str) -> NoReturn:
    raise Refusal(ProblemCode.INVALID_REQUEST, detail, next_step) from None


def _is_json(scope: Scope) -> bool:
    kind = (single_header(scope, b"content-type") or "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
