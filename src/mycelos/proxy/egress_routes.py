"""`POST /http` and `/forward`: two forms of the same request, both through the one pipeline."""

from __future__ import annotations

import asyncio
import base64
import binascii
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from mycelos.proxy import asgi
from mycelos.proxy.body_budget import BodyBudget
from mycelos.proxy.egress.approval_check import WAITING_BODY_LIMIT
from mycelos.proxy.egress.call import EgressCall
from mycelos.proxy.egress.http_client import Deadlines
from mycelos.wire import egress as messages
from mycelos.wire.decoding import decode_request
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from mycelos.proxy.asgi import Receive, Scope, Send
    from mycelos.proxy.egress.exchange import Exchange
    from mycelos.proxy.egress.pipeline import EgressPipeline

CALL_LIMIT: Final = 12 * 1024 * 1024
"""Bytes of a `POST /http` body, at most: 8 MiB in base64 and its envelope."""
ANSWER_LIMIT: Final = 1024 * 1024
"""Bytes of an answer's body that `POST /http` gives back; the rest is cut and said to be."""
STREAM_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a body that `/forward` passes on."""
_AT_ONCE: Final = 256 * 1024
"""Bytes of a `POST /http` body that is read on the event loop."""
_CALL_SECONDS: Final = 60.0
_PREFIX: Final = "/forward/"
_TEXT_LIMIT: Final = 256


class UnreadCallError(Refusal):
    """A call that asks for nothing that can be decided on: it is wrong in its ``part``, ``head`` or ``body``."""

    def __init__(self, refusal: Refusal, part: str) -> None:
        problem = refusal.problem
        super().__init__(problem.code, problem.detail, problem.next)
        self.part = part


class EgressRoutes:
    """The two routes, over one pipeline."""

    def __init__(self, pipeline: EgressPipeline, budget: BodyBudget | None = None) -> None:
        self._pipeline = pipeline
        self._budget = budget or BodyBudget()
        self._large = asyncio.Lock()

    async def http(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """One request as JSON, its answer as JSON."""
        with self._budget.keeping() as count:
            call = await self._read_call(await asgi.read_body(receive, CALL_LIMIT, count))
            caller = asgi.Caller(receive)
            caller.leave_body()
            async with caller.waiting(), self._pipeline.open(call) as exchange:
                body = await _read_up_to(exchange, ANSWER_LIMIT)
        await asgi.answer_json(send, _answer(exchange, body))

    async def _read_call(self, data: bytes) -> EgressCall:
        with _reading("body"):
            if len(data) <= _AT_ONCE:
                return _call_from_message(decode_request(data, messages.HttpCall, "request"))
            # One at a time: while many small objects are looked through, everybody else's work goes on in between.
            async with self._large:
                wanted = await asyncio.to_thread(decode_request, data, messages.HttpCall, "request")
            return _call_from_message(wanted)

    async def forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request passed on as it streams, its answer too."""
        caller = asgi.Caller(receive)
        with _reading("head"):
            call = _call_from_scope(scope, caller)
        with self._budget.keeping() as count:
            if call.body is not None and self._pipeline.shows_person(call):
                # What a person decides is held whole, and a body is then not streamed.
                body = await asgi.read_body(receive, WAITING_BODY_LIMIT, count)
                caller.leave_body()
                call = replace(call, body=body, length=len(body))
            # Once the head is out, a refusal shows as an answer that is cut short: so what ends the answer, be it the
            # head or a piece, waits until the outcome is on record.
            last = b""
            async with caller.waiting(), self._pipeline.open(call) as exchange:
                caller.leave_body()
                left = exchange.length
                if left != 0:
                    await asgi.answer_head(send, exchange.status, exchange.headers)
                async for piece in exchange.body():
                    left = None if left is None else left - len(piece)
                    if left == 0:
                        last = piece
                    else:
                        await asgi.answer_piece(send, piece, more=True)
        if exchange.length == 0:
            await asgi.answer_head(send, exchange.status, exchange.headers)
        await asgi.answer_piece(send, last, more=False)


@contextmanager
def _reading(part: str) -> Iterator[None]:
    try:
        yield
    except Refusal as refusal:
        raise UnreadCallError(refusal, part) from None


def _call_from_message(wanted: messages.HttpCall) -> EgressCall:
    body = _whole_body(wanted)
    headers = [(_encode(name), _encode(value)) for name, value in wanted.headers.items()]
    is_json = wanted.body is not None and not isinstance(wanted.body, str)
    if is_json and not any(name.lower() == b"content-type" for name, _ in headers):
        headers.append((b"content-type", b"application/json"))
    seconds = wanted.timeout or _CALL_SECONDS
    return EgressCall(
        method=wanted.method,
        url=wanted.url,
        headers=headers,
        body=body,
        length=None if body is None else len(body),
        service=wanted.inject_credential,
        inject_as=wanted.inject_as,
        run=wanted.run_id or "",
        agent=wanted.agent or "",
        purpose=wanted.purpose or "",
        door="http",
        approval=wanted.approval or "",
        deadlines=Deadlines(first_byte=seconds, idle=seconds, total=seconds),
    )


def _whole_body(wanted: messages.HttpCall) -> bytes | None:
    if wanted.body is not None and wanted.body_base64 is not None:
        raise Refusal(ProblemCode.INVALID_REQUEST, "Both body and body_base64 are given.", "Give one of them.")
    if wanted.body_base64 is not None:
        try:
            return base64.b64decode(wanted.body_base64, validate=True)
        except (binascii.Error, ValueError):
            raise Refusal(
                ProblemCode.INVALID_REQUEST, "body_base64 is not base64.", "Encode it with padding (RFC 4648)."
            ) from None
    if wanted.body is None:
        return None
    return wanted.body.encode("utf-8") if isinstance(wanted.body, str) else msgspec.json.encode(wanted.body)


def _encode(text: str) -> bytes:
    try:
        return text.encode("ascii")
    except UnicodeEncodeError:
        raise Refusal(
            ProblemCode.INVALID_REQUEST, "A header holds characters outside ASCII.", "Encode it first."
        ) from None


def _call_from_scope(scope: Scope, caller: asgi.Caller) -> EgressCall:
    path = scope["raw_path"].decode("latin-1").removeprefix(_PREFIX)
    scheme, separator, rest = path.partition("/")
    if scheme not in {"http", "https"} or not separator:
        raise Refusal(
            ProblemCode.INVALID_REQUEST,
            "The path is not /forward/https/AUTHORITY/PATH or /forward/http/AUTHORITY/PATH.",
            "Correct the path.",
        )
    query = scope["query_string"].decode("latin-1")
    length = asgi.header(scope, "content-length")
    has_body = length not in {None, "0"} or asgi.header(scope, "transfer-encoding") is not None
    if not has_body:
        caller.leave_body()
    size = int(length) if has_body and length is not None else None
    if size is not None and size > STREAM_LIMIT:
        # Before anything is sent: what is announced need not be counted.
        asgi.refuse_large(STREAM_LIMIT)
    return EgressCall(
        method=scope["method"],
        url=f"{scheme}://{rest}?{query}" if query else f"{scheme}://{rest}",
        headers=scope["headers"],
        body=_bounded(caller.body_pieces()) if has_body else None,
        length=size,
        service=_own_header(scope, messages.FORWARD_CREDENTIAL) or None,
        inject_as=_own_header(scope, messages.FORWARD_INJECT_AS) or None,
        run=_own_header(scope, messages.FORWARD_RUN),
        agent=_own_header(scope, messages.FORWARD_AGENT),
        purpose=_own_header(scope, messages.FORWARD_PURPOSE),
        door="forward",
        approval=_own_header(scope, messages.FORWARD_APPROVAL),
    )


def _own_header(scope: Scope, name: str) -> str:
    value = asgi.header(scope, name) or ""
    if len(value) > _TEXT_LIMIT:
        raise Refusal(ProblemCode.INVALID_REQUEST, f"The header {name} is too long.", "Shorten it.")
    return value


async def _bounded(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > STREAM_LIMIT:
            asgi.refuse_large(STREAM_LIMIT)
        yield piece


async def _read_up_to(exchange: Exchange, limit: int) -> bytes:
    kept = bytearray()
    pieces = exchange.body()
    try:
        async for piece in pieces:
            kept += piece
            if len(kept) > limit:
                exchange.progress.is_truncated = True
                break
    finally:
        await pieces.aclose()  # type: ignore[attr-defined]  # it is an asynchronous generator
    return bytes(kept[:limit])


def _answer(exchange: Exchange, body: bytes) -> messages.HttpAnswer:
    headers: dict[str, str] = {}
    for name, value in exchange.headers:
        text = value.decode("latin-1")
        key = name.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    truncated = exchange.progress.is_truncated
    try:
        # A cut may fall inside a character: what is left of it is dropped.
        text_body: str | None = body.decode("utf-8", "strict") if not truncated else _decode_cut(body)
    except UnicodeDecodeError:
        text_body = None
    return messages.HttpAnswer(
        status=exchange.status,
        headers=headers,
        url=str(exchange.url),
        truncated=truncated,
        elapsed_ms=exchange.progress.elapsed_ms,
        body=text_body,
        body_base64=None if text_body is not None else base64.b64encode(body).decode("ascii"),
    )


def _decode_cut(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(body) - error.start > 3:
            raise
        return body[: error.start].decode("utf-8")
