from typing import Any

import pytest
from vault_page import SECRET, new_fields, page_text
from vault_page import ServedVaultPage as Page


def test_a_credential_from_a_template_is_stored_and_shown_in_plain_words(signed_in: Page, operator_system: Any) -> None:
    answer = signed_in.submit("/credentials/new", **new_fields(service="github", template="github", label="mine"))
    assert answer.status_code == 303
    shown = signed_in.browser.get(answer.headers["location"])
    assert "The credential github was stored." in page_text(shown)
    assert "GET and HEAD on https://api.github.com/repos and below it, sent as a bearer token." in page_text(shown)
    assert SECRET not in shown.text
    assert operator_system.events("credential.stored")[-1]["outcome"] == "ok"


def test_a_credential_for_a_host_is_stored_as_it_was_written(signed_in: Page, operator_system: Any) -> None:
    answer = signed_in.submit(
        "/credentials/new",
        **new_fields(host="a.example b.example:8443", path_prefix="/v1/items", methods=["GET", "POST"],
                     inject="header", inject_name="X-Key", confirm="yes"),
    )  # fmt: skip
    assert answer.status_code == 303
    (stored,) = operator_system.client.credentials().credentials
    assert [(b.host, b.port, b.path, b.confirm) for b in stored.bindings] == [
        ("a.example", 443, ("v1", "items"), True), ("b.example", 8443, ("v1", "items"), True),
    ]  # fmt: skip
    with operator_system.vault.open_secret(operator_system.vault.find("example")) as secret:
        assert secret.matches(SECRET.encode())


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"service": "Not A Name"}, "service"),
        ({"label": "x" * 129}, "label"),
        ({"secret": ""}, "secret"),
        ({"secret": f" {SECRET}"}, "secret"),
        ({"secret": f"{SECRET}\n{SECRET}"}, "secret"),
        ({"host": ""}, "host"),
        ({"host": "*.example.com"}, "host"),
        ({"path_prefix": "/a/../b"}, "path_prefix"),
        ({"methods": ["FETCH"]}, "methods"),
        ({"inject": "header", "inject_name": "Host"}, "inject_as"),
        ({"inject": "cookie"}, "inject_as"),
        ({"template": "none-such"}, "template"),
    ],
)
def test_an_error_names_its_field_and_keeps_what_was_typed_but_the_secret(
    signed_in: Page, operator_system: Any, changes: dict[str, Any], field: str
) -> None:
    answer = signed_in.submit("/credentials/new", **(new_fields(label="typed before") | changes))
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    assert f'href="#{field}"' in answer.text
    assert SECRET not in answer.text
    if "label" not in changes:
        assert 'value="typed before"' in answer.text
    assert operator_system.client.credentials().credentials == ()


def test_a_name_that_exists_is_a_conflict_shown_at_its_field(signed_in: Page) -> None:
    assert signed_in.submit("/credentials/new", **new_fields()).status_code == 303
    again = signed_in.submit("/credentials/new", **new_fields())
    assert again.status_code == 409
    assert "There is already a credential example." in page_text(again)
