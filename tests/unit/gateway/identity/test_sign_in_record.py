from __future__ import annotations

import pytest

from mycelos.gateway.identity.sign_in_record import SignInRecord
from mycelos.gateway.recorder import Recorder
from mycelos.ledger.events import EVENTS, Event
from mycelos.wire.audit import AppendReceipt, AppendRequest
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio


async def test_each_entry_has_fields_that_the_ledger_takes() -> None:
    written: list[AppendRequest] = []

    async def append(request: AppendRequest) -> AppendReceipt:
        written.append(request)
        return AppendReceipt(len(written), "00", None)

    record = SignInRecord(Recorder(append))
    await record.link_created()
    await record.signed_in("127.0.0.1", "link", "sess_1")
    await record.failed("127.0.0.1", "basic", "wrong password", 3)
    await record.locked_out("127.0.0.1", 5, 29.7)
    await record.signed_out("sess_1")
    assert [(entry.event, entry.outcome) for entry in written] == [
        ("auth.link_created", "ok"),
        ("auth.login", "ok"),
        ("auth.login_failed", "denied"),
        ("auth.locked_out", "denied"),
        ("auth.logout", "ok"),
    ]
    for entry in written:
        assert set(entry.details) <= EVENTS[Event(entry.event)].fields
    assert written[2].details == {"method": "basic", "peer": "127.0.0.1", "attempts": 3}
    assert written[3].reason == "waits 30 s"
    assert not written[2].principal


async def test_what_cannot_be_recorded_is_refused() -> None:
    async def append(request: AppendRequest) -> AppendReceipt:
        raise Refusal(ProblemCode.AUDIT_UNAVAILABLE, "down", "wait")

    with pytest.raises(Refusal):
        await SignInRecord(Recorder(append)).signed_in("127.0.0.1", "link", "sess_1")
