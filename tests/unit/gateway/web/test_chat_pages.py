from __future__ import annotations

import pytest

pytestmark = pytest.mark.anyio


async def with_model(page):
    await page.store.models.create("small", "openai", "http://127.0.0.1:1/v1", "m", None)
    return await page.signed_in()


async def test_the_door_leads_to_the_chat(page) -> None:
    client = await page.signed_in()
    assert (await client.get("/")).headers["location"] == "/chat"


async def test_without_a_model_the_page_says_what_to_do(page) -> None:
    text = (await (await page.signed_in()).get("/chat")).text
    for command in ("mycelos local install", "mycelos model add", "mycelos credential add"):
        assert command in text
    assert "<textarea" not in text


async def test_without_a_capability_the_page_says_how_to_grant_one(page) -> None:
    text = (await (await with_model(page)).get("/chat")).text
    assert "may not use any tool yet" in text
    assert "mycelos agent edit assistant --capability" in text


async def test_a_conversation_works_without_javascript(page) -> None:
    client = await with_model(page)
    token = await page.form_token(client)
    form = {"form_token": token, "text": " What is open?\r\nAnd urgent? ", "agent": "assistant", "model": ""}
    place = (await client.post("/chat", data=form)).headers["location"]
    (run,) = await page.store.runs.all()
    waiting = (await client.get(place)).text
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in waiting
    assert "What is open?\nAnd urgent?" in waiting
    assert f'data-run="{run.id}"' in waiting
    await page.runs.say(run.id, "tool_call", id="c1", tool="github.write.comment", args={"issue": 7})
    await page.runs.say(
        run.id, "tool_result", id="c1", tool="github.write.comment", ok=False, code="policy_denied",
        content="Refused (policy_denied): The agent may not.", labels=[],
    )  # fmt: skip
    await page.runs.say(run.id, "token", text="It was **refused**.")
    await page.runs.say(run.id, "done", text="It was **refused**.", code="answered")
    ended = (await client.get(place)).text
    assert "noscript" not in ended
    assert "<strong>refused</strong>" in ended
    assert ">The agent may not.</p>" in ended
    assert '<a href="/agents">Grant <code>github.write.comment</code> to assistant</a>' in ended
    again = {"form_token": token, "text": "Thanks", "model": "small"}
    assert (await client.post(place, data=again)).headers["location"] == place
    assert len(await page.store.runs.all()) == 2


async def test_what_ended_a_run_is_said_with_the_next_step(page) -> None:
    client = await with_model(page)
    chat, run = await page.begin_run()
    await page.runs.say(run, "error", code="sandbox_refused", detail="No wall.", next="Run mycelos doctor.")
    text = (await client.get(f"/chat/{chat}")).text
    for words in ("without an answer", "sandbox_refused", "No wall.", "Run mycelos doctor."):
        assert words in text


async def test_a_run_can_be_stopped_from_its_own_chat_only(page) -> None:
    client = await with_model(page)
    token = await page.form_token(client)
    chat, run = await page.begin_run()
    other, _ = await page.begin_run()
    await client.post(f"/chat/{other}/cancel", data={"form_token": token, "run": run})
    assert page.runs.cancelled == []
    await client.post(f"/chat/{chat}/cancel", data={"form_token": token, "run": run})
    assert page.runs.cancelled == [run]


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"


async def test_hostile_text_is_text_wherever_it_comes_from(page) -> None:
    client = await with_model(page)
    chat, run = await page.begin_run(HOSTILE)
    await page.runs.say(run, "token", text=HOSTILE)
    await page.runs.say(run, "tool_call", id=HOSTILE, tool=HOSTILE, args={HOSTILE: HOSTILE})
    await page.runs.say(
        run, "tool_result", id=HOSTILE, tool=HOSTILE, ok=False, code=HOSTILE, content=HOSTILE, labels=[]
    )
    await page.runs.say(run, "error", code=HOSTILE, detail=HOSTILE, next=HOSTILE)
    text = (await client.get(f"/chat/{chat}")).text
    assert "<script>" not in text
    assert "<img src=x" not in text
    assert text.count("&lt;script&gt;") >= 8


@pytest.mark.parametrize("text", ["", "   ", "x" * 32_001])
async def test_an_empty_or_huge_message_starts_nothing(page, text: str) -> None:
    client = await with_model(page)
    form = {"form_token": await page.form_token(client), "text": text, "agent": "assistant", "model": ""}
    assert (await client.post("/chat", data=form)).status_code == 400
    assert await page.store.chats.all() == []


async def test_an_unknown_chat_is_not_found(page) -> None:
    assert (await (await page.signed_in()).get("/chat/chat_unknown")).status_code == 404
