"""The stand-in as a process: three listeners on loopback, the token from standard input."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest

TOKEN = "token-of-the-stand-in"


def fetch(address: str, path: str, token: str | None = None) -> bytes:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"http://{address}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=20) as response:
        data: bytes = response.read()
    return data


def test_all_three_answer(outside: dict[str, str]) -> None:
    assert b"scripted" in fetch(outside["model"], "/v1/models")
    assert b"moss" in fetch(outside["api"], "/repos/a/b/issues", TOKEN)
    assert b"thanks" in fetch(outside["thief"], "/collect")


def test_the_api_knows_the_token_from_standard_input_only(outside: dict[str, str]) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        fetch(outside["api"], "/repos/a/b/issues", "another")


def test_each_listens_on_loopback(outside: dict[str, str]) -> None:
    assert all(address.startswith("127.0.0.1:") for address in outside.values())
