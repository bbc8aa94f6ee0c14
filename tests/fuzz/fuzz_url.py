"""The URL parser: refuses by its own error alone; what it accepts every other parser reads in the same way."""

from __future__ import annotations

import re

from hostile_urls import BRACKETED, LABELS, NUMBERS, PIECES, QUERIES, ROWS, SCHEMES, USERS
from url_readings import as_the_server_reads, by_the_other_end, disagreements, ours, written_head

from mycelos.proxy.egress import url as url_module
from mycelos.proxy.egress.url import UrlError, parse_url

# The first byte says what is put before the text.
BEFORE = ("", "http://", "https://a.example/", "https://a.example:", "http://[", "https://a.example/?")
SEEDS = [
    *(b"\x00" + row["url"].encode() for row in ROWS[::4]),
    *(b"\x01" + text.encode("utf-8", "surrogatepass") + b"/" for text in [*LABELS, *NUMBERS, *BRACKETED]),
    *(b"\x02" + text.encode("utf-8", "surrogatepass") + b"/x" for text in PIECES),
]
WORDS = [
    text.encode("utf-8", "surrogatepass")
    for text in (*SCHEMES, *filter(None, USERS), *LABELS, *NUMBERS, *PIECES, *QUERIES)
    if text and len(text) < 60
]


def one_input(data: bytes) -> None:
    text = BEFORE[data[0] % len(BEFORE)] + data[1:].decode("utf-8", "surrogateescape") if data else ""
    try:
        url = parse_url(text)
    except UrlError:
        return
    assert parse_url(str(url)) == url, "the canonical form is not stable"
    found = disagreements(text, url)
    assert not found, f"read in another way: {found}"
    assert by_the_other_end(url) == ours(url), "the other end reads another URL"
    head = written_head(url)
    assert not any(character in head[:-4].replace(b"\r\n", b"", 1) for character in b"\r\n\0")
    view = as_the_server_reads(head)
    assert view.target == url.target.encode()
    assert view.headers == [(b"host", url.authority.encode())]


def plant() -> None:
    """Backslashes pass: to the URL Standard they are slashes."""
    url_module._FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\ud800-\udfff\u2028\u2029\ufeff]")
    url_module._SEGMENT = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@\\-]|%[0-9A-F]{2})*\Z", re.ASCII)
    url_module._STRUCTURE = re.compile(r"[/]|\A\.+(?:;|\Z)")
