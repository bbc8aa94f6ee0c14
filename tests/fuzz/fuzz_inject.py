"""The injector and the writer of heads: whatever secret, template and headers, one request to the same host."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from fields import fields, join
from url_readings import as_the_server_reads

from mycelos.proxy.egress import headers, http_client
from mycelos.proxy.egress import inject as inject_module
from mycelos.proxy.egress.http_client import Outgoing
from mycelos.proxy.egress.inject import inject, refuse_stray_placeholder
from mycelos.proxy.egress.url import CanonicalUrl, UrlError, parse_url
from mycelos.wire.binding import Basic, Bearer, Binding, Header, Injection, Method, ResponseRule, UrlPath
from mycelos.wire.problems import Refusal

SEEDS = [
    join(b"\x00", b"", b"s3cret-token", b"v1/things?x=1", b"accept", b"a/b"),
    join(b"\x01", b"user", b"two words", b"v1", b"user-agent", b"x"),
    join(b"\x02", b"X-Api-Key", b"s3cret", b"", b"x-api-key", b"mine"),
    join(b"\x03", b"", b"123:AA-bb", b"bot{credential}/getMe?x", b"host", b"evil"),
    join(b"\x03", b"", b"a/../b", b"{credential}", b"", b""),
    join(b"\x00", b"", b"a\r\nHost: evil", b"", b"accept", b"x\r\nhost: evil"),
]
WORDS = [
    b"\xff\xff", b"{credential}", b"\r\n", b"\r\nHost: evil\r\n", b"\0", b"../", b"%2e", b"%0d%0a", b"Host", b"X-Key",
    b"accept", b"content-length", b"Transfer-Encoding", b"?", b"#", b"\\", b"//", b"@", b":80",
]  # fmt: skip


def injection_of(kind: int, name: bytes) -> Injection:
    text = name.decode("latin-1")
    return (Bearer(), Basic(text), Header(text), UrlPath())[kind % 4]


def one_input(data: bytes) -> None:
    kind, name, secret, path, header, value = fields(data, 6)
    try:
        injection = injection_of(kind[0] if kind else 0, name)
        Binding(
            1,
            "https",
            "api.example.com",
            443,
            (Method.GET,),
            (),
            "any",
            injection,
            ResponseRule("drop", "keep"),
            False,
            None,
        )
        text = "https://api.example.com/" + path.decode("utf-8", "surrogateescape")
        url = parse_url(text)
        # As `decide.parse` asks before anything is injected.
        given = [(header.decode("latin-1"), value.decode("latin-1"))]
        refuse_stray_placeholder(text, given, None, in_path=url.has_placeholder)
        target, injected = inject(injection, secret, url)
        kept = headers.outgoing([(header, value)], with_credential=True)
        names = {name for name, _ in injected}
        sent = [(name, value) for name, value in kept if name not in names] + injected
        head = http_client._head(url, Outgoing("GET", target, sent, None))
    except (UrlError, ValueError, Refusal):
        # ValueError: no binding has this form.
        return
    check(url, injection, secret, sent, head)


def check(url: CanonicalUrl, injection: Injection, secret: bytes, sent: list[tuple[bytes, bytes]], head: bytes) -> None:
    view = as_the_server_reads(head)
    assert view.method == "GET"
    assert view.headers == [(b"host", b"api.example.com"), *sent], "another header than was sent"
    assert head.count(b"\r\n") == len(sent) + 3, "a line of somebody else"
    assert not any(character in head.replace(b"\r\n", b"") for character in b"\r\n\0")
    assert b"{credential}" not in head.replace(secret, b""), "a placeholder went out"
    if not isinstance(injection, UrlPath):
        assert view.target == url.target.encode()
        assert len(view.values(b"authorization")) <= 1
        return
    path, question_mark, query = view.target.partition(b"?")
    assert (query.decode() if question_mark else None) == url.query
    segments = path.split(b"/")[1:]
    assert len(segments) == len(url.segments), "the secret has changed the path"
    for segment, template in zip(segments, url.segments, strict=True):
        before, placeholder, after = template.partition("{credential}")
        assert unquote_to_bytes(segment) == unquote_to_bytes(before) + secret * bool(placeholder) + unquote_to_bytes(
            after
        )
        assert not re.search(rb"(\A|[/\\])\.{1,2}([/\\]|\Z)", unquote_to_bytes(segment)), "the secret is a dot segment"


def plant() -> None:
    """A line break in a secret passes, and nobody looks a last time."""
    inject_module.check_injectable = lambda _injection, _secret: None

    def careless(url: CanonicalUrl, request: Outgoing) -> bytes:
        lines = [b"%s %s HTTP/1.1" % (request.method.encode(), request.target), b"host: " + url.authority.encode()]
        return b"\r\n".join([*lines, *(name + b": " + value for name, value in request.headers), b"", b""])

    http_client._head = careless
