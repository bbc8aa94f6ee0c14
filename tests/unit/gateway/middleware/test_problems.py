from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.anyio

MEMBERS = {"type", "title", "status", "detail", "code", "next"}
CANARY = "sk-canary-0123456789"


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("GET", "/nothing", None, 404),
        ("GET", "/api/nothing", None, 404),
        ("PUT", "/api/status", None, 405),
        ("GET", "/api/chats/chat_none", None, 404),
        ("POST", "/api/chats", b"{", 400),
        ("POST", "/api/chats", b"\xff\xfe", 400),
        ("POST", "/api/chats", b"", 400),
        ("POST", "/api/chats", b"[]", 400),
        ("POST", "/api/chats", b"null", 400),
        ("POST", "/api/chats", b"[" * 100_000, 400),
        ("POST", "/api/chats", b'{"agent": 5}', 400),
        ("POST", "/api/chats", b'{"agent": "\\ud800"}', 400),
        ("POST", "/api/chats", b'{"agent": "x", "secret": "' + CANARY.encode() + b'"}', 400),
        ("POST", "/api/chats", b'{"' + CANARY.encode() + b'": 1}', 400),
        ("POST", "/api/models", b'{"name": "' + CANARY.encode() + b'!", "api_key": "' + CANARY.encode() + b'"}', 400),
        ("GET", "/api/audit/events?limit=" + CANARY, None, 400),
        ("GET", "/api/chats/" + CANARY, None, 404),
    ],
)
async def test_every_error_is_a_problem_document_without_the_callers_words(
    page, method: str, path: str, content: bytes | None, status: int
) -> None:
    answer = await page.command_line().request(
        method, path, content=content, headers={"Content-Type": "application/json"} if content is not None else None
    )
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert set(document) == MEMBERS
    assert document["status"] == status
    assert document["code"] == answer.headers["mycelos-refused"]
    assert document["detail"]
    assert document["next"]
    assert CANARY not in answer.text


async def test_a_wrong_field_is_named_with_the_fix(page) -> None:
    client = page.command_line()
    body = {"name": "Bad Name", "format": "xml", "base_url": "ftp://x", "model": "m", "api_key": "x"}
    detail = (await client.post("/api/models", json=body)).json()["detail"]
    for words in (
        "body.name",
        "body.format",
        "body.base_url",
        "body.api_key is not a field of this request; remove it",
    ):
        assert words in detail
    assert "is required; add it" in (await client.post("/api/models", json={"name": "a"})).json()["detail"]


async def test_each_rule_that_is_broken_is_said(page) -> None:
    client = page.command_line()
    for capability in ("GitHub", "github.*", "1github", ""):
        refused = (await client.post("/api/agents", json={"name": "a", "capabilities": [capability]})).json()
        assert refused["detail"].startswith("body.capabilities.0 cannot be used: a capability is one or more segments")
        assert not refused["detail"].endswith(".")
    body = {"name": "Bad Name", "format": "xml", "base_url": "ftp://x", "model": "m" * 257}
    detail = (await client.post("/api/models", json=body)).json()["detail"]
    for rule in (
        "body.name must have the form ^[a-z]",
        "body.format must be 'openai' or 'anthropic'. ",
        "body.base_url cannot be used: an address is http:// or https://",
        "body.model is too long; 256 at most",
    ):
        assert rule in detail
    assert "limit must be at most 1000" in (await client.get("/api/audit/events?limit=1001")).json()["detail"]


async def test_a_body_of_another_media_type_is_not_guessed_at(page) -> None:
    answer = await page.command_line().post("/api/chats", content=b"{}", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 400


async def test_a_browser_gets_the_same_words_as_a_page(page) -> None:
    client = await page.signed_in()
    answer = await client.get("/chat/<script>alert(1)</script>", headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "not_found" in answer.text
    assert "<script>" not in answer.text


async def test_the_description_of_the_api_is_there_and_the_documentation_pages_are_not(page) -> None:
    client = page.command_line()
    described = json.loads((await client.get("/openapi.json")).text)
    assert "/api/credentials/list" in described["paths"]
    for path in ("/docs", "/redoc"):
        assert (await client.get(path)).status_code == 404
