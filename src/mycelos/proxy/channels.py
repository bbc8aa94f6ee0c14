"""Channels of host mode: the gateway, which can open no socket, asks for a connected one and is handed it.

Each request on the control channel is one datagram (`mycelos.wire.spawn.ChannelRequest`); its answer carries one
descriptor, whose other end is served by the gateway's door.
"""

from __future__ import annotations

import asyncio
import logging
import select
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from mycelos.serving.cause import named
from mycelos.wire.spawn import ChannelAnswer, ChannelRequest

if TYPE_CHECKING:
    from mycelos.serving.http_server import HttpServer

CHANNEL_LIMIT: Final = 256
"""Connections at once; beyond it requests are dropped, and the gateway uses those that it has."""
_DATAGRAM: Final = 1024
_log = logging.getLogger(__name__)


class Channels:
    """Answers the control channel until it is closed."""

    def __init__(self, control: socket.socket, server: HttpServer) -> None:
        self._control = control
        self._server = server

    async def serve(self) -> None:
        """Answer requests; returns when every other end of the channel is closed."""
        self._control.setblocking(False)
        loop = asyncio.get_running_loop()
        while True:
            # recv, not recvmsg: descriptors that somebody sends along are closed by the kernel.
            datagram = await loop.sock_recv(self._control, _DATAGRAM)
            # An empty datagram reads like an end, and the gateway may send one: the kernel says which it was.
            if not datagram and self._is_closed():
                return
            await self._answer(datagram)

    def _is_closed(self) -> bool:
        poller = select.poll()
        poller.register(self._control, 0)
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in poller.poll(0))

    async def _answer(self, datagram: bytes) -> None:
        try:
            request = msgspec.json.decode(datagram, type=ChannelRequest)
        except (msgspec.DecodeError, UnicodeDecodeError):
            _log.warning("a request on the control channel was not understood and was dropped")
            return
        if self._server.connections >= CHANNEL_LIMIT:
            _log.warning("no channel was handed over: %d are open", self._server.connections)
            return
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError as error:
            # The gateway may hold what descriptors there are: it goes without, and the proxy goes on.
            _log.warning("no channel was handed over: the system refused (%s)", named(error))
            return
        with theirs:
            await self._server.adopt(ours)
            answer = msgspec.json.encode(ChannelAnswer(v=1, nonce=request.nonce))
            # Where the channel is full or its reader gone, closing our copy ends the connection.
            with suppress(OSError):
                socket.send_fds(self._control, [answer], [theirs.fileno()])
