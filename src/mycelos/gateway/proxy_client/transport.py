"""The `httpx2` transport to the proxy: for `ProxyClient` and for the model providers' SDKs. Streams unbuffered."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, cast

import httpcore2
import httpx2

from mycelos.gateway.proxy_client.network import CONNECT_SECONDS, Backend, Connector
from mycelos.wire.egress import PROTOCOL_HEADER, PROTOCOL_VERSION
from mycelos.wire.lockdown import LOCKDOWN_HEADER, LockdownState, read_lockdown_header
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable

PROXY_ORIGIN: Final = "http://mycelos-proxy"
MOST_CONNECTIONS: Final = 32
_MOST_IDLE: Final = 8
# Below the proxy's own limit for idle connections, so that this side closes first.
_IDLE_SECONDS: Final = 3.0
_LOCKDOWN: Final = LOCKDOWN_HEADER.lower().encode("ascii")
# A caller's own: the bearer here is the gateway's, and a provider's key is injected by the proxy.
_REPLACED: Final = frozenset({b"authorization", b"x-api-key", b"api-key", b"cookie", b"proxy-authorization"})


class ProxyTransport(httpx2.AsyncBaseTransport):
    """Sends each request to the proxy, with the gateway's bearer in place of whatever the caller put there.

    A request is tried again only while no connection stood, so before anything was sent.
    """

    def __init__(self, connect: Connector, bearer: str) -> None:
        self._headers = [
            (b"Authorization", b"Bearer " + bearer.encode("ascii")),
            (PROTOCOL_HEADER.encode("ascii"), PROTOCOL_VERSION.encode("ascii")),
        ]
        self._connect = connect
        self.on_lockdown: Callable[[LockdownState], None] = _tell_nobody
        self._pool = httpcore2.AsyncConnectionPool(
            max_connections=MOST_CONNECTIONS,
            max_keepalive_connections=_MOST_IDLE,
            keepalive_expiry=_IDLE_SECONDS,
            retries=1,
            network_backend=Backend(connect),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request.

        Raises:
            Refusal: `proxy_unavailable`; the proxy cannot be reached or broke off.
        """
        if request.url.scheme != "http" or request.url.host != "mycelos-proxy":
            raise Refusal(
                ProblemCode.EGRESS_NOT_ALLOWED,
                "The gateway sends nothing but to the proxy",
                "Give the address to the proxy's /http or /forward.",
            )
        kept = [(name, value) for name, value in request.headers.raw if name.lower() not in _REPLACED]
        extensions = dict(request.extensions)
        timeouts = dict(extensions.get("timeout") or {})
        timeouts.setdefault("pool", 2 * CONNECT_SECONDS)
        extensions["timeout"] = timeouts
        try:
            response = await self._pool.handle_async_request(
                httpcore2.Request(
                    method=request.method,
                    url=httpcore2.URL(
                        scheme=request.url.raw_scheme,
                        host=request.url.raw_host,
                        port=request.url.port,
                        target=request.url.raw_path,
                    ),
                    headers=[*kept, *self._headers],
                    content=request.stream,
                    extensions=extensions,
                )
            )
        except httpcore2.ReadTimeout:
            raise _too_slow() from None
        except _BROKEN:
            raise _unreachable() from None
        for name, value in response.headers:
            if name.lower() == _LOCKDOWN:
                self.on_lockdown(read_lockdown_header(value.decode("latin-1")))
        return httpx2.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(response),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Close all connections, and what makes them."""
        await self._pool.aclose()
        self._connect.close()


def _tell_nobody(_state: LockdownState) -> None:
    """Nobody follows yet."""


class _Body(httpx2.AsyncByteStream):
    """The answer's bytes as they arrive."""

    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response
        self._parts = cast("AsyncIterable[bytes]", response.stream)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            # The raw stream: an SDK may begin to read a second time, to drain what is left.
            async for part in self._parts:
                yield part
        except httpcore2.ReadTimeout:
            raise _too_slow() from None
        except _BROKEN:
            raise _unreachable() from None

    async def aclose(self) -> None:
        with contextlib.suppress(httpcore2.NetworkError, httpcore2.ProtocolError):
            await self._response.aclose()


_BROKEN: Final = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
)


def _unreachable() -> Refusal:
    return Refusal(
        ProblemCode.PROXY_UNAVAILABLE,
        "The proxy cannot be reached, or it broke off the connection",
        "Look at its state: mycelos status",
    )


def _too_slow() -> Refusal:
    return Refusal(
        ProblemCode.UPSTREAM_TIMEOUT,
        "No answer came through the proxy in time",
        "Try again; if it stays so, look at the other side's state.",
    )
