from __future__ import annotations

import io
import json
import sys
from types import SimpleNamespace

import argon2
import pytest

from mycelos.cli import password
from mycelos.gateway.identity.passwords import check_hash

GOOD = "correct horse battery"


def give(monkeypatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False))


def at_a_terminal(monkeypatch, *answers: str) -> list[str]:
    asked: list[str] = []
    left = iter(answers)

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return next(left)

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(password.getpass, "getpass", answer)
    return asked


def test_the_line_holds_a_hash_that_the_gateway_takes_and_not_the_password(mycelos, monkeypatch) -> None:
    give(monkeypatch, GOOD.encode() + b"\n")
    code, out, err = mycelos("password", "set", "--stdin")
    name, _, quoted = out.rstrip("\n").partition("=")
    assert (code, name, out.count("\n")) == (0, "MYCELOS_PASSWORD_HASH", 1)
    assert quoted.startswith("'$argon2id$")
    assert quoted.endswith("'")
    hashed = check_hash(quoted.strip("'"))
    assert argon2.PasswordHasher().verify(hashed, GOOD)
    assert argon2.extract_parameters(hashed).memory_cost == 65536
    assert ".env" in err
    assert GOOD not in out + err


def test_a_terminal_is_asked_twice_without_echo(mycelos, monkeypatch) -> None:
    asked = at_a_terminal(monkeypatch, GOOD, GOOD)
    code, out, _ = mycelos("password", "set", "--json")
    assert (code, len(asked)) == (0, 2)
    assert argon2.PasswordHasher().verify(json.loads(out)["MYCELOS_PASSWORD_HASH"], GOOD)


def test_two_different_answers_are_refused(mycelos, monkeypatch) -> None:
    at_a_terminal(monkeypatch, GOOD, GOOD + "!")
    code, out, err = mycelos("password", "set")
    assert (code, out) == (2, "")
    assert "not the same" in err


def test_without_a_terminal_the_other_way_is_named(mycelos, monkeypatch) -> None:
    give(monkeypatch, GOOD.encode())
    code, out, err = mycelos("password", "set")
    assert (code, out) == (2, "")
    assert "--stdin" in err


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "at least 8"),
        (b"seven77\n", "at least 8"),
        (b"x" * 1025, "1024 bytes"),
        (b"correct\thorse", "control character"),
        (b"correct horse\nbattery\n", "control character"),
        (b"correct\x00horse", "control character"),
        (b"correct\xffhorse", "UTF-8"),
    ],
)
def test_what_cannot_be_a_password_is_refused_without_showing_it(mycelos, monkeypatch, data: bytes, text: str) -> None:
    give(monkeypatch, data)
    code, out, err = mycelos("password", "set", "--stdin")
    assert (code, out) == (2, "")
    assert text in err
    assert "horse" not in err


@pytest.mark.parametrize("good", ["eight888", "x" * 1024])
def test_the_limits_themselves_are_good(mycelos, monkeypatch, good: str) -> None:
    give(monkeypatch, good.encode())
    assert mycelos("password", "set", "--stdin")[0] == 0
