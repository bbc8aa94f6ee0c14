"""Facts, intents and outcomes become append requests."""

from __future__ import annotations

import msgspec
import pytest

from mycelos.gateway.recorder import Recorder
from mycelos.ledger.events import Event
from mycelos.wire.audit import AppendReceipt, AppendRequest

pytestmark = pytest.mark.anyio


@pytest.fixture
def sent() -> list[AppendRequest]:
    return []


@pytest.fixture
def recorder(sent: list[AppendRequest]) -> Recorder:
    async def append(request: AppendRequest) -> AppendReceipt:
        sent.append(request)
        return AppendReceipt(seq=41 + len(sent), leaf_hash="0" * 64, checkpoint=None)

    return Recorder(append)


async def test_an_outcome_names_its_intent(recorder: Recorder, sent: list[AppendRequest]) -> None:
    intent = await recorder.intent(Event.TOOL_CALLED, run="run", args_digest="a" * 64)
    await recorder.outcome(Event.TOOL_CALLED, intent, outcome="ok")
    assert [(one.phase, one.intent_seq, one.outcome) for one in sent] == [
        ("intent", None, None),
        ("outcome", 42, "ok"),
    ]


async def test_a_fact_is_shortened_to_what_an_entry_may_hold(recorder: Recorder, sent: list[AppendRequest]) -> None:
    await recorder.fact(Event.POLICY_DENIED, subject="x" * 2000, details={"tool": "a.b"})
    assert len(sent[0].subject or "") == 512
    msgspec.json.decode(msgspec.json.encode(sent[0]), type=AppendRequest)


async def test_what_is_no_field_of_an_entry_is_refused(recorder: Recorder, sent: list[AppendRequest]) -> None:
    with pytest.raises(msgspec.ValidationError):
        await recorder.fact(Event.POLICY_DENIED, source="proxy")
    assert sent == []
