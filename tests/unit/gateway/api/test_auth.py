from __future__ import annotations

import pytest

pytestmark = pytest.mark.anyio


async def test_the_command_line_gets_a_code_and_it_is_on_record(page) -> None:
    answer = await page.command_line().post("/api/auth/link")
    assert set(answer.json()) == {"code", "expires_at"}
    assert page.proxy.names() == ["auth.link_created"]
    assert answer.json()["code"] not in repr(page.proxy.appended)


async def test_a_session_cannot_make_links(page) -> None:
    client = await page.signed_in()
    answer = await client.post("/api/auth/link")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_no_link_is_made_that_is_not_on_record(page) -> None:
    page.proxy.is_down = True
    assert (await page.command_line().post("/api/auth/link")).status_code == 503


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


async def test_the_command_line_ends_every_session_and_link_on_record(page) -> None:
    client = await page.signed_in()
    unused = await page.link()
    answer = await page.command_line().post("/api/auth/end-all")
    assert (answer.status_code, answer.json()) == (200, {"sessions": 1, "runs": 0})
    assert (await client.get("/api/auth/session")).status_code == 401
    assert (await client.post("/login", data={"code": unused.partition("code=")[2]})).status_code == 403
    assert page.proxy.appended[-2].event == "auth.session_revoked"
    assert page.proxy.appended[-2].details == {"count": 1}
    await page.signed_in()


async def test_nobody_but_the_command_line_ends_everything(page) -> None:
    client = await page.signed_in()
    answer = await client.post("/api/auth/end-all")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert (await page.client().post("/api/auth/end-all")).status_code == 401
    assert (await client.get("/api/auth/session")).status_code == 200


async def test_what_cannot_be_recorded_has_ended_all_the_same(page) -> None:
    client = await page.signed_in()
    page.proxy.is_down = True
    answer = await page.command_line().post("/api/auth/end-all")
    assert (answer.status_code, answer.json()["code"]) == (503, "audit_unavailable")
    assert "have ended" in answer.json()["detail"]
    assert (await client.get("/api/auth/session")).status_code == 401
