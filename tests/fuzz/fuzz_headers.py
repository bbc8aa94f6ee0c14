"""The header filter: what goes out signs in nowhere, frames and routes nothing, is a line each; what comes back too."""

from __future__ import annotations

import re

from fields import SEPARATOR, fields, join
from url_readings import as_the_server_reads

from mycelos.proxy.egress import headers
from mycelos.proxy.egress.headers import WITH_CREDENTIAL, outgoing, returned
from mycelos.proxy.egress.http_client import Outgoing, _head
from mycelos.proxy.egress.url import parse_url
from mycelos.wire.problems import Refusal

URL = parse_url("https://api.example.com/")
SUSPECT = [
    b"Authorization", b"Cookie", b"X-Api-Key", b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection",
    b"Upgrade", b"TE", b"Expect", b"Range", b"If-Range", b"Accept-Encoding", b"X-Forwarded-Host", b"X_Forwarded_Host",
    b"Forwarded", b"X-Original-URL", b"X-HTTP-Method-Override", b"Proxy-Authorization", b"Mycelos-Run", b"Trailer",
    b"Via", b"X-Auth-Token", b"Keep-Alive",
]  # fmt: skip
SEEDS = [
    *(join(b"\x00", name, b"x") for name in SUSPECT),
    join(b"\x01", b"Connection", b"close, X-Hop", b"X-Hop", b"1", b"Accept", b"a\tb"),
    join(
        b"\x03",
        b"Location",
        b"https://a.example/x?a=1;b=2#c",
        b"Link",
        b'<https://a.example/?a>; rel="next"',
        b"Set-Cookie",
        b"a",
    ),
]
WORDS = [
    SEPARATOR, b"\r\n", b"\n", b"\0", b":", b" ", b"\t", b"_", b"?", b"#", b"<", b">", b"; ", b",", b"Location",
    b"Refresh", *SUSPECT,
]  # fmt: skip
FORBIDDEN = re.compile(
    rb"(authorization|cookie2?|x-api-key|host|content-length|transfer-encoding|connection|upgrade|te|expect|range|if-range"
    rb"|x-forwarded-.*|forwarded|x-original-.*|x-rewrite-.*|x-http-method(-override)?|x-method-override|proxy-.*|mycelos-.*|trailer"
    rb"|via|keep-alive|.*-token|.*api-?key)\Z"
)  # fmt: skip


def one_input(data: bytes) -> None:
    flags, rest = fields(data, 2)
    flag = flags[0] if flags else 0
    values = rest.split(SEPARATOR)
    given = list(zip(values[::2], values[1::2], strict=False))
    check_outgoing(given, with_credential=bool(flag & 1))
    check_returned(given, drop=bool(flag & 2))


def check_outgoing(given: list[tuple[bytes, bytes]], *, with_credential: bool) -> None:
    try:
        kept = outgoing(given, with_credential=with_credential)
    except Refusal:
        return
    for name, value in kept:
        assert re.fullmatch(rb"[!#$%&'*+.^_`|~0-9a-z-]+", name), "no lower-case token"
        assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value), "a control character"
        assert not FORBIDDEN.match(name.replace(b"_", b"-")), "a header that signs in, frames or routes"
        assert not with_credential or name in WITH_CREDENTIAL | {b"user-agent", b"accept-encoding"}
    assert [value for name, value in kept if name == b"accept-encoding"] == [b"identity"]
    hop = {
        token.strip().lower() for name, value in given if name.lower() == b"connection" for token in value.split(b",")
    }
    ours = {b"user-agent", b"accept-encoding"}
    assert not {name for name, _ in kept} & hop - ours, "a header of one connection"
    view = as_the_server_reads(_head(URL, Outgoing("GET", b"/", kept, None)))
    assert view.headers == [(b"host", b"api.example.com"), *kept], "the other end sees other headers"


def check_returned(given: list[tuple[bytes, bytes]], *, drop: bool) -> None:
    kept = returned(given, set_cookie="drop" if drop else "keep", location_query="redact" if drop else "keep")
    names = {name for name, _ in kept}
    assert not names & {b"content-length", b"transfer-encoding", b"connection", b"content-encoding", b"upgrade"}
    assert not any(name.startswith(b"mycelos-") for name in names)
    if drop:
        assert b"set-cookie" not in names
        for name, value in kept:
            if name in {b"location", b"content-location", b"refresh"}:
                assert not re.search(rb"[?#]", value), "a query came back"
            if name == b"link":
                assert not re.search(rb"<[^>]*[?#]", value), "a query came back"
    else:
        assert len(names) <= len({name.lower() for name, _ in given})


def plant() -> None:
    """Values are not looked at."""
    headers._VALUE = re.compile(rb"(?s).*\Z")
