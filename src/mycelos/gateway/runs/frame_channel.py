"""The gateway's end of a run's socket. Plain reads only: ancillary data that a runner attaches is discarded."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from mycelos.gateway.runs.failure import RunFailure
from mycelos.wire.decoding import describe
from mycelos.wire.frames import FrameDecoder, FrameError, encode_frame
from mycelos.wire.runner import FromRunner, ToRunner

if TYPE_CHECKING:
    import socket

_CHUNK: Final = 64 * 1024
SEND_SECONDS: Final = 30.0
"""A runner that does not read for so long is broken."""


_BAD_LENGTH: Final = "its length is not allowed"
_BAD_TEXT: Final = "it is not UTF-8 JSON"


class FrameChannel:
    """Whole frames to and from one runner."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._frames = FrameDecoder()
        self._received: deque[bytes] = deque()
        self._decoder = msgspec.json.Decoder(FromRunner)
        self._sending = asyncio.Lock()

    async def send(self, frame: ToRunner) -> None:
        """Send one frame.

        Raises:
            RunFailure: `runner_died`, or `too_large` for a frame above the protocol's limit.
        """
        try:
            data = encode_frame(msgspec.json.encode(frame))
        except FrameError:
            raise _frame_too_large() from None
        try:
            async with asyncio.timeout(SEND_SECONDS), self._sending:
                await asyncio.get_running_loop().sock_sendall(self._socket, data)
        except (OSError, TimeoutError):
            raise runner_died() from None

    async def receive(self) -> FromRunner:
        """The next frame.

        Raises:
            RunFailure: `runner_died` at the end of the stream, `invalid_frame` for what does not validate.
        """
        while not self._received:
            try:
                data = await asyncio.get_running_loop().sock_recv(self._socket, _CHUNK)
            except OSError:
                data = b""
            if not data:
                raise runner_died()
            try:
                self._received.extend(self._frames.feed(data))
            except FrameError:
                raise invalid_frame(_BAD_LENGTH) from None
        try:
            frame: FromRunner = self._decoder.decode(self._received.popleft())
        except msgspec.DecodeError as error:
            raise invalid_frame(describe(error, "the frame")) from None
        except (UnicodeDecodeError, RecursionError):
            raise invalid_frame(_BAD_TEXT) from None
        return frame


def invalid_frame(what: str) -> RunFailure:
    """The runner broke the protocol."""
    return RunFailure(
        "invalid_frame", f"The runner sent a frame that is not valid: {what}", "Try again; see the audit page."
    )


def runner_died() -> RunFailure:
    """The runner's process is gone."""
    return RunFailure("runner_died", "The runner's process ended before the run was done", "Send the message again.")


def _frame_too_large() -> RunFailure:
    return RunFailure(
        "too_large", "A message to the runner became larger than the protocol allows", "Ask for less at once."
    )
