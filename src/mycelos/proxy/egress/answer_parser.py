"""One answer out of bytes: strict framing over httptools, with a bound on everything that it keeps (RFC 9112).

Nothing here reads, writes or waits. What can be read in two ways is refused.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final, NoReturn

import httptools

MAXIMUM_HEAD: Final = 64 * 1024
"""Bytes of headers and trailers, those of interim answers included, at most."""
MAXIMUM_HEADERS: Final = 128
MAXIMUM_INTERIM: Final = 8

_PIECE: Final = 16 * 1024
_BEGINNING: Final = b"HTTP/"
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_REASON: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\Z")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}\Z")
_TOO_LARGE: Final = f"more than {MAXIMUM_HEAD} bytes of headers, trailers or chunk extensions"


class FramingError(Exception):
    """What came is not one well-framed answer. The text is ours."""


class AnswerParser:
    """The answer to one request with ``method``. `pieces` holds what came of its body and was not taken yet."""

    def __init__(self, method: str) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: deque[bytes] = deque()
        self.buffered = 0
        self.received = 0
        self.has_head = False
        self.is_complete = False
        self.ends_with_connection = False
        self.keeps_alive = False
        self._method = method
        self._parser = httptools.HttpResponseParser(self)
        self._head_size = 0
        self._interim = 0
        self._has_moved = False
        self._unread = 0

    def feed(self, data: memoryview) -> None:
        """Parse in small pieces, so that what httptools keeps to itself is counted soon.

        Raises:
            FramingError: it is no answer, or goes on after its end. Nothing may be fed after that.
        """
        # httptools takes line ends, and names of other protocols, before what it knows.
        expected = _BEGINNING[self.received :]
        if not expected.startswith(bytes(data[: len(expected)])):
            _fail("something else than HTTP")
        self.received += len(data)
        for start in range(0, len(data), _PIECE):
            self._feed(data[start : start + _PIECE])

    def take(self, size: int) -> bytes:
        """What came of the body, ``size`` bytes of it at most; empty where nothing has come."""
        taken: list[bytes] = []
        amount = 0
        while self.pieces and (not taken or amount + len(self.pieces[0]) <= size):
            taken.append(self.pieces.popleft())
            amount += len(taken[-1])
        self.buffered -= amount
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def let_go(self) -> None:
        """Keep nothing of what came. Parser and library refer to each other, so nothing else would end it soon."""
        self.headers = []
        self.pieces.clear()
        self.buffered = 0

    # What httptools calls.

    def on_message_begin(self) -> None:
        """An answer begins; a second one does not."""
        if self.is_complete:
            _fail("more than one answer")
        self.headers = []

    def on_status(self, reason: bytes) -> None:
        """Look at the reason, which goes nowhere."""
        if not _REASON.match(reason):
            _fail("a status line with control characters")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers are counted and dropped."""
        self._head_size += len(name) + len(value) + len(b": \r\n")
        if self._head_size > MAXIMUM_HEAD:
            _fail(_TOO_LARGE)
        if self.has_head:
            if name.lower() in _FRAMING:
                _fail("a trailer that frames")
            return
        self.headers.append((name.lower(), value.rstrip(b" \t")))
        if len(self.headers) > MAXIMUM_HEADERS:
            _fail(f"more than {MAXIMUM_HEADERS} headers")

    def on_headers_complete(self) -> None:
        """Decide how the body is delimited (section 6.3)."""
        self._moved()
        version = self._parser.get_http_version()
        if version not in {"1.0", "1.1"}:
            _fail("a version of HTTP that was not asked for")
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._interim += 1
            if status == 101 or self._interim > MAXIMUM_INTERIM:
                _fail("an interim answer that was not asked for")
            return
        if not 200 <= status <= 599:
            _fail("a status outside 200 to 599")
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        lengths = [value for name, value in self.headers if name == b"content-length"]
        is_chunked = codings == [b"chunked"] and version == "1.1"
        if len(codings) + len(lengths) > 1 or (codings and not is_chunked) or not all(map(_LENGTH.match, lengths)):
            _fail("a length that can be read in more than one way")
        self.status = status
        self.has_head = True
        bodiless = self._method == "HEAD" or status in {204, 304}
        # Asked now: at the end of the message the parser has forgotten how it was framed. Of chunks where none belong
        # it takes the beginning in silence: what comes behind such a head cannot be told.
        self.keeps_alive = bool(self._parser.should_keep_alive()) and not (bodiless and codings)
        self.ends_with_connection = not bodiless and not codings and not lengths
        if bodiless:
            self.is_complete = True

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._moved()

    def on_body(self, data: bytes) -> None:
        """Keep a piece of the body."""
        self._moved()
        if self.is_complete or not self.has_head:
            _fail("a body where none belongs")
        self.pieces.append(data)
        self.buffered += len(data)

    def on_message_complete(self) -> None:
        """The answer has ended, unless it was an interim one."""
        self._moved()
        if self.has_head:
            self.is_complete = True

    def _feed(self, piece: memoryview) -> None:
        if self.is_complete:
            _fail("bytes that no request asked for")
        self._has_moved = False
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            _fail("a change of protocol that was not asked for")
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, FramingError):
                raise error.__context__ from None
            _fail("an answer that is not well-framed")
        if self._has_moved:
            return
        # A header's value, a trailer or a chunk extension that has not ended is known to httptools alone.
        self._unread += len(piece)
        if self._unread > 2 * MAXIMUM_HEAD:
            _fail(_TOO_LARGE)

    def _moved(self) -> None:
        self._has_moved = True
        self._unread = 0


def _fail(why: str) -> NoReturn:
    raise FramingError(why) from None
