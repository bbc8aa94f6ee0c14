"""A SEQPACKET channel on which a peer hands over descriptors: to the proxy for connections, to the spawner for runs.

Each request carries a nonce. An answer whose nonce nobody waits for was meant for a request that gave up, or for
a process that died before this one: it is dropped and its descriptors are closed, which ends a run or a connection. So
the channel is read from the first moment on, not from the first request.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
from typing import TYPE_CHECKING, Final

import msgspec

from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

DATAGRAM_LIMIT: Final = 64 * 1024
_MOST_DESCRIPTORS: Final = 4
_NONCE_BYTES: Final = 16
_MOST_LEFT_OVER: Final = 1024
"""Answers that are read at once when a channel is opened: more than its queue holds."""


class _Nonce(msgspec.Struct, frozen=True):
    """What every answer has; the whole answer is checked by who asked."""

    nonce: str


class DescriptorChannel:
    """One end of a channel. It belongs to the event loop that runs; `close` leaves the descriptor to nobody."""

    def __init__(self, descriptor: int, peer: str) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._peer = peer
        self._waiting: dict[str, asyncio.Future[tuple[bytes, list[int]]]] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._read)
        self._drop_left_over()

    async def request(self, make: Callable[[str], msgspec.Struct], timeout: float) -> tuple[bytes, list[int]]:  # noqa: ASYNC109 - the refusal names the peer
        """Send ``make(nonce)``; give back the answer's bytes and its descriptors, which the caller now owns.

        Raises:
            Refusal: `proxy_unavailable` or `sandbox_refused`; no answer within ``timeout`` seconds.
        """
        nonce = os.urandom(_NONCE_BYTES).hex()
        answer: asyncio.Future[tuple[bytes, list[int]]] = self._loop.create_future()
        self._waiting[nonce] = answer
        is_delivered = False
        try:
            async with asyncio.timeout(timeout):
                await self._loop.sock_sendall(self._socket, msgspec.json.encode(make(nonce)))
                result = await answer
            is_delivered = True
        except (TimeoutError, OSError):
            raise self._refusal() from None
        finally:
            del self._waiting[nonce]
            # The answer may have come in the moment in which the wait was given up.
            if not is_delivered and answer.done() and not answer.cancelled() and answer.exception() is None:
                _close_all(answer.result()[1])
        return result

    def close(self) -> None:
        """Stop reading and close this end; a second time does nothing."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _drop_left_over(self) -> None:
        """Close at once what waits for a process that died: only then has its peer room for the first request."""
        for _ in range(_MOST_LEFT_OVER):
            if not self._read():
                return

    def _read(self) -> bool:
        """Take one answer; whether there was one."""
        try:
            data, descriptors, flags = _receive(self._socket)
        except BlockingIOError:
            return False
        except OSError:
            data, descriptors, flags = b"", [], 0
        if not data:
            self._fail()
            return False
        try:
            nonce = msgspec.json.decode(data, type=_Nonce).nonce
        except (msgspec.DecodeError, UnicodeDecodeError):
            nonce = ""
        answer = self._waiting.get(nonce)
        if answer is None or answer.done() or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            _close_all(descriptors)
            return True
        answer.set_result((data, descriptors))
        return True

    def _fail(self) -> None:
        """The peer's end is gone, and with it every process that could ever answer."""
        self._loop.remove_reader(self._socket.fileno())
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(self._refusal())

    def _refusal(self) -> Refusal:
        code = ProblemCode.PROXY_UNAVAILABLE if self._peer == "proxy" else ProblemCode.SANDBOX_REFUSED
        return Refusal(code, f"The {self._peer} does not answer", "Look at its state: mycelos status")


def _receive(channel: socket.socket) -> tuple[bytes, list[int], int]:
    """One datagram, its descriptors and its flags. `socket.recv_fds` drops its flags, and with them close-on-exec."""
    numbers = array.array("i")
    space = socket.CMSG_SPACE(_MOST_DESCRIPTORS * numbers.itemsize)
    data, ancillary, flags, _ = channel.recvmsg(DATAGRAM_LIMIT, space, socket.MSG_CMSG_CLOEXEC)
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
    return data, list(numbers), flags


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
