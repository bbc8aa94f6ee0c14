from __future__ import annotations

import pytest

pytestmark = pytest.mark.anyio


async def test_a_chat_is_opened_spoken_in_and_deleted(page) -> None:
    client = page.command_line()
    chat = (await client.post("/api/chats", json={"agent": "assistant"})).json()
    said = await client.post(f"/api/chats/{chat['id']}/messages", json={"text": "Hello"})
    assert said.status_code == 202
    run = said.json()["run_id"]
    await page.runs.say(run, "done", text="Hi", code="answered")
    messages = (await client.get(f"/api/chats/{chat['id']}/messages")).json()
    assert [(message["role"], message["text"]) for message in messages] == [("user", "Hello"), ("assistant", "Hi")]
    assert [listed["title"] for listed in (await client.get("/api/chats")).json()] == ["Hello"]
    assert (await client.delete(f"/api/chats/{chat['id']}")).status_code == 204
    assert (await client.get(f"/api/chats/{chat['id']}")).status_code == 404
    phases = [(entry.event, entry.phase, entry.outcome) for entry in page.proxy.appended]
    assert phases == [
        ("chat.created", "intent", None),
        ("chat.created", "outcome", "ok"),
        ("chat.deleted", "intent", None),
        ("chat.deleted", "outcome", "ok"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": ""},
        {"text": 5},
        {"text": None},
        {"text": "x" * 32_001},
        {"text": "x", "model": "Bad Name"},
        {"text": "x", "run_id": "r"},
    ],
)
async def test_a_malformed_message_starts_nothing(page, body: dict) -> None:
    chat = await page.store.chats.create("assistant")
    assert (await page.command_line().post(f"/api/chats/{chat.id}/messages", json=body)).status_code == 400
    assert await page.store.runs.all() == []


async def test_a_chat_needs_an_agent_that_exists(page) -> None:
    answer = await page.command_line().post("/api/chats", json={"agent": "nobody"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert page.proxy.appended == []


@pytest.mark.parametrize("path", ["", "/messages"])
async def test_an_unknown_chat_is_not_found(page, path: str) -> None:
    assert (await page.command_line().get(f"/api/chats/chat_unknown{path}")).status_code == 404
    assert (await page.command_line().post("/api/chats/chat_unknown/messages", json={"text": "x"})).status_code == 404
