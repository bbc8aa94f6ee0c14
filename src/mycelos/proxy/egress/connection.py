"""One HTTP/1.1 connection to an upstream: one answer at a time, with back-pressure both ways (RFC 9112)."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, cast

from mycelos.proxy.egress.answer_parser import AnswerParser, FramingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mycelos.proxy.egress.url import IpAddress

__all__ = ["ClosedError", "FramingError", "UpstreamConnection"]

HIGH_WATER: Final = 32 * 1024
"""Bytes of a body that wait to be read; beyond it nothing more is taken from the other side."""
_READ_SIZE: Final = 32 * 1024


class ClosedError(Exception):
    """The connection ended. ``nothing_came`` says whether not one byte of an answer had come."""

    def __init__(self, *, nothing_came: bool) -> None:
        super().__init__("the connection ended")
        self.nothing_came = nothing_came


class UpstreamConnection(asyncio.BufferedProtocol):
    """Answers one request at a time. After a fault, or an answer that is not read to its end, it is closed."""

    def __init__(self, address: IpAddress) -> None:
        self.address = address
        self.dialled_at = 0.0
        self._transport: asyncio.Transport | None = None
        self._answer: AnswerParser | None = None
        self._space = memoryview(bytearray(_READ_SIZE))
        self._fault: ClosedError | FramingError | None = None
        self._is_reading_paused = False
        self._is_spoiled = False
        self._interrupt: Callable[[], None] | None = None
        self._wake = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def peer(self) -> str | None:
        """The address at the other end, as the kernel says."""
        name = None if self._transport is None else self._transport.get_extra_info("peername")
        return None if name is None else str(name[0])

    @property
    def status(self) -> int:
        """The answer's status; 0 before its head is complete."""
        return 0 if self._answer is None else self._answer.status

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The answer's headers, names in lower case."""
        return [] if self._answer is None else self._answer.headers

    @property
    def has_head(self) -> bool:
        """Whether the answer's headers are complete."""
        return self._answer is not None and self._answer.has_head

    @property
    def is_reusable(self) -> bool:
        """Whether another request may be sent."""
        answer = self._answer
        return (
            self._fault is None
            and not self._is_spoiled
            and answer is not None
            and answer.is_complete
            and not answer.ends_with_connection
            and answer.keeps_alive
            and not self._is_closing
        )

    def begin(self, method: str, head: bytes) -> None:
        """Write a request's head and get ready for its answer."""
        self._answer = AnswerParser(method)
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
        while not self.has_head:
            self._raise_fault()
            await self._wait()

    async def read(self) -> bytes:
        """The next piece of the answer's body, as soon as there is one; empty at its end.

        Raises:
            FramingError: the framing broke.
            ClosedError: the connection ended before the body did.
        """
        answer = self._answer
        if answer is None:
            raise ClosedError(nothing_came=True)
        while not answer.pieces:
            if answer.is_complete:
                return b""
            self._raise_fault()
            await self._wait()
        data = answer.take(HIGH_WATER)
        if self._is_reading_paused and answer.buffered <= HIGH_WATER and not self._is_closing:
            self._is_reading_paused = False
            cast("asyncio.Transport", self._transport).resume_reading()
        return data

    @asynccontextmanager
    async def until_answered(self) -> AsyncIterator[None]:
        """A block that ends early, without an error, as soon as the answer has begun or the connection has ended."""
        block = asyncio.timeout(None)
        try:
            async with block:
                self._interrupt = lambda: block.reschedule(asyncio.get_running_loop().time())
                if self.has_head or self._fault is not None:
                    self._interrupt()
                yield
        except TimeoutError:
            if not block.expired():
                raise
        finally:
            self._interrupt = None

    def let_go(self) -> None:
        """Keep nothing of the last answer, which may hold a secret: neither while it waits nor until it is freed."""
        if self._answer is not None:
            self._answer.let_go()

    def spoil(self) -> None:
        """Do not use the connection again: the request was not sent to its end."""
        self._is_spoiled = True

    def close(self) -> None:
        """End the connection at once, also when the other side reads nothing. What has not been read is lost."""
        self._abort()
        self.let_go()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the event loop puts what comes: with a buffer of ours, it takes no more at once than we keep."""
        del sizehint
        return self._space

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have come. Anything beyond one answer ends the connection."""
        answer = self._answer
        if answer is None:
            self._break(FramingError("bytes that no request asked for"))
        elif self._fault is None:
            try:
                answer.feed(self._space[:nbytes])
            except FramingError as fault:
                self._break(fault)
            finally:
                # What came may hold a secret; while the connection waits for its next request, nothing writes over it.
                self._space[:nbytes] = bytes(nbytes)
            if answer.buffered > HIGH_WATER and not self._is_reading_paused and not self._is_closing:
                self._is_reading_paused = True
                cast("asyncio.Transport", self._transport).pause_reading()
            self._wake.set()
            if answer.has_head:
                self._interrupt_sending()

    def eof_received(self) -> bool:
        """The other side has ended: the end of the body only where nothing else marks it."""
        answer = self._answer
        if answer is not None and answer.has_head and answer.ends_with_connection and self._fault is None:
            answer.is_complete = self._was_said_to_end()
        self._wake.set()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits."""
        del exc
        if self._fault is None and (self._answer is None or not self._answer.is_complete):
            self._fault = ClosedError(nothing_came=self._nothing_came)
        self._writable.set()
        self._wake.set()
        self._interrupt_sending()

    def pause_writing(self) -> None:
        """The other side reads slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The other side has caught up."""
        self._writable.set()

    @property
    def _is_closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    @property
    def _nothing_came(self) -> bool:
        return self._answer is None or self._answer.received == 0

    def _was_said_to_end(self) -> bool:
        """Whether TLS, where there is TLS, says that it is the end: else somebody on the way may have cut it short."""
        secured = None if self._transport is None else self._transport.get_extra_info("ssl_object")
        if secured is None:
            return True
        try:
            return bool(secured.read(1) == b"")
        except ssl.SSLError:
            return False

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise ClosedError(nothing_came=self._nothing_came)
        self._transport.write(data)

    async def _wait(self) -> None:
        self._wake.clear()
        await self._wake.wait()

    def _interrupt_sending(self) -> None:
        if self._interrupt is not None:
            self._interrupt()

    def _break(self, fault: FramingError) -> None:
        self._fault = fault
        self._abort()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _raise_fault(self) -> None:
        """Raise the fault as a new error: one that is kept would keep the frames that it went through, and the request.

        Raises:
            FramingError: what came is no answer.
            ClosedError: the connection has ended.
        """
        match self._fault:
            case ClosedError(nothing_came=nothing_came):
                raise ClosedError(nothing_came=nothing_came)
            case FramingError() as fault:
                raise FramingError(str(fault))
            case None:
                return
