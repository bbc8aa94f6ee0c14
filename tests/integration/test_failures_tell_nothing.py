"""Whatever fails on the way out, the caller reads a sentence of ours, and no log line holds what was sent or came.

Real sockets on both sides of the door; every logger is on at its lowest level.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from egress_house import House, egress_house, server_context
from proxy_doors import AUTHORIZED, make_door

from mycelos.proxy.egress import resolve
from mycelos.proxy.egress.call import EgressCall
from mycelos.proxy.egress.dial import make_trust
from mycelos.proxy.egress.guard import Guard
from mycelos.proxy.egress.http_client import Deadlines
from mycelos.proxy.egress.resolve import SystemResolver
from mycelos.serving.http_server import HttpServer
from mycelos.wire.binding import Method

pytestmark = pytest.mark.anyio

CANARY = "canary7e42f292c69"
"""Stands in every part of a request and of an answer that a peer chooses."""
RAW = CANARY.encode()
Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def saying(data: bytes, *, reset: bool = False) -> Act:
    async def say(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if reset:
            # With a linger of nought, closing sends a reset.
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        else:
            writer.write_eof()

    return say


async def hold(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


@asynccontextmanager
async def outside(act: Act, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await act(reader, writer)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError, OSError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def house(data_directory: Path, anyio_backend: str) -> AsyncIterator[House]:
    async with egress_house(data_directory, make_trust(None)) as house:
        yield house


async def ask(server: HttpServer, data: bytes) -> bytes:
    """Everything that the door says to these bytes."""
    ours, theirs = socket.socketpair()
    await server.adopt(theirs)
    reader, writer = await asyncio.open_connection(sock=ours)
    found = b""
    async with asyncio.timeout(30):
        writer.write(data)
        try:
            while piece := await reader.read(65536):
                found += piece
        except ConnectionError:
            pass
    writer.transport.abort()
    return found


def request(first: str, *lines: str, body: bytes = b"") -> bytes:
    own = ["host: x", "connection: close", *(f"{name}: {value}" for name, value in AUTHORIZED.items())]
    return "\r\n".join([first, *own, *lines, f"content-length: {len(body)}", "", ""]).encode("latin-1") + body


def http_call(url: str, **more: Any) -> bytes:
    call = {"method": "POST", "url": url, "body": CANARY, "headers": {"x-note": CANARY}, "purpose": CANARY}
    return request("POST /http HTTP/1.1", body=json.dumps(call | {"timeout": 5} | more).encode())


def forward_call(url: str) -> bytes:
    scheme, _, rest = url.partition("://")
    return request(f"POST /forward/{scheme}/{rest} HTTP/1.1", f"x-note: {CANARY}", body=RAW)


class Log(logging.Handler):
    """Every record, as it would be written, with its traceback."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.name, logging.Formatter("%(message)s").format(record)))


@pytest.fixture
def log() -> Any:
    handler = Log()
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    before = [(logger, logger.level, logger.disabled) for logger in loggers]
    for logger in loggers:
        # The database's library keeps the level that it gives itself: below it, it writes each statement of the
        # ledger, and the ledger holds hosts and paths.
        if not logger.name.startswith("sqlalchemy"):
            logger.setLevel(logging.NOTSET)
    logging.getLogger().setLevel(logging.NOTSET + 1)
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)
    for logger, level, disabled in before:
        logger.setLevel(level)
        logger.disabled = disabled


OF_LIBRARIES = re.compile(
    rb"Errno|Traceback|Exception|\bError\b|ssl|SSL|CERTIFICATE_|certificate verify|httptools|msgspec|zlib|codec can't"
    rb"|invalid start byte|getaddrinfo|0x[0-9a-f]{6}|NoneType|object at|line \d+, column"
    rb"|Object (?:missing|contains)|Expected `|Invalid (?:enum )?value"
)
"""How libraries speak."""


def check(found: bytes, log: Log, code: str) -> None:
    """A problem with this code, or a cut; nothing of the canary or of a library's words in it or in the log."""
    assert RAW not in found, found
    assert not OF_LIBRARIES.search(found.replace(b"Internal Server Error", b"")), found
    if code:
        head, _, body = found.partition(b"\r\n\r\n")
        problem = json.loads(body)
        assert problem["code"] == code, problem
        assert f"mycelos-refused: {code}" in head.decode().lower()
        assert set(problem) == {"type", "title", "status", "detail", "code", "next"}
    for name, line in log.lines:
        assert CANARY not in line, (name, line)
        assert name.startswith("mycelos") or not OF_LIBRARIES.search(line.encode()), (name, line)


@dataclass(frozen=True)
class Case:
    """What the upstream does, and the code that the caller reads; empty where the answer had begun before."""

    name: str
    act: Act
    code: str
    forward: str | None = None


HEAD = b"HTTP/1.1 200 OK\r\nx-note: " + RAW + b"\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
CASES = [
    Case("no HTTP", saying(RAW + b"\r\n\r\n"), "upstream_invalid"),
    Case("a name that is none", saying(b"HTTP/1.1 200 OK\r\n" + RAW + b" : x\r\n\r\n"), "upstream_invalid"),
    Case("two lengths", saying(HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n" + RAW), "upstream_invalid"),
    Case("a status that is none", saying(b"HTTP/1.1 999 " + RAW + b"\r\n\r\n"), "upstream_invalid"),
    Case("a change of protocol", saying(b"HTTP/1.1 101 " + RAW + b"\r\n\r\n"), "upstream_invalid"),
    Case("an encoding that nobody knows", saying(HEAD + b"content-encoding: " + RAW + b"\r\n\r\n"), "upstream_invalid"),
    Case("an end before the head", saying(HEAD), "upstream_unreachable"),
    Case("a reset before the head", saying(HEAD, reset=True), "upstream_unreachable"),
    Case("an end before anything", saying(b""), "upstream_unreachable"),
    Case("silence", hold, "upstream_timeout"),
    Case("a chunk that is none", saying(CHUNKED + b"zz\r\n"), "upstream_invalid", ""),
    Case("no gzip", saying(HEAD + b"content-encoding: gzip\r\ncontent-length: 4\r\n\r\nnone"), "upstream_invalid", ""),
    Case("an end in the body", saying(HEAD + b"content-length: 900\r\n\r\nnothing"), "upstream_unreachable", ""),
    Case("a reset in the body", saying(HEAD + b"content-length: 900\r\n\r\nx", reset=True), "upstream_unreachable", ""),
]


@pytest.mark.parametrize("form", ["http", "forward"])
async def test_an_upstream_that_fails_is_spoken_of_in_words_of_ours(
    house: House, log: Log, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for case in CASES:
        with monkeypatch.context() as patches:
            if case.act is hold:
                short = property(lambda _call: Deadlines(first_byte=0.1), lambda _call, _given: None)
                patches.setattr(EgressCall, "deadlines", short, raising=False)
            found = await fail_once(house, case, form)
        code = case.code if form == "http" or case.forward is None else case.forward
        if not code:
            # The head is out: what a stream's upstream chose goes through, its end shows that it was cut.
            head, _, found = found.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), case.name
            assert not found.endswith(b"0\r\n\r\n"), case.name
        check(found, log, code)


async def fail_once(house: House, case: Case, form: str) -> bytes:
    async with outside(case.act) as port:
        await house.allow(port, Method.POST)
        server = HttpServer(make_door(house, port))
        url = f"http://127.0.0.1:{port}/{CANARY}?q={CANARY}"
        found = await ask(server, http_call(url) if form == "http" else forward_call(url))
        await server.stop()
        return found


async def test_certificates_and_tls_that_fail_are_spoken_of_in_words_of_ours(
    house: House, log: Log, authority: trustme.CA
) -> None:
    """The certificate's own words, and those of the TLS library, stay where they are."""
    context = server_context(authority, f"{CANARY}.example")
    async with outside(hold, context) as other, outside(saying(RAW)) as plain:
        for port, code in ((other, "upstream_tls"), (plain, "upstream_timeout")):
            await house.rules.add(Method.POST, "https", "127.0.0.1", port)
            server = HttpServer(make_door(house, port))
            found = await ask(server, http_call(f"https://127.0.0.1:{port}/{CANARY}", timeout=1))
            await server.stop()
            check(found, log, code)


async def test_a_port_that_nobody_listens_on_is_spoken_of_in_words_of_ours(
    house: House, log: Log, free_port: Callable[[], int]
) -> None:
    port = free_port()
    await house.allow(port, Method.POST)
    server = HttpServer(make_door(house, port))
    check(await ask(server, http_call(f"http://127.0.0.1:{port}/{CANARY}")), log, "upstream_unreachable")
    await server.stop()


async def test_a_name_that_does_not_resolve_is_spoken_of_in_words_of_ours(
    house: House, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(question: str) -> Any:
        raise socket.gaierror(-2, f"Name or service not known: {question}")

    host = f"{CANARY}.example"
    monkeypatch.setattr(resolve, "_ask_system", unknown)
    monkeypatch.setattr(Guard, "judge_host", lambda _self, _url: None)
    await house.rules.add(Method.POST, "https", host, 443)
    door = make_door(house)
    door._egress._pipeline._resolver = SystemResolver()
    server = HttpServer(door)
    check(await ask(server, http_call(f"https://{host}/{CANARY}")), log, "resolution_failed")
    await server.stop()


class Broken:
    """A part that raises what nobody has foreseen, with what it was given in its text."""

    async def resolve(self, name: str, *, local: bool = False) -> Any:
        message = f"library text about {name} and {CANARY}"
        raise RuntimeError(message)


async def test_a_fault_that_nobody_foresaw_is_spoken_of_in_words_of_ours(house: House, log: Log) -> None:
    await house.rules.add(Method.POST, "https", "good.example", 443)
    door = make_door(house)
    door._egress._pipeline._resolver = Broken()
    server = HttpServer(door)
    check(await ask(server, http_call(f"https://good.example/{CANARY}")), log, "internal")
    assert ("mycelos.proxy.gateway_door", "a request at the gateway's door failed: RuntimeError") in log.lines
    await server.stop()


REQUESTS = [
    (b"GET /" + RAW + b" HTTP/1.1\r\nhost: x\r\nx : " + RAW + b"\r\n\r\n", "invalid_request"),
    (b"GET http://" + RAW + b"/ HTTP/1.1\r\nhost: " + RAW + b"\r\n\r\n", "invalid_request"),
    (RAW + b"\r\n\r\n", "invalid_request"),
    (request("POST /http HTTP/1.1", body=b'{"method": "' + RAW), "invalid_request"),
    (request("POST /http HTTP/1.1", body=b'{"method": "\xff' + RAW + b'"}'), "invalid_request"),
    (request("POST /http HTTP/1.1", body=json.dumps({"method": CANARY, "url": 1}).encode()), "invalid_request"),
    (http_call("https://a.example/", agent=[CANARY]), "invalid_request"),
    (http_call(f"https://{CANARY}/%zz"), "invalid_request"),
    (http_call(f"https://a.example/{CANARY}\\"), "ssrf_blocked"),
    (http_call(f"https://{CANARY}@a.example/"), "ssrf_blocked"),
    (http_call(f"{CANARY}://a.example/"), "ssrf_blocked"),
    (http_call(f"https://{CANARY}:99999/"), "ssrf_blocked"),
    (http_call(f"https://xn--{CANARY}/"), "ssrf_blocked"),
    (http_call("https://a.example/", method=CANARY), "method_not_allowed"),
    (http_call("https://a.example/", headers={"x": f"{CANARY}\r\ny: z"}), "egress_not_allowed"),
    (http_call("https://a.example/", headers={"x": f"{CANARY}ü"}), "invalid_request"),
    (http_call("https://a.example/", inject_credential=CANARY), "credential_unknown"),
    (http_call("https://a.example/", body=None, body_base64=CANARY + "*"), "invalid_request"),
    (http_call(f"http://169.254.169.254/{CANARY}"), "ssrf_blocked"),
    (request(f"GET /{CANARY} HTTP/1.1"), "not_found"),
    (request(f"DELETE /http?{CANARY} HTTP/1.1"), "method_not_allowed"),
    (request(f"GET /audit/events?since={CANARY} HTTP/1.1"), "invalid_request"),
    (request("POST /audit/append HTTP/1.1", body=b'{"event": "' + RAW + b'"}'), "invalid_request"),
    (request(f"GET /forward/{CANARY}/a HTTP/1.1"), "invalid_request"),
    (request("GET / HTTP/1.1").replace(b"Bearer ", b"Bearer " + RAW), "unauthorized"),
    (request("GET / HTTP/1.1").replace(b"Protocol: 1", b"Protocol: " + RAW), "protocol_unsupported"),
]
"""What is refused at the door or before anything is dialled, and the code that the caller reads."""


async def test_a_request_that_is_refused_is_spoken_of_in_words_of_ours(house: House, log: Log) -> None:
    server = HttpServer(make_door(house))
    for data, code in REQUESTS:
        check(await ask(server, data), log, code)
    await server.stop()


async def test_the_check_sees_a_canary_and_a_library_where_there_is_one(log: Log) -> None:
    logging.getLogger("some.library").debug("it sent %s", CANARY)
    with pytest.raises(AssertionError):
        check(b"", log, "")
    log.lines.clear()
    for found in (RAW, b"[Errno 111] Connect call failed", b"zlib.error: Error -3"):
        with pytest.raises(AssertionError):
            check(found, log, "")
