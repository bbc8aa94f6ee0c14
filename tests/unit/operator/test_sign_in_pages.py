import re
from typing import Any

import pytest
from vault_page import ServedVaultPage as Page
from vault_page import page_text, served_vault_page, sign_in

from mycelos.operator.client import OperatorClient, OperatorUnavailableError

PAGES = ["/", "/credentials/new", "/credentials/example/rotate", "/credentials/example/delete", "/rules", "/lockdown"]


def test_the_front_and_the_addresses_of_signed_in_pages_without_a_session_lead_to_the_sign_in(page: Page) -> None:
    for path in ("/", *(f"/s/{'x' * 43}{path}" for path in PAGES)):
        answer = page.browser.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    shown = page_text(page.browser.get("/login"))
    assert "mycelos open --operator" in shown
    assert "Go back to that tab." in shown


def test_opening_the_link_does_not_use_it_up_and_its_button_does(page: Page, operator_system: Any) -> None:
    code = operator_system.client.create_link().code
    for _ in range(3):
        shown = page.browser.get("/login", params={"code": code})
        assert (shown.status_code, "set-cookie" in shown.headers) == (200, False)
        assert f'value="{code}"' in shown.text
    signed = page.sign_in(code)
    assert (signed.status_code, signed.headers["location"]) == (303, f"{page.home}/")
    assert re.fullmatch(r"/s/[A-Za-z0-9_-]{43}", page.home)
    assert page.get("/").status_code == 200
    with page.new_browser() as other:
        again = page.sign_in(code, other)
        assert again.status_code == 403
        assert "was used already" in page_text(again)
        assert page.get("/", other).status_code == 303


def test_behind_https_the_cookie_is_for_https_alone(operator_system: Any) -> None:
    with served_vault_page(operator_system.layout, "https://vault.example") as page:
        code = operator_system.client.create_link().code
        cookie = page.sign_in(code, Host="vault.example", Origin="https://vault.example").headers["set-cookie"]
        assert cookie.startswith("__Secure-mycelos_operator=")
        assert "Secure" in cookie
        assert f"Path={page.home};" in cookie


def test_a_planted_session_does_not_become_the_persons(page: Page, operator_system: Any) -> None:
    page.browser.cookies.set("mycelos_operator", "planted")
    sign_in(page, operator_system)
    with page.new_browser(mycelos_operator="planted") as attacker:
        assert page.get("/", attacker).status_code == 303


def test_after_signing_out_path_and_cookie_are_worth_nothing(signed_in: Page, operator_system: Any) -> None:
    cookie = signed_in.browser.cookies["mycelos_operator"]
    answer = signed_in.submit("/logout")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert "mycelos_operator" not in signed_in.browser.cookies
    with signed_in.new_browser(mycelos_operator=cookie) as thief:
        assert signed_in.get("/", thief).status_code == 303
    assert len(operator_system.events("operator.logout")) == 1


def test_a_link_from_before_a_lockdown_signs_nobody_in(page: Page, operator_system: Any) -> None:
    code = operator_system.client.create_link().code
    operator_system.client.set_lockdown(enabled=True)
    assert page.post("/login", {"code": code}).status_code == 403


def test_signing_out_works_while_the_proxy_does_not_answer(signed_in: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    token = signed_in.form_token()

    def gone(_self: OperatorClient, *_arguments: object) -> None:
        raise OperatorUnavailableError(detail="It does not answer.", next_step="Start it.")

    monkeypatch.setattr(OperatorClient, "status", gone)
    monkeypatch.setattr(OperatorClient, "end_sessions", gone)
    assert signed_in.send("/logout", {"form_token": token}).status_code == 503
    assert signed_in.get("/").headers["location"] == "/login"


def test_signing_out_everywhere_ends_every_session_and_says_how_many(signed_in: Page, operator_system: Any) -> None:
    with signed_in.new_browser() as other:
        first = signed_in.home
        assert signed_in.sign_in(operator_system.client.create_link().code, other).status_code == 303
        second, signed_in.home = signed_in.home, first
        answer = signed_in.submit("/logout/everywhere")
        assert answer.headers["location"] == "/login?ended=everywhere"
        assert "Every session has ended." in page_text(signed_in.browser.get("/login?ended=everywhere"))
        assert signed_in.get("/").headers["location"] == "/login"
        assert other.get(f"{second}/").headers["location"] == "/login"
    assert operator_system.events("operator.logout")[-1]["details"] == {"count": 2}
