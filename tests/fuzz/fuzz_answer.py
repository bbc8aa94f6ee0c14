"""The parser of an upstream's answer: bytes in any pieces, and one meaning or a fault that it declares."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Coroutine
from typing import Any

from fields import fields, join

from mycelos.proxy.egress import headers
from mycelos.proxy.egress.answer_parser import MAXIMUM_HEAD, MAXIMUM_HEADERS, AnswerParser
from mycelos.proxy.egress.connection import ClosedError, FramingError, UpstreamConnection
from mycelos.proxy.egress.decode_body import BodyDecoder
from mycelos.wire.problems import Refusal

ADDRESS = ipaddress.ip_address("192.0.2.1")
METHODS = ("GET", "HEAD", "POST")
ANSWERS = [
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nx: y\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\nconnection: close\r\n\r\n",
    b"HTTP/1.1 200 OK\ncontent-length: 1\n\nx",
    b"HTTP/1.1 200 OK\r\nset-cookie: a\r\n b\r\ncontent-encoding: gzip\r\n\r\n",
]
SEEDS = [join(bytes([number % 3, 7]), answer) for number, answer in enumerate(ANSWERS)]
WORDS = [
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 ",
    b"HTTP/1.0 ", b"\r\n", b"\r\n\r\n", b"\n", b"\0", b"content-length: ", b"transfer-encoding: chunked",
    b"0\r\n\r\n", b"connection: close", b"connection: keep-alive", b"100 ", b"204 ", b"304 ", b" \t",
    b"ffffffffffffffff\r\n", b";", b"gzip, chunked", b"upgrade: h2c",
]  # fmt: skip


class Transport(asyncio.Transport):
    """Writes nowhere and remembers whether it was ended."""

    is_ended = False

    def write(self, data: Any) -> None: ...

    def is_closing(self) -> bool:
        return self.is_ended

    def abort(self) -> None:
        self.is_ended = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def finished(coroutine: Coroutine[Any, Any, bytes | None]) -> bytes | None:
    """What a coroutine returns that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        result: bytes | None = ended.value
        return result
    coroutine.close()
    message = "waits for something that cannot come"
    raise AssertionError(message)


def deliver(connection: UpstreamConnection, data: bytes) -> None:
    """As an event loop does: into the connection's own buffer, as much as it holds."""
    while data:
        space = connection.get_buffer(-1)
        size = min(len(space), len(data))
        space[:size] = data[:size]
        connection.buffer_updated(size)
        data = data[size:]


def read(method: str, pieces: list[bytes]) -> tuple[object, ...]:
    """All that can be seen of an answer that arrives in these pieces, after which the other side ends."""
    connection, transport = UpstreamConnection(ADDRESS), Transport()
    connection.connection_made(transport)
    connection.begin(method, b"")
    for piece in pieces:
        if transport.is_ended:
            break
        deliver(connection, piece)
    was_reusable = connection.is_reusable
    if not transport.is_ended:
        connection.eof_received()
    transport.is_ended = True
    connection.connection_lost(None)
    body = b""
    try:
        finished(connection.wait_head())
        check_head(connection)
        while piece := finished(connection.read()) or b"":
            body += piece
    except (FramingError, ClosedError) as fault:
        return (type(fault),)
    check_body(connection, method, body)
    return connection.status, tuple(connection.headers), body, was_reusable


def check_head(connection: UpstreamConnection) -> None:
    assert 200 <= connection.status <= 599
    assert len(connection.headers) <= MAXIMUM_HEADERS
    assert sum(len(name) + len(value) for name, value in connection.headers) <= MAXIMUM_HEAD
    for name, value in connection.headers:
        assert name == name.lower()
        assert not any(character in name + value for character in b"\r\n\0"), "a line break in a header"
    names = [name for name, _ in connection.headers]
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1, "framed in two ways"


def check_body(connection: UpstreamConnection, method: str, body: bytes) -> None:
    given = dict(connection.headers)
    if method == "HEAD" or connection.status in {204, 304}:
        assert body == b""
    elif b"content-length" in given:
        assert len(body) == int(given[b"content-length"])
    headers.returned(connection.headers, set_cookie="drop", location_query="redact")
    try:
        decoder = BodyDecoder(connection.headers)
        for _ in decoder.feed(body):
            pass
        decoder.finish()
    except Refusal:
        pass


def one_input(data: bytes) -> None:
    options, answer = fields(data, 2)
    method = METHODS[options[0] % 3 if options else 0]
    sizes = [size + 1 for size in options[1:]] or [1]
    pieces, place = [], 0
    while place < len(answer):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(answer[place : place + size])
        place += size
    seen, whole = read(method, pieces), read(method, [answer] if answer else [])
    # An empty line behind an answer that comes in one piece with it is skipped by the parser, and means nothing.
    if answer.endswith((b"\r", b"\n")):
        seen, whole = seen[:3], whole[:3]
    assert seen == whole, "the answer depends on how it was cut"
    if whole[-1] is True:
        # A connection that would be used again had nothing more to say.
        assert read(method, [*pieces, b"H"]) == (*seen[:3], False), "more than one answer"


def plant() -> None:
    """What comes after an answer's end is not looked at: it would be the answer of the next request."""
    original = AnswerParser._feed

    def lenient(self: AnswerParser, piece: memoryview) -> None:
        if not self.is_complete:
            original(self, piece)

    AnswerParser._feed = lenient
