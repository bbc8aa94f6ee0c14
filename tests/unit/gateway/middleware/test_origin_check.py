"""What a hostile page could send, header by header."""

from __future__ import annotations

import pytest

from mycelos.gateway.middleware import origin_check

pytestmark = pytest.mark.anyio

FOREIGN = [
    {"Origin": "null"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://localhost"},
    {"Origin": "http://localhost:1"},
    {"Origin": "https://localhost:{port}"},
    {"Origin": "http://127.0.0.1:{port}"},
    {"Origin": "http://localhost:{port}.evil.example"},
    {"Origin": "http://LOCALHOST:{port}"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "anything"},
    {"Origin": "http://localhost:{port}", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
    {},
]


def filled(page, headers: dict[str, str]) -> dict[str, str]:
    return {name: value.replace("{port}", str(page.port)) for name, value in headers.items()}


@pytest.mark.parametrize("headers", FOREIGN)
async def test_a_foreign_page_cannot_act_with_the_owners_cookie(page, headers: dict[str, str]) -> None:
    signed_in = await page.signed_in()
    hostile = page.client(cookies=signed_in.cookies, headers=filled(page, headers))
    before = page.proxy.names()
    answer = await hostile.post("/api/chats", json={"agent": "assistant"})
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")
    assert (await hostile.delete("/api/agents/assistant")).status_code == 403
    assert (await hostile.post("/logout", data={"form_token": "x"})).status_code == 403
    assert set(page.proxy.names()[len(before) :]) == {"auth.refused"}
    assert await page.store.chats.all() == []


@pytest.mark.parametrize("headers", [{"Origin": "http://localhost:{port}"}, {"Sec-Fetch-Site": "same-origin"}])
async def test_our_own_page_may_act(page, headers: dict[str, str]) -> None:
    signed_in = await page.signed_in()
    own = page.client(cookies=signed_in.cookies, headers=filled(page, headers))
    assert (await own.post("/api/chats", json={})).status_code == 201


@pytest.mark.parametrize("headers", FOREIGN)
async def test_a_foreign_page_cannot_sign_the_browser_in(page, headers: dict[str, str]) -> None:
    code = (await page.link()).partition("code=")[2]
    answer = await page.client(headers=filled(page, headers)).post("/login", data={"code": code})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    ],
)
async def test_a_foreign_page_cannot_read_a_run(page, headers: dict[str, str]) -> None:
    signed_in = await page.signed_in()
    _, run = await page.begin_run()
    await page.runs.say(run, "done", text="private", code="answered")
    answer = await page.client(cookies=signed_in.cookies, headers=headers).get(f"/api/runs/{run}/events")
    assert answer.status_code == 403
    assert "private" not in answer.text
    assert "access-control-allow-origin" not in answer.headers


async def test_a_link_on_another_site_may_lead_here_but_a_frame_may_not(page) -> None:
    signed_in = await page.signed_in()
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    client = page.client(cookies=signed_in.cookies)
    assert (await client.get("/chat", headers=headers)).status_code == 200
    assert (await client.get("/chat", headers={**headers, "Sec-Fetch-Dest": "iframe"})).status_code == 403


async def test_a_preflight_gets_no_leave(page) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = await page.client().request("OPTIONS", "/login", headers=headers)
    assert answer.status_code == 403
    assert not any(name.startswith("access-control-") for name in answer.headers)


async def test_the_command_line_needs_no_origin_but_a_browser_that_has_its_token_does(page) -> None:
    assert (await page.command_line().post("/api/chats", json={})).status_code == 201
    foreign = {"Origin": "https://evil.example"}
    assert (await page.command_line().post("/api/chats", json={}, headers=foreign)).status_code == 403


async def test_without_the_check_the_foreign_page_acts(page, monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes the wall away: the same request with the owner's cookie opens a chat."""
    signed_in = await page.signed_in()
    monkeypatch.setattr(origin_check, "_check", lambda scope: None)
    hostile = page.client(cookies=signed_in.cookies, headers={"Origin": "https://evil.example"})
    assert (await hostile.post("/api/chats", json={"agent": "assistant"})).status_code == 201
