"""Framing: the corpus, and a second reading of HTTP/1.1 that owes nothing to the parser in use.

The reading is strict and slow: it is the measure for where a message ends (RFC 9112), not a server.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "framing"

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\Z")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) +([!-~]+) +(?:HTTP|RTSP)/(1\.[01])\Z")
_STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([0-9]{3})(?: [\t\x20-\x7e\x80-\xff]*)?\Z")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]+)(?:;[\t\x20-\x7e\x80-\xff]*)?\Z")


class Malformed(Exception):
    """It cannot be read in one way."""


class Incomplete(Exception):
    """It does not end within the bytes."""


@dataclass(frozen=True)
class Row:
    """One row of the corpus."""

    name: str
    section: str
    data: bytes
    verdict: str
    more: dict[str, Any]


def rows(name: str) -> list[Row]:
    """A corpus. Bytes are Latin-1 text, in parts; a part with a number is repeated."""
    found = []
    for line in (VECTORS / f"{name}.jsonl").read_text(encoding="ascii").splitlines():
        row = json.loads(line)
        parts = [part if isinstance(part, str) else part[0] * part[1] for part in row["bytes"]]
        more = {key: value for key, value in row.items() if key not in {"name", "section", "bytes", "verdict"}}
        data = "".join(parts).encode("latin-1")
        found.append(Row(row["name"], row["section"], data, row["verdict"], more))
    return found


TRICKS = [
    *(b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b":", b",", b";", b"0", b"5", b"a", b"+", b"-", b"\xff", b"\x0b"),
    *(b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n", b"\r\n ", b"HTTP/1.1", b"chunked", b"0\r\n\r\n"),
]
"""What a mutation puts in, beside other bytes."""


@st.composite
def mutated(draw: st.DrawFn, name: str) -> bytes:
    """A row of a corpus, changed in up to four places."""
    data = draw(st.sampled_from([row.data for row in rows(name) if len(row.data) < 1000]))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 3))
        data = data[:place] + draw(st.sampled_from(TRICKS) | st.binary(max_size=2)) + data[place + length :]
    return data


@dataclass(frozen=True)
class Message:
    """One message: its first line's parts, its fields, its body and where the next one begins."""

    first: tuple[bytes, ...]
    fields: list[tuple[bytes, bytes]]
    body: bytes
    end: int


def read_request(data: bytes, position: int = 0) -> Message:
    """The request at ``position``."""
    while data[position : position + 1] in {b"\r", b"\n"}:
        position += 1
    line, position = _line(data, position)
    match = _REQUEST_LINE.match(line)
    if match is None:
        raise Malformed
    fields, position = _fields(data, position)
    lengths, codings = _framing(fields, match[3])
    if codings:
        body, position = _chunks(data, position)
    else:
        body, position = _exactly(data, position, int(lengths[0]) if lengths else 0)
    return Message((match[1], match[2]), fields, body, position)


def read_answer(data: bytes, method: str, *, is_closed: bool) -> Message:
    """The final answer to a request with ``method``; interim ones before it are passed over."""
    position = 0
    while True:
        line, position = _line(data, position)
        match = _STATUS_LINE.match(line)
        if match is None:
            raise Malformed
        fields, position = _fields(data, position)
        status = int(match[2])
        if not 100 <= status <= 599 or status == 101:
            raise Malformed
        if status >= 200:
            break
    lengths, codings = _framing(fields, match[1])
    if method == "HEAD" or status in {204, 304}:
        body = b""
    elif codings:
        body, position = _chunks(data, position)
    elif lengths:
        body, position = _exactly(data, position, int(lengths[0]))
    elif is_closed:
        body, position = data[position:], len(data)
    else:
        raise Incomplete
    return Message((match[2],), fields, body, position)


def _framing(fields: list[tuple[bytes, bytes]], version: bytes) -> tuple[list[bytes], list[bytes]]:
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
    if len(lengths) + len(codings) > 1 or (codings and (codings != [b"chunked"] or version != b"1.1")):
        raise Malformed
    if lengths and not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
        raise Malformed
    return lengths, codings


def _line(data: bytes, position: int) -> tuple[bytes, int]:
    end = data.find(b"\n", position)
    line = data[position : len(data) if end < 0 else end + 1]
    if end < 0:
        raise Incomplete
    if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
        raise Malformed
    return line[:-2], end + 1


def _fields(data: bytes, position: int) -> tuple[list[tuple[bytes, bytes]], int]:
    fields: list[tuple[bytes, bytes]] = []
    while True:
        line, position = _line(data, position)
        if not line:
            return fields, position
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.match(name) or not _VALUE.match(value):
            raise Malformed
        fields.append((name.lower(), value.strip(b" \t")))


def _chunks(data: bytes, position: int) -> tuple[bytes, int]:
    body = b""
    while True:
        line, position = _line(data, position)
        match = _CHUNK_SIZE.match(line)
        if match is None:
            raise Malformed
        size = int(match[1], 16)
        if size == 0:
            _, position = _fields(data, position)
            return body, position
        piece, position = _exactly(data, position, size)
        body += piece
        if data[position : position + 2] != b"\r\n":
            raise Incomplete if b"\r\n".startswith(data[position : position + 2]) else Malformed
        position += 2


def _exactly(data: bytes, position: int, size: int) -> tuple[bytes, int]:
    if len(data) - position < size:
        raise Incomplete
    return data[position : position + size], position + size
