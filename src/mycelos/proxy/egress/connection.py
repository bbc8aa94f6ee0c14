"""One HTTP/1.1 connection to an upstream: strict framing, bounded headers, back-pressure both ways (RFC 9112)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, cast

import httptools

if TYPE_CHECKING:
    from mycelos.proxy.egress.url import IpAddress

MAXIMUM_HEAD: Final = 64 * 1024
"""Bytes of status line and headers, at most."""
MAXIMUM_HEADERS: Final = 128
MAXIMUM_INTERIM: Final = 8
_HIGH_WATER: Final = 64 * 1024


class FramingError(Exception):
    """What came is not one well-framed answer. The text is ours."""


class ClosedError(Exception):
    """The connection ended. ``nothing_came`` says whether not one byte of an answer had come."""

    def __init__(self, *, nothing_came: bool) -> None:
        super().__init__("the connection ended")
        self.nothing_came = nothing_came


class UpstreamConnection(asyncio.Protocol):
    """Answers one request at a time. After a fault, or an answer that is not read to its end, it is closed."""

    def __init__(self, address: IpAddress) -> None:
        self.address = address
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._method = ""
        self._received = 0
        self._head_size = 0
        self._interim = 0
        self._head_complete = False
        self._complete = False
        self._delimited_by_close = False
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._fault: Exception | None = None
        self._is_reading_paused = False
        self._is_spoiled = False
        self._keeps_alive = False
        self._wake = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def peer(self) -> str | None:
        """The address at the other end, as the kernel says."""
        name = None if self._transport is None else self._transport.get_extra_info("peername")
        return None if name is None else str(name[0])

    @property
    def is_reusable(self) -> bool:
        """Whether another request may be sent."""
        return (
            self._fault is None
            and not self._is_spoiled
            and self._complete
            and not self._delimited_by_close
            and self._transport is not None
            and not self._transport.is_closing()
            and self._keeps_alive
        )

    @property
    def has_head(self) -> bool:
        """Whether the answer's headers are complete."""
        return self._head_complete

    def begin(self, method: str, head: bytes) -> None:
        """Write a request's head and get ready for its answer."""
        self._method = method
        self._parser = httptools.HttpResponseParser(self)
        self.status, self.headers = 0, []
        self._received = self._interim = self._buffered = self._head_size = 0
        self._head_complete = self._complete = self._delimited_by_close = self._keeps_alive = False
        self._chunks.clear()
        self._wake.clear()
        self._write(head)

    async def write(self, data: bytes) -> None:
        """Write a piece of the request's body; waits while the other side reads slowly.

        Raises:
            ClosedError: the connection has ended.
        """
        await self._writable.wait()
        self._write(data)

    async def wait_head(self) -> None:
        """Wait for the answer's status and headers.

        Raises:
            FramingError: what came is no answer.
            ClosedError: the connection ended before.
        """
        while not self._head_complete:
            self._raise_fault()
            await self._wait()

    async def read(self) -> bytes:
        """The next piece of the answer's body, as soon as there is one; empty at its end.

        Raises:
            FramingError: the framing broke.
            ClosedError: the connection ended before the body did.
        """
        while not self._chunks:
            if self._complete:
                return b""
            self._raise_fault()
            await self._wait()
        data = b"".join(self._chunks) if len(self._chunks) > 1 else self._chunks[0]
        self._chunks.clear()
        self._buffered = 0
        if self._is_reading_paused and self._transport is not None and not self._transport.is_closing():
            self._is_reading_paused = False
            self._transport.resume_reading()
        return data

    def spoil(self) -> None:
        """Do not use the connection again: the request was not sent to its end."""
        self._is_spoiled = True

    def close(self) -> None:
        """End the connection at once, also when the other side reads nothing."""
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse; anything beyond one answer spoils the connection."""
        if self._parser is None or self._complete:
            self._break(FramingError("bytes that no request asked for"))
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._break(FramingError("a change of protocol that was not asked for"))
        except httptools.HttpParserError as error:
            inner = error.__context__
            self._break(inner if isinstance(inner, FramingError) else FramingError("an answer that is not well-framed"))
        if not self._head_complete and self._received > MAXIMUM_HEAD:
            self._break(FramingError("headers that are too large"))
        if self._buffered > _HIGH_WATER and not self._is_reading_paused and self._transport is not None:
            self._is_reading_paused = True
            self._transport.pause_reading()
        self._wake.set()

    def eof_received(self) -> bool:
        """The other side has ended: the end of the body only where nothing else marks it."""
        if self._head_complete and self._delimited_by_close and self._fault is None:
            self._complete = True
        self._wake.set()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits."""
        if exc is None and self._head_complete and self._delimited_by_close and self._fault is None:
            self._complete = True
        if self._fault is None and not self._complete:
            self._fault = ClosedError(nothing_came=self._received == 0)
        self._writable.set()
        self._wake.set()

    def pause_writing(self) -> None:
        """The other side reads slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The other side has caught up."""
        self._writable.set()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """An answer begins; a second one does not."""
        if self._complete:
            message = "more than one answer"
            raise FramingError(message)
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers are dropped."""
        if self._head_complete:
            return
        self.headers.append((name.lower(), value))
        self._head_size += len(name) + len(value)
        if len(self.headers) > MAXIMUM_HEADERS or self._head_size > MAXIMUM_HEAD:
            message = "too many headers, or too large ones"
            raise FramingError(message)

    def on_headers_complete(self) -> None:
        """Decide how the body is delimited (RFC 9112, section 6.3)."""
        if self._parser is None or self._parser.get_http_version() not in {"1.0", "1.1"}:
            message = "a version of HTTP that was not asked for"
            raise FramingError(message)
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._interim += 1
            if status == 101 or self._interim > MAXIMUM_INTERIM:
                message = "an interim answer that was not asked for"
                raise FramingError(message)
            return
        if not 200 <= status <= 599:
            message = "a status outside 200 to 599"
            raise FramingError(message)
        encodings = [value for name, value in self.headers if name == b"transfer-encoding"]
        lengths = [value for name, value in self.headers if name == b"content-length"]
        if (encodings and (lengths or [value.lower() for value in encodings] != [b"chunked"])) or len(lengths) > 1:
            message = "a length that can be read in more than one way"
            raise FramingError(message)
        self.status = status
        self._head_complete = True
        # Asked now: at the end of the message the parser has forgotten how it was framed.
        self._keeps_alive = bool(self._parser.should_keep_alive())
        bodiless = self._method == "HEAD" or status in {204, 304}
        self._delimited_by_close = not bodiless and not encodings and not lengths
        if bodiless:
            self._complete = True

    def on_body(self, data: bytes) -> None:
        """Keep a piece of the body."""
        if self._complete or not self._head_complete:
            message = "a body where none belongs"
            raise FramingError(message)
        self._chunks.append(data)
        self._buffered += len(data)

    def on_message_complete(self) -> None:
        """The answer has ended, unless it was an interim one."""
        if self._head_complete:
            self._complete = True

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise ClosedError(nothing_came=self._received == 0)
        self._transport.write(data)

    async def _wait(self) -> None:
        self._wake.clear()
        await self._wake.wait()

    def _break(self, fault: Exception) -> None:
        self._fault = self._fault or fault
        self.close()

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault
