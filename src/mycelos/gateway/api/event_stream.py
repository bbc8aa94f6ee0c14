"""A run's events as server-sent events (WHATWG HTML, section 9.2), resumable by number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Final

import anyio
import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mycelos.gateway.runs.events import RunEvent
from mycelos.wire.problems import ProblemCode, Refusal

HEARTBEAT_SECONDS: Final = 15.0
MAXIMUM_STREAMS: Final = 64

Follow = Callable[[int], AsyncIterator[RunEvent]]
"""The events after a number, as they happen."""


class EventStreams:
    """Hands out streams, so many at once and no more: each holds a connection."""

    def __init__(self, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> None:
        self.heartbeat_seconds = heartbeat_seconds
        self.open = 0

    def respond(self, follow: Follow, after: int, may_go_on: Callable[[], Awaitable[bool]]) -> EventStream:
        """A stream that ends with the run, or when its reader is signed out.

        Raises:
            Refusal: `rate_limited`, too many streams are open.
        """
        if self.open >= MAXIMUM_STREAMS:
            raise Refusal(
                ProblemCode.RATE_LIMITED,
                f"{MAXIMUM_STREAMS} event streams are open already.",
                "Close other windows of Mycelos and reload this one.",
            )
        return EventStream(self, follow, after, may_go_on)


class EventStream(Response):
    """The answer to one reader. What it holds is given back when the reader goes, however it goes."""

    def __init__(
        self, streams: EventStreams, follow: Follow, after: int, may_go_on: Callable[[], Awaitable[bool]]
    ) -> None:
        super().__init__(
            media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        del self.headers["content-length"]
        self._streams = streams
        self._follow = follow
        self._after = after
        self._may_go_on = may_go_on

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Write until the run ends or the reader is gone."""
        self._streams.open += 1
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, receive, tasks.cancel_scope)
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                async with aclosing(self._chunks()) as chunks:
                    async for chunk in chunks:
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                tasks.cancel_scope.cancel()
        finally:
            self._streams.open -= 1

    async def _watch(self, receive: Receive, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        yield b": follow\n\n"
        events, after = self._follow(self._after), self._after
        while True:
            try:
                async with asyncio.timeout(self._streams.heartbeat_seconds):
                    event = await anext(events, None)
            except TimeoutError:
                # Waiting was cut, so the events are asked for anew: they can be resumed at any number.
                if not await self._may_go_on():
                    return
                yield b": alive\n\n"
                events = self._follow(after)
                continue
            if event is None:
                return
            after = event.sequence
            yield encode_event(event)
            if event.is_last:
                return


def encode_event(event: RunEvent) -> bytes:
    """One event. JSON has no raw line breaks, so the data is one line whatever a model wrote."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (
        event.sequence,
        event.kind.value.encode(),
        msgspec.json.encode(event.data),
    )


def resume_after(last_event_id: str | None, after: str | None) -> int:
    """The number to go on from: the header that a browser sends by itself, else the address's ``after``.

    Raises:
        Refusal: `invalid_request`, no number.
    """
    text = last_event_id or after or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise Refusal(
            ProblemCode.INVALID_REQUEST,
            "Last-Event-ID (or after) is not the number of an event.",
            "Send the id of the last event that was received, or nothing.",
        )
    return int(text)
