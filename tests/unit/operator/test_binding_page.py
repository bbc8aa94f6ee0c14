from typing import Any

import pytest
from vault_page import SECRET, new_fields, page_text
from vault_page import ServedVaultPage as Page

from mycelos.wire.operator import RotateCredential, StoreCredential

PATH = "/credentials/example/bind"


@pytest.fixture
def stored(signed_in: Page, operator_system: Any) -> Page:
    fields = new_fields(host="a.example b.example", path_prefix="/v1", confirm="yes")
    assert signed_in.submit("/credentials/new", **fields).status_code == 303
    return signed_in


def changed(**changes: Any) -> dict[str, Any]:
    fields = {"label": "example", "version": "1", "keep": ["0", "1"], "ask": ["0", "1"], "host": "", "path_prefix": "",
              "methods": ["GET"], "inject": "bearer", "inject_name": ""}  # fmt: skip
    return {**fields, **changes}


def places(operator_system: Any) -> list[tuple[str, tuple[str, ...], bool]]:
    (credential,) = operator_system.client.credentials().credentials
    return [(binding.host, binding.path, binding.confirm) for binding in credential.bindings]


def test_the_form_shows_each_binding_in_words(stored: Page) -> None:
    shown = stored.get(PATH)
    assert "GET on https://a.example/v1 and below it, sent as a bearer token." in page_text(shown)
    assert shown.text.count('name="keep"') == shown.text.count('name="ask"') == 2
    assert shown.text.count("checked> ") >= 4
    assert SECRET not in shown.text


def test_bindings_are_taken_away_changed_and_added_and_the_secret_stays(stored: Page, operator_system: Any) -> None:
    answer = stored.submit(PATH, **changed(keep=["1"], ask=[], label="two places", host="c.example", path_prefix="/x"))
    assert answer.status_code == 303
    shown = page_text(stored.browser.get(answer.headers["location"]))
    assert "The credential example was bound." in shown
    assert "two places" in shown
    assert places(operator_system) == [("b.example", ("v1",), False), ("c.example", ("x",), False)]
    with operator_system.vault.open_secret(operator_system.vault.find("example")) as secret:
        assert secret.matches(SECRET.encode())
    assert operator_system.events("credential.bound")[-1]["outcome"] == "ok"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"keep": []}, "keep"),
        ({"keep": ["7"]}, "keep"),
        ({"label": "x" * 129}, "label"),
        ({"host": "*.example"}, "host"),
        ({"host": "c.example", "path_prefix": "/../x"}, "path_prefix"),
        ({"host": "c.example", "methods": ["FETCH"]}, "methods"),
        ({"host": "c.example", "inject": "header", "inject_name": "Host"}, "inject_as"),
    ],
)
def test_an_error_names_its_field_and_nothing_is_changed(
    stored: Page, operator_system: Any, changes: dict[str, Any], field: str
) -> None:
    before = places(operator_system)
    answer = stored.submit(PATH, **changed(**changes))
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    assert f'href="#{field}"' in answer.text
    assert places(operator_system) == before


def test_what_somebody_else_changed_in_the_meantime_is_not_overwritten(stored: Page, operator_system: Any) -> None:
    operator_system.client.rotate(RotateCredential(service="example", secret="another-secret"))
    answer = stored.submit(PATH, **changed(keep=["0"]))
    assert answer.status_code == 409
    assert "changed in the meantime" in page_text(answer)
    assert 'name="version" value="2"' in answer.text
    assert len(places(operator_system)) == 2


def test_a_credential_that_is_not_there_has_no_form(signed_in: Page, operator_system: Any) -> None:
    operator_system.client.store(StoreCredential(service="other", secret="x-secret", template="github"))
    assert signed_in.get(PATH).status_code == 404
    assert signed_in.submit(PATH, **changed()).status_code == 404
