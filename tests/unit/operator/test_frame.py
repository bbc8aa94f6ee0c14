from typing import Any

import pytest
from software_authenticator import SoftwareAuthenticator
from vault_page import ServedVaultPage as Page
from vault_page import enrol, page_text, sign_in

from mycelos.wire.operator import ListRules, StoreCredential


def test_a_lockdown_from_elsewhere_ends_each_older_session_and_no_later_one(
    signed_in: Page, operator_system: Any
) -> None:
    token = signed_in.form_token()
    operator_system.client.set_lockdown(enabled=True)
    operator_system.client.set_lockdown(enabled=False)
    changed = signed_in.send("/rules/web", {"form_token": token, "enabled": "yes"})
    assert (changed.status_code, changed.headers["location"]) == (303, "/login?ended=lockdown")
    assert operator_system.client.status().web == "unanswered"
    assert "ended every session" in page_text(signed_in.browser.get("/login?ended=lockdown"))
    assert signed_in.get("/").headers["location"] == "/login"
    sign_in(signed_in, operator_system)
    assert signed_in.get("/").status_code == 200
    operator_system.client.set_lockdown(enabled=True)
    assert signed_in.get("/").status_code == 303


WIDENING = (
    ("/credentials/new", {"service": "gitlab", "template": "gitlab", "secret": "another-secret"}),
    ("/credentials/github/bind", {"host": "https://api.github.com", "methods": "GET", "version": "1"}),
    ("/credentials/github/rotate", {"secret": "a-secret-of-the-thief"}),
    ("/credentials/github/confirm", {}),
    ("/rules/add", {"host": "https://thief.example", "methods": "GET"}),
    ("/rules/web", {"enabled": "yes"}),
    ("/lockdown", {"enabled": "no"}),
    ("/passkeys/new", {"label": "thief"}),
    ("/passkeys/enrol", {"credential": "{}"}),
)  # fmt: skip
NARROWING = {
    "/approvals/{id}", "/credentials/{service}/test", "/credentials/{service}/delete", "/rules/{id}/remove",
    "/logout", "/logout/everywhere",
}  # fmt: skip
"""Forms that let nothing more out or in; an approval asks for the passkey itself."""


def test_with_a_passkey_enrolled_an_old_session_lets_nothing_more_out_or_in(
    signed_in: Page, operator_system: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator_system.client.store(StoreCredential(service="github", secret="its-first-secret", template="github"))
    enrol(signed_in, SoftwareAuthenticator())
    before = operator_system.client.credentials(), operator_system.client.egress_rules(ListRules())
    monkeypatch.setattr(signed_in.sessions, "is_fresh", lambda _session: False)
    for path, fields in WIDENING:
        answer = signed_in.submit(path, **fields)
        assert (answer.status_code, "within ten minutes of a sign-in" in page_text(answer)) == (403, True), path
    assert (operator_system.client.credentials(), operator_system.client.egress_rules(ListRules())) == before
    # What takes something away is for whoever is signed in, at any time.
    assert signed_in.submit("/credentials/github/delete").status_code == 303
    monkeypatch.setattr(signed_in.sessions, "is_fresh", lambda _session: True)
    assert signed_in.submit("/rules/web", enabled="yes").status_code == 303


def test_every_form_is_known_to_widen_or_not(signed_in: Page) -> None:
    forms = {route.path for route in signed_in.page.session_routes() if "POST" in (route.methods or ())}
    widening = {path.replace("/github/", "/{service}/") for path, _ in WIDENING}
    # How a passkey is removed is tested with the passkeys.
    assert forms == widening | NARROWING | {"/passkeys/{id}/remove"}
