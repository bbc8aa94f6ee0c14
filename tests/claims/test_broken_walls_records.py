"""For L1: one event is taken away, and probe or walk see it."""

from __future__ import annotations

import pytest
from gateway_page import served_page
from taken_walls import broken

from mycelos.gateway.recorder import Recorder
from mycelos.ledger.events import Event
from mycelos.wire.audit import AppendReceipt

pytestmark = pytest.mark.anyio


def test_l1_an_operator_s_change_without_a_record_is_seen(proxy_without, stopped):
    proxy_without("""
        from mycelos.ledger.events import Event
        from mycelos.proxy.operator_door import recorded
        original = recorded.RecordedChange.__call__
        async def quiet(self, event, subject, details, effect):
            if event is Event.CREDENTIAL_BOUND:
                return await effect()
            return await original(self, event, subject, details, effect)
        recorded.RecordedChange.__call__ = quiet
    """)
    assert broken(stopped, "L1") == {"use POST /credential/bind of the operator's door and leave no credential.bound"}


def test_l1_a_failed_sign_in_without_a_record_is_seen(proxy_without, stopped):
    proxy_without("""
        from mycelos.ledger.events import Event
        from mycelos.proxy.ledger.recorder import Recorder
        original = Recorder.fact
        async def quiet(self, event, **about):
            if event is not Event.OPERATOR_LOGIN_FAILED:
                await original(self, event, **about)
        Recorder.fact = quiet
    """)
    assert broken(stopped, "L1") == {
        "use POST /link/redeem of the operator's door (a guess) and leave no operator.login_failed",
        "use POST /passkey/sign-in/finish of the operator's door and leave no operator.login_failed",
    }


async def changed(page):
    """What stands on record after one change through the API."""
    answer = await page.command_line().post("/api/agents", json={"name": "walked"})
    assert answer.status_code == 201
    return page.proxy.names()


async def test_l1_an_administration_that_records_nothing_is_seen_by_the_walk(tmp_path, monkeypatch):
    (tmp_path / "as it is").mkdir()
    async with served_page(tmp_path / "as it is") as page:
        assert Event.AGENT_CREATED in await changed(page)

    async def nothing(*_about, **_fields):
        return AppendReceipt(0, "00" * 32, None)

    monkeypatch.setattr(Recorder, "intent", nothing)
    monkeypatch.setattr(Recorder, "outcome", nothing)
    (tmp_path / "without").mkdir()
    async with served_page(tmp_path / "without") as page:
        assert Event.AGENT_CREATED not in await changed(page)
