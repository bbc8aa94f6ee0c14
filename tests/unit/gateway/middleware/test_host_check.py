from __future__ import annotations

import pytest

from mycelos.gateway.middleware.host_check import HostCheck
from mycelos.gateway.middleware.origins import Origins, make_origins

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("host", ["evil.example", "localhost", "127.0.0.1.nip.io:{port}", "localhost.:{port}"])
@pytest.mark.parametrize("path", ["/login", "/healthz", "/static/app.js", "/api/status", "/nothing"])
async def test_a_page_under_a_rebound_name_learns_nothing(page, host: str, path: str) -> None:
    host = host.replace("{port}", str(page.port))
    answer = await page.command_line().get(path, headers={"Host": host, "Accept": "text/html"})
    assert answer.status_code == 421
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "host_not_allowed"
    assert host not in answer.text
    assert "content-security-policy" in answer.headers


async def test_without_the_list_the_rebound_name_is_served(page, monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes the wall away and sees the attack succeed."""
    monkeypatch.setattr(Origins, "origin_of", lambda self, authority: f"http://{authority}")
    answer = await page.command_line().get("/api/status", headers={"Host": "evil.example"})
    assert answer.status_code == 200


async def test_a_websocket_is_closed() -> None:
    sent = []

    async def send(message) -> None:
        sent.append(message)

    await HostCheck(None, make_origins("127.0.0.1", 9100, None))({"type": "websocket"}, None, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_headers_together_are_bounded() -> None:
    sent = []

    async def send(message) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": [(b"host", b"localhost:9100"), (b"cookie", b"x" * 40_000)]}
    await HostCheck(None, make_origins("127.0.0.1", 9100, None))(scope, None, send)
    assert sent[0]["status"] == 413
