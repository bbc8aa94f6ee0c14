"""The run's socket, blocking: frames out, frames in."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from mycelos.wire.frames import FrameDecoder, FrameError, encode_frame
from mycelos.wire.runner import FromRunner, ToRunner

if TYPE_CHECKING:
    import socket

_CHUNK: Final = 64 * 1024


class ChannelError(Exception):
    """The gateway is gone, or what it sent is no frame of this protocol."""


class Channel:
    """Sends and receives whole frames."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._frames = FrameDecoder()
        self._received: deque[bytes] = deque()
        self._decoder = msgspec.json.Decoder(ToRunner)
        self._encoder = msgspec.json.Encoder()

    def send(self, frame: FromRunner) -> None:
        """Send one frame.

        Raises:
            ChannelError: the gateway is gone, or the frame is too large.
        """
        try:
            self._socket.sendall(encode_frame(self._encoder.encode(frame)))
        except (OSError, FrameError):
            raise ChannelError from None

    def receive(self) -> ToRunner:
        """The next frame.

        Raises:
            ChannelError: the end of the stream, a broken frame, or an unknown message.
        """
        try:
            while not self._received:
                data = self._socket.recv(_CHUNK)
                if not data:
                    raise ChannelError
                self._received.extend(self._frames.feed(data))
            frame: ToRunner = self._decoder.decode(self._received.popleft())
        except (OSError, FrameError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ChannelError from None
        return frame
