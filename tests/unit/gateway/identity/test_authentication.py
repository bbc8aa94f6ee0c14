"""Attacks on the sign-in, each against the served application."""

from __future__ import annotations

import argon2
import pytest

pytestmark = pytest.mark.anyio

PASSWORD = "correct hörse"
HASH = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
CLOSED = ["/", "/chat", "/agents", "/connections", "/audit", "/settings", "/openapi.json", "/api/status", "/api/chats"]


async def test_the_open_addresses_are_few(page) -> None:
    client = page.client()
    for path in ("/healthz", "/login", "/static/app.css", "/static/app.js"):
        assert (await client.get(path)).status_code == 200
    assert (await client.get("/healthz")).json() == {"status": "ok"}


@pytest.mark.parametrize("path", CLOSED)
async def test_nobody_gets_past_without_a_sign_in(page, path: str) -> None:
    answer = await page.client().get(path)
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthorized"
    assert "mycelos open" in answer.json()["next"]
    assert "www-authenticate" not in answer.headers


async def test_every_route_but_the_open_ones_is_closed(page) -> None:
    client = page.client(headers={"Origin": page.url})
    seen = 0
    for route in _all_routes(page.app):
        for method in route.methods - {"HEAD"}:
            if route.path in {"/healthz", "/login", "/static/{name}"}:
                continue
            seen += 1
            answer = await client.request(method, route.path.replace("{", "").replace("}", ""))
            assert answer.status_code == 401, (method, route.path)
    assert seen > 25


def _all_routes(app):
    from fastapi.routing import APIRoute, iter_route_contexts

    return [context.route for context in iter_route_contexts(app.routes) if isinstance(context.route, APIRoute)]


async def test_a_browser_is_led_to_the_sign_in_page(page) -> None:
    answer = await page.client().get("/chat", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


async def test_the_command_lines_token_opens_the_api(page) -> None:
    answer = await page.command_line().get("/api/status")
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "value", ["Bearer", "Bearer  x", "Bearer x", "Bearer \xfc", "Bearer command-line-token", "Digest x", "x"]
)
async def test_another_token_opens_nothing(page, value: str) -> None:
    answer = await page.client().get("/api/status", headers={"Authorization": value.encode("latin-1")})
    assert answer.status_code == 401
    if value.startswith("Bearer"):
        assert page.proxy.names() == ["auth.login_failed"]


async def test_two_authorization_headers_are_refused(page) -> None:
    client = page.client()
    from gateway_page import TOKEN

    headers = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer x")]
    assert (await client.get("/api/status", headers=headers)).status_code == 400


async def test_a_flood_of_wrong_tokens_does_not_flood_the_ledger_nor_lock_the_owner_out(page) -> None:
    client = page.client(headers={"Authorization": "Bearer guess"})
    for _ in range(30):
        assert (await client.get("/api/status")).status_code == 401
    assert page.proxy.names() == ["auth.login_failed"] * 5
    assert (await page.command_line().get("/api/status")).status_code == 200


async def test_without_a_password_basic_opens_nothing(page) -> None:
    assert (await page.client(auth=("owner", "anything")).get("/api/status")).status_code == 401


async def test_the_password_opens_and_its_check_is_recorded_once(serve) -> None:
    async with serve(password_hash=HASH) as page:
        client = page.client(auth=("anybody", PASSWORD.encode()))
        for _ in range(3):
            assert (await client.get("/api/status")).status_code == 200
        assert page.proxy.names() == ["auth.login"]


async def test_with_a_password_browsers_are_asked_for_it(serve) -> None:
    async with serve(password_hash=HASH) as page:
        answer = await page.client().get("/chat", headers={"Accept": "text/html"})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Basic realm="Mycelos", charset="UTF-8"'


async def test_a_browser_that_gave_the_password_gets_a_session_for_its_forms(serve) -> None:
    async with serve(password_hash=HASH) as page:
        client = page.client(auth=("owner", PASSWORD.encode()), headers={"Accept": "text/html", "Origin": page.url})
        assert "mycelos_session" in (await client.get("/agents")).headers["set-cookie"]
        # The session is used from now on, and no second one is opened.
        second = await client.get("/agents")
        assert "set-cookie" not in second.headers
        token = second.text.partition('name="form_token" value="')[2].partition('"')[0]
        form = {"form_token": token, "capability": "github.read"}
        assert (await client.post("/agents/assistant/grant", data=form)).status_code == 303


async def test_each_session_that_a_password_opens_is_on_record_and_none_is_open_that_is_not(serve) -> None:
    async with serve(password_hash=HASH) as page:
        for _ in range(2):
            browser = page.client(auth=("owner", PASSWORD.encode()), headers={"Accept": "text/html"})
            await browser.get("/agents")
        assert page.proxy.names() == ["auth.login", "auth.login"]
        assert len({request.subject for request in page.proxy.appended} - {""}) == 2
        page.proxy.is_down = True
        browser = page.client(auth=("owner", PASSWORD.encode()), headers={"Accept": "text/html"})
        assert (await browser.get("/agents")).status_code == 503
        assert await page.store.sessions.delete_all() == 2


async def test_guessing_is_locked_and_recorded_and_the_owners_other_ways_stay_open(serve) -> None:
    async with serve(password_hash=HASH) as page:
        signed_in = await page.signed_in()
        for number in range(5):
            answer = await page.client(auth=("owner", f"guess {number}")).get("/api/status")
            assert answer.status_code == 401
        locked = await page.client(auth=("owner", PASSWORD.encode())).get("/api/status")
        assert (locked.status_code, locked.json()["code"]) == (429, "locked_out")
        assert 1 <= int(locked.headers["retry-after"]) <= 31
        names = page.proxy.names()
        assert names[-2:] == ["auth.login_failed", "auth.locked_out"]
        assert names.count("auth.login_failed") == 5
        assert (await signed_in.get("/api/status")).status_code == 200
        assert (await page.command_line().get("/api/status")).status_code == 200
        assert (await page.signed_in()) is not None


async def test_a_known_password_does_not_help_guessing_while_locked(serve) -> None:
    async with serve(password_hash=HASH) as page:
        assert (await page.client(auth=("owner", PASSWORD.encode())).get("/api/status")).status_code == 200
        for number in range(5):
            await page.client(auth=("owner", f"guess {number}")).get("/api/status")
        assert (await page.client(auth=("owner", PASSWORD.encode())).get("/api/status")).status_code == 429


@pytest.mark.parametrize("value", ["Basic", "Basic !!!", "Basic dTo=", "Basic " + "QUFB" * 5000])
async def test_a_malformed_header_is_refused_and_counts(serve, value: str) -> None:
    async with serve(password_hash=HASH) as page:
        answer = await page.client(headers={"Authorization": value}).get("/api/status")
        assert answer.status_code == 401
        assert page.proxy.names() == ["auth.login_failed"]
        assert page.proxy.appended[0].reason == "malformed"


async def test_nobody_signs_in_while_the_ledger_is_down(serve) -> None:
    async with serve(password_hash=HASH) as page:
        page.proxy.is_down = True
        answer = await page.client(auth=("owner", PASSWORD.encode())).get("/api/status")
        assert (answer.status_code, answer.json()["code"]) == (503, "audit_unavailable")


async def test_no_password_stands_in_the_ledger_or_in_an_answer(serve) -> None:
    async with serve(password_hash=HASH) as page:
        answer = await page.client(auth=("owner", "Tr0ub4dor&3")).get("/api/status")
        assert "Tr0ub4dor" not in answer.text + repr(page.proxy.appended)


async def test_without_the_lock_guessing_goes_on(serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes the wall away: the same attack then finds the password."""
    from mycelos.gateway.identity.lockout import Lockout

    monkeypatch.setattr(Lockout, "seconds_left", lambda self, client: 0.0)
    async with serve(password_hash=HASH) as page:
        for guess in [*(f"guess {number}" for number in range(9)), PASSWORD]:
            answer = await page.client(auth=("owner", guess.encode())).get("/api/status")
        assert answer.status_code == 200


def test_an_empty_token_for_the_command_line_stops_the_start() -> None:
    from mycelos.gateway.identity.authentication import Authentication

    with pytest.raises(ValueError, match="empty"):
        Authentication(
            None, sessions=None, record=None, lockout=None, command_line_token="", password=None, trusted_proxies=()
        )
