import json
import socket
from html import unescape

import pytest
from vault_page import WAIT
from vault_page import ServedVaultPage as Page

from mycelos.operator import browser_connection
from mycelos.operator.browser_connection import BrowserConnection
from mycelos.serving.guarded_protocol import DRAIN_LIMIT, MAXIMUM_HEAD, GuardedProtocol

LIMIT = BrowserConnection.maximum_head


def planted(count: int) -> str:
    """Cookies of another port, each as large as browsers keep one."""
    return "; ".join(f"b{number}={'A' * 3900}" for number in range(count))


def connected(page: Page) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(page.base.rsplit(":", 1)[1])), WAIT)


def asked(page: Page, head: bytes) -> bytes:
    """All that is answered to a head, which is sent whole before anything is read, as browsers do."""
    with connected(page) as raw:
        raw.sendall(head)
        raw.shutdown(socket.SHUT_WR)
        with raw.makefile("rb") as stream:
            return stream.read()


def head_with(page: Page, cookies: str) -> bytes:
    host = page.base.removeprefix("http://")
    return f"GET /login HTTP/1.1\r\nHost: {host}\r\nCookie: {cookies}\r\nConnection: close\r\n\r\n".encode()


def test_a_dozen_cookies_of_another_port_keep_nobody_out(signed_in: Page) -> None:
    own = "; ".join(f"{name}={value}" for name, value in signed_in.browser.cookies.items())
    answer = signed_in.browser.get(f"{signed_in.home}/", headers={"Cookie": f"{own}; {planted(12)}"})
    assert answer.status_code == 200
    assert "No credential is stored yet." in answer.text


@pytest.mark.parametrize("count", [18, 40, 180])
def test_a_head_that_cookies_fill_is_answered_with_a_page_that_says_so(page: Page, count: int) -> None:
    head, _, body = asked(page, head_with(page, planted(count))).partition(b"\r\n\r\n")
    first, *headers = head.decode().lower().split("\r\n")
    assert first == "http/1.1 431 request header fields too large"
    for name in ("content-type: text/html; charset=utf-8", "cache-control: no-store", "x-content-type-options: nosniff",
                 "connection: close", f"content-length: {len(body)}"):  # fmt: skip
        assert name in headers
    assert any(line.startswith("content-security-policy: default-src 'none'") for line in headers)
    text = unescape(body.decode())
    for words in ("too many cookies", "Clear the cookies of this address", "private window", f"{LIMIT} bytes"):
        assert words in text
    assert body.count(b"<html") == 1


def test_a_second_request_of_one_connection_is_answered_in_the_same_way(page: Page) -> None:
    first = head_with(page, "a=b").replace(b"Connection: close\r\n", b"")
    with connected(page) as raw, raw.makefile("rb") as stream:
        raw.sendall(first)
        assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
        length = next(int(line.split(b":")[1]) for line in stream if line.lower().startswith(b"content-length"))
        while stream.readline() != b"\r\n":
            pass
        stream.read(length)
        raw.sendall(head_with(page, planted(40)))
        assert stream.readline() == b"HTTP/1.1 431 Request Header Fields Too Large\r\n"


def test_the_limit_is_exact_and_of_this_page_alone(page: Page) -> None:
    # What counts is the target, and each header with its colon, space and line end.
    counted = len(head_with(page, "")) - len(b"GET  HTTP/1.1\r\n\r\n")
    fitting = "a" * (LIMIT - counted)
    assert asked(page, head_with(page, fitting)).startswith(b"HTTP/1.1 200 ")
    assert asked(page, head_with(page, fitting + "a")).startswith(b"HTTP/1.1 431 ")
    assert GuardedProtocol.maximum_head == MAXIMUM_HEAD < LIMIT


def test_what_is_no_request_is_refused_as_everywhere(page: Page) -> None:
    head, _, body = asked(page, b"GET / HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert str(LIMIT) in json.loads(body)["next"]


def test_a_head_without_an_end_is_dropped_up_to_a_limit(page: Page) -> None:
    with connected(page) as raw:
        raw.sendall(head_with(page, "")[:-24])
        sent = 0
        with pytest.raises(ConnectionError):
            while sent < 100 * DRAIN_LIMIT:
                sent += raw.send(b"a" * 65536)
        assert sent > LIMIT


def test_who_reads_nothing_and_sends_nothing_more_is_left_after_a_while(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser_connection, "CLOSE_SECONDS", 0.05)
    with connected(page) as raw:
        raw.sendall(head_with(page, planted(40)))
        while raw.recv(65536):
            pass
        # Both directions are over: what is sent now finds nobody.
        with pytest.raises(ConnectionError):
            while True:
                raw.send(b"a")
