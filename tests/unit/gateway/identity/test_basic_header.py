from __future__ import annotations

import base64

import pytest

from mycelos.gateway.identity.basic_header import MAXIMUM_PASSWORD_BYTES, parse_basic


def header(text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    return "Basic " + base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("value", "password"),
    [
        (header("owner:correct horse"), "correct horse"),
        (header("anybody:with:colons"), "with:colons"),
        (header(":no user"), "no user"),
        (header("owner:pässwörd"), "pässwörd"),
        ("bAsIc " + header("u:p")[6:], "p"),
        (header("u:" + "x" * MAXIMUM_PASSWORD_BYTES), "x" * MAXIMUM_PASSWORD_BYTES),
    ],
)
def test_a_password_is_read(value: str, password: str) -> None:
    assert parse_basic(value) == password


def test_two_ways_to_write_one_letter_are_one_password() -> None:
    assert parse_basic(header("u:e\u0301")) == parse_basic(header("u:\u00e9")) == "\u00e9"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic dTpw\n",
        "Basic dTpwx",
        "Bearer dTpw",
        "Basicdtpw",
        header("no colon"),
        header("owner:"),
        header("owner:with\x00nul"),
        header("owner:with\nnewline"),
        header(b"owner:\xff\xfe"),
        header("u:" + "x" * (MAXIMUM_PASSWORD_BYTES + 1)),
        "Basic " + "QUFB" * 100_000,
        "Basic ÄÖÜ=",
    ],
)
def test_what_is_malformed_is_no_password(value: str) -> None:
    assert parse_basic(value) is None
