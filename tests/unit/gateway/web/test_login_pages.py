from __future__ import annotations

import asyncio

import pytest

pytestmark = pytest.mark.anyio


async def code_of(page) -> str:
    return (await page.link()).partition("code=")[2]


async def test_looking_at_the_link_does_not_use_it_up(page) -> None:
    """A chat program's preview, or a browser that loads ahead, fetches the address."""
    code, client = await code_of(page), page.client(headers={"Origin": page.url})
    for _ in range(3):
        shown = await client.get("/login", params={"code": code})
        assert shown.status_code == 200
        assert "set-cookie" not in shown.headers
    assert (await client.request("HEAD", "/login", params={"code": code})).status_code in {200, 405}
    assert (await client.post("/login", data={"code": code})).status_code == 303


async def test_a_link_signs_in_once(page) -> None:
    code = await code_of(page)
    clients = [page.client(headers={"Origin": page.url}) for _ in range(5)]
    answers = await asyncio.gather(*[client.post("/login", data={"code": code}) for client in clients])
    assert sorted(answer.status_code for answer in answers) == [303, 403, 403, 403, 403]
    assert page.proxy.names().count("auth.login") == 1
    assert page.proxy.names().count("auth.login_failed") == 4
    signed_in = [(await client.get("/api/status")).status_code for client in clients]
    assert sorted(signed_in) == [200, 401, 401, 401, 401]


@pytest.mark.parametrize("code", ["", "x", "A" * 43, "x" * 100_000, "' OR 1=1", "%00"])
async def test_a_guess_signs_nobody_in_and_is_on_record(page, code: str) -> None:
    await page.link()
    client = page.client(headers={"Origin": page.url})
    answer = await client.post("/login", data={"code": code})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert page.proxy.names()[-1] == "auth.login_failed"
    assert code not in repr(page.proxy.appended) or len(code) < 2


async def test_a_flood_of_guesses_does_not_flood_the_ledger_nor_stop_the_owner(page) -> None:
    client = page.client(headers={"Origin": page.url})
    for number in range(20):
        await client.post("/login", data={"code": f"guess {number}"})
    assert page.proxy.names() == ["auth.login_failed"] * 5
    assert (await page.signed_in()) is not None


async def test_the_page_shows_the_code_harmlessly(page) -> None:
    text = (await page.client().get("/login", params={"code": '"><script>alert(1)</script>'})).text
    assert "<script>" not in text
    assert "mycelos open" in (await page.client().get("/login")).text


async def test_signing_in_always_makes_a_new_session_and_ends_the_old(page) -> None:
    client = await page.signed_in()
    first = client.cookies["mycelos_session"]
    answer = await client.post("/login", data={"code": await code_of(page)})
    second = answer.cookies["mycelos_session"]
    assert second != first
    assert len(await page.store.sessions.all()) == 1
    old = page.client(cookies={"mycelos_session": first})
    assert (await old.get("/api/status")).status_code == 401


async def test_a_session_that_an_attacker_chose_is_not_taken_over(page) -> None:
    planted = "A" * 43
    client = page.client(headers={"Origin": page.url}, cookies={"mycelos_session": planted})
    answer = await client.post("/login", data={"code": await code_of(page)})
    assert answer.cookies["mycelos_session"] != planted
    assert (await page.client(cookies={"mycelos_session": planted}).get("/api/status")).status_code == 401


async def test_a_sign_in_that_cannot_be_recorded_leaves_no_session(page) -> None:
    code = await code_of(page)
    page.proxy.is_down = True
    answer = await page.client(headers={"Origin": page.url}).post("/login", data={"code": code})
    assert answer.status_code == 503
    assert "set-cookie" not in answer.headers
    assert await page.store.sessions.all() == []


async def test_signing_out_ends_the_session_on_the_server(page) -> None:
    client = await page.signed_in()
    stolen = page.client(cookies=dict(client.cookies))
    answer = await client.post("/logout", data={"form_token": await page.form_token(client)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert (await stolen.get("/api/status")).status_code == 401
    assert page.proxy.names()[-1] == "auth.logout"


async def test_signing_in_anew_ends_the_browser_s_former_session_on_record(page) -> None:
    browser = await page.signed_in()
    first = page.proxy.appended[-1].subject
    assert (await browser.post("/login", data={"code": await code_of(page)})).status_code == 303
    ended = [request.subject for request in page.proxy.appended if request.event == "auth.logout"]
    assert ended == [first]
    assert await page.store.sessions.delete_all() == 1
