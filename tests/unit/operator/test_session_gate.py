"""Another port of this machine against a session at the vault page: what a browser sends there, and what that opens."""

import re
from typing import Any

import pytest
from neighbour import Neighbour
from vault_page import ServedVaultPage as Page

from mycelos.operator import session_cookie
from mycelos.operator.sessions import LIFETIME_SECONDS, Session, Sessions
from mycelos.wire.operator import StoreCredential

COOKIE = "mycelos_operator"


def is_open(page: Page, home: str, cookie: str | None) -> bool:
    """Whether this path with this cookie, sent by any program of this machine, is answered with a signed-in page."""
    with page.new_browser() as thief:
        headers = {} if cookie is None else {"Cookie": f"{COOKIE}={cookie}"}
        answer = thief.get(f"{home}/", headers=headers)
        assert (answer.status_code == 200) == ("Sign out" in answer.text)
        assert answer.status_code == 200 or answer.headers["location"] == "/login"
        return answer.status_code == 200


def stolen(other_port: Neighbour) -> str | None:
    found = re.search(rf"{COOKIE}=([^;\s]+)", other_port.seen)
    return found and found[1]


def test_a_browser_that_is_signed_in_sends_another_port_no_cookie(signed_in: Page, other_port: Neighbour) -> None:
    assert signed_in.get("/").status_code == 200
    for path in ("/", "/s", "/s/", f"/s/{'x' * 43}/", "/login", "/rules"):
        assert signed_in.browser.get(f"{other_port.url}{path}").status_code == 200
    assert len(other_port.requests) == 6
    assert stolen(other_port) is None
    assert signed_in.home not in other_port.seen


def test_with_a_cookie_for_every_path_another_port_has_it_and_still_lacks_the_path(
    page: Page, operator_system: Any, other_port: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Takes the cookie's path away and sees the attack's first half succeed."""
    monkeypatch.setattr(session_cookie, "home_of", lambda _token: "/")
    page.sign_in(operator_system.client.create_link().code)
    page.browser.get(other_port.url)
    cookie = stolen(other_port)
    assert cookie == page.browser.cookies[COOKIE]
    assert not is_open(page, f"/s/{'x' * 43}", cookie)


def test_without_both_path_rules_another_port_has_the_operators_session(
    page: Page, operator_system: Any, other_port: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Takes the session's path away as well and sees the attack succeed."""

    def by_cookie_alone(sessions: Sessions, _path_token: str, cookies: list[str]) -> Session | None:
        known = sessions._sessions.values()
        return next((session for session in known if any(session.has_cookie(value) for value in cookies)), None)

    monkeypatch.setattr(session_cookie, "home_of", lambda _token: "/")
    monkeypatch.setattr(Sessions, "find", by_cookie_alone)
    page.sign_in(operator_system.client.create_link().code)
    page.browser.get(other_port.url)
    assert is_open(page, "/s/x", stolen(other_port))


def test_the_path_alone_the_cookie_alone_and_those_of_two_sessions_open_nothing(
    page: Page, operator_system: Any
) -> None:
    mine, others = [], []
    for session in (mine, others):
        with page.new_browser() as browser:
            page.sign_in(operator_system.client.create_link().code, browser)
            session += [page.home, browser.cookies[COOKIE]]
    assert is_open(page, *mine)
    assert is_open(page, *others)
    for home, cookie in (
        (mine[0], None), (mine[0], ""), (mine[0], "x"), (mine[0], mine[0].removeprefix("/s/")),
        (mine[0], others[1]), (others[0], mine[1]),
        ("", mine[1]), ("/s/x", mine[1]), (f"/s/{mine[1]}", mine[1]), (mine[0][:-1], mine[1]), (f"{mine[0]}x", mine[1]),
    ):  # fmt: skip
        assert not is_open(page, home, cookie)


@pytest.mark.parametrize("cookie", [None, "x"])
@pytest.mark.parametrize("path", ["/", "/rules", "/credentials/none/rotate", "/nowhere", "/logout", "/%2e%2e/", "//"])
def test_a_path_that_exists_and_one_that_does_not_answer_alike(signed_in: Page, path: str, cookie: str | None) -> None:
    headers = {} if cookie is None else {"Cookie": f"{COOKIE}={cookie}"}
    for method in ("GET", "HEAD", "POST", "PUT"):
        answers = []
        for home in (signed_in.home, f"/s/{'x' * 43}"):
            with signed_in.new_browser() as stranger:
                answer = stranger.request(method, home + path, headers={**headers, "Origin": signed_in.base})
            shown = {name: value for name, value in answer.headers.items() if name != "date"}
            answers.append((answer.status_code, shown, answer.content))
        assert answers[0] == answers[1]
        assert (answers[0][0], answers[0][1]["location"]) == (303, "/login")
        assert "set-cookie" not in answers[0][1]


def test_a_home_without_its_slash_is_no_page_for_anybody(signed_in: Page) -> None:
    for home in (signed_in.home, f"/s/{'x' * 43}"):
        assert signed_in.browser.get(home).status_code == 404


def test_planted_cookies_sign_nobody_out(signed_in: Page, operator_system: Any, other_port: Neighbour) -> None:
    other_port.plants = [f"{COOKIE}=x; Path={path}" for path in ("/", "/s", "/s/")]
    signed_in.browser.get(other_port.url)
    assert len([cookie for cookie in signed_in.browser.cookies.jar if cookie.name == COOKIE]) == 4
    sent = signed_in.get("/")
    assert sent.status_code == 200
    assert sent.request.headers["cookie"].count(f"{COOKIE}=") == 4
    operator_system.client.store(StoreCredential(service="example", secret="x-secret", template="github"))
    assert signed_in.submit("/credentials/example/delete").status_code == 303
    assert operator_system.client.credentials().credentials == ()
    assert signed_in.submit("/logout").headers["location"] == "/login"
    assert signed_in.get("/").status_code == 303


def test_a_reader_of_the_last_value_alone_would_let_a_planted_cookie_sign_out(
    signed_in: Page, other_port: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = session_cookie.SessionCookie.values
    monkeypatch.setattr(session_cookie.SessionCookie, "values", lambda cookie, scope: every(cookie, scope)[-1:])
    other_port.plants = [f"{COOKIE}=x; Path=/"]
    assert signed_in.get("/").status_code == 200
    signed_in.browser.get(other_port.url)
    assert signed_in.get("/").status_code == 303


def test_a_session_that_has_expired_leads_to_the_sign_in(signed_in: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    now = signed_in.sessions._monotonic()
    monkeypatch.setattr(signed_in.sessions, "_monotonic", lambda: now + LIFETIME_SECONDS)
    assert signed_in.get("/").headers["location"] == "/login"
    assert signed_in.get("/rules").headers["location"] == "/login"


@pytest.mark.parametrize("end", ["/logout", "/lockdown"])
def test_what_ends_the_session_takes_the_cookie_from_the_browser(signed_in: Page, end: str) -> None:
    fields = {"enabled": "yes"} if end == "/lockdown" else {}
    answer = signed_in.submit(end, **fields)
    assert f"Path={signed_in.home};" in answer.headers["set-cookie"]
    assert COOKIE not in signed_in.browser.cookies
    assert signed_in.home not in answer.text


@pytest.mark.parametrize("path", ["/", "/rules", "/lockdown", "/credentials/new", "/nowhere"])
def test_no_page_lets_its_address_out_to_another_origin(signed_in: Page, path: str) -> None:
    answer = signed_in.get(path)
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"
    assert "referrerpolicy" not in answer.text.lower()
    assert not re.findall(r'(?:href|src|action)="(?:[a-z]+:|//)', answer.text)


def test_neither_path_nor_cookie_is_in_a_log_the_ledger_or_a_failure(
    signed_in: Page, operator_system: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    cookie = signed_in.browser.cookies[COOKIE]

    def fail(*_arguments: object, **_about: object) -> None:
        raise ValueError(signed_in.home, cookie)

    with monkeypatch.context() as patch:
        patch.setattr("mycelos.operator.frame.Frame.show", fail)
        failed = signed_in.get("/rules")
    assert failed.status_code == 500
    signed_in.submit("/logout")
    told = [failed.text, *(record.getMessage() for record in caplog.records if record.name.startswith(("myc", "uvi")))]
    kept = [path.read_bytes() for path in operator_system.layout.root.rglob("*") if path.is_file()]
    assert "ValueError" in "".join(told)
    assert kept
    for secret in (signed_in.home.removeprefix("/s/"), cookie):
        assert not any(secret in words for words in told)
        assert not any(secret.encode() in content for content in kept)
