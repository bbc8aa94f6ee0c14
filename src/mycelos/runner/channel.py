"""The run's socket as whole messages. Blocking: a runner does one thing at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from mycelos.wire.frames import FrameDecoder, FrameError, encode_frame
from mycelos.wire.runner import FromRunner, ToRunner

if TYPE_CHECKING:
    import socket

_CHUNK: Final = 64 * 1024


class ChannelClosed(Exception):
    """The gateway closed the socket: the run is over."""


class ChannelBroken(Exception):
    """The gateway sent what is not a message of this protocol."""


class Channel:
    """Sends and receives the frames of `mycelos.wire.runner`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._frames = FrameDecoder()
        self._waiting: list[bytes] = []
        self._decoder = msgspec.json.Decoder(ToRunner)

    def send(self, message: FromRunner) -> None:
        """Send one message.

        Raises:
            FrameError: the message is larger than a frame.
            ChannelClosed: nobody reads any more.
        """
        try:
            self._connection.sendall(encode_frame(msgspec.json.encode(message)))
        except (BrokenPipeError, ConnectionResetError):
            raise ChannelClosed from None

    def receive(self) -> ToRunner:
        """Wait for the next message.

        Raises:
            ChannelClosed: the socket has ended.
            ChannelBroken: a frame or a message that is not one of ours.
        """
        try:
            while not self._waiting:
                data = self._connection.recv(_CHUNK)
                if not data:
                    raise ChannelClosed
                self._waiting = self._frames.feed(data)
            message: ToRunner = self._decoder.decode(self._waiting.pop(0))
        except ConnectionResetError:
            raise ChannelClosed from None
        except (FrameError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ChannelBroken from None
        return message
