from __future__ import annotations

from typing import Any

import pytest

from mycelos.serving.request_head import HeadError, check_head

HOST = (b"host", b"x")


def check(**changes: Any) -> None:
    parts = {"method": b"GET", "target": b"/", "version": "1.1", "headers": [HOST]} | changes
    check_head(**parts)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"method": b"PATCH", "target": b"/a%20b?c=d//", "version": "1.0"},
        {"headers": [(b"host", b"name.example:8443"), (b"content-length", b"0")]},
        {"headers": [(b"host", b"[::1]:80"), (b"transfer-encoding", b"Chunked")]},
        {"headers": [(b"host", b"a_b"), (b"content-length", b"9" * 18)]},
    ],
)
def test_a_head_that_is_read_in_one_way_passes(changes: dict[str, Any]) -> None:
    check(**changes)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"version": "0.9"}, "HTTP/1.1"),
        ({"version": "2.0"}, "HTTP/1.1"),
        ({"method": b"CONNECT"}, "method"),
        ({"method": b"SOURCE"}, "method"),
        ({"headers": []}, "Host"),
        ({"headers": [HOST, HOST]}, "Host"),
        ({"headers": [(b"host", b"")]}, "Host"),
        ({"headers": [(b"host", b"a@b")]}, "Host"),
        ({"headers": [(b"host", b"x\n")]}, "Host"),
        ({"target": b"*"}, "origin form"),
        ({"target": b"http://x/"}, "origin form"),
        ({"target": b"/a#b"}, "origin form"),
        ({"target": b"/a\\b"}, "origin form"),
        ({"target": b"/\xff"}, "origin form"),
        ({"target": b"/a\n"}, "origin form"),
        ({"headers": [HOST, (b"content-length", b"1"), (b"content-length", b"1")]}, "one length"),
        ({"headers": [HOST, (b"content-length", b"1"), (b"transfer-encoding", b"chunked")]}, "one length"),
        ({"headers": [HOST, (b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")]}, "one length"),
        ({"headers": [HOST, (b"content-length", b"+1")]}, "digits"),
        ({"headers": [HOST, (b"content-length", b"9" * 19)]}, "digits"),
        ({"headers": [HOST, (b"transfer-encoding", b"gzip, chunked")]}, "chunks"),
        ({"version": "1.0", "headers": [HOST, (b"transfer-encoding", b"chunked")]}, "chunks"),
    ],
)
def test_a_head_that_two_readers_could_read_differently_is_refused(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(HeadError, match=rule):
        check(**changes)
