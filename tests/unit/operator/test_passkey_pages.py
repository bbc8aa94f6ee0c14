import json
import time
from typing import Any

import pytest
from software_authenticator import SoftwareAuthenticator
from vault_page import ServedVaultPage as Page
from vault_page import enrol, options_of, page_text, sign_in


def sign_in_with(page: Page, key: SoftwareAuthenticator, browser: Any = None, **wrong: Any) -> Any:
    """Sign in; where it worked, the page's home is the new session's."""
    signed = key.get(options_of(page.post("/login/passkey", {"passkey": "yes"}, browser)), **wrong)
    answer = page.post("/login/passkey/answer", {"credential": json.dumps(signed)}, browser)
    if answer.status_code == 303:
        page.home = answer.headers["location"].removesuffix("/")
    return answer


def test_a_passkey_is_added_by_a_person_who_is_signed_in_and_then_signs_in(signed_in: Page) -> None:
    key = SoftwareAuthenticator()
    shown = signed_in.get("/passkeys")
    assert "No passkey is enrolled yet." in page_text(shown)
    added = signed_in.browser.get(enrol(signed_in, key).headers["location"])
    assert "laptop added just now" in page_text(added)
    assert "not used yet" in page_text(added)
    with signed_in.new_browser() as other:
        assert sign_in_with(signed_in, key, other).status_code == 303
        assert "last used" in page_text(signed_in.get("/passkeys", other))


def test_nobody_adds_a_passkey_without_a_session(page: Page, operator_system: Any) -> None:
    for path in ("/passkeys/new", "/passkeys/enrol"):
        assert page.post(path, {"label": "x"}).status_code == 404
        answer = page.post(f"/s/{'x' * 43}{path}", {"label": "x"})
        assert answer.headers["location"] == "/login"
    assert operator_system.client.passkeys() == ()


def test_a_passkey_that_another_session_asked_for_is_not_added(signed_in: Page, operator_system: Any) -> None:
    key = SoftwareAuthenticator()
    made = key.create(options_of(signed_in.submit("/passkeys/new", label="laptop")))
    sign_in(signed_in, operator_system)
    answer = signed_in.submit("/passkeys/enrol", credential=json.dumps(made))
    assert answer.status_code == 403
    assert "asked for by another session" in page_text(answer)
    assert operator_system.client.passkeys() == ()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"origin": "http://localhost:9100"}, "at another page"),
        ({"flags": 1}, "did not ask for its PIN"),
        ({"count": 1}, "counted backwards"),
    ],
)
def test_a_wrong_answer_signs_nobody_in_and_says_why(
    signed_in: Page, operator_system: Any, wrong: dict[str, Any], words: str
) -> None:
    key = SoftwareAuthenticator()
    enrol(signed_in, key)
    with signed_in.new_browser() as other:
        answer = sign_in_with(signed_in, key, other, **wrong)
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
        assert words in page_text(answer)
    assert len(operator_system.events("operator.login_failed")) == 1


def test_a_sign_in_is_good_once(signed_in: Page) -> None:
    key = SoftwareAuthenticator(counts=False)
    enrol(signed_in, key)
    signed = json.dumps(key.get(options_of(signed_in.post("/login/passkey", {"passkey": "yes"}))))
    with signed_in.new_browser() as other:
        assert signed_in.post("/login/passkey/answer", {"credential": signed}, other).status_code == 303
        again = signed_in.post("/login/passkey/answer", {"credential": signed}, other)
        assert again.status_code == 403
        assert "answered already" in page_text(again)


def test_the_sessions_of_a_removed_passkey_end_and_no_other(signed_in: Page, operator_system: Any) -> None:
    key = SoftwareAuthenticator()
    enrol(signed_in, key)
    by_link = signed_in.home
    with signed_in.new_browser() as other:
        sign_in_with(signed_in, key, other)
        assert signed_in.get("/", other).status_code == 200
        by_passkey, signed_in.home = signed_in.home, by_link
        (passkey,) = operator_system.client.passkeys()
        asked = page_text(signed_in.get(f"/passkeys/{passkey.id}/remove"))
        assert "Remove the passkey laptop?" in asked
        assert signed_in.submit(f"/passkeys/{passkey.id}/remove").status_code == 303
        assert signed_in.get("/").status_code == 200
        ended = other.get(f"{by_passkey}/")
        assert ended.headers["location"] == "/login?ended=passkey"
        assert "was removed" in page_text(other.get("/login?ended=passkey"))
        assert "not enrolled here" in page_text(sign_in_with(signed_in, key, other))
    assert signed_in.get(f"/passkeys/{passkey.id}/remove").status_code == 404


def test_where_sessions_forget_their_passkey_its_removal_ends_none(
    signed_in: Page, operator_system: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Takes the wall away and sees the attack succeed."""
    key = SoftwareAuthenticator()
    enrol(signed_in, key)
    begin = signed_in.sessions.begin
    monkeypatch.setattr(signed_in.sessions, "begin", lambda lockdown, _passkey: begin(lockdown))
    with signed_in.new_browser() as thief:
        sign_in_with(signed_in, key, thief)
        operator_system.client.remove_passkey(operator_system.client.passkeys()[0].id)
        assert signed_in.get("/", thief).status_code == 200


def test_ten_minutes_after_a_sign_in_a_session_neither_adds_nor_removes_a_passkey(
    signed_in: Page, operator_system: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signed_in.sessions, "is_fresh", lambda _session: False)
    enrol(signed_in, SoftwareAuthenticator())
    (first,) = operator_system.client.passkeys()
    assert "within ten minutes" in page_text(signed_in.get("/passkeys"))
    for path, fields in (
        ("/passkeys/new", {"label": "thief"}), ("/passkeys/enrol", {"credential": "{}"}),
        (f"/passkeys/{first.id}/remove", {}),
    ):  # fmt: skip
        answer = signed_in.submit(path, **fields)
        assert answer.status_code == 403
        assert "within ten minutes of a sign-in" in page_text(answer)
    assert operator_system.client.passkeys() == (first,)


def test_where_every_session_counts_as_fresh_an_old_one_adds_a_key_of_its_own(
    signed_in: Page, operator_system: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Takes the wall away and sees the attack succeed."""
    enrol(signed_in, SoftwareAuthenticator())
    monkeypatch.setattr(signed_in.sessions, "_monotonic", lambda monotonic=time.monotonic: monotonic() + 3600)
    assert signed_in.submit("/passkeys/new", label="thief").status_code == 403
    monkeypatch.setattr(signed_in.sessions, "is_fresh", lambda _session: True)
    assert enrol(signed_in, SoftwareAuthenticator(b"thief"), "thief").status_code == 303
    assert len(operator_system.client.passkeys()) == 2


@pytest.mark.parametrize("label", ["", "  ", "x" * 129, "a\u202eb"])
def test_a_label_that_cannot_be_read_is_refused_at_its_field(signed_in: Page, operator_system: Any, label: str) -> None:
    answer = signed_in.submit("/passkeys/new", label=label)
    assert answer.status_code == 400
    assert 'id="label-error"' in answer.text


TWICE = (
    '{"id": "eA", "id": "eA", "type": "public-key", "response": {"clientDataJSON": "eA", "attestationObject": "eA", '
    '"authenticatorData": "eA", "signature": "eA"}}'
)


@pytest.mark.parametrize("credential", ["", "{", "[]", '{"id": "eA"}', '{"id": "eA", "type": "public-key"}', TWICE])
def test_without_the_script_or_with_another_form_the_answer_names_the_field(signed_in: Page, credential: str) -> None:
    for answer in (
        signed_in.submit("/passkeys/enrol", credential=credential),
        signed_in.post("/login/passkey/answer", {"credential": credential}),
    ):
        assert answer.status_code == 400
        assert "credential" in page_text(answer)
        assert ("stands there twice" in page_text(answer)) is (credential is TWICE)


def test_at_an_address_without_a_name_the_page_leads_to_the_one_that_has_it(
    signed_in: Page, operator_system: Any
) -> None:
    address = signed_in.base.replace("localhost", "127.0.0.1")
    with signed_in.new_browser() as browser:
        shown = browser.get(f"{address}/login")
        assert f'href="{signed_in.base}/login"' in shown.text
        assert 'action="/login/passkey"' not in shown.text
        code = operator_system.client.create_link().code
        answer = browser.post(f"{address}/login", data={"code": code}, headers={"Origin": address})
        listed = browser.get(f"{address}{answer.headers['location']}passkeys")
        assert f'href="{signed_in.base}/login"' in listed.text
        assert "/passkeys/new" not in listed.text
    assert 'action="/login/passkey"' in signed_in.browser.get("/login").text


def test_markup_in_a_passkeys_label_is_text(signed_in: Page) -> None:
    enrol(signed_in, SoftwareAuthenticator(), "<script>alert(1)</script>")
    shown = signed_in.get("/passkeys")
    assert "<script>alert" not in shown.text
    assert "<script>alert(1)</script>" in page_text(shown)
