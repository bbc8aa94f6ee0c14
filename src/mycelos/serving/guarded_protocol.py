"""One connection of the HTTP/1.1 server: uvicorn's request cycle behind strict framing, with a bound on every wait.

What can be read in two ways is refused before the application sees it (RFC 9112, section 11.2). Each state of a
connection has its time, so that nobody holds one by being slow: waiting, a head, a body, a body that nobody wants any
more, an answer that is not read, an end that is not taken.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Final

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mycelos.serving.request_head import check_head, demand
from mycelos.wire.problems import MEDIA_TYPE, REFUSED_HEADER, ProblemCode, make_problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from mycelos.wire.problems import Problem

MAXIMUM_HEAD: Final = 32 * 1024
"""Bytes of a request's target and headers, at most."""
MAXIMUM_HEADERS: Final = 128
IDLE_SECONDS: Final = 75.0
"""How long a connection may wait for a request."""
HEAD_SECONDS: Final = 10.0
"""How long a request's head may take, from its first byte."""
BODY_SECONDS: Final = 600.0
"""How long a request's body may take; the application has shorter times of its own."""
DRAIN_SECONDS: Final = 10.0
"""How long the rest of a body may take that was answered before its end."""
DRAIN_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of such a rest, at most."""
WRITE_BUFFER: Final = 32 * 1024
"""Bytes of an answer that wait for the caller; beyond it the application waits."""
WRITE_SECONDS: Final = 120.0
"""How long a reader may leave a full buffer as it is."""
CLOSE_SECONDS: Final = 10.0
"""How long a reader may take for the last bytes of a connection that is being closed."""
CONNECTION_LIMIT: Final = 512

_PIECE: Final = 16 * 1024
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})


class GuardedProtocol(HttpToolsProtocol):
    """One connection. Refuses what is not one well-framed request, and whoever is too slow."""

    maximum_head: ClassVar[int] = MAXIMUM_HEAD

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        # Without the leniency that uvicorn allows: data after a last request is an error.
        self.parser = httptools.HttpRequestParser(self)
        self.app = self._run
        self.on_refused: Callable[[], None] | None = None
        self.waiting_since = self.loop.time()
        self._newest: RequestResponseCycle | None = None
        self._in_head = True
        self._is_head_too_large = False
        self._head_size = 0
        self._headers_seen = 0
        self._has_moved = False
        self._unread = 0
        self._drained = 0
        self._clock: asyncio.TimerHandle | None = None
        self._write_clock: asyncio.TimerHandle | None = None

    # What the event loop calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Keep the transport for a while; where there are too many connections, one of them ends."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self._wait_for_request()
        if len(self.connections) > CONNECTION_LIMIT:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Parse in small pieces, so that what the parser keeps to itself is counted soon."""
        view = memoryview(data)
        for start in range(0, len(view), _PIECE):
            if self.transport.is_closing():
                return
            self._feed(view[start : start + _PIECE])

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._stop_clock()
        self.resume_writing()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def pause_writing(self) -> None:
        """The caller reads slowly: it has a while to catch up."""
        super().pause_writing()
        if self._write_clock is None:
            self._write_clock = self.loop.call_later(WRITE_SECONDS, self._abort)

    def resume_writing(self) -> None:
        """The caller has caught up."""
        super().resume_writing()
        if self._write_clock is not None:
            self._write_clock.cancel()
            self._write_clock = None

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A head begins."""
        self._head_size = self._headers_seen = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Keep a piece of the target within the limit."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header within the limits; trailers are counted and dropped."""
        self._count(len(name) + len(value) + len(b": \r\n"))
        self._headers_seen += 1
        demand(self._headers_seen <= MAXIMUM_HEADERS, "too many headers")
        if self._in_head:
            super().on_header(name, value.rstrip(b" \t"))
        else:
            demand(name.lower() not in _FRAMING, "no trailer that frames")

    def on_headers_complete(self) -> None:
        """Check the head, then let the application begin."""
        demand(not self.parser.should_upgrade(), "the protocol stays as it is")
        check_head(self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers)
        if self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False
        super().on_headers_complete()
        self._newest = self.cycle
        self._in_head = False
        self._moved()
        self._head_size = self._headers_seen = self._drained = 0
        self._start_clock(BODY_SECONDS)

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._moved()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body, or drop it where the answer has been given already."""
        self._moved()
        if self.cycle.response_complete:
            self._drained += len(body)
            demand(self._drained <= DRAIN_LIMIT, "too much that nobody wants")
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The next byte begins another head."""
        self._in_head = True
        self._moved()
        self._stop_clock()
        super().on_message_complete()
        if self.cycle.response_complete:
            self._wait_for_request()

    # What the request cycle calls.

    def on_response_complete(self) -> None:
        """Wait for the next request; the rest of this one, where it is not here yet, has its bounds."""
        super().on_response_complete()
        self.waiting_since = self.loop.time()
        if self.timeout_keep_alive_task is not None:
            self._wait_for_request()
        if self.transport.is_closing():
            self._start_clock(CLOSE_SECONDS)
        elif self.cycle.response_complete and not self._in_head:
            self._start_clock(DRAIN_SECONDS)

    def timeout_keep_alive_handler(self) -> None:
        """End a connection that nobody uses, also where its last answer was not read."""
        self._abort()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read, as a problem document, and close."""
        del msg  # a library's words
        if self.on_refused is not None:
            self.on_refused()
        cycle = self._newest
        if self._in_head and cycle is not None and self._owes_answer:
            # What was asked before is answered; then the connection ends, and what follows is nobody's.
            cycle.keep_alive = False
        elif not self._in_head and cycle is not None and (cycle.response_started or self.pipeline):
            self._abort()
        else:
            if cycle is not None:
                cycle.disconnected = True
                cycle.message_event.set()
            self._refuse_ill_framed()

    # The rest.

    async def _run(self, scope: Any, receive: Any, send: Any) -> None:
        """The application; a refusal where too many requests are being answered, or where it fails unforeseen."""
        task = asyncio.current_task()
        if task is not None:
            task.add_done_callback(self._bound_closing)
        has_begun = False

        async def watched_send(message: Any) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            if len(self.tasks) <= CONNECTION_LIMIT:
                await self.config.loaded_app(scope, receive, watched_send)
            else:
                await _answer(send, _BUSY)
        except BaseException:
            # uvicorn would answer with a text of its own.
            if not has_begun:
                await _answer(send, _FAILED)
            raise

    def _feed(self, piece: memoryview) -> None:
        # While an answer is under way, nothing is read for long, and the caller is not to blame for it.
        if self._in_head and self._clock is None and not self._owes_answer:
            self._start_clock(HEAD_SECONDS)
        self._has_moved = False
        super().data_received(piece)  # type: ignore[arg-type]  # the parser reads it without a copy
        if self._has_moved or self.transport.is_closing():
            return
        # A header's value, a trailer or a chunk extension that has not ended is known to the parser alone.
        self._unread += len(piece)
        if self._unread > 2 * self.maximum_head:
            self._is_head_too_large = self._in_head
            self.send_400_response("")

    def _moved(self) -> None:
        self._has_moved = True
        self._unread = 0

    def _count(self, size: int) -> None:
        self._head_size += size
        # Trailers are counted too, and are none.
        self._is_head_too_large = self._in_head and self._head_size > self.maximum_head
        demand(self._head_size <= self.maximum_head, "too large a head")

    def _refuse_ill_framed(self) -> None:
        self._refuse(_ill_framed(self.maximum_head))

    def _refuse(self, problem: Problem) -> None:
        headers, body = _as_answer(problem)
        lines = [b"HTTP/1.1 %d %s" % (problem.status, problem.title.encode("ascii"))]
        lines += [name + b": " + value for name, value in headers]
        self.transport.write(b"\r\n".join([*lines, b"", body]))
        self.transport.close()
        self._start_clock(CLOSE_SECONDS)

    def _make_room(self) -> None:
        """Who has waited longest without a whole request gives way; where nobody waits, the newcomer does."""
        others = [one for one in self.connections if isinstance(one, GuardedProtocol) and one is not self]
        living = [one for one in others if not one.transport.is_closing()]
        if len(living) < CONNECTION_LIMIT:
            return
        oldest = min((one for one in living if one.is_waiting), key=lambda one: one.waiting_since, default=None)
        if oldest is None:
            self._refuse(_BUSY)
        else:
            oldest.transport.abort()

    @property
    def is_waiting(self) -> bool:
        """Whether no whole request is here that waits for its answer."""
        return not self._owes_answer or not self._in_head

    @property
    def _owes_answer(self) -> bool:
        return self._newest is not None and not self._newest.response_complete

    def _wait_for_request(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(IDLE_SECONDS, self.timeout_keep_alive_handler)

    def _bound_closing(self, _task: asyncio.Task[Any]) -> None:
        if self in self.connections and self.transport.is_closing():
            self._start_clock(CLOSE_SECONDS)

    def _start_clock(self, seconds: float) -> None:
        self._stop_clock()
        self._clock = self.loop.call_later(seconds, self._abort)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _abort(self) -> None:
        self.transport.abort()


def _ill_framed(maximum_head: int) -> Problem:
    return make_problem(
        ProblemCode.INVALID_REQUEST,
        "The request is not well-framed HTTP/1.1, or its head is too large.",
        f"Send one Host header, an origin-form target, and at most {maximum_head} bytes in {MAXIMUM_HEADERS} headers.",
    )


async def _answer(send: Any, problem: Problem) -> None:
    headers, body = _as_answer(problem)
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _as_answer(problem: Problem) -> tuple[list[tuple[bytes, bytes]], bytes]:
    body = msgspec.json.encode(problem)
    headers = [
        (b"content-type", MEDIA_TYPE.encode("ascii")),
        (REFUSED_HEADER.encode("ascii"), problem.code.value.encode("ascii")),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    return headers, body


_FAILED: Final = make_problem(
    ProblemCode.INTERNAL, "The server failed at this request.", "Look into its log, and send the request again."
)
_BUSY: Final = make_problem(
    ProblemCode.RATE_LIMITED, f"{CONNECTION_LIMIT} requests are being answered.", "Send the request again later."
)
