"""The few ASGI pieces that the gateway's door needs: reading a bounded body, answering JSON and problems."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn

import msgspec

from mycelos.wire.egress import PROTOCOL_HEADER, PROTOCOL_VERSION
from mycelos.wire.problems import MEDIA_TYPE, REFUSED_HEADER, Problem, ProblemCode, Refusal

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

BODY_SECONDS: Final = 30.0
"""How long a body that is read whole may take."""
WRITE_SECONDS: Final = 120.0
"""How long a reader may take for one piece of an answer."""

_OWN: Final = [(PROTOCOL_HEADER.lower().encode(), PROTOCOL_VERSION.encode()), (b"cache-control", b"no-store")]


class DisconnectedError(Exception):
    """The caller is gone."""


def header(scope: Scope, name: str) -> str | None:
    """The one value of a header, or None.

    Raises:
        Refusal: `invalid_request`; it stands there twice.
    """
    wanted = name.lower().encode("ascii")
    values = [value for key, value in scope["headers"] if key == wanted]
    if len(values) > 1:
        raise Refusal(ProblemCode.INVALID_REQUEST, f"The header {name} stands there more than once.", "Send it once.")
    return values[0].decode("latin-1") if values else None


async def read_body(receive: Receive, limit: int, count: Callable[[int], None] | None = None) -> bytes:
    """The whole body; ``count`` is told the size of each piece, and may refuse it.

    Raises:
        Refusal: `too_large`, or `invalid_request` where it takes too long.
        DisconnectedError: the caller went away.
    """
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in body_pieces(receive):
                size += len(piece)
                if size > limit:
                    refuse_large(limit)
                if count is not None:
                    count(len(piece))
                pieces.append(piece)
    except TimeoutError:
        raise Refusal(ProblemCode.INVALID_REQUEST, "The body took too long to arrive.", "Send it at once.") from None
    return b"".join(pieces)


def refuse_large(limit: int) -> NoReturn:
    """Refuse a body beyond ``limit`` bytes."""
    raise Refusal(ProblemCode.TOO_LARGE, f"The body is larger than {limit} bytes.", "Send less at once.")


async def body_pieces(receive: Receive) -> AsyncIterator[bytes]:
    """The body as it arrives.

    Raises:
        DisconnectedError: the caller went away before its end.
    """
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return


class Caller:
    """Who waits for an answer. Its going away is noticed also while nothing is sent to it."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_read = asyncio.Event()

    async def body_pieces(self) -> AsyncIterator[bytes]:
        """The request's body as it arrives; raises as the function of this name."""
        async for piece in body_pieces(self._receive):
            yield piece
        self.leave_body()

    def leave_body(self) -> None:
        """Nothing more of the request's body is read."""
        self._is_read.set()

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """A block that ends as soon as the caller is gone, once its body is read or left.

        Raises:
            DisconnectedError: it is gone.
        """
        block = asyncio.timeout(None)
        try:
            async with block:
                watch = asyncio.get_running_loop().create_task(self._watch(block))
                try:
                    yield
                finally:
                    watch.cancel()
                    await asyncio.wait([watch])
        except TimeoutError:
            if not block.expired():
                raise
            raise DisconnectedError from None

    async def _watch(self, block: asyncio.Timeout) -> None:
        await self._is_read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
        block.reschedule(asyncio.get_running_loop().time())


async def answer_head(send: Send, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Begin an answer."""
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *_OWN]})


async def answer_piece(send: Send, data: bytes, *, more: bool) -> None:
    """Pass on a piece of an answer's body.

    Raises:
        DisconnectedError: the reader took too long.
    """
    try:
        async with asyncio.timeout(WRITE_SECONDS):
            await send({"type": "http.response.body", "body": data, "more_body": more})
    except TimeoutError:
        raise DisconnectedError from None


async def answer_json(send: Send, value: Any, status: int = 200) -> None:
    """Answer with one JSON value."""
    await _answer_bytes(send, status, [(b"content-type", b"application/json")], msgspec.json.encode(value))


async def answer_problem(send: Send, problem: Problem) -> None:
    """Answer with a problem document; its code stands in a header too."""
    headers = [(b"content-type", MEDIA_TYPE.encode()), (REFUSED_HEADER.lower().encode(), problem.code.value.encode())]
    await _answer_bytes(send, problem.status, headers, msgspec.json.encode(problem))


async def _answer_bytes(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await answer_head(send, status, [*headers, (b"content-length", b"%d" % len(body))])
    await answer_piece(send, body, more=False)
