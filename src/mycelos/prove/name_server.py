"""A name server on loopback that changes its answers, and a client that believes it: DNS rebinding, both sides.

As much of RFC 1035 as that needs, over UDP.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_HEADER: Final = struct.Struct(">6H")
_TIMED: Final = struct.Struct(">HHIH")
_INTERNET: Final = 1
_ANSWER_FLAGS: Final = 0x8580
"""A response, authoritative, recursion available, no error."""
_DATAGRAM: Final = 4096


class RecordType(IntEnum):
    """Types of records."""

    A = 1
    CNAME = 5
    AAAA = 28


Question = tuple[str, RecordType]


@dataclass(frozen=True)
class Record:
    """One record; ``value`` is an address, or a name where it is a CNAME. No resolver may keep it: its TTL is 0."""

    name: str
    type: RecordType
    value: str


class NameServer:
    """Serves on 127.0.0.1 while it is entered.

    ``answers`` has, for a question, its answers in turn; the last one stays. ``asked`` counts questions. A question
    that is not listed has an empty answer.
    """

    def __init__(self, answers: Mapping[Question, Sequence[Sequence[Record]]]) -> None:
        self.asked: Counter[str] = Counter()
        self._answers = answers
        self._turns: Counter[Question] = Counter()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1])

    def __enter__(self) -> Self:
        """Begin to serve."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, and wait for it."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stopper:
            stopper.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, sender = self._socket.recvfrom(_DATAGRAM)
            if not query:
                return
            try:
                identifier, name, number, end = _read_question(query)
            except (ValueError, struct.error, IndexError):
                continue
            self.asked[name] += 1
            records = self._next((name, RecordType(number))) if number in set(RecordType) else ()
            head = _HEADER.pack(identifier, _ANSWER_FLAGS, 1, len(records), 0, 0)
            self._socket.sendto(head + query[_HEADER.size : end] + b"".join(map(_write_record, records)), sender)

    def _next(self, question: Question) -> Sequence[Record]:
        turns = self._answers.get(question, ((),))
        turn = min(self._turns[question], len(turns) - 1)
        self._turns[question] += 1
        return turns[turn]


def ask(port: int, name: str, seconds: float = 5.0) -> list[str]:
    """The addresses of ``name``, as the server at ``port`` on loopback says.

    Raises:
        OSError: no answer came in time.
    """
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(seconds)
        client.connect(("127.0.0.1", port))
        for record_type in (RecordType.A, RecordType.AAAA):
            head = _HEADER.pack(secrets.randbits(16), 0x0100, 1, 0, 0, 0)
            client.send(head + _write_name(name) + struct.pack(">HH", record_type, _INTERNET))
            found += _read_addresses(client.recv(_DATAGRAM))
    return found


def _read_question(query: bytes) -> tuple[int, str, int, int]:
    """Identifier, name, type, and where the question ends."""
    identifier = _HEADER.unpack_from(query)[0]
    name, position = _read_name(query, _HEADER.size)
    number, _ = struct.unpack_from(">HH", query, position)
    return identifier, name, number, position + 4


def _read_addresses(answer: bytes) -> list[str]:
    """The addresses in an answer of `NameServer`."""
    count = _HEADER.unpack_from(answer)[3]
    position = _read_question(answer)[3]
    found = []
    for _ in range(count):
        _, position = _read_name(answer, position)
        record_type, _, _, length = _TIMED.unpack_from(answer, position)
        position += _TIMED.size
        if record_type != RecordType.CNAME:
            found.append(str(ipaddress.ip_address(answer[position : position + length])))
        position += length
    return found


def _read_name(message: bytes, position: int) -> tuple[str, int]:
    labels = []
    while length := message[position]:
        if length & 0xC0:
            message_ = "names of this server's own are not compressed"
            raise ValueError(message_)
        labels.append(message[position + 1 : position + 1 + length].decode("ascii").lower())
        position += 1 + length
    return ".".join(labels), position + 1


def _write_name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split(".")) + b"\0"


def _write_record(record: Record) -> bytes:
    is_name = record.type is RecordType.CNAME
    data = _write_name(record.value) if is_name else ipaddress.ip_address(record.value).packed
    return _write_name(record.name) + _TIMED.pack(record.type, _INTERNET, 0, len(data)) + data
