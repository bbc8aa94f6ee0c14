"""An answer that is compressed although it was asked not to be: decoded within a bound, or refused.

A compressed secret would pass the scrubber unseen, so nothing encoded is ever passed on.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, NoReturn

from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAXIMUM_RATIO: Final = 100
"""Decoded bytes for one encoded byte, at most, beyond the first mebibyte."""
_FREE_BYTES: Final = 1024 * 1024
_PIECE: Final = 64 * 1024
_WINDOW: Final = {b"gzip": 16 + zlib.MAX_WBITS, b"x-gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


class BodyDecoder:
    """Decodes one answer; with no encoding it passes everything through."""

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        encodings = [
            token.strip().lower()
            for name, value in headers
            if name == b"content-encoding"
            for token in value.split(b",")
            if token.strip().lower() not in {b"", b"identity"}
        ]
        if len(encodings) > 1 or not set(encodings) <= set(_WINDOW):
            _refuse("it is encoded in a way that was not asked for")
        self._inflater = zlib.decompressobj(_WINDOW[encodings[0]]) if encodings else None
        self._encoded = 0
        self._decoded = 0

    @property
    def is_active(self) -> bool:
        """Whether the answer is encoded."""
        return self._inflater is not None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The decoded pieces, each of bounded size.

        Raises:
            Refusal: `upstream_invalid`; it does not decode, grows beyond the bound, or goes on after its end.
        """
        if self._inflater is None:
            yield data
            return
        self._encoded += len(data)
        piece = b""
        # A full piece may leave more inside the decoder although all input is used.
        while data or len(piece) == _PIECE:
            if self._inflater.eof:
                if not data:
                    break
                _refuse("there is more after its encoded end")
            try:
                piece = self._inflater.decompress(data, _PIECE)
            except zlib.error:
                _refuse("it does not decode")
            self._decoded += len(piece)
            if self._decoded > _FREE_BYTES + MAXIMUM_RATIO * self._encoded:
                _refuse(f"it decodes to more than {MAXIMUM_RATIO} times the bytes that were sent")
            if piece:
                yield piece
            data = self._inflater.unconsumed_tail or self._inflater.unused_data

    def finish(self) -> None:
        """Check that the encoded body came to its end.

        Raises:
            Refusal: `upstream_invalid`.
        """
        if self._inflater is not None and self._encoded and not self._inflater.eof:
            _refuse("its encoded body is cut short")


def _refuse(why: str) -> NoReturn:
    raise Refusal(
        ProblemCode.UPSTREAM_INVALID, f"The host's answer was refused: {why}.", "Tell those who run the host."
    ) from None
