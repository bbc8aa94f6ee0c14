from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sqlite3

import pytest

from mycelos.ledger.events import EVENTS, Event, Source
from mycelos.ledger.verify import Verdict
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.wire.audit import AppendRequest
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio


async def all_entries(recorder):
    return await recorder.events(after=-1, limit=1000)


async def test_an_intent_is_on_disk_when_it_returns_and_its_outcome_names_it(recorder):
    intent = await recorder.intent(
        Event.PROXY_HTTP_REQUEST, principal="gateway", run="r", agent="a", subject="github", details={"host": "h"}
    )
    (entry,) = await all_entries(recorder)
    assert (entry.seq, entry.phase, entry.source, entry.leaf_hash) == (intent.seq, "intent", "proxy", intent.leaf_hash)
    outcome = await recorder.outcome(intent, outcome="ok", details={"status": 200})
    entry = (await all_entries(recorder))[outcome.seq]
    assert (entry.phase, entry.intent_seq, entry.outcome) == ("outcome", intent.seq, "ok")
    assert (entry.principal, entry.run, entry.agent, entry.subject) == ("gateway", "r", "a", "github")


async def test_a_fact_of_the_operator_has_the_operator_s_source(recorder):
    await recorder.fact(Event.CREDENTIAL_STORED, subject="github")
    assert (await all_entries(recorder))[0].source == "operator"


@pytest.mark.parametrize("event", [event for event in Event if EVENTS[event].source is Source.GATEWAY], ids=str)
async def test_the_proxy_cannot_say_what_is_the_gateway_s_to_say(recorder, event):
    with pytest.raises(ValueError, match="another source"):
        await recorder.fact(event)


@pytest.mark.parametrize("event", [event for event in Event if EVENTS[event].source is not Source.GATEWAY], ids=str)
async def test_the_gateway_can_forge_no_event_of_another_source(recorder, event):
    with pytest.raises(Refusal) as caught:
        await recorder.append_claimed(AppendRequest(event=event.value))
    assert caught.value.problem.code is ProblemCode.FORBIDDEN
    assert await all_entries(recorder) == []


async def test_what_the_gateway_appends_is_marked_as_its_claim(recorder):
    receipt = await recorder.append_claimed(
        AppendRequest(event="tool.called", phase="intent", run="r", agent="a", details={"tool": "x.y"})
    )
    done = await recorder.append_claimed(
        AppendRequest(event="tool.called", phase="outcome", intent_seq=receipt.seq, outcome="ok")
    )
    first, second = await all_entries(recorder)
    assert (first.source, first.leaf_hash, receipt.checkpoint) == ("gateway", receipt.leaf_hash, None)
    assert (second.intent_seq, second.leaf_hash) == (receipt.seq, done.leaf_hash)


@pytest.mark.parametrize(
    "about",
    [
        {"event": "no.such"},
        {"event": "tool.called", "details": {"secret": "hunter2"}},
        {"event": "tool.called", "details": {"status": "hunter2"}},
        {"event": "tool.called", "phase": "outcome"},
        {"event": "tool.called", "phase": "outcome", "intent_seq": 5},
        {"event": "tool.called", "phase": "fact", "intent_seq": 0},
    ],
    ids=str,
)
async def test_a_malformed_append_is_refused_and_its_values_are_not_repeated(recorder, about):
    with pytest.raises(Refusal) as caught:
        await recorder.append_claimed(AppendRequest(**about))
    assert caught.value.problem.code is ProblemCode.INVALID_REQUEST
    assert "hunter2" not in str(caught.value)
    assert await all_entries(recorder) == []


async def test_the_gateway_cannot_settle_an_intent_of_the_proxy(recorder):
    intent = await recorder.intent(Event.PROXY_HTTP_REQUEST)
    with pytest.raises(Refusal, match="intent_seq"):
        await recorder.append_claimed(
            AppendRequest(event="tool.called", phase="outcome", intent_seq=intent.seq, outcome="ok")
        )


async def test_of_arguments_only_a_keyed_digest_is_kept(recorder):
    key, digest = bytes(range(32)), hashlib.sha256(b"{}").hexdigest()
    recorder.set_mac_key(key)
    await recorder.append_claimed(AppendRequest(event="tool.called", args_digest=digest))
    (entry,) = await all_entries(recorder)
    assert entry.args_mac == hmac.new(key, bytes.fromhex(digest), "sha256").hexdigest()
    assert digest not in json.dumps(entry.as_dict())


async def test_without_its_key_a_digest_is_refused_and_not_left_out(recorder):
    with pytest.raises(Refusal) as caught:
        await recorder.append_claimed(AppendRequest(event="tool.called", args_digest="ab" * 32))
    assert caught.value.problem.code is ProblemCode.AUDIT_UNAVAILABLE
    with pytest.raises(ValueError, match="32 bytes"):
        recorder.set_mac_key(b"short")


async def test_appends_at_once_are_all_there_in_one_unbroken_order(recorder):
    receipts = await asyncio.gather(*(recorder.fact(Event.PROXY_HTTP_REQUEST, run=str(n)) for n in range(200)))
    assert sorted(receipt.seq for receipt in receipts) == list(range(200))
    result = await recorder.verify({"test": recorder.head})
    assert (result.verdict, result.entries) == (Verdict.HOLDS, 200)


async def break_the_disk(recorder, monkeypatch):
    def refuse(_group):
        message = "disk I/O error"
        raise sqlite3.OperationalError(message)

    monkeypatch.setattr(recorder._writer, "_write", refuse)


async def test_when_nothing_can_be_written_everything_is_refused_reading_works_and_it_recovers(recorder, monkeypatch):
    intent = await recorder.intent(Event.PROXY_HTTP_REQUEST)
    with monkeypatch.context() as patch:
        await break_the_disk(recorder, patch)
        for attempt in (
            recorder.fact(Event.PROXY_STARTED),
            recorder.intent(Event.PROXY_HTTP_REQUEST),
            recorder.outcome(intent, outcome="ok"),
            recorder.append_claimed(AppendRequest(event="tool.called")),
        ):
            with pytest.raises(Refusal) as caught:
                await attempt
            assert caught.value.problem.code is ProblemCode.AUDIT_UNAVAILABLE
        assert len(await all_entries(recorder)) == 1
    assert (await recorder.fact(Event.PROXY_STARTED)).seq == 1


async def test_an_outcome_that_nobody_awaits_and_that_cannot_be_written_shows_at_the_next_start(
    recorder, path, clock, monkeypatch
):
    intent = await recorder.intent(Event.PROXY_HTTP_REQUEST, run="r")
    await break_the_disk(recorder, monkeypatch)
    left_alone = recorder.outcome(intent, outcome="ok")
    await asyncio.wait([left_alone])
    await recorder.close()
    again = await Recorder.open(path, clock)
    entry = (await all_entries(again))[-1]
    assert (entry.event, entry.intent_seq, entry.run) == ("intent.unresolved", intent.seq, "r")
    await again.close()


async def test_a_full_queue_refuses(recorder, monkeypatch):
    monkeypatch.setattr("mycelos.proxy.ledger.queue.ENTRY_LIMIT", 0)
    with pytest.raises(Refusal, match="too much waits"):
        await recorder.fact(Event.PROXY_STARTED)


async def test_a_closed_recorder_refuses(recorder):
    await recorder.close()
    with pytest.raises(Refusal):
        await recorder.fact(Event.PROXY_STARTED)


async def test_a_log_that_does_not_hold_is_itself_put_on_record(recorder, path):
    await recorder.fact(Event.PROXY_STARTED)
    await recorder.fact(Event.PROXY_STARTED)
    intruder = sqlite3.connect(path, isolation_level=None)
    intruder.execute("DROP TRIGGER audit_events_no_update")
    intruder.execute("UPDATE audit_events SET reason = 'forged' WHERE seq = 0")
    intruder.close()
    result = await recorder.verify({})
    assert (result.verdict, result.fault.seq) == (Verdict.BROKEN, 0)
    entry = (await all_entries(recorder))[-1]
    assert (entry.event, json.loads(entry.details)["seq"]) == ("ledger.verify_failed", 0)


async def test_a_ledger_whose_last_links_are_broken_is_not_opened(recorder, path, clock):
    await recorder.fact(Event.PROXY_STARTED)
    await recorder.close()
    intruder = sqlite3.connect(path, isolation_level=None)
    schema = intruder.execute("SELECT sql FROM sqlite_master WHERE name = 'audit_events_no_update'").fetchone()[0]
    intruder.execute("DROP TRIGGER audit_events_no_update")
    intruder.execute("UPDATE audit_events SET reason = 'forged'")
    intruder.execute(schema)
    intruder.close()
    with pytest.raises(LedgerError, match="does not hold at entry 0"):
        await Recorder.open(path, clock)


async def test_events_are_filtered(recorder, clock):
    await recorder.fact(Event.PROXY_STARTED)
    clock.pass_(60)
    await recorder.append_claimed(AppendRequest(event="policy.denied", agent="a", run="r"))
    await recorder.append_claimed(AppendRequest(event="policy.allowed", agent="b", run="r"))

    async def events(**wanted):
        return [entry.event for entry in await recorder.events(**wanted)]

    assert await events(suspicious=True) == ["policy.denied"]
    assert await events(agent="b") == ["policy.allowed"]
    assert await events(run="r", limit=1) == ["policy.allowed"]
    assert await events(event="policy") == ["policy.denied", "policy.allowed"]
    assert await events(since="2026-01-31T12:00:30.000000Z") == ["policy.denied", "policy.allowed"]
    assert await events(after=0, limit=1) == ["policy.denied"]
