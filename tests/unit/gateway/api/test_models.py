from __future__ import annotations

import pytest

from mycelos.wire.egress import CredentialSummary

pytestmark = pytest.mark.anyio

BODY = {"name": "mine", "format": "openai", "base_url": "http://127.0.0.1:8080/v1/", "model": "small"}


async def test_an_endpoint_is_added_tested_and_removed_each_on_record(page) -> None:
    page.proxy.stored = [
        CredentialSummary(service="openai", label="", created_at="2026", bindings=(), last_used_at=None)
    ]
    client = page.command_line()
    added = await client.post("/api/models", json={**BODY, "credential": "openai"})
    assert added.status_code == 201
    assert added.json()["base_url"] == "http://127.0.0.1:8080/v1"
    assert (await client.get("/api/models")).json() == [added.json()]
    assert (await client.post("/api/models/mine/test")).json() == {"answer": "hello from small"}
    assert (await client.delete("/api/models/mine")).status_code == 204
    assert (await client.get("/api/models")).json() == []
    assert page.proxy.names() == ["model.changed"] * 4


@pytest.mark.parametrize(
    "base_url",
    [
        "https://user:sk-key@api.example/v1",
        "https://sk-key@api.example/v1",
        "https://api.example/v1?api_key=sk-key",
        "https://api.example/v1#sk-key",
        "ftp://api.example/sk-key",
        "https:///sk-key",
        "https://api.example/ sk-key",
        "sk-key",
        "https://[sk-key/",
    ],
)
async def test_an_address_with_a_place_for_a_key_is_refused_without_repeating_it(page, base_url: str) -> None:
    answer = await page.command_line().post("/api/models", json={**BODY, "base_url": base_url})
    assert answer.status_code == 400
    assert "base_url" in answer.json()["detail"]
    assert "sk-key" not in answer.text
    assert page.proxy.appended == []


@pytest.mark.parametrize("field", ["api_key", "key", "secret", "token", "password", "headers"])
async def test_no_field_takes_a_secret(page, field: str) -> None:
    answer = await page.command_line().post("/api/models", json={**BODY, field: "sk-key"})
    assert answer.status_code == 400
    assert "sk-key" not in answer.text


@pytest.mark.parametrize(("method", "path"), [("DELETE", ""), ("POST", "/test")])
async def test_an_unknown_model_is_not_found(page, method: str, path: str) -> None:
    assert (await page.command_line().request(method, f"/api/models/none{path}")).status_code == 404


async def test_a_refusal_says_whether_the_name_is_taken_or_the_credential_unknown(page) -> None:
    client = page.command_line()
    unknown = await client.post("/api/models", json={**BODY, "credential": "none-such"})
    assert (unknown.status_code, unknown.json()["code"]) == (403, "credential_unknown")
    assert (await client.post("/api/models", json=BODY)).status_code == 201
    taken = await client.post("/api/models", json=BODY)
    assert (taken.status_code, taken.json()["code"]) == (409, "conflict")
    assert "The name mine is taken" in taken.json()["detail"]
