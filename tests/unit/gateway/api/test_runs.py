from __future__ import annotations

import pytest

pytestmark = pytest.mark.anyio


async def test_a_run_is_shown_and_cancelled(page) -> None:
    client = page.command_line()
    chat, run = await page.begin_run()
    assert (await client.get(f"/api/runs/{run}")).json()["state"] == "queued"
    assert [listed["id"] for listed in (await client.get("/api/runs", params={"chat": chat})).json()] == [run]
    assert (await client.get("/api/runs", params={"chat": "chat_other"})).json() == []
    assert (await client.post(f"/api/runs/{run}/cancel")).json() == {"cancelled": True}
    assert page.runs.cancelled == [run]
    assert (await client.get(f"/api/runs/{run}")).json()["code"] == "cancelled"


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/events"), ("POST", "/cancel")])
async def test_an_unknown_run_is_not_found(page, method: str, path: str) -> None:
    assert (await page.command_line().request(method, f"/api/runs/run_unknown{path}")).status_code == 404
