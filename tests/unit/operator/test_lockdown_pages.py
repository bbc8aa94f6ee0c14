from typing import Any

import pytest
from vault_page import ServedVaultPage as Page
from vault_page import page_text, sign_in

from mycelos.proxy.ledger.recorder import Recorder
from mycelos.wire.problems import ProblemCode, Refusal


def test_a_lockdown_from_the_page_stops_egress_and_signs_this_browser_out(
    signed_in: Page, operator_system: Any
) -> None:
    assert "Lock down" in page_text(signed_in.get("/"))
    answer = signed_in.submit("/lockdown", enabled="yes")
    assert answer.status_code == 200
    assert "All egress is stopped since" in page_text(answer)
    assert "mycelos open --operator" in page_text(answer)
    assert operator_system.client.status().lockdown.locked
    assert signed_in.get("/").headers["location"] == "/login"
    sign_in(signed_in, operator_system)
    for path in ("/", "/rules", "/credentials/new"):
        assert "Locked down since" in page_text(signed_in.get(path))
    assert signed_in.submit("/lockdown", enabled="no").headers["location"] == f"{signed_in.home}/"
    assert not operator_system.client.status().lockdown.locked
    shown = page_text(signed_in.get("/"))
    assert "Locked down" not in shown
    assert "Lock down" in shown


def test_what_a_lockdown_could_not_do_is_said(
    signed_in: Page, operator_system: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_arguments: object, **_about: object) -> None:
        raise Refusal(ProblemCode.AUDIT_UNAVAILABLE, "The ledger cannot be written.", "Free some space.")

    monkeypatch.setattr(Recorder, "intent", refuse)
    assert "not on record yet: The ledger cannot be written." in page_text(signed_in.submit("/lockdown", enabled="yes"))
