"""A stand-in for the outside on loopback that fails on purpose, with what it was sent in its hands.

The path's last segment chooses the failure. What it answers is made of the request's own bytes, so that whoever quotes
an answer, or an error about one, quotes the credential.
"""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Self

from mycelos.wire.problems import ProblemCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_SECONDS: Final = 20.0
_PIECE: Final = 65536
_TLS_RECORD: Final = b"\x16"


class Ending(Enum):
    """What follows on what it sends."""

    CLOSE = auto()
    RESET = auto()
    HOLD = auto()


@dataclass(frozen=True)
class Failure:
    """One way to fail. ``answer`` makes it of what came, on one line, and of every spelling of the secrets.

    ``code`` is what `POST /http` must answer; None where the answer is whole and comes back without the secrets.
    """

    name: str
    tried: str
    answer: Callable[[bytes, bytes], bytes]
    code: ProblemCode | None
    ending: Ending = Ending.CLOSE


def _saying(before: bytes, after: bytes = b"\r\n\r\n") -> Callable[[bytes, bytes], bytes]:
    return lambda came, _spellings: before + came + after


def _whole(status: bytes, *, header: bytes = b"x-note") -> Callable[[bytes, bytes], bytes]:
    def answer(came: bytes, spellings: bytes) -> bytes:
        body = came + b"\n" + spellings
        head = b"HTTP/1.1 %s\r\n%s: %s\r\ncontent-length: %d\r\n\r\n" % (status, header, came, len(body))
        return head + body

    return answer


_OK: Final = b"HTTP/1.1 200 OK\r\n"
_INVALID, _UNREACHABLE = ProblemCode.UPSTREAM_INVALID, ProblemCode.UPSTREAM_UNREACHABLE

FAILURES: Final = (
    Failure("closes", "closes without a word", lambda *_: b"", _UNREACHABLE),
    Failure("half-head", "ends before its head does", _saying(_OK + b"x-note: ", b"\r\n"), _UNREACHABLE),
    Failure("reset", "resets before its head ends", _saying(_OK + b"x-note: ", b"\r\n"), _UNREACHABLE, Ending.RESET),
    Failure("silence", "does not answer in time", lambda *_: b"", ProblemCode.UPSTREAM_TIMEOUT, Ending.HOLD),
    Failure("half-silence", "stops in its head", _saying(_OK + b"x: "), ProblemCode.UPSTREAM_TIMEOUT, Ending.HOLD),
    Failure("no-http", "answers with the request", _saying(b""), _INVALID),
    Failure("status", "answers with an unknown status", _saying(b"HTTP/1.1 999 "), _INVALID),
    Failure("switch", "changes the protocol", _saying(b"HTTP/1.1 101 "), _INVALID),
    Failure("name", "sends a header whose name is none", _saying(_OK, b" : x\r\n\r\n"), _INVALID),
    Failure("lengths", "sends two lengths",
            _saying(_OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\n"), _INVALID),
    Failure("encoding", "names an encoding that nobody knows", _saying(_OK + b"content-encoding: "), _INVALID),
    Failure("chunk", "breaks off its chunks",
            _saying(_OK + b"transfer-encoding: chunked\r\n\r\n4000\r\n", b"zz"), _UNREACHABLE),
    Failure("bad-chunk", "sends a chunk that is none",
            _saying(_OK + b"transfer-encoding: chunked\r\n\r\n"), _INVALID),
    Failure("gzip", "sends a body that is not gzip",
            _saying(_OK + b"content-encoding: gzip\r\n\r\n"), _INVALID),
    Failure("half-body", "ends in its body", _saying(_OK + b"content-length: 90000\r\n\r\n", b""), _UNREACHABLE),
    Failure("cut-body", "resets in its body",
            _saying(_OK + b"content-length: 90000\r\n\r\n", b""), _UNREACHABLE, Ending.RESET),
    Failure("refuses", "refuses, and says what it was sent", _whole(b"401 No", header=b"www-authenticate"), None),
    Failure("sends-away", "redirects to what it was sent", _whole(b"302 Found", header=b"location"), None),
    Failure("breaks", "breaks down, and says what it was sent", _whole(b"500 Broken"), None),
)  # fmt: skip
"""Every way to fail once the request was sent."""

_BY_NAME: Final = {failure.name: failure for failure in FAILURES}


class FailingUpstream:
    """Serves on loopback while it is entered. ``requests`` holds each request's head.

    ``spellings`` is what whole answers hold beside what came. Who speaks TLS is answered with it too.
    """

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.spellings = b""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listener.settimeout(0.05)
        self._is_over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        """Begin to serve."""
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, and wait for it."""
        self._is_over.set()
        self._acceptor.join()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._is_over.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(_SECONDS)
        with connection:
            try:
                head = _read_head(connection)
                if head.startswith(_TLS_RECORD):
                    connection.sendall(self.spellings)
                elif head:
                    self.requests.append(head)
                    self._fail(connection, head)
            except OSError:
                # The proxy was faster to hang up: what it was sent is remembered.
                return

    def _fail(self, connection: socket.socket, head: bytes) -> None:
        failure = _BY_NAME[head.split(b" ", 2)[1].rpartition(b"/")[2].decode("ascii")]
        came = head.replace(b"\r\n", b" ").strip()
        connection.sendall(failure.answer(came, self.spellings))
        if failure.ending is Ending.HOLD:
            # Until the other side ends it.
            connection.recv(_PIECE)
        elif failure.ending is Ending.RESET:
            # With a linger of nought, closing sends a reset.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def _read_head(connection: socket.socket) -> bytes:
    """What came until a head's end, or until it is seen to be TLS."""
    head = b""
    while b"\r\n\r\n" not in head and not head.startswith(_TLS_RECORD):
        piece = connection.recv(_PIECE)
        if not piece:
            return head
        head += piece
    return head
