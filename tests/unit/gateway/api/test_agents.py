from __future__ import annotations

import pytest

pytestmark = pytest.mark.anyio


async def test_an_agent_is_added_changed_and_deleted_each_on_record(page) -> None:
    client = page.command_line()
    added = await client.post(
        "/api/agents", json={"name": "reader", "capabilities": ["github.read", "github.read", "a"]}
    )
    assert added.status_code == 201
    assert added.json()["capabilities"] == ["a", "github.read"]
    changed = await client.patch("/api/agents/reader", json={"capabilities": []})
    assert changed.json()["capabilities"] == []
    assert (await client.get("/api/agents/reader")).json() == changed.json()
    assert [agent["name"] for agent in (await client.get("/api/agents")).json()] == ["assistant", "reader"]
    assert (await client.delete("/api/agents/reader")).status_code == 204
    assert (await client.get("/api/agents/reader")).status_code == 404
    recorded = [(entry.event, entry.phase, entry.subject) for entry in page.proxy.appended]
    assert recorded == [
        (event, phase, "reader")
        for event in ("agent.created", "agent.changed", "agent.deleted")
        for phase in ("intent", "outcome")
    ]


@pytest.mark.parametrize(
    "capability",
    [
        "",
        "*",
        "github.*",
        "GitHub.read",
        "github..read",
        ".github",
        "github.",
        "github.read ",
        "gith\u0443b",
        "github/read",
        "x" * 129,
    ],
)
async def test_what_is_no_capability_is_refused_and_not_repaired(page, capability: str) -> None:
    client = page.command_line()
    answer = await client.patch("/api/agents/assistant", json={"capabilities": [capability]})
    assert answer.status_code == 400
    assert "capabilities" in answer.json()["detail"]
    assert (await client.get("/api/agents/assistant")).json()["capabilities"] == []
    assert page.proxy.appended == []


@pytest.mark.parametrize("name", ["", "A", "1a", "a b", "a/b", "a" * 65, "ä", "a\n"])
async def test_what_is_no_name_is_refused(page, name: str) -> None:
    assert (await page.command_line().post("/api/agents", json={"name": name})).status_code == 400


async def test_a_name_that_is_taken_is_a_conflict_and_recorded_as_failed(page) -> None:
    answer = await page.command_line().post("/api/agents", json={"name": "assistant"})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert [(entry.phase, entry.outcome) for entry in page.proxy.appended] == [("intent", None), ("outcome", "failed")]


async def test_nothing_changes_while_the_ledger_is_down(page) -> None:
    page.proxy.is_down = True
    client = page.command_line()
    assert (await client.patch("/api/agents/assistant", json={"capabilities": ["github"]})).status_code == 503
    assert (await client.delete("/api/agents/assistant")).status_code == 503
    assert [agent.capabilities for agent in await page.store.agents.all()] == [()]


async def test_a_model_that_does_not_exist_cannot_be_chosen(page) -> None:
    assert (await page.command_line().patch("/api/agents/assistant", json={"model": "none"})).status_code == 404
