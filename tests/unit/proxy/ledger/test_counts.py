from __future__ import annotations

import sqlite3

import pytest

from mycelos.ledger.events import Event
from mycelos.ledger.log_filter import Filter
from mycelos.proxy.ledger.counts import MOST_LEFT, summarize
from mycelos.proxy.ledger.database import LedgerError
from mycelos.wire.audit import HostCount, OutcomeCount

pytestmark = pytest.mark.anyio

EVER = "2000-01-01T00:00:00.000000Z"
NEVER = "2999-01-01T00:00:00.000000Z"


async def request(recorder, host="api.example", run="r1", agent="assistant", outcome="ok", sent=100, received=900):
    intent = await recorder.intent(
        Event.PROXY_HTTP_REQUEST, run=run, agent=agent, subject=host, details={"host": host, "method": "GET"}
    )
    if outcome:
        details = {"bytes_sent": sent, "bytes_received": received, "status": 200}
        await recorder.outcome(intent, outcome=outcome, details=details)


@pytest.fixture
async def log(recorder, path):
    await recorder.fact(Event.PROXY_STARTED)
    await request(recorder)
    await request(recorder, outcome="failed", received=0)
    await request(recorder, run="r2", agent="gardener")
    await request(recorder, host="other.example", outcome="")
    await recorder.fact(Event.PROXY_SSRF_BLOCKED, outcome="refused", run="r1", details={"host": "169.254.169.254"})
    return path


async def test_one_sees_what_left_for_which_host_agent_and_run(log):
    found = summarize(log, Filter(since=EVER))
    assert [(one.host, one.agent, one.run, one.left, one.bytes_sent, one.bytes_received) for one in found.left] == [
        ("other.example", "assistant", "r1", 1, 0, 0),
        ("api.example", "gardener", "r2", 1, 100, 900),
        ("api.example", "assistant", "r1", 2, 200, 900),
    ]
    assert found.left_total == 3


async def test_hosts_and_outcomes_count_what_was_refused_as_well(log):
    found = summarize(log, Filter(since=EVER))
    last = found.hosts[0].last_at
    assert found.hosts[0] == HostCount("api.example", 3, 0, 300, 1800, last)
    assert [(host.host, host.left, host.refused) for host in found.hosts[1:]] == [
        ("other.example", 1, 0),
        ("169.254.169.254", 0, 1),
    ]
    assert found.outcomes == [OutcomeCount("ok", 2), OutcomeCount("failed", 1), OutcomeCount("refused", 1)]


async def test_each_hour_has_its_counts(log):
    found = summarize(log, Filter(since=EVER))
    assert found.entries == sum(hour.entries for hour in found.hours) == 9
    assert sum(hour.left for hour in found.hours) == 4
    assert sum(hour.refused for hour in found.hours) == sum(hour.suspicious for hour in found.hours) == 1
    assert all(len(hour.hour) == len("2026-11-26T15") for hour in found.hours)


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        (Filter(since=EVER, agent="gardener"), 1),
        (Filter(since=EVER, run="r1"), 3),
        (Filter(since=EVER, host="other.example"), 1),
        (Filter(since=EVER, run="' OR 1=1 --"), 0),
        (Filter(since=NEVER), 0),
    ],
)
async def test_a_filter_narrows_what_is_counted(log, wanted, left):
    assert sum(one.left for one in summarize(log, wanted).left) == left


async def test_the_work_is_bounded_and_the_answer_says_so(log):
    found = summarize(log, Filter(since=EVER), most=3)
    assert (found.entries, found.first_seq, found.last_seq, found.complete) == (3, 6, 8, False)
    assert summarize(log, Filter(since=EVER), most=9).complete
    assert summarize(log, Filter(since=NEVER), most=3).complete


async def test_the_lists_are_bounded_and_the_answer_says_how_many_there_are(recorder, path):
    for number in range(MOST_LEFT + 1):
        await request(recorder, run=f"r{number}", outcome="")
    found = summarize(path, Filter(since=EVER))
    assert (len(found.left), found.left_total) == (MOST_LEFT, MOST_LEFT + 1)
    assert found.left[0].run == f"r{MOST_LEFT}"


async def test_an_empty_ledger_counts_nothing(recorder, path):
    found = summarize(path, Filter(since=EVER))
    assert (found.entries, found.complete, found.last_seq) == (0, True, -1)


@pytest.mark.parametrize("details", ["not json", '{"host": [1], "bytes_sent": "x"}', '{"bytes_sent": 9e300}', "1"])
async def test_a_row_written_past_the_ledger_ends_nothing_and_drives_no_display(log, details):
    intruder = sqlite3.connect(log, isolation_level=None)
    intruder.execute("DROP TRIGGER audit_events_no_update")
    intruder.execute("UPDATE audit_events SET details = ?, agent = char(27, 8238) || agent", [details])
    intruder.close()
    found = summarize(log, Filter(since=EVER))
    assert found.entries == 9
    assert all(one.agent.isprintable() for one in found.left)


async def test_a_file_that_cannot_be_counted_says_what_to_do(log):
    intruder = sqlite3.connect(log, isolation_level=None)
    intruder.execute("ALTER TABLE audit_events RENAME COLUMN agent TO agents")
    intruder.close()
    with pytest.raises(LedgerError, match="audit verify"):
        summarize(log, Filter(since=EVER))
