from typing import Any

import pytest
from vault_page import ServedVaultPage as Page
from vault_page import new_fields, page_text

from mycelos.operator.client import OperatorClient
from mycelos.proxy.vault.records import park_all
from mycelos.wire.operator import CredentialTested


def test_the_empty_page_says_how_to_begin(signed_in: Page) -> None:
    shown = page_text(signed_in.get("/"))
    assert "No credential is stored yet." in shown
    assert "Add a credential" in shown


def test_markup_in_a_label_is_text(signed_in: Page) -> None:
    signed_in.submit("/credentials/new", **new_fields(label="<script>alert(1)</script>"))
    shown = signed_in.get("/")
    assert "<script" not in shown.text
    assert "<script>alert(1)</script>" in page_text(shown)


def test_a_secret_is_replaced_and_deleted_after_a_question(signed_in: Page, operator_system: Any) -> None:
    signed_in.submit("/credentials/new", **new_fields())
    wrong = signed_in.submit("/credentials/example/rotate", secret=" x")
    assert wrong.status_code == 400
    assert "begins or ends with a space" in page_text(wrong)
    assert signed_in.submit("/credentials/example/rotate", secret="replaced-1").status_code == 303
    with operator_system.vault.open_secret(operator_system.vault.find("example")) as secret:
        assert secret.matches(b"replaced-1")
    asked = signed_in.get("/credentials/example/delete")
    assert "Delete example?" in page_text(asked)
    assert len(operator_system.client.credentials().credentials) == 1
    assert signed_in.submit("/credentials/example/delete").status_code == 303
    assert operator_system.client.credentials().credentials == ()


def test_a_credential_is_tested_and_what_came_of_it_is_said(signed_in: Page, operator_system: Any) -> None:
    signed_in.submit("/credentials/new", **new_fields(host="api.example.com", path_prefix="/v1"))
    asked = page_text(signed_in.get("/credentials/example/test"))
    assert "a GET that changes nothing" in asked
    refused = signed_in.submit("/credentials/example/test", path="/v2/<b>me")
    assert "Nothing came back." in page_text(refused)
    assert "<b>me" not in refused.text
    assert "https://api.example.com/v2/" in page_text(refused)
    assert len(operator_system.events("proxy.binding_violation")) == 1


@pytest.mark.parametrize(
    ("status", "words"), [(200, "The service took it"), (401, "does not take it"), (503, "says nothing of the secret")]
)
def test_each_status_of_a_test_is_said_in_words(
    signed_in: Page, monkeypatch: pytest.MonkeyPatch, status: int, words: str
) -> None:
    signed_in.submit("/credentials/new", **new_fields())
    tested = CredentialTested(url="https://api.example.com/v1/me", status=status)
    monkeypatch.setattr(OperatorClient, "test", lambda *_: tested)
    assert words in page_text(signed_in.submit("/credentials/example/test", path="/v1/me"))


@pytest.mark.parametrize("path", ["", "v1", "/a b", "/é", "/" + "x" * 1024])
def test_a_path_that_cannot_be_tested_is_refused_at_its_field(signed_in: Page, path: str) -> None:
    signed_in.submit("/credentials/new", **new_fields())
    answer = signed_in.submit("/credentials/example/test", path=path)
    assert answer.status_code == 400
    assert 'id="path-error"' in answer.text


def test_a_parked_credential_is_shown_with_the_question_and_confirmed_by_its_button(
    signed_in: Page, operator_system: Any
) -> None:
    signed_in.submit("/credentials/new", **new_fields())
    vault = operator_system.vault
    vault.database.run_now(lambda connection: park_all(connection, vault.keys, "2026-11-26T12:00:00Z"))
    vault.adopt(*vault.database.run_now(vault.read))
    assert "Parked since 2026-11-26T12:00:00Z by a restore" in page_text(signed_in.get("/"))
    answer = signed_in.submit("/credentials/example/confirm")
    shown = page_text(signed_in.browser.get(answer.headers["location"]))
    assert "The credential example was confirmed." in shown
    assert "Parked" not in shown
    assert vault.find("example") is not None
    assert signed_in.submit("/credentials/none/confirm").status_code == 404
