"""How other parsers read a URL: each reading in one form, so that readings can be compared with ours.

Shared by the unit test of the URL, which tries what hypothesis makes, and by the fuzzer.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import ada_url
import httptools
import httpx2

from mycelos.proxy.egress.http_client import Outgoing, _head
from mycelos.proxy.egress.url import DEFAULT_PORTS, CanonicalUrl, UrlError, parse_url


@dataclass(frozen=True)
class Reading:
    """Where a parser would go and what it would ask for there.

    ``path`` is the parser's own after our one normalisation, None where that refuses. An empty query and none are
    one: not every parser tells them apart. An apostrophe in it is an apostrophe, escaped or not.
    """

    scheme: str
    host: str
    port: int
    path: str | None
    query: str


def _reading(scheme: str, host: str, port: int | None, path: str, query: str) -> Reading:
    try:
        normalised: str | None = parse_url(f"https://x.example{path or '/'}").path
    except UrlError:
        normalised = None
    host = f"{int(ipaddress.IPv6Address(host)):x}" if ":" in host else host
    return Reading(scheme, host, port or DEFAULT_PORTS[scheme], normalised, query.replace("%27", "'"))


def ours(url: CanonicalUrl) -> Reading:
    """What we will do."""
    return _reading(url.scheme, url.host, url.port, url.path, url.query or "")


def by_standard_library(text: str) -> Reading:
    """`urllib.parse`, and the codec through which sockets send a name that is not ASCII."""
    split = urlsplit(text)
    if split.hostname is None or split.scheme not in DEFAULT_PORTS:
        message = "no host"
        raise ValueError(message)
    host = split.hostname if split.hostname.isascii() else split.hostname.encode("idna").decode()
    query = "".join(map(_escape_non_ascii, split.query))
    return _reading(split.scheme, host, split.port, "".join(map(_escape_non_ascii, split.path)), query)


def by_url_standard(text: str) -> Reading:
    """The URL Standard of browsers and of Node."""
    url = ada_url.URL(text)
    port = int(url.port) if url.port else None
    return _reading(url.protocol[:-1], url.hostname.strip("[]"), port, url.pathname, url.search[1:])


def by_http_library(text: str) -> Reading:
    """The library that the gateway's clients are made with."""
    url = httpx2.URL(text)
    if not url.raw_host:
        message = "no host"
        raise ValueError(message)
    path, _, query = url.raw_path.decode().partition("?")
    return _reading(url.scheme, url.raw_host.decode(), url.port, path, query)


def by_server_library(text: str) -> Reading:
    """The parser of uvicorn and of Node's older releases."""
    url = httptools.parse_url(text.encode())
    if not url.host:
        message = "no host"
        raise ValueError(message)
    path, query = ((part or b"").decode() for part in (url.path, url.query))
    return _reading(
        url.schema.decode().lower(), url.host.decode().lower(), url.port,
        "".join(map(_escape_non_ascii, path)), "".join(map(_escape_non_ascii, query)),
    )  # fmt: skip


READERS: dict[str, Callable[[str], Reading]] = {
    "standard library": by_standard_library,
    "URL standard": by_url_standard,
    "HTTP library": by_http_library,
    "server library": by_server_library,
}


def disagreements(text: str, url: CanonicalUrl) -> dict[str, Reading]:
    """The readings of ``text`` that are not ours, of those parsers that accept it."""
    found = {}
    for name, read in READERS.items():
        try:
            reading = read(text)
        # UnicodeError is a ValueError too; a parser that refuses in whatever way reads nothing.
        except (ValueError, httpx2.InvalidURL, httptools.HttpParserInvalidURLError, KeyError):
            continue
        if reading != ours(url):
            found[name] = reading
    return found


@dataclass
class ServerView:
    """A request's head as the other end reads it."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]

    def values(self, name: bytes) -> list[bytes]:
        return [value for other, value in self.headers if other == name]


def as_the_server_reads(head: bytes) -> ServerView:
    """Parse one head; bytes that belong to another request are an error."""
    view = ServerView("", b"", [])
    seen = {"heads": 0}

    class Listener:
        def on_url(self, url: bytes) -> None:
            view.target += url

        def on_header(self, name: bytes, value: bytes) -> None:
            view.headers.append((name.lower(), value))

        def on_headers_complete(self) -> None:
            seen["heads"] += 1

    parser = httptools.HttpRequestParser(Listener())
    parser.feed_data(head)
    view.method = parser.get_method().decode()
    assert seen["heads"] == 1, "not one request"
    return view


def written_head(url: CanonicalUrl) -> bytes:
    """What our client writes for ``url``."""
    return _head(url, Outgoing("GET", url.target.encode("ascii"), [], None))


def by_the_other_end(url: CanonicalUrl) -> Reading:
    """What a server makes of the head that our client writes; the connection itself is the URL's address and port."""
    view = as_the_server_reads(written_head(url))
    (authority,) = view.values(b"host")
    host, colon, port = (
        authority.decode().rpartition(":") if not authority.endswith(b"]") else (authority.decode(), "", "")
    )
    if not colon:
        host, port = authority.decode(), ""
    path, _, query = view.target.decode().partition("?")
    return _reading(url.scheme, host.strip("[]"), int(port) if port else None, path, query)


def _escape_non_ascii(character: str) -> str:
    if character.isascii():
        return character
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
