from __future__ import annotations

import pytest

from mycelos.gateway.identity.authentication import Authentication
from mycelos.gateway.middleware.body_limit import BodyLimit
from mycelos.gateway.middleware.error_boundary import ErrorBoundary
from mycelos.gateway.middleware.host_check import HostCheck
from mycelos.gateway.middleware.json_body import JsonBody
from mycelos.gateway.middleware.origin_check import OriginCheck
from mycelos.gateway.middleware.refusal_record import RefusalRecord
from mycelos.gateway.middleware.security_headers import SecurityHeaders

pytestmark = pytest.mark.anyio


async def test_the_layers_stand_in_their_order(page) -> None:
    order = [SecurityHeaders, ErrorBoundary, RefusalRecord, HostCheck, BodyLimit, Authentication, OriginCheck, JsonBody]
    assert [layer.cls for layer in page.app.user_middleware] == order


async def test_an_earlier_layer_answers_before_a_later_one_looks(page) -> None:
    foreign = {"Origin": "https://evil.example"}
    huge = b"x" * 300_000
    client = page.client()
    first = await client.post("/api/chats", content=huge, headers={**foreign, "Host": "evil.example"})
    assert first.json()["code"] == "host_not_allowed"
    assert (await client.post("/api/chats", content=huge, headers=foreign)).json()["code"] == "too_large"
    assert (await client.post("/api/chats", content=b"x", headers=foreign)).json()["code"] == "unauthorized"
    known = page.command_line()
    assert (await known.post("/api/chats", content=b"x", headers=foreign)).json()["code"] == "origin_not_allowed"
    assert (await known.post("/api/chats", content=b"x")).json()["code"] == "invalid_request"


async def test_every_route_that_changes_something_leaves_an_event(page) -> None:
    """Walks what the command line can change; each call is one more entry or more."""
    client = page.command_line()
    chat, _ = await page.begin_run()
    model = {"name": "m", "format": "openai", "base_url": "http://127.0.0.1:1", "model": "m"}
    for method, path, body in [
        ("POST", "/api/auth/link", None),
        ("POST", "/api/chats", {}),
        ("POST", "/api/agents", {"name": "a"}),
        ("PATCH", "/api/agents/a", {"instructions": "x"}),
        ("DELETE", "/api/agents/a", None),
        ("POST", "/api/models", model),
        ("DELETE", "/api/models/m", None),
        ("DELETE", f"/api/chats/{chat}", None),
    ]:
        before = len(page.proxy.appended)
        answer = await client.request(method, path, json=body)
        assert answer.is_success, (path, answer.text)
        assert len(page.proxy.appended) > before, path
