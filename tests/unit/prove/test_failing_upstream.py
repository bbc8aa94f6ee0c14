from __future__ import annotations

import contextlib
import socket

import pytest

from mycelos.prove.failing_upstream import FAILURES, Ending, FailingUpstream


def ask(port, data):
    found = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)
        with contextlib.suppress(OSError):  # It may have reset the connection already.
            connection.shutdown(socket.SHUT_WR)
        try:
            while piece := connection.recv(65536):
                found += piece
        except ConnectionResetError:
            return found, True
    return found, False


def request(name):
    return f"GET /bound/{name} HTTP/1.1\r\nhost: x\r\nx-key: canary\r\n\r\n".encode()


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
def test_each_failure_is_made_of_what_was_sent_and_remembered(failure):
    with FailingUpstream() as upstream:
        upstream.spellings = b"spelled"
        found, was_reset = ask(upstream.port, request(failure.name))
        assert upstream.requests == [request(failure.name)]
    is_silent = failure.answer(b"canary", b"") == b""
    # A reset may be faster than what was sent before it.
    assert (b"x-key: canary" in found) is not is_silent or was_reset
    assert was_reset is (failure.ending is Ending.RESET)
    assert (b"spelled" in found) is (failure.code is None)


def test_each_failure_has_a_name_and_words_of_its_own():
    assert len({failure.name for failure in FAILURES}) == len({failure.tried for failure in FAILURES}) == len(FAILURES)


def test_who_speaks_tls_is_answered_with_the_spellings_and_who_says_nothing_with_nothing():
    with FailingUpstream() as upstream:
        upstream.spellings = b"spelled"
        assert ask(upstream.port, b"\x16\x03\x01")[0] == b"spelled"
        assert ask(upstream.port, b"")[0] == b""
        assert upstream.requests == []
