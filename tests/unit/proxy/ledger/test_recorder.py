from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sqlite3
import threading

import pytest
from ledger_keys import ledger_keys

from mycelos.ledger.events import EVENTS, Event, Source
from mycelos.ledger.query import EventQuery
from mycelos.ledger.verify import Verdict
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.limits import LimitedError
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.wire.audit import AppendRequest
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio


async def all_entries(recorder):
    return await recorder.events(EventQuery(after=-1, limit=1000))


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


async def test_an_append_is_judged_as_it_would_be_written_and_only_where_it_could_be(recorder):
    judged = []

    async def judge(draft):
        judged.append(draft)
        raise Refusal(ProblemCode.RATE_LIMITED, "Later.", "Try again.")

    for wrong in ({"event": "no.such"}, {"event": "tool.called", "details": {"secret": "x"}}):
        with pytest.raises(Refusal, match="invalid_request"):
            await recorder.append_claimed(AppendRequest(**wrong), judge)
    assert judged == []
    with pytest.raises(Refusal, match="rate_limited"):
        await recorder.append_claimed(AppendRequest(event="tool.called", details={"tool": "y" * 2000}), judge)
    assert [len(json.loads(draft.details)["tool"]) for draft in judged] == [1024]
    assert await all_entries(recorder) == []


async def test_the_gateway_cannot_settle_an_intent_of_the_proxy(recorder):
    intent = await recorder.intent(Event.PROXY_HTTP_REQUEST)
    with pytest.raises(Refusal, match="intent_seq"):
        await recorder.append_claimed(
            AppendRequest(event="tool.called", phase="outcome", intent_seq=intent.seq, outcome="ok")
        )


async def test_of_arguments_only_a_keyed_digest_is_kept(recorder):
    key, digest = ledger_keys().mac_key, hashlib.sha256(b"{}").hexdigest()
    recorder.use(ledger_keys())
    await recorder.append_claimed(AppendRequest(event="tool.called", args_digest=digest))
    (entry,) = await all_entries(recorder)
    assert entry.args_mac == hmac.new(key, bytes.fromhex(digest), "sha256").hexdigest()
    assert digest not in json.dumps(entry.as_dict())


async def test_without_its_key_a_digest_is_refused_and_not_left_out(recorder):
    with pytest.raises(Refusal) as caught:
        await recorder.append_claimed(AppendRequest(event="tool.called", args_digest="ab" * 32))
    assert caught.value.problem.code is ProblemCode.AUDIT_UNAVAILABLE


async def test_appends_at_once_are_all_there_in_one_unbroken_order(recorder):
    receipts = await asyncio.gather(*(recorder.fact(Event.PROXY_HTTP_REQUEST, run=str(n)) for n in range(200)))
    assert sorted(receipt.seq for receipt in receipts) == list(range(200))
    result = await recorder.verify({"test": recorder.head})
    assert (result.verdict, result.entries) == (Verdict.HOLDS, 200)


async def break_the_disk(recorder, monkeypatch):
    def refuse(_group, _patience):
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


async def until_the_thread_waits(writer):
    for _ in range(20_000):
        if writer._queue._is_awaited:
            return
        await asyncio.sleep(0.001)
    pytest.fail("the writer's thread is at work for ever")


async def test_what_comes_alone_is_written_at_once_and_what_comes_together_in_one_group(recorder, monkeypatch):
    monkeypatch.setattr("mycelos.proxy.ledger.writer.QUICK", float("inf"))
    await recorder.fact(Event.PROXY_STARTED)
    writer = recorder._writer
    await until_the_thread_waits(writer)
    groups = []
    original = writer._write

    def write(group, patience):
        groups.append((len(group), threading.current_thread() is threading.main_thread()))
        return original(group, patience)

    monkeypatch.setattr(writer, "_write", write)
    intent = await recorder.intent(Event.PROXY_HTTP_REQUEST)
    await recorder.outcome(intent, outcome="ok")
    assert groups == [(1, True), (1, True)]
    await asyncio.gather(*(recorder.fact(Event.PROXY_STARTED) for _ in range(5)))
    # The first wakes the writer, which may go before the last is there.
    assert sum(count for count, is_here in groups[2:] if not is_here) == 5
    assert [entry.seq for entry in await all_entries(recorder)] == list(range(8))


async def test_of_something_unforeseen_the_writer_ends_and_nobody_is_left_waiting(recorder, monkeypatch):
    monkeypatch.setattr("mycelos.proxy.ledger.writer.QUICK", float("inf"))
    await recorder.fact(Event.PROXY_STARTED)
    await until_the_thread_waits(recorder._writer)

    def fail(_group, _patience):
        raise RuntimeError

    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context["exception"]))
    with monkeypatch.context() as patch:
        patch.setattr(recorder._writer, "_write", fail)
        with pytest.raises(Refusal, match="the ledger's writer has ended"):
            await recorder.fact(Event.PROXY_STARTED)
    assert [type(error) for error in reported] == [RuntimeError]
    with pytest.raises(Refusal, match="audit_unavailable"):
        await recorder.fact(Event.PROXY_STARTED)


async def test_what_was_brought_before_the_close_is_written(recorder, path):
    left_alone = recorder.note(Event.PROXY_STARTED)
    await recorder.close()
    assert (await left_alone).seq == 0


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
        return [entry.event for entry in await recorder.events(EventQuery(**wanted))]

    assert await events(suspicious=True) == ["policy.denied"]
    assert await events(agent="b") == ["policy.allowed"]
    assert await events(run="r", limit=1) == ["policy.allowed"]
    assert await events(event="policy") == ["policy.denied", "policy.allowed"]
    assert await events(since="2026-01-31T12:00:30.000000Z") == ["policy.denied", "policy.allowed"]
    assert await events(after=0, limit=1) == ["policy.denied"]


async def test_a_check_sees_what_was_left_and_its_refusal_leaves_the_ledger_as_it_was(path, clock):
    recorder = await Recorder.open(path, clock)
    intent = await recorder.intent(Event.PROXY_HTTP_REQUEST)
    await recorder.close()
    before = recorder.head
    seen = []

    def refuse(recovery):
        seen.append(([entry.seq for entry in recovery.unresolved], recovery.head))
        message = "an old copy"
        raise LedgerError(message)

    with pytest.raises(LedgerError, match="an old copy"):
        await Recorder.open(path, clock, check=refuse)
    assert seen == [([intent.seq], before)]
    with LedgerReader(path) as reader:
        assert reader.newest(1)[0].seq == before.seq
    recorder = await Recorder.open(path, clock, check=lambda _recovery: None)
    assert recorder.head.seq == before.seq + 1
    await recorder.close()


async def test_what_a_limit_refuses_is_not_written_and_that_it_refuses_is_on_record(recorder):
    counts = iter((1, 0))

    def admit(drafts):
        if drafts[0].source is Source.GATEWAY:
            raise LimitedError(
                ProblemCode.RATE_LIMITED, "Too much.", "Wait.", source=Source.GATEWAY, report=next(counts)
            )

    recorder.limit_by(admit)
    for _ in range(2):
        with pytest.raises(Refusal, match="rate_limited"):
            await recorder.append_claimed(AppendRequest(event="tool.called"))
    await recorder.fact(Event.CREDENTIAL_DELETED)
    limited, deleted = await all_entries(recorder)
    assert (limited.event, limited.source, limited.subject) == ("ledger.limited", "proxy", "gateway")
    assert json.loads(limited.details) == {"code": "rate_limited", "count": 1}
    assert deleted.event == "credential.deleted"


async def test_while_another_holds_its_lock_everything_is_refused_reading_works_and_nothing_is_lost(
    path, clock, monkeypatch
):
    for module in ("database", "writer"):
        monkeypatch.setattr(f"mycelos.proxy.ledger.{module}.BUSY_TIMEOUT", 0.0)
    recorder = await Recorder.open(path, clock)
    await recorder.fact(Event.PROXY_STARTED)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for _ in range(2):
        with pytest.raises(Refusal, match="another process holds its lock|SQLITE_BUSY") as caught:
            await recorder.intent(Event.PROXY_HTTP_REQUEST)
        assert caught.value.problem.code is ProblemCode.AUDIT_UNAVAILABLE
    assert len(await all_entries(recorder)) == 1
    other.execute("ROLLBACK")
    other.close()
    assert (await recorder.intent(Event.PROXY_HTTP_REQUEST)).seq == 1
    result = await recorder.verify({"test": recorder.head})
    assert (result.verdict, result.entries) == (Verdict.HOLDS, 2)
    await recorder.close()


async def test_while_the_file_is_read_only_everything_is_refused_reading_works_and_nothing_is_lost(
    recorder, path, monkeypatch
):
    def read_only(_path):
        return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)

    await recorder.fact(Event.PROXY_STARTED)
    with monkeypatch.context() as patch:
        patch.setattr("mycelos.proxy.ledger.writer.open_for_writing", read_only)
        recorder._writer._disconnect()
        for _ in range(2):
            with pytest.raises(Refusal, match="SQLITE_READONLY") as caught:
                await recorder.intent(Event.PROXY_HTTP_REQUEST)
            assert caught.value.problem.code is ProblemCode.AUDIT_UNAVAILABLE
        assert len(await all_entries(recorder)) == 1
    assert (await recorder.intent(Event.PROXY_HTTP_REQUEST)).seq == 1
    result = await recorder.verify({"test": recorder.head})
    assert (result.verdict, result.entries) == (Verdict.HOLDS, 2)


def hold_answers(recorder, monkeypatch):
    """From now on what was written is listed instead of answered: the list, and what awaits that it has so many."""
    seen, has_come = [], asyncio.Event()
    monkeypatch.setattr(recorder, "_resolve", lambda results: (seen.extend(results), has_come.set()))

    async def wait_for(count):
        while len(seen) < count:
            await has_come.wait()
            has_come.clear()

    return seen, wait_for


async def test_the_operator_is_answered_before_the_group_s_others_and_these_not_all_at_once(recorder, monkeypatch):
    monkeypatch.setattr("mycelos.proxy.ledger.recorder.ROUND", -1.0)
    recorder._in_a_round = 2
    answered = []
    answer = recorder._resolve

    async def append(number, event):
        await recorder.fact(event)
        answered.append(number)

    seen, wait_for = hold_answers(recorder, monkeypatch)
    tasks = [asyncio.ensure_future(append(number, Event.PROXY_BINDING_VIOLATION)) for number in range(6)]
    tasks.append(asyncio.ensure_future(append("operator", Event.CREDENTIAL_DELETED)))
    await wait_for(7)
    answer(seen)
    await tasks[-1]
    assert answered[0] == "operator"
    assert len(answered) < 7
    await asyncio.gather(*tasks)
    assert answered == ["operator", *range(6)]


@pytest.mark.parametrize(("may_take", "before", "after"), [(3600.0, 1, 4), (-1.0, 4, 1)])
async def test_what_a_round_takes_decides_how_many_are_answered_in_the_next(
    recorder, monkeypatch, may_take, before, after
):
    monkeypatch.setattr("mycelos.proxy.ledger.recorder.ROUND", may_take)
    recorder._in_a_round = before
    answer = recorder._resolve
    seen, wait_for = hold_answers(recorder, monkeypatch)
    futures = [recorder.note(Event.PROXY_BINDING_VIOLATION) for _ in range(7)]
    await wait_for(7)
    answer(seen)
    await asyncio.gather(*futures)
    # What is last in a round looks at how long it took.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert recorder._in_a_round == after
