from __future__ import annotations

import pytest

from mycelos.gateway.middleware.origins import make_origins


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:9100", "http://localhost:9100"),
        ("LOCALHOST:9100", "http://localhost:9100"),
        ("127.0.0.1:9100", "http://127.0.0.1:9100"),
        ("[::1]:9100", "http://[::1]:9100"),
    ],
)
def test_loopback_has_its_names(host: str, origin: str) -> None:
    assert make_origins("127.0.0.1", 9100, None).origin_of(host) == origin


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "localhost",
        "localhost:9101",
        "localhost:09100",
        "localhost.:9100",
        "evil.example:9100",
        "evil.example",
        "localhost:9100.evil.example",
        "localhost:9100@evil.example",
        "evil@localhost:9100",
        "127.0.0.1.nip.io:9100",
        "localhost:9100 ",
        " localhost:9100",
        "localhost:9100,evil.example",
        "2130706433:9100",
        "127.1:9100",
        "0x7f000001:9100",
        "[::ffff:127.0.0.1]:9100",
        "[::1%25lo]:9100",
        "192.168.1.7:9100",
        "localhost:\uff19\uff11\uff10\uff10",
        "localhost:9100\n",
    ],
)
def test_every_other_name_is_a_stranger(host: str | None) -> None:
    assert make_origins("127.0.0.1", 9100, None).origin_of(host) is None


def test_the_public_name_has_the_origin_that_browsers_see() -> None:
    origins = make_origins("127.0.0.1", 9100, "https://mycelos.example")
    assert origins.origin_of("mycelos.example") == "https://mycelos.example"
    assert origins.origin_of("mycelos.example:443") == "https://mycelos.example"
    assert origins.origin_of("mycelos.example:80") is None
    assert origins.origin_of("mycelos.example:9100") is None
    assert origins.origin_of("localhost:9100") == "http://localhost:9100"


def test_port_80_needs_no_port() -> None:
    assert make_origins("127.0.0.1", 80, None).origin_of("localhost") == "http://localhost"


def test_a_bind_to_one_address_knows_that_address() -> None:
    assert make_origins("192.168.1.7", 9100, None).origin_of("192.168.1.7:9100") == "http://192.168.1.7:9100"
    assert make_origins("192.168.1.7", 9100, None).origin_of("192.168.1.8:9100") is None
    assert make_origins("fd00::7", 9100, None).origin_of("[fd00::7]:9100") == "http://[fd00::7]:9100"


def test_a_bind_to_all_addresses_takes_addresses_and_no_names() -> None:
    origins = make_origins("0.0.0.0", 9100, None)
    assert origins.origin_of("192.168.1.8:9100") == "http://192.168.1.8:9100"
    assert origins.origin_of("[fd00::7]:9100") == "http://[fd00::7]:9100"
    for stranger in ("evil.example:9100", "192.168.1.8", "192.168.1.8:80", "3232235784:9100", "192.168.1.256:9100"):
        assert origins.origin_of(stranger) is None
