"""An HTTP/1.1 server: uvicorn's request cycle behind a guarded protocol, on any socket.

It listens on unix sockets and TCP, and serves single sockets that are connected already.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.server import ServerState

from mycelos.serving.guarded_protocol import GuardedProtocol

if TYPE_CHECKING:
    from collections.abc import Callable

_GRACE_SECONDS: Final = 5.0


@dataclass
class HttpServer:
    """Serves one ASGI application. Start listeners or adopt sockets, then `stop`.

    ``on_refused`` is told of each request that was refused before the application saw it.
    """

    app: Any
    on_refused: Callable[[], None] | None = None
    _state: ServerState = field(default_factory=ServerState)
    _listeners: list[asyncio.AbstractServer] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Prepare uvicorn's configuration; nothing of it reads the environment or a file."""
        self._config = uvicorn.Config(
            self.app,
            http=GuardedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
        )
        self._config.load()
        # uvicorn writes tracebacks, and at its lowest level whole requests: the application reports its errors itself.
        for name in ("uvicorn.access", "uvicorn.asgi", "uvicorn.error"):
            logging.getLogger(name).disabled = True

    async def listen(self, listener: socket.socket) -> None:
        """Accept connections on a bound socket."""
        loop = asyncio.get_running_loop()
        # An answer is written in pieces: none waits until the caller has acknowledged the one before (40 ms on Linux).
        # Connections inherit it. asyncio would set it on those only whose listener was made with its protocol named.
        if listener.family in {socket.AF_INET, socket.AF_INET6}:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setblocking(False)
        self._listeners.append(await loop.create_server(self._protocol, sock=listener, backlog=256))

    async def listen_unix(self, listener: socket.socket) -> None:
        """Accept connections on a bound unix socket."""
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        self._listeners.append(await loop.create_unix_server(self._protocol, sock=listener, backlog=256))

    async def adopt(self, connected: socket.socket) -> None:
        """Serve one socket that is connected already."""
        connected.setblocking(False)
        await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connected)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._state.connections)

    async def stop(self) -> None:
        """Accept nothing more, let requests end within a few seconds, then cut what is left."""
        for listener in self._listeners:
            listener.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            _, late = await asyncio.wait(set(self._state.tasks), timeout=_GRACE_SECONDS)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=_GRACE_SECONDS)
        for connection in list(self._state.connections):
            connection.transport.abort()

    def _protocol(self) -> asyncio.Protocol:
        protocol = GuardedProtocol(config=self._config, server_state=self._state, app_state={})
        protocol.on_refused = self.on_refused
        return protocol
