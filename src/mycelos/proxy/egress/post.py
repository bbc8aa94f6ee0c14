"""A request of the proxy's own, to a URL that the operator has set: judged by the guard like every other, and small.

It carries no credential and follows no redirect. Whoever calls it puts on record what comes of it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mycelos.proxy.egress.connection import ClosedError, FramingError
from mycelos.proxy.egress.guard import Blocked
from mycelos.proxy.egress.http_client import Deadlines, Outgoing, fail_closed, fail_framing, fail_timeout
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from mycelos.proxy.egress.connection import UpstreamConnection
    from mycelos.proxy.egress.guard import Guard
    from mycelos.proxy.egress.http_client import HttpClient
    from mycelos.proxy.egress.resolve import Resolver
    from mycelos.proxy.egress.url import CanonicalUrl

ANSWER_LIMIT: Final = 64 * 1024
"""Bytes of an answer's body, at most."""


@dataclass(frozen=True)
class PostAnswer:
    """What came back, as the host sent it. ``media_type`` is empty where none was said."""

    status: int
    media_type: str
    body: bytes


class GuardedPost:
    """Sends one body, reads one short answer. Plain HTTP only to a host that the operator has opened."""

    def __init__(self, resolver: Resolver, guard: Guard, client: HttpClient, seconds: float = 30.0) -> None:
        self._resolver = resolver
        self._guard = guard
        self._client = client
        self._seconds = seconds

    async def __call__(self, url: CanonicalUrl, body: bytes) -> PostAnswer:
        """Send ``body`` to ``url``.

        Raises:
            Refusal: the guard's (`ssrf_blocked`), `resolution_failed`, and the `upstream_` ones.
        """
        self._guard.judge_host(url)
        if url.scheme != "https" and not self._guard.is_opened(url):
            reason = "plain HTTP goes only to a host that is opened"
            raise Blocked(reason)
        try:
            # For all of it: a host that sends a byte now and then ends here too.
            async with asyncio.timeout(self._seconds):
                found = (url.address,) if url.address else await self._resolver.resolve(
                    url.host, local=self._guard.is_opened(url)
                )  # fmt: skip
                connection = await self._client.dial(url, self._guard.judge_addresses(url, found))
                try:
                    return await self._exchange(connection, url, body)
                finally:
                    connection.close()
        except TimeoutError:
            fail_timeout()

    async def _exchange(self, connection: UpstreamConnection, url: CanonicalUrl, body: bytes) -> PostAnswer:
        headers = ((b"content-type", b"text/plain; charset=utf-8"), (b"accept-encoding", b"identity"))
        request = Outgoing("POST", url.target.encode("ascii"), (*headers, (b"connection", b"close")), body)
        await self._client.exchange(connection, url, request, Deadlines(self._seconds, self._seconds, self._seconds))
        came = bytearray()
        try:
            while piece := await connection.read():
                came += piece
                if len(came) > ANSWER_LIMIT:
                    raise Refusal(
                        ProblemCode.UPSTREAM_INVALID,
                        f"The host's answer was refused: it is longer than {ANSWER_LIMIT} bytes.",
                        "Tell those who run the host.",
                    )
        except ClosedError:
            fail_closed()
        except FramingError as fault:
            fail_framing(fault)
        media_type = next((value for name, value in connection.headers if name == b"content-type"), b"")
        return PostAnswer(connection.status, media_type.decode("latin-1").partition(";")[0].strip(), bytes(came))
