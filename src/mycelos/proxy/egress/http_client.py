"""The proxy's one HTTP client: sends a decided request over a guarded connection and streams the answer.

It follows no redirect, knows no proxy settings, stores no cookies and decodes nothing by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from mycelos.proxy.egress.connection import ClosedError, FramingError, UpstreamConnection
from mycelos.proxy.egress.dial import Trust, dial
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from mycelos.proxy.egress.url import CanonicalUrl, IpAddress

# How long a connection serves, from its dialling on: then name and certificate are looked at again.
_LIFE_SECONDS: Final = 60.0
# A server may close an idle connection at any moment: what must not be sent twice goes over one that was just used.
_IDLE_SECONDS_UNSAFE: Final = 2.0
_IDLE_LIMIT: Final = 64
_IDEMPOTENT: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PUT"})

PoolKey = tuple[str, str, int, "IpAddress", str]


@dataclass(frozen=True)
class Deadlines:
    """Seconds. ``first_byte`` from the request's end, ``idle`` between two pieces, ``total`` for all of it."""

    first_byte: float = 120.0
    idle: float = 120.0
    total: float = 600.0


@dataclass(frozen=True)
class Outgoing:
    """A request as it goes out. ``body`` is bytes, or pieces with ``length`` where it is known."""

    method: str
    target: bytes
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes | AsyncIterator[bytes] | None
    length: int | None = None


class HttpClient:
    """A pool of idle connections, keyed by scheme, name, port, address and trust set, and what uses them."""

    def __init__(self, trust: Trust, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._trust = trust
        self._monotonic = monotonic
        self._idle: defaultdict[PoolKey, list[tuple[float, UpstreamConnection]]] = defaultdict(list)

    async def connect(
        self, url: CanonicalUrl, addresses: Sequence[IpAddress], method: str
    ) -> tuple[UpstreamConnection, bool]:
        """A connection to one of ``addresses``, and whether it was used before.

        Raises:
            Refusal: `upstream_unreachable`, `upstream_tls`, `upstream_timeout`.
        """
        self._reap()
        limit = _LIFE_SECONDS if method in _IDEMPOTENT else _IDLE_SECONDS_UNSAFE
        for address in addresses:
            waiting = self._idle.get(self._key(url, address), [])
            while waiting:
                since, connection = waiting.pop()
                if self._serves(connection) and self._monotonic() - since <= limit:
                    return connection, True
                connection.close()
        return await self.dial(url, addresses), False

    async def dial(self, url: CanonicalUrl, addresses: Sequence[IpAddress]) -> UpstreamConnection:
        """A new connection to one of ``addresses``; errors as in `connect`."""
        connection = await dial(url, addresses, self._trust)
        connection.dialled_at = self._monotonic()
        return connection

    async def exchange(
        self, connection: UpstreamConnection, url: CanonicalUrl, request: Outgoing, deadlines: Deadlines
    ) -> None:
        """Send ``request`` and wait for the answer's head.

        Raises:
            ClosedError: a connection ended before one byte came; only for a request that may be sent again.
            Refusal: `upstream_unreachable`, `upstream_timeout`, `upstream_invalid`.
        """
        try:
            connection.begin(request.method, _head(url, request))
            if isinstance(request.body, bytes):
                await _write_in_time(connection, request.body, deadlines.idle)
            elif request.body is not None:
                await _send_stream(connection, request.body, chunked=request.length is None, idle=deadlines.idle)
            async with asyncio.timeout(deadlines.first_byte):
                await connection.wait_head()
        except ClosedError as closed:
            connection.close()
            if closed.nothing_came and request.method in _IDEMPOTENT and not hasattr(request.body, "__anext__"):
                raise
            fail_closed()
        except FramingError as fault:
            connection.close()
            fail_framing(fault)
        except TimeoutError:
            connection.close()
            fail_timeout()
        except BaseException:
            connection.close()
            raise

    def release(self, url: CanonicalUrl, connection: UpstreamConnection) -> None:
        """Keep a connection whose answer was read to its end, or close it."""
        if self._serves(connection) and sum(map(len, self._idle.values())) < _IDLE_LIMIT:
            connection.let_go()
            self._idle[self._key(url, connection.address)].append((self._monotonic(), connection))
        else:
            connection.close()

    def close(self) -> None:
        """Close every idle connection."""
        for waiting in self._idle.values():
            for _, connection in waiting:
                connection.close()
        self._idle.clear()

    def _key(self, url: CanonicalUrl, address: IpAddress) -> PoolKey:
        return url.scheme, url.host, url.port, address, self._trust.name

    def _serves(self, connection: UpstreamConnection) -> bool:
        return connection.is_reusable and self._monotonic() - connection.dialled_at <= _LIFE_SECONDS

    def _reap(self) -> None:
        for key, waiting in list(self._idle.items()):
            kept = [(since, idle) for since, idle in waiting if self._serves(idle)]
            for entry in waiting:
                if entry not in kept:
                    entry[1].close()
            if kept:
                self._idle[key] = kept
            else:
                del self._idle[key]


def _head(url: CanonicalUrl, request: Outgoing) -> bytes:
    lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), request.target)]
    lines.append(b"host: " + url.authority.encode("ascii"))
    lines += [name + b": " + value for name, value in request.headers]
    if isinstance(request.body, bytes):
        lines.append(b"content-length: %d" % len(request.body))
    elif request.body is not None:
        lines.append(
            b"transfer-encoding: chunked" if request.length is None else b"content-length: %d" % request.length
        )
    elif request.method in {"PATCH", "POST", "PUT"}:
        lines.append(b"content-length: 0")
    head = b"\r\n".join(lines)
    # The last look: one line break too many would be another request.
    if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1 or b"\0" in head:
        raise Refusal(
            ProblemCode.INJECTION_REFUSED,
            "A line break or NUL stands in the request's head.",
            "Remove it from the headers or the credential.",
        )
    return head + b"\r\n\r\n"


async def _send_stream(
    connection: UpstreamConnection, body: AsyncIterator[bytes], *, chunked: bool, idle: float
) -> None:
    """Send a body piece by piece; stops as soon as the upstream answers, also while the next piece is waited for."""
    is_sent = False
    async with connection.until_answered():
        async for piece in _in_time(body, idle):
            await _write_in_time(connection, b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece, idle)
        if chunked:
            await _write_in_time(connection, b"0\r\n\r\n", idle)
        is_sent = True
    if not is_sent:
        connection.spoil()


async def _in_time(body: AsyncIterator[bytes], idle: float) -> AsyncIterator[bytes]:
    pieces = aiter(body)
    while True:
        try:
            async with asyncio.timeout(idle):
                piece = await anext(pieces, None)
        except TimeoutError:
            raise Refusal(
                ProblemCode.INVALID_REQUEST, "The request's body took too long to arrive.", "Send it without pauses."
            ) from None
        if piece is None:
            return
        if piece:
            yield piece


async def _write_in_time(connection: UpstreamConnection, data: bytes, idle: float) -> None:
    async with asyncio.timeout(idle):
        await connection.write(data)


def fail_closed() -> NoReturn:
    """Refuse: the connection ended too early."""
    raise Refusal(
        ProblemCode.UPSTREAM_UNREACHABLE, "The host closed the connection before its answer ended.", "Try again later."
    ) from None


def fail_framing(fault: FramingError) -> NoReturn:
    """Refuse: the answer is not well-framed."""
    raise Refusal(
        ProblemCode.UPSTREAM_INVALID, f"The host's answer was refused: {fault}.", "Tell those who run the host."
    ) from None


def fail_timeout() -> NoReturn:
    """Refuse: nothing came in time."""
    raise Refusal(
        ProblemCode.UPSTREAM_TIMEOUT, "The host did not answer in time.", "Try again, or with a longer timeout."
    ) from None
