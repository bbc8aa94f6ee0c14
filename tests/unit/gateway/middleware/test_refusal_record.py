from __future__ import annotations

import pytest

pytestmark = pytest.mark.anyio

KNOWN = {"reason", "outcome", "principal", "details"}


def refusals(page):
    return [request for request in page.proxy.appended if request.event == "auth.refused"]


async def test_a_foreign_name_is_recorded_without_a_word_of_its_own(page) -> None:
    answer = await page.client(headers={"Host": "attacker.example"}).get("/agents/attacker-said-this")
    assert answer.status_code == 421
    (refused,) = refusals(page)
    assert (refused.reason, refused.outcome, refused.principal) == ("host_not_allowed", "refused", "")
    assert refused.details == {"method": "GET", "path": "", "peer": "127.0.0.1", "attempts": 1}


async def test_a_form_of_another_session_is_recorded_with_its_route(page) -> None:
    browser = await page.signed_in()
    form = {"form_token": "x", "capability": "github.read"}
    assert (await browser.post("/agents/assistant/grant", data=form)).status_code == 403
    (refused,) = refusals(page)
    assert (refused.reason, refused.details["path"]) == ("forbidden", "/agents/{name}/grant")


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", "/api/nowhere", "not_found"),
        ("PUT", "/api/chats", "method_not_allowed"),
        ("TRACE", "/api/chats", "method_not_allowed"),
    ],
)
async def test_an_unknown_change_is_recorded(page, method: str, path: str, code: str) -> None:
    await page.command_line().request(method, path)
    (refused,) = refusals(page)
    assert refused.reason == code
    assert refused.details["method"] == (method if method != "TRACE" else "other")


async def test_a_change_that_nobody_asked_for_by_name_is_recorded(page) -> None:
    assert (await page.client().post("/api/chats", json={})).status_code == 401
    assert [refused.reason for refused in refusals(page)] == ["unauthorized"]


async def test_what_is_no_event_is_not_recorded(page) -> None:
    own = page.command_line()
    await page.client().get("/agents", headers={"Accept": "text/html"})
    await page.client().get("/api/chats")
    await own.get("/nowhere")
    await own.delete("/api/agents/nobody")
    await own.post("/api/agents", json={"name": "NOT A NAME"})
    assert refusals(page) == []


async def test_what_has_an_entry_of_its_own_is_not_recorded_twice(page) -> None:
    assert (
        await page.client(headers={"Authorization": "Bearer guessed"}).post("/api/chats", json={})
    ).status_code == 401
    browser = page.client(headers={"Origin": page.url})
    assert (await browser.post("/login", data={"code": "guessed"})).status_code == 403
    assert page.proxy.names() == ["auth.login_failed", "auth.login_failed"]


async def test_who_goes_on_is_recorded_a_few_times_and_each_kind_by_itself(page) -> None:
    foreign = page.client(headers={"Host": "attacker.example"})
    for _ in range(20):
        await foreign.get("/")
    await page.client().post("/api/chats", json={})
    attempts = [refused.details["attempts"] for refused in refusals(page)]
    assert attempts == [1, 2, 3, 4, 5, 1]


async def test_a_refusal_stays_one_where_nothing_can_be_recorded(page) -> None:
    page.proxy.is_down = True
    answer = await page.client(headers={"Host": "attacker.example"}).post("/api/chats", json={})
    assert (answer.status_code, answer.json()["code"]) == (421, "host_not_allowed")
