from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.responses import Response

from mycelos.gateway.identity.sessions import LIFETIME, Sessions, clear_cookie, cookie_name, cookie_values, set_cookie
from mycelos.gateway.store.store import Store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "gateway.sqlite")
    yield opened
    await opened.close()


@pytest.fixture
def sessions(store: Store) -> Sessions:
    return Sessions(store.sessions, lambda: datetime.now(UTC))


async def test_a_session_is_found_by_its_token_until_it_ends(sessions: Sessions) -> None:
    opened = await sessions.open("link")
    found = await sessions.find([opened.token])
    assert found is not None
    assert found.session_id == opened.session_id
    assert await sessions.end(opened.session_id)
    assert await sessions.find([opened.token]) is None
    assert not await sessions.end(opened.session_id)


async def test_the_token_is_stored_nowhere(sessions: Sessions, tmp_path: Path) -> None:
    opened = await sessions.open("link")
    assert opened.token.encode() not in everything_in(tmp_path)
    assert opened.token not in repr(opened)


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_a_session_expires(store: Store) -> None:
    old = Sessions(store.sessions, lambda: datetime.now(UTC) - LIFETIME - timedelta(seconds=1))
    assert await old.find([(await old.open("link")).token]) is None


async def test_a_planted_cookie_beside_it_does_not_hide_the_session(sessions: Sessions) -> None:
    opened = await sessions.open("link")
    assert await sessions.find(["x" * 43, "short", "ü" * 43, opened.token]) is not None


@pytest.mark.parametrize("token", ["", "x" * 43, "x" * 100_000])
async def test_a_guess_is_nobody(sessions: Sessions, token: str) -> None:
    await sessions.open("link")
    assert await sessions.find([token]) is None


def test_all_cookies_of_the_name_are_read_up_to_four() -> None:
    headers = [
        (b"cookie", b'a=1; mycelos_session=one; xmycelos_session=no; mycelos_session="two"'),
        (b"cookie", b"mycelos_session=three"),
    ]
    assert cookie_values({"headers": headers}, "http://localhost:9100") == ["one", "two", "three"]
    many = [(b"cookie", b"; ".join([b"mycelos_session=x"] * 1000))]
    assert len(cookie_values({"headers": many}, "http://localhost:9100")) == 4


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites() -> None:
    response = Response()
    set_cookie(response, "http://localhost:9100", "token")
    header = response.headers["set-cookie"].lower()
    assert header.startswith("mycelos_session=token;")
    for part in ("httponly", "samesite=strict", "path=/", "max-age=1209600"):
        assert part in header
    assert "domain" not in header


def test_behind_tls_the_cookie_is_bound_to_the_host_and_to_tls() -> None:
    response = Response()
    set_cookie(response, "https://mycelos.example", "token")
    header = response.headers["set-cookie"]
    assert header.startswith("__Host-mycelos_session=token;")
    assert "Secure" in header
    assert cookie_name("http://localhost:9100") == "mycelos_session"


def test_clearing_takes_the_same_cookie_away() -> None:
    response = Response()
    clear_cookie(response, "https://mycelos.example")
    assert response.headers["set-cookie"].startswith('__Host-mycelos_session="";')
    assert "Max-Age=0" in response.headers["set-cookie"]


def test_cookies_that_another_port_planted_with_longer_paths_do_not_hide_ours() -> None:
    # Browsers send longer paths first; ours is at the root.
    headers = [(b"cookie", b"mycelos_session=planted; " * 9 + b"mycelos_session=ours")]
    assert "ours" in cookie_values({"headers": headers}, "http://localhost:9100")
