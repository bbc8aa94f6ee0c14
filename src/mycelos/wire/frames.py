"""Framing of a byte stream: four bytes of big-endian length, then that many bytes of JSON.

Pure: bytes in, payloads out. The sockets are with the caller.
"""

from __future__ import annotations

from typing import Final

MAXIMUM_PAYLOAD: Final = 8 * 1024 * 1024
"""Bytes in one frame's payload, at most."""

_HEADER_LENGTH: Final = 4


class FrameError(ValueError):
    """The peer broke the framing; the stream cannot be trusted any further."""


def encode_frame(payload: bytes) -> bytes:
    """Put a length before ``payload``.

    Raises:
        FrameError: the payload is empty or larger than `MAXIMUM_PAYLOAD`.
    """
    if not 0 < len(payload) <= MAXIMUM_PAYLOAD:
        message = f"a frame holds 1 to {MAXIMUM_PAYLOAD} bytes, not {len(payload)}"
        raise FrameError(message)
    return len(payload).to_bytes(_HEADER_LENGTH, "big") + payload


class FrameDecoder:
    """Collects bytes as they arrive and gives back whole payloads."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Add ``data``; return each payload that is complete now.

        Raises:
            FrameError: a length of zero or above `MAXIMUM_PAYLOAD` was announced.
        """
        self._buffer += data
        payloads: list[bytes] = []
        while len(self._buffer) >= _HEADER_LENGTH:
            length = int.from_bytes(self._buffer[:_HEADER_LENGTH], "big")
            if not 0 < length <= MAXIMUM_PAYLOAD:
                message = f"a frame holds 1 to {MAXIMUM_PAYLOAD} bytes, not {length}"
                raise FrameError(message)
            end = _HEADER_LENGTH + length
            if len(self._buffer) < end:
                break
            payloads.append(bytes(self._buffer[_HEADER_LENGTH:end]))
            del self._buffer[:end]
        return payloads

    @property
    def is_idle(self) -> bool:
        """Whether no part of a frame is waiting: only then is an end of stream clean."""
        return not self._buffer
