"""The egress pipeline with an outside that keeps what it is sent, and a naive reading of that by a binding.

The predicate here shares nothing with `binding_check`: it looks at the bytes that left and at the place they went to.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, unquote, unquote_plus

from egress_house import House, guard_of
from url_readings import ServerView, as_the_server_reads

from mycelos.ledger.events import Event
from mycelos.proxy.egress.call import EgressCall
from mycelos.proxy.egress.connection import UpstreamConnection
from mycelos.proxy.egress.http_client import HttpClient
from mycelos.proxy.egress.url import CanonicalUrl
from mycelos.proxy.ledger.recorder import Receipt
from mycelos.proxy.vault.records import Credential
from mycelos.wire.binding import Basic, Bearer, Binding, Header, UrlPath
from mycelos.wire.operator import WebAnswer
from mycelos.wire.problems import Refusal

OUTSIDE = ipaddress.ip_address("8.8.8.8")


@dataclass(frozen=True)
class Sent:
    """A request that left: where the connection went, whose certificate was asked for, and the bytes."""

    scheme: str
    name: str
    port: int
    data: bytes

    @property
    def view(self) -> ServerView:
        head, blank, _ = self.data.partition(b"\r\n\r\n")
        return as_the_server_reads(head + blank)


class _Transport(asyncio.Transport):
    def __init__(self, connection: UpstreamConnection) -> None:
        super().__init__()
        self.data = b""
        self._connection = connection
        self._is_closing = False

    def write(self, data: Any) -> None:
        self.data += data
        asyncio.get_running_loop().call_soon(self._answer)

    def _answer(self) -> None:
        if not self._connection.has_head:
            answer = b"HTTP/1.1 204 No Content\r\n\r\n"
            self._connection.get_buffer(len(answer))[: len(answer)] = answer
            self._connection.buffer_updated(len(answer))

    def is_closing(self) -> bool:
        return self._is_closing

    def abort(self) -> None:
        self._is_closing = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class _Client(HttpClient):
    """The real client, whose connections lead to a list."""

    def __init__(self) -> None:
        super().__init__(SimpleNamespace(name="none"))
        self.sent: list[tuple[CanonicalUrl, _Transport]] = []

    async def dial(self, url: CanonicalUrl, addresses: Sequence[Any]) -> UpstreamConnection:
        connection = UpstreamConnection(addresses[0])
        transport = _Transport(connection)
        connection.connection_made(transport)
        self.sent.append((url, transport))
        return connection


class _Vault:
    """One credential; counts how often it was opened."""

    def __init__(self, binding: Binding, secret: bytes) -> None:
        self.opened = 0
        self._secret = secret
        now = "2026-01-01T00:00:00Z"
        self._credential = Credential("crd_1", 1, "service", "service", (binding,), now, now, None)

    def find(self, service: str) -> Credential | None:
        return self._credential if service == "service" else None

    def list(self) -> tuple[Credential, ...]:
        return (self._credential,)

    @contextmanager
    def every_secret(self) -> Iterator[Any]:
        yield [SimpleNamespace(reveal=lambda: self._secret)]

    @contextmanager
    def open_secret(self, credential: Credential) -> Iterator[Any]:
        self.opened += 1
        yield SimpleNamespace(reveal=lambda: self._secret)

    @contextmanager
    def secrets_for_host(self, host: str) -> Iterator[list[Any]]:
        yield []

    def touch(self, credential: Credential) -> None: ...


class _Recorder:
    _receipt = Receipt(0, "", Event.PROXY_HTTP_REQUEST, {})

    async def fact(self, *_: Any, **__: Any) -> Receipt:
        return self._receipt

    async def intent(self, *_: Any, **__: Any) -> Receipt:
        return self._receipt

    def outcome(self, *_: Any, **__: Any) -> asyncio.Future[Receipt]:
        done: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        done.set_result(self._receipt)
        return done


class _Resolver:
    async def resolve(self, name: str, *, local: bool = False) -> tuple[Any, ...]:
        return (OUTSIDE,)


async def send(binding: Binding, secret: bytes, call: EgressCall) -> tuple[Sent | None, Refusal | None]:
    """What left, and the refusal if there was one. No rule allows anything: what leaves does so by the binding."""
    client = _Client()
    vault = _Vault(binding, secret)
    house = House(
        vault=vault,
        rules=SimpleNamespace(match=lambda *_: None, web=WebAnswer.OFF),
        lockdown=SimpleNamespace(refuse=lambda: None),
        recorder=_Recorder(),
        resolver=_Resolver(),
        client=client,
        make_guard=guard_of,
    )
    refusal = None
    async with asyncio.timeout(20):
        try:
            async with house.pipeline().open(call):
                pass
        except Refusal as caught:
            refusal = caught
    left = [(url, transport.data) for url, transport in client.sent if transport.data]
    assert len(left) <= 1, "sent twice"
    if not left:
        return None, refusal
    url, data = left[0]
    assert vault.opened == 1
    return Sent(url.scheme, url.host, url.port, data), refusal


# What the binding means, read off the bytes.

_MAY_GO = {
    b"accept", b"accept-language", b"anthropic-beta", b"anthropic-version", b"content-language", b"content-type",
    b"idempotency-key", b"if-match", b"if-modified-since", b"if-none-match", b"if-unmodified-since", b"last-event-id",
    b"mcp-protocol-version", b"mcp-session-id", b"notion-version", b"openai-beta", b"prefer", b"user-agent",
    b"x-github-api-version", b"host", b"accept-encoding", b"content-length", b"transfer-encoding",
}  # fmt: skip
_SIGN_IN = {
    "accesstoken", "apikey", "key", "token", "password", "authorization", "auth", "signature", "sig", "secret",
    "clientsecret", "privatetoken", "xamzsignature", "jsessionid",
}  # fmt: skip


def faults(binding: Binding, secret: bytes, sent: Sent) -> set[str]:
    """The fields of the binding that what left does not agree with."""
    view = sent.view
    path, question_mark, query = view.target.decode("ascii").partition("?")
    default_port = {"https": 443, "http": 80}[binding.scheme]
    authority = binding.host if binding.port == default_port else f"{binding.host}:{binding.port}"
    agrees = {
        "scheme": sent.scheme == binding.scheme,
        "host": sent.name == binding.host and view.values(b"host") == [authority.encode()],
        "port": sent.port == binding.port,
        "methods": sent.data.split(b" ")[0].decode() == view.method and view.method in list(binding.methods),
        "path": path.startswith("/") and _is_below(binding, secret, path),
        "query": _query_agrees(binding, question_mark, query),
        "inject": _inject_agrees(binding, secret, view),
        "headers": _headers_agree(binding, view),
    }
    return {name for name, holds in agrees.items() if not holds}


def _is_below(binding: Binding, secret: bytes, path: str) -> bool:
    expected = list(binding.path)
    if isinstance(binding.inject, UrlPath):
        path = path.replace(quote(secret, safe=""), "S3CRET").replace(quote(secret, safe=":"), "S3CRET")
        expected = [segment.replace("{credential}", "S3CRET") for segment in expected]
    parameters = [parameter for segment in path.split("/") for parameter in segment.split(";")[1:]]
    if any(_signs_in(parameter.partition("=")[0]) for parameter in parameters):
        return False
    return all(reading[: len(wanted)] == wanted for reading, wanted in _readings(path, expected))


def _readings(path: str, expected: list[str]) -> Iterator[tuple[list[str], list[str]]]:
    """The segments as servers of several kinds see them, each beside what is wanted in that server's eyes."""
    texts = [path]
    for _ in range(3):
        texts += [unquote(texts[-1]), unicodedata.normalize("NFKC", unquote(texts[-1])).replace("\\", "/")]
    for text, cut, merge, loose in itertools.product(dict.fromkeys(texts), (False, True), (False, True), (False, True)):
        given = [_cut(segment) if cut else segment for segment in text.split("/")[1:]]
        resolved: list[str] = []
        for segment in given:
            plain = "".join(segment.split()) if loose else segment
            if plain == ".." or (loose and re.fullmatch(r"\.{2,}", plain)):
                del resolved[-1:]
            elif plain != "." and not (merge and plain == ""):
                resolved.append(segment)
        yield resolved, [_cut(segment) if cut else segment for segment in expected]


def _cut(segment: str) -> str:
    return segment.partition(";")[0]


def _query_agrees(binding: Binding, question_mark: str, query: str) -> bool:
    if binding.query == "none":
        return not question_mark
    pieces = [piece for text in (query, query.replace(";", "&")) for piece in text.split("&") if piece]
    keys = {unquote_plus(piece.partition("=")[0]) for piece in pieces}
    return not any(map(_signs_in, keys)) if binding.query == "any" else keys <= set(binding.query)


def _signs_in(key: str) -> bool:
    """By the eyes of a server that decodes twice, and of PHP, to which some characters are an underscore."""
    key = unquote(unquote(key)).lower()
    for seen in (key, key.partition("[")[0], re.sub(r"[ .\[]", "_", key)):
        if seen == "_method" or re.sub(r"[^a-z0-9]", "", seen) in _SIGN_IN:
            return True
    return False


def _inject_agrees(binding: Binding, secret: bytes, view: ServerView) -> bool:
    everything = b"\n".join([view.target, *(name + b":" + value for name, value in view.headers)])
    match binding.inject:
        case Bearer():
            place, carried = view.values(b"authorization"), b"Bearer " + secret
        case Basic(name):
            place, carried = view.values(b"authorization"), b"Basic " + base64.b64encode(name.encode() + b":" + secret)
        case Header(name):
            place, carried = view.values(name.lower().encode()), secret
        case UrlPath():
            place, carried = [view.target], view.target
    once = everything.count(secret) <= 1 and b"{credential}" not in everything
    in_path = unquote(view.target.decode()).encode("utf-8", "surrogateescape").count(secret)
    return place == [carried] and once and in_path == isinstance(binding.inject, UrlPath)


def _headers_agree(binding: Binding, view: ServerView) -> bool:
    injected = {Bearer: b"authorization", Basic: b"authorization"}.get(type(binding.inject))
    if isinstance(binding.inject, Header):
        injected = binding.inject.name.lower().encode()
    names = [name for name, _ in view.headers]
    return (
        set(names) <= _MAY_GO | {injected} and names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
    )
