import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from vault_page import ServedVaultPage as Page

from mycelos.configuration.layout import DataLayout
from mycelos.operator.app import VaultPage
from mycelos.operator.browser_rules import BrowserRules
from mycelos.operator.client import OperatorClient
from mycelos.operator.sessions import Sessions
from mycelos.wire.operator import ListRules, StoreCredential

UNKNOWN_ID = "passkey_01h2xcejqtf2nbrexx3vqjhp41"
GATEWAY_TOKEN = "gateways-own-token-000000000000000000000000"
EVERY_FIELD = {"enabled": "yes", "secret": "y-secret", "service": "other", "label": "x", "host": "a.example"}

ALL = VaultPage(OperatorClient(DataLayout(Path("/nowhere"))), Sessions(), "http://localhost:9101")
"""The page itself, whose routes are walked: one that is added is in these tests by itself."""


def addresses(method: str) -> list[str]:
    paths = [route.path for route in ALL.session_routes() if method in (route.methods or ())]
    return [path.replace("{service}", "example").replace("{id}", UNKNOWN_ID) for path in paths]


FORMS, PAGES = addresses("POST"), addresses("GET")
STRANGERS = [
    {"Origin": "http://attacker.example", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "http://localhost:9100", "Sec-Fetch-Site": "same-site"},
    {"Origin": "http://127.0.0.1:9100"},
    {"Origin": "null"},
    {"Origin": "", "Sec-Fetch-Site": ""},
    {"Host": "attacker.example"},
    {"Host": "localhost:9100"},
    {"Host": "localhost"},
]
"""What comes with a request that another page made, or that another name or port led here."""


def state(operator_system: Any) -> Any:
    """What a form could change."""
    client = operator_system.client
    status = client.status()
    return (
        client.credentials(), client.egress_rules(ListRules()), client.passkeys(), status.web, status.lockdown,
    )  # fmt: skip


def test_the_walk_sees_the_routes() -> None:
    assert {"/credentials/new", "/credentials/example/rotate", "/logout", "/rules/web", "/lockdown"} <= set(FORMS)
    assert {"/", "/credentials/new", "/credentials/example/delete", "/passkeys", "/rules"} <= set(PAGES)


def test_without_a_session_every_page_and_form_leads_to_the_sign_in(page: Page, operator_system: Any) -> None:
    operator_system.client.store(StoreCredential(service="example", secret="x-secret", template="github"))
    before = state(operator_system)
    for path in sorted({*FORMS, *PAGES}):
        assert page.post(path, {"secret": "y", "form_token": ""}).status_code in {404, 405}, path
        for answer in (
            page.post(f"/s/{'x' * 43}{path}", {"secret": "y", "form_token": ""}),
            page.browser.get(f"/s/{'x' * 43}{path}"),
        ):
            assert (answer.status_code, answer.headers["location"]) == (303, "/login"), path
        assert state(operator_system) == before, path


def test_with_a_stolen_cookie_another_origin_name_or_port_changes_nothing(
    signed_in: Page, operator_system: Any
) -> None:
    operator_system.client.store(StoreCredential(service="example", secret="x-secret", template="github"))
    before, token = state(operator_system), signed_in.form_token()
    for path in FORMS:
        for headers in STRANGERS:
            answer = signed_in.send(path, {"form_token": token, **EVERY_FIELD}, **headers)
            assert answer.status_code in {403, 421}, (path, headers)
        assert state(operator_system) == before, path
        assert signed_in.get("/").status_code == 200, path


def test_with_a_stolen_cookie_another_name_reads_nothing_and_no_page_can_be_framed(
    signed_in: Page, operator_system: Any
) -> None:
    operator_system.client.store(StoreCredential(service="example", secret="x-secret", template="github"))
    for path in PAGES:
        for name in ("attacker.example", "localhost:9100", "localhost"):
            answer = signed_in.browser.get(f"{signed_in.home}{path}", headers={"Host": name})
            assert (answer.status_code, "<html" in answer.text) == (421, False), path
        answer = signed_in.get(path)
        assert answer.headers["x-frame-options"] == "DENY", path
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], path


def test_without_the_rules_of_origin_another_page_changes_what_it_likes(
    signed_in: Page, operator_system: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Takes the wall away and sees the attack succeed."""
    token = signed_in.form_token()
    monkeypatch.setattr(BrowserRules, "_is_own", lambda *_: True)
    answer = signed_in.send("/rules/web", {"form_token": token, "enabled": "yes"}, Origin="http://attacker.example")
    assert answer.status_code == 303
    assert operator_system.client.status().web == "on"


def test_a_form_without_this_sessions_token_changes_nothing(signed_in: Page, operator_system: Any) -> None:
    operator_system.client.store(StoreCredential(service="example", secret="x-secret", template="github"))
    before = state(operator_system)
    for path in FORMS:
        # Fields that this form has not are refused first: so each is sent alone as well.
        for fields in ({}, {"enabled": "yes"}, {"secret": "y-secret"}, EVERY_FIELD):
            for token in ({}, {"form_token": ""}, {"form_token": "guessed"}):
                assert signed_in.send(path, {**fields, **token}).status_code in {400, 403, 415}, path
        assert state(operator_system) == before, path
        assert signed_in.get("/").status_code == 200, path


def test_the_gateways_bearer_opens_no_route_of_the_page(page: Page, operator_system: Any) -> None:
    operator_system.client.store(StoreCredential(service="example", secret="x-secret", template="github"))
    before = state(operator_system)
    bearer = {"Authorization": f"Bearer {GATEWAY_TOKEN}", "Origin": page.base}
    for path in sorted({*FORMS, *PAGES}):
        for method in ("GET", "POST"):
            answer = page.browser.request(method, f"/s/{'x' * 43}{path}", headers=bearer, data=EVERY_FIELD)
            assert (answer.status_code, answer.headers["location"]) == (303, "/login"), path
    for route in ALL.routes():
        for method in route.methods or ():
            answer = page.browser.request(method, route.path, headers=bearer, data={"code": GATEWAY_TOKEN})
            assert "set-cookie" not in answer.headers, route.path
    assert state(operator_system) == before


@pytest.mark.parametrize("path", ["/login", "/login/passkey", "/login/passkey/answer"])
def test_another_page_signs_nobody_in(page: Page, operator_system: Any, path: str) -> None:
    code = operator_system.client.create_link().code
    for headers in STRANGERS:
        assert page.post(path, {"code": code} if path == "/login" else {"passkey": "yes"}, **headers).status_code in {
            403,
            421,
        }
    assert page.sign_in(code).status_code == 303


def test_without_the_form_token_check_a_forged_form_would_delete(
    signed_in: Page, operator_system: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator_system.client.store(StoreCredential(service="example", secret="x-secret", template="github"))
    monkeypatch.setattr("mycelos.operator.credential_pages.demand_own_form", lambda *_: None)
    signed_in.send("/credentials/example/delete", {"form_token": "forged"})
    assert operator_system.client.credentials().credentials == ()


def test_no_page_has_a_script_but_the_one_file_or_anything_from_elsewhere(
    signed_in: Page, operator_system: Any
) -> None:
    operator_system.client.store(StoreCredential(service="example", secret="x-secret", template="github"))
    for path in sorted({*PAGES, "/nowhere", "/login"}):
        answer = signed_in.get(path)
        demand_plain(answer)
        assert "<script" not in answer.text.lower(), path


def test_the_pages_of_passkeys_have_the_one_script_and_no_other(signed_in: Page) -> None:
    for answer in (
        signed_in.submit("/passkeys/new", label="<b>laptop"),
        signed_in.post("/login/passkey", {"passkey": "yes"}),
    ):
        assert answer.status_code == 200
        demand_plain(answer)
        assert re.findall(r"<script[^>]*>[^<]*", answer.text) == ['<script src="/passkey.js" defer>']
    script = signed_in.browser.get("/passkey.js")
    assert script.headers["content-type"].startswith("text/javascript")
    # Nothing that could make markup or code of what the page holds.
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function|import", script.text)


def demand_plain(answer: Any) -> None:
    assert "javascript:" not in answer.text.lower()
    assert " style=" not in answer.text
    assert not re.findall(r"\son[a-z]+=", answer.text)
    for address in re.findall(r'(?:href|src|action)="([^"]*)"', answer.text):
        assert urlsplit(address).netloc == ""
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy


def test_the_style_is_served_and_every_field_has_a_label(signed_in: Page) -> None:
    style = signed_in.browser.get("/operator.css")
    assert style.headers["content-type"].startswith("text/css")
    page = signed_in.get("/credentials/new").text
    fields = set(re.findall(r'<(?:input|select) id="([^"]+)"', page))
    assert fields
    assert fields <= set(re.findall(r'<label for="([^"]+)"', page))
    assert signed_in.browser.get("/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize("path", ["/lockdown", "/rules/web"])
def test_a_decision_needs_its_button_and_this_sessions_token(signed_in: Page, operator_system: Any, path: str) -> None:
    assert signed_in.submit(path).status_code == 400
    assert signed_in.submit(path, enabled="maybe").status_code == 400
    assert signed_in.send(path, {"form_token": "x", "enabled": "yes"}).status_code == 403
    status = operator_system.client.status()
    assert (status.lockdown.locked, status.web) == (False, "unanswered")


def test_after_each_form_the_page_forgets_what_its_answering_left_behind(
    signed_in: Page, operator_system: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal and the frames that it went through hold each other, and those frames hold what was typed."""
    operator_system.client.store(StoreCredential(service="example", secret="x-secret", template="github"))
    collected: list[int] = []
    token = signed_in.form_token()
    monkeypatch.setattr("mycelos.operator.forgetting.gc.collect", lambda: collected.append(1) or 0)
    # A page is asked for before each look: it is answered when what follows the answer to a form is over.
    assert signed_in.get("/").status_code == 200
    assert collected == []
    for secret in ("", "another-secret"):
        signed_in.send("/credentials/example/rotate", {"form_token": token, "secret": secret})
    assert signed_in.get("/").status_code == 200
    assert len(collected) == 2
