"""Connected sockets to the proxy: handed over by descriptor (host mode), by path, or by host and port (containers)."""

from __future__ import annotations

import asyncio
import re
import select
import socket
from typing import TYPE_CHECKING, Any, Final, Protocol

import httpcore2

from mycelos.configuration.environment import ConfigurationError
from mycelos.gateway.descriptor_channel import DescriptorChannel
from mycelos.wire.decoding import decode_json
from mycelos.wire.problems import Refusal
from mycelos.wire.spawn import ChannelAnswer, ChannelRequest

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

CONNECT_SECONDS: Final = 5.0
_TCP: Final = re.compile(r"http://(?P<host>\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]+):(?P<port>[0-9]{1,5})/?\Z")


class Stream(httpcore2.AsyncNetworkStream):
    """A connected, non-blocking socket as the HTTP client wants it."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's signature
        """Up to ``max_bytes``; empty at the end of the stream."""
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.get_running_loop().sock_recv(self._socket, max_bytes)
        except TimeoutError:
            raise httpcore2.ReadTimeout from None
        except OSError:
            raise httpcore2.ReadError from None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's signature
        """Send all of ``buffer``."""
        try:
            async with asyncio.timeout(timeout):
                await asyncio.get_running_loop().sock_sendall(self._socket, buffer)
        except TimeoutError:
            raise httpcore2.WriteTimeout from None
        except OSError:
            raise httpcore2.WriteError from None

    async def aclose(self) -> None:
        """Close the socket."""
        self._socket.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,  # noqa: ARG002 - httpcore's signature
        server_hostname: str | None = None,  # noqa: ARG002 - httpcore's signature
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - httpcore's signature
    ) -> httpcore2.AsyncNetworkStream:
        """Refused: what leads to the proxy is a socket of this machine or the internal network."""
        raise httpcore2.UnsupportedProtocol

    def get_extra_info(self, info: str) -> Any:
        """``is_readable`` tells the pool that an idle connection was closed by the proxy."""
        if info != "is_readable":
            return None
        if self._socket.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))


class Backend(httpcore2.AsyncNetworkBackend):
    """Gives the HTTP client's pool a fresh connection to the proxy, whatever name it asks for."""

    def __init__(self, connect: Connector) -> None:
        self._connect = connect

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - httpcore's signature
        port: int,  # noqa: ARG002 - httpcore's signature
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - httpcore's signature
        local_address: str | None = None,  # noqa: ARG002 - httpcore's signature
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002 - httpcore's signature
    ) -> httpcore2.AsyncNetworkStream:
        """A stream to the proxy; ``host`` and ``port`` are not looked at."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return Stream(await self._connect())
        except TimeoutError:
            raise httpcore2.ConnectTimeout from None
        except (OSError, Refusal):
            raise httpcore2.ConnectError from None

    async def sleep(self, seconds: float) -> None:
        """Between two attempts to connect."""
        await asyncio.sleep(seconds)


class Connector(Protocol):
    """Makes connections to the proxy."""

    async def __call__(self) -> socket.socket:
        """One more connected, non-blocking socket.

        Raises:
            Refusal: `proxy_unavailable`.
            OSError: the proxy cannot be connected to.
        """

    def close(self) -> None:
        """Give up what is held for making more."""


class HandedOver:
    """Connections that the proxy makes and hands over on the control channel. No socket is created here."""

    def __init__(self, channel: DescriptorChannel) -> None:
        self._channel = channel

    async def __call__(self) -> socket.socket:
        """One more connected socket.

        Raises:
            Refusal: `proxy_unavailable`.
        """
        data, descriptors = await self._channel.request(lambda nonce: ChannelRequest(v=1, nonce=nonce), CONNECT_SECONDS)
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        try:
            decode_json(data, ChannelAnswer, "the proxy's answer on the control channel")
            (connected,) = sockets
        except (Refusal, ValueError):
            for one in sockets:
                one.close()
            raise
        connected.setblocking(False)
        return connected

    def close(self) -> None:
        """Close this end of the control channel."""
        self._channel.close()


class ByPath:
    """Connections to a unix socket."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def __call__(self) -> socket.socket:
        """One more connected socket."""
        return await _connect(socket.AF_UNIX, self._path)

    def close(self) -> None:
        """Nothing is held."""


class ByName:
    """Connections to a host and port of the internal network."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    async def __call__(self) -> socket.socket:
        """One more connected socket."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        return await _connect(family, address)

    def close(self) -> None:
        """Nothing is held."""


def connector(proxy_url: str, control_descriptor: int | None) -> Connector:
    """How to connect, from MYCELOS_PROXY_URL: ``fd:N``, ``unix:/path`` or ``http://host:port``.

    Raises:
        ConfigurationError: the URL has another form, or its descriptor is not the control channel's.
    """
    scheme, _, rest = proxy_url.partition(":")
    if scheme == "fd" and control_descriptor is not None and rest == str(control_descriptor):
        return HandedOver(DescriptorChannel(control_descriptor, "proxy"))
    if scheme == "unix" and rest.startswith("/"):
        return ByPath(rest)
    found = _TCP.match(proxy_url)
    if found and 1 <= int(found["port"]) <= 65535:
        return ByName(found["host"].strip("[]"), int(found["port"]))
    message = "MYCELOS_PROXY_URL must be http://host:port, unix:/path, or fd:N with N the control channel's descriptor"
    raise ConfigurationError(message)


async def _connect(family: socket.AddressFamily, address: Any) -> socket.socket:
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connecting, address)
    except BaseException:
        connecting.close()
        raise
    return connecting
