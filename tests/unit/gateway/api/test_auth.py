from __future__ import annotations

import pytest

pytestmark = pytest.mark.anyio


async def test_the_command_line_gets_a_link_to_this_page_and_it_is_on_record(page) -> None:
    answer = await page.command_line().post("/api/auth/link")
    assert set(answer.json()) == {"url", "expires_at"}
    assert answer.json()["url"].startswith(f"{page.url}/login?code=")
    assert page.proxy.names() == ["auth.link_created"]
    assert answer.json()["url"].partition("code=")[2] not in repr(page.proxy.appended)


async def test_a_session_cannot_make_links(page) -> None:
    client = await page.signed_in()
    answer = await client.post("/api/auth/link")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_no_link_is_made_that_is_not_on_record(page) -> None:
    page.proxy.is_down = True
    assert (await page.command_line().post("/api/auth/link")).status_code == 503


async def test_behind_tls_the_link_has_the_public_name(serve) -> None:
    async with serve(public_url="https://mycelos.example") as page:
        assert (await page.link()).startswith("https://mycelos.example/login?code=")


async def test_the_session_says_who_it_is_and_ends_for_good(page) -> None:
    client = await page.signed_in()
    cookies = dict(client.cookies)
    assert (await client.get("/api/auth/session")).json() == {"principal": "owner", "sign_in": "session"}
    answer = await client.post("/api/auth/logout")
    assert answer.status_code == 204
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert page.proxy.names()[-1] == "auth.logout"
    stolen = page.client(cookies=cookies)
    assert (await stolen.get("/api/auth/session")).status_code == 401
