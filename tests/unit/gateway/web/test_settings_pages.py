from __future__ import annotations

import platform

import pytest

from mycelos import __version__

pytestmark = pytest.mark.anyio


async def test_the_installation_in_facts(page) -> None:
    client = await page.signed_in()
    text = (await client.get("/settings")).text
    for words in (
        __version__,
        "answers",
        "127.0.0.1, port",
        "one-time links only",
        "host: processes",
        "landlock, seccomp",
        platform.release(),
    ):
        assert words in text
    page.proxy.is_down = True
    assert "does not answer" in (await client.get("/settings")).text


async def test_a_model_is_added_and_removed_by_forms(page) -> None:
    client = await page.signed_in()
    token = await page.form_token(client)
    form = {
        "form_token": token,
        "name": "mine",
        "format": "openai",
        "model": "small",
        "base_url": "http://127.0.0.1:1/v1",
        "credential": "",
    }
    assert (await client.post("/settings/models", data=form)).status_code == 303
    assert "http://127.0.0.1:1/v1" in (await client.get("/settings")).text
    keyed = {**form, "name": "other", "base_url": "https://sk-key@a.example/v1"}
    refused = await client.post("/settings/models", data=keyed)
    assert refused.status_code == 400
    assert "sk-key" not in refused.text
    assert (await client.post("/settings/models/mine/delete", data={"form_token": token})).status_code == 303
    assert await page.store.models.all() == []
    assert page.proxy.names()[-4:] == ["model.changed"] * 4
