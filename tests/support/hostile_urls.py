"""A grammar of URLs that parsers have been known to read in different ways, as hypothesis strategies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

ROWS: list[dict[str, Any]] = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "vectors" / "ssrf_dev.jsonl").read_text("utf-8").splitlines()
]

SCHEMES = [
    "http://", "https://", "HTTP://", "hTTps://", "http:/", "http:", "//", "http:///", "http:\\\\", "ftp://", "ws://",
    "\thttp://", " http://", "ht\ntp://", "http://\\",
]  # fmt: skip
USERS = [
    "", "", "", "", "user@", "a.example@", "u:p@", "@", ":@", "%40", "a%2f@", "1.1.1.1 &@", "http://x@", "a#@", "a?@",
    "a\\@", "a/@", "%00@", "good.example%2f@", "[@", "]@",
]  # fmt: skip
LABELS = [
    "a", "example", "evil", "localhost", "bücher", "BÜCHER", "faß", "Ꭰ", "straße", "βόλος", "ſ", "ｅｘａｍｐｌｅ",
    "ⓔxample", "℀", "㎏", "ﬁ", "İ", "ı", "\u212a", "xn--bcher-kva", "XN--BCHER-KVA", "xn--a", "xn--", "xn--fa-hia",
    "xn--0.pt", "xn--a-ecp", "a\u200db", "a\u200cb", "क्\u200dष", "نامه\u200cای", "a\u00adb", "\u2060", "אב", "1א",
    "א1", "a_b", "_dmarc", "-a", "a-", "a--b", "ab--c", "0", "1", "01", "0x1", "0x", "1e3", "٣", "１", "a" * 63,
    "a" * 64, "ä" * 60, "%61", "%2e", "*", "a b", "a\tb", "a\0", "é", "e\u0301", "\ufeff", "🦄", "ไทย", "中文", "・",
    "l·l", "a'b", "a!", "a$b", "a,b", "a;b", "a&b", "a=b", "a+b", "~", "{x}", "a|b", "a^b", "a`b", "<a>", '"',
]  # fmt: skip
DOTS = [
    ".", ".", ".", ".", "..", "。", "．", "｡", "%2e", ".%2e",
]  # fmt: skip
NUMBERS = [
    "127.0.0.1", "1.2.3.4", "127.1", "1.2.3", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1",
    "1.2.3.4.", "1.2.3.04", "1.2.3.256", "1.2.3.4.5", "１.2.3.4", "1.2.3.4%00", "①.2.3.4", "1。2。3。4", "08.8.8.8",
    "0.0.0.0", "999999999999", "1..2", "0x.0x.0x.0x", "1.2.3.0x4", "a.1", "a.0x1", "1.a", "0xg",
]  # fmt: skip
BRACKETED = [
    "[::1]", "[::]", "[2a00::1]", "[2A00:0:0::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::1.2.3.4]",
    "[::FFFF:1.2.3.04]", "[64:ff9b::1.2.3.4]", "[2002:7f00:1::]", "[fe80::1%25eth0]", "[fe80::1%eth0]", "[::1]a",
    "[::1", "::1]", "[[::1]]", "[1.2.3.4]", "[v1.a]", "[::1:]", "[:::1]", "[1:2:3:4:5:6:7:8]", "[1:2:3:4:5:6:7::]",
    "[1:0:0:4:5:0:0:8]", "[1:2:3:4:5:6:1.2.3.4]", "[0:0:0:0:0:0:0:1]", "[::00001]", "[]", "[a]", "[::1%00]",
    "[::\u0661]", "::1",
]  # fmt: skip
PORTS = [
    "", "", "", "", ":80", ":443", ":", ":0", ":080", ":65535", ":65536", ":99999999999", ":8080", ":-1", ":+80",
    ": 80", ":8o", ":٨٠", ":80:80", ":80@evil.example", ":80#", ":80\\", ":%38",
]  # fmt: skip
PIECES = [
    "a", "b", "repos", "", ".", "..", "...", "%2e", "%2E%2e", ".%2e", "%252e", "%2f", "%5c", "%25%32%66", "\\",
    "..\\", ";a", "..;", "..;x=1", "a;b=c", ";", "%3b", "..%3b", "..%20", "%20..", ".%20.", "%c0%ae%c0%ae",
    "%e0%80%af", "%ff", "%00", "%0d%0a", "%", "%zz", "%u002e", "．．", "／", "‥", "․․", "％2e",
    "%ef%bc%8e%ef%bc%8e", "%EF%BC%8F", "％", "é", "e\u0301", "%C3%A9", "~", "%7e", "{credential}", "%7Bcredential%7D",
    "{", "}", "@", "@evil.example", ":", ":80", "a:b@c", "*", "'", "!$&()+,=", '"', "<>", "|", "^", "`", "[", "]",
    "\u200b", "\u202e", "a b", "\t", "\n", "\u2028", "🦄", "\ud800", "%41", "%2D", "%5F", "%E2%80%A5",
]  # fmt: skip
QUERIES = [
    "", "", "", "?", "?a=1", "?a=1&b=2", "?a=1;b=2", "?@evil.example", "?/../", "??", "?a=%zz", "?a='\"", "?é=1",
    "?\u2028", "?a=b#c", "?{credential}", "?a[]=1", "?%00", "?\\", "?a=1?b=2", "?a b", "?%27", "?<>", "?|", "?^`",
]  # fmt: skip
ENDS = [
    "", "", "", "", "#", "#@evil.example", "#/..", "#?a", "\\@evil.example", "#é", "\n", " ", "\0", "#\\",
]  # fmt: skip
NOISE = [
    "\t", "\n", "\r", "\0", " ", "\\", "/", "@", "#", "?", ":", "%", "[", "]", ";", ".", "\u00ad", "\u200b", "\u3000",
    "\u00a0", "．", "/../",
]  # fmt: skip

_names = st.lists(st.sampled_from(LABELS), min_size=1, max_size=3).flatmap(
    lambda labels: st.lists(st.sampled_from(DOTS), min_size=len(labels), max_size=len(labels)).flatmap(
        lambda dots: st.sampled_from(["", "", "", "", "."]).map(
            lambda end: (
                "".join(part for pair in zip(labels, dots, strict=True) for part in pair)[: -len(dots[-1])] + end
            )
        )
    )
)
_letters = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn", "Co"]), min_size=1, max_size=4)
hosts = st.one_of(
    _names, st.sampled_from(NUMBERS), st.sampled_from(BRACKETED), _letters.map(lambda text: f"{text}.example")
)
paths = st.lists(st.sampled_from(PIECES), max_size=5).map(lambda pieces: "".join(f"/{piece}" for piece in pieces))
queries = st.sampled_from(QUERIES)


@st.composite
def hostile_urls(draw: st.DrawFn) -> str:
    """One URL of the grammar, a row of the development set, or either with something put into it."""
    if draw(st.integers(0, 9)) == 0:
        text: str = draw(st.sampled_from(ROWS))["url"]
    else:
        scheme = draw(st.sampled_from([*SCHEMES[:4] * 8, *SCHEMES]))
        rest = [st.sampled_from(USERS), hosts, st.sampled_from(PORTS), paths, queries, st.sampled_from(ENDS)]
        text = "".join([scheme, *map(draw, rest)])
    if draw(st.integers(0, 5)) == 0:
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(st.sampled_from(NOISE)) + text[place:]
    return text
