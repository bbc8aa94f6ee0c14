from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from mycelos.operator.browser_rules import BrowserRules, allowed_origins

ORIGINS = allowed_origins(9101, "https://Vault.example")
OWN = {"host": "localhost:9101", "origin": "http://localhost:9101"}

pytestmark = pytest.mark.anyio


async def ask(method: str, headers: dict[str, str] | list[tuple[str, str]], app: Any = None) -> tuple[int, dict, bytes]:
    sent: list[dict[str, Any]] = []

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("the page")(scope, receive, send)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = headers.items() if isinstance(headers, dict) else headers
    scope = {"type": "http", "method": method, "headers": [(n.encode(), v.encode()) for n, v in pairs]}
    await BrowserRules(app or page, ORIGINS)(scope, receive, send)
    names = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], names, b"".join(message.get("body", b"") for message in sent[1:])


def test_the_origins_are_loopback_at_the_port_and_the_public_address() -> None:
    assert ORIGINS == {
        "http://localhost:9101", "http://127.0.0.1:9101", "http://[::1]:9101", "https://vault.example",
    }  # fmt: skip
    assert "http://localhost:9101" in allowed_origins(9101, None)


@pytest.mark.parametrize("host", ["localhost:9101", "127.0.0.1:9101", "[::1]:9101", "vault.example", "LOCALHOST:9101"])
async def test_a_request_to_an_own_name_is_answered(host: str) -> None:
    assert (await ask("GET", {"host": host}))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": ""},
        {"host": "localhost"},
        {"host": "localhost:9100"},
        {"host": "attacker.example"},
        {"host": "attacker.example:9101"},
        {"host": "localhost:9101.attacker.example"},
        {"host": "vault.example:9101"},
        [("host", "localhost:9101"), ("host", "attacker.example")],
    ],
)
async def test_a_request_to_another_name_is_refused_as_rebound(headers: Any) -> None:
    status, _, body = await ask("GET", headers)
    assert status == 421
    assert b"the page" not in body


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "localhost:9101"},
        {**OWN, "origin": "null"},
        {**OWN, "origin": "http://localhost:9100"},
        {**OWN, "origin": "https://localhost:9101"},
        {**OWN, "origin": "http://attacker.example"},
        {**OWN, "sec-fetch-site": "cross-site"},
        {**OWN, "sec-fetch-site": "same-site"},
        {**OWN, "sec-fetch-site": "none"},
        {"host": "localhost:9101", "sec-fetch-site": "same-site"},
        [*OWN.items(), ("origin", "http://attacker.example")],
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_a_change_from_another_origin_is_refused(headers: Any, method: str) -> None:
    status, _, body = await ask(method, headers)
    assert status == 403
    assert b"the page" not in body


@pytest.mark.parametrize(
    "headers",
    [OWN, {**OWN, "sec-fetch-site": "same-origin"}, {"host": "localhost:9101", "sec-fetch-site": "same-origin"}],
)
async def test_a_change_from_the_page_itself_is_passed_on(headers: dict[str, str]) -> None:
    assert (await ask("POST", headers))[0] == 200


async def test_without_the_origin_rule_a_foreign_form_would_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BrowserRules, "_is_own", lambda *_: True)
    assert (await ask("POST", {**OWN, "origin": "http://attacker.example"}))[0] == 200


@pytest.mark.parametrize(("method", "headers"), [("GET", OWN), ("GET", {}), ("POST", {"host": "localhost:9101"})])
async def test_every_answer_also_a_refusal_has_the_strict_headers(method: str, headers: dict[str, str]) -> None:
    _, answered, _ = await ask(method, headers)
    assert answered["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'; require-trusted-types-for 'script'"
    )
    assert answered["cache-control"] == "no-store"
    assert answered["x-content-type-options"] == "nosniff"
    assert answered["referrer-policy"] == "same-origin"


async def test_a_failure_of_the_page_tells_its_kind_and_not_its_text(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(*_: object) -> None:
        message = "canary-66"
        raise RuntimeError(message)

    status, headers, body = await ask("GET", OWN, fail)
    assert (status, b"canary-66" in body, "canary-66" in caplog.text) == (500, False, False)
    assert "RuntimeError" in caplog.text
    assert "content-security-policy" in headers


async def test_what_is_no_http_is_not_answered() -> None:
    async def unreachable(*_: object) -> None:
        pytest.fail("passed on")

    await BrowserRules(unreachable, ORIGINS)({"type": "websocket"}, unreachable, unreachable)
