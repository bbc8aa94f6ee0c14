from __future__ import annotations

from typing import Any

import pytest

from mycelos.gateway.identity.client_address import client_address


def scope(peer: str | None, *forwarded: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return {"client": (peer, 1234) if peer else None, "headers": headers}


def test_the_peer_counts_where_no_proxy_is_trusted() -> None:
    assert client_address(scope("203.0.113.9", "198.51.100.1"), ()) == "203.0.113.9"


def test_a_stranger_cannot_take_another_address_by_a_header() -> None:
    assert client_address(scope("203.0.113.9", "127.0.0.1"), ("10.0.0.0/8",)) == "203.0.113.9"


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        (("198.51.100.1",), "198.51.100.1"),
        (("127.0.0.1, 198.51.100.1",), "198.51.100.1"),
        (("127.0.0.1", "198.51.100.1, 10.0.0.7"), "198.51.100.1"),
        (("nonsense",), "10.0.0.2"),
        (("198.51.100.1, nonsense",), "10.0.0.2"),
        ((), "10.0.0.2"),
    ],
)
def test_behind_a_trusted_proxy_the_first_stranger_from_the_right_counts(
    forwarded: tuple[str, ...], address: str
) -> None:
    assert client_address(scope("10.0.0.2", *forwarded), ("10.0.0.0/8",)) == address


def test_a_peer_without_an_address_has_a_name() -> None:
    assert client_address(scope(None), ("10.0.0.0/8",)) == "local"
