from __future__ import annotations

import pytest

from mycelos.gateway.web.agent_pages import in_words, suggestions

pytestmark = pytest.mark.anyio
TOOLS = ["github.read.issues", "github.read.files", "web.fetch"]


def test_a_capability_in_words() -> None:
    assert in_words("web.fetch", TOOLS) == "exactly this tool"
    assert in_words("github.read", TOOLS) == "every tool below it; now: github.read.issues, github.read.files"
    assert in_words("github.rea", TOOLS) == "no tool of this name exists here yet"


def test_suggestions_are_tools_and_their_beginnings() -> None:
    assert suggestions(TOOLS) == ["github.read", "github.read.files", "github.read.issues", "web.fetch"]


async def test_granting_and_taking_away_by_forms(page) -> None:
    client = await page.signed_in()
    assert "May not use any tool." in (await client.get("/agents")).text
    form = {"form_token": await page.form_token(client), "capability": " github.read "}
    assert (await client.post("/agents/assistant/grant", data=form)).status_code == 303
    text = (await client.get("/agents")).text
    assert "every tool below it; now: github.read.issues" in text
    form["capability"] = "github.read"
    assert (await client.post("/agents/assistant/remove", data=form)).status_code == 303
    assert "May not use any tool." in (await client.get("/agents")).text
    assert page.proxy.names()[-4:] == ["agent.changed"] * 4


@pytest.mark.parametrize("capability", ["", "*", "GitHub", "a..b"])
async def test_what_is_no_capability_is_refused(page, capability: str) -> None:
    client = await page.signed_in()
    form = {"form_token": await page.form_token(client), "capability": capability}
    assert (await client.post("/agents/assistant/grant", data=form)).status_code == 400


async def test_adding_and_deleting_by_forms(page) -> None:
    client = await page.signed_in()
    token = await page.form_token(client)
    form = {"form_token": token, "name": "reader", "instructions": "Reads."}
    assert (await client.post("/agents", data=form)).status_code == 303
    assert "Reads." in (await client.get("/agents")).text
    assert (await client.post("/agents/reader/delete", data={"form_token": token})).status_code == 303
    assert await page.store.agents.find("reader") is None
