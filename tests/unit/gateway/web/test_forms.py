from __future__ import annotations

import pytest

pytestmark = pytest.mark.anyio
TYPE = {"Content-Type": "application/x-www-form-urlencoded"}


async def test_a_form_of_this_session_is_taken(page) -> None:
    client = await page.signed_in()
    form = {"form_token": await page.form_token(client), "capability": "github.read"}
    assert (await client.post("/agents/assistant/grant", data=form)).status_code == 303


async def test_a_form_of_another_session_or_without_token_is_refused(page) -> None:
    client, other = await page.signed_in(), await page.signed_in()
    for token in (await page.form_token(other), "", "x"):
        answer = await client.post("/agents/assistant/grant", data={"form_token": token, "capability": "github.read"})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert (await client.post("/agents/assistant/grant", data={"capability": "github.read"})).status_code == 400
    assert [agent.capabilities for agent in await page.store.agents.all()] == [()]


async def test_the_command_line_sends_no_forms(page) -> None:
    answer = await page.command_line().post("/agents/assistant/delete", data={"form_token": ""})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "content",
    [
        "", "capability=a", "capability=a&capability=b&form_token={token}", "form_token={token}",
        "capability=a&other=b&form_token={token}", "capability=%ff&form_token={token}",
        "capability=ä&form_token={token}",
        "&".join(["x=1"] * 1000), "capability", "form_token={token}&form_token={token}&capability=a",
    ],
)  # fmt: skip
async def test_a_malformed_form_does_nothing(page, content: str) -> None:
    client = await page.signed_in()
    token = await page.form_token(client)
    body = content.replace("{token}", token).encode()
    assert (await client.post("/agents/assistant/grant", content=body, headers=TYPE)).status_code == 400
    assert [agent.capabilities for agent in await page.store.agents.all()] == [()]


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data; boundary=x", ""])
async def test_another_media_type_is_refused(page, kind: str) -> None:
    client = await page.signed_in()
    token = await page.form_token(client)
    body = f"capability=a&form_token={token}".encode()
    answer = await client.post("/agents/assistant/grant", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 400
