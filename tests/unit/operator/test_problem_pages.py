from typing import Any

import pytest
from vault_page import ServedVaultPage as Page
from vault_page import page_text


def test_what_is_not_there_or_no_form_is_refused_without_a_change(signed_in: Page) -> None:
    assert signed_in.get("/nowhere").status_code == 404
    assert signed_in.get("/credentials/none/rotate").status_code == 404
    token = signed_in.form_token()
    sent = {"Origin": signed_in.base, "Content-Type": "application/x-www-form-urlencoded"}
    for body in (b"form_token=a&form_token=b", b"unknown=1", b"%ff=%ff", b"\xff", b"a" * 300_000,
                 f"form_token={token}&service=a&service=b".encode()):  # fmt: skip
        answer = signed_in.browser.post(f"{signed_in.home}/credentials/new", content=body, headers=sent)
        assert answer.status_code in {400, 403, 413}
    answer = signed_in.browser.post(f"{signed_in.home}/credentials/new", json={}, headers={"Origin": signed_in.base})
    assert answer.status_code == 415


def test_the_page_says_when_the_proxy_does_not_answer(
    signed_in: Page, operator_system: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator_system.layout.operator_socket.rename(operator_system.layout.operator_socket.with_suffix(".gone"))
    answer = signed_in.get("/")
    assert answer.status_code == 503
    assert "mycelos serve" in page_text(answer)
    assert f'href="{signed_in.home}/"' in answer.text
