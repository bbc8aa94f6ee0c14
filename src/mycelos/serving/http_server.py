"""An HTTP/1.1 server: uvicorn's parser and request cycle, with limits that it lacks, on any socket.

It listens on unix sockets and TCP, and serves single sockets that are connected already.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import httptools
import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from mycelos.wire.problems import MEDIA_TYPE, REFUSED_HEADER, ProblemCode, make_problem

if TYPE_CHECKING:
    import socket

MAXIMUM_HEAD: Final = 32 * 1024
"""Bytes of request line and headers, at most."""
HEAD_SECONDS: Final = 10.0
"""How long a request's head may take, from its first byte."""
CONNECTION_LIMIT: Final = 512
_GRACE_SECONDS: Final = 5.0


class GuardedProtocol(HttpToolsProtocol):
    """One connection. Refuses heads that are large or slow, a missing or doubled Host, and changes of protocol."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        # Without the leniency that uvicorn allows: data after a last request is an error.
        self.parser = httptools.HttpRequestParser(self)
        self._head_size = 0
        self._in_head = True
        self._met_border = False
        self._head_timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Parse, and count what belongs to a head that is not complete."""
        if self._in_head and self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._abort)
        self._met_border = False
        super().data_received(data)
        # Where a head or body ended within these bytes, most of them are no part of the head that is waited for.
        if self._in_head and not self._met_border:
            self._head_size += len(data)
            if self._head_size > MAXIMUM_HEAD and not self.transport.is_closing():
                self.send_400_response("")

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_timer()
        super().connection_lost(exc)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header within the limit; trailers are dropped."""
        if not self._in_head:
            return
        self._head_size += len(name) + len(value)
        if self._head_size > 2 * MAXIMUM_HEAD:
            message = "the head is too large"
            raise ValueError(message)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Check the head, then let the application begin."""
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) != 1 or not hosts[0] or not self.url.startswith(b"/") or self.parser.should_upgrade():
            message = "Host must be there once, the target in origin form, the protocol unchanged"
            raise ValueError(message)
        self._in_head = False
        self._met_border = True
        self._head_size = 0
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next byte begins another head."""
        self._in_head = True
        self._met_border = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read, as a problem document, and close."""
        del msg  # a library's words
        problem = make_problem(
            ProblemCode.INVALID_REQUEST,
            "The request is not well-framed HTTP/1.1, or its head is too large.",
            "Send one Host header, an origin-form target, and less than 32 KiB of headers.",
        )
        body = msgspec.json.encode(problem)
        head = (
            f"HTTP/1.1 400 Bad Request\r\ncontent-type: {MEDIA_TYPE}\r\n{REFUSED_HEADER}: {problem.code.value}\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _abort(self) -> None:
        self.transport.abort()


@dataclass
class HttpServer:
    """Serves one ASGI application. Start listeners or adopt sockets, then `stop`."""

    app: Any
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
            limit_concurrency=CONNECTION_LIMIT,
            timeout_keep_alive=75,
        )
        self._config.load()
        # uvicorn writes tracebacks, which may quote what was sent; the application reports its errors itself.
        for name in ("uvicorn.error", "uvicorn.access"):
            logging.getLogger(name).disabled = True

    async def listen(self, listener: socket.socket) -> None:
        """Accept connections on a bound socket."""
        loop = asyncio.get_running_loop()
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
        return GuardedProtocol(config=self._config, server_state=self._state, app_state={})
