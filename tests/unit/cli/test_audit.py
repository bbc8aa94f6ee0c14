from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from audit_ledger import call, tamper
from ledger_keys import ledger_keys

from mycelos.cli import audit
from mycelos.ledger.events import Event
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.wire.audit import AppendRequest

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("data_folder")]


def events(text):
    return [entry["event"] for entry in json.loads(text)]


async def test_the_newest_entries_are_shown(ledger, capsys):
    assert call() == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("proxy.started", "proxy.ssrf_blocked", "run.started", "policy.denied"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--suspicious"], ["proxy.ssrf_blocked", "policy.denied"]),
        (["--type", "run"], ["run.started"]),
        (["--type", "proxy.started"], ["proxy.started"]),
        (["--agent", "assistant"], ["run.started", "policy.denied"]),
        (["--run", "r1"], ["proxy.ssrf_blocked"]),
        (["--host", "10.0.0.1"], ["proxy.ssrf_blocked"]),
        (["--outcome", "refused"], []),
        (["--suspicious", "--since", "24h"], ["proxy.ssrf_blocked", "policy.denied"]),
        (["--limit", "1"], ["policy.denied"]),
        (["--source", "gateway"], ["run.started", "policy.denied"]),
        (["--source", "claimed", "--suspicious"], ["policy.denied"]),
        (["--source", "known", "--suspicious"], ["proxy.ssrf_blocked"]),
        (["--source", "proxy", "--before", "2"], ["ledger.checkpoint", "proxy.started"]),
        (["--since", "24h", "--limit", "2"], ["run.started", "policy.denied"]),
        (["--since", "2099-01-01T00:00:00Z"], []),
    ],
)
async def test_filters_narrow_what_is_shown(ledger, capsys, arguments, expected):
    assert call("--json", *arguments) == 0
    assert events(capsys.readouterr().out) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        ["--since", "yesterday"],
        ["--limit", "0"],
        ["--limit", "10001"],
        ["--source", "x"],
        ["--before", "-1"],
        ["--before", str(2**63)],
    ],
)
async def test_wrong_usage_names_the_option(ledger, capsys, arguments):
    assert call(*arguments) == 2
    assert arguments[0] in capsys.readouterr().err


async def test_a_flood_of_claims_hides_nothing_that_is_known(ledger, capsys):
    recorder = await Recorder.open(ledger.ledger, keys=ledger_keys)
    for _ in range(7):
        await recorder.append_claimed(AppendRequest(event="policy.denied", run="r2", agent="assistant"))
    await recorder.close()
    assert call("--suspicious", "--limit", "3", "--json") == 0
    printed = capsys.readouterr()
    assert events(printed.out) == ["proxy.ssrf_blocked", *["policy.denied"] * 3]
    shown = "the newest 3 of 8 claimed that matched are shown, and of every event the newest 3"
    assert printed.err == f"mycelos: {shown}; the ones before: --before 9 --source claimed\n"
    # As that line says; and without the split the flood has it all.
    assert call("--suspicious", "--limit", "5", "--json", "--before", "9", "--source", "claimed") == 0
    printed = capsys.readouterr()
    assert [entry["seq"] for entry in json.loads(printed.out)] == [4, 5, 6, 7, 8]
    assert printed.err == ""
    assert call("--limit", "3") == 0
    printed = capsys.readouterr()
    assert "proxy.ssrf_blocked" not in printed.out
    assert printed.err == "mycelos: the newest 3 of 12 that matched are shown; the ones before: --before 9\n"


async def test_a_flood_of_one_known_event_hides_no_other(ledger, capsys):
    recorder = await Recorder.open(ledger.ledger, keys=ledger_keys)
    for _ in range(3):
        await recorder.fact(Event.PROXY_BINDING_VIOLATION, subject="theft", outcome="refused")
    for _ in range(30):
        await recorder.fact(Event.PROXY_SSRF_BLOCKED, outcome="refused")
    await recorder.close()
    assert call("--suspicious", "--limit", "20", "--json") == 0
    printed = capsys.readouterr()
    known = [event for event in events(printed.out) if event.startswith("proxy.")]
    assert known == ["proxy.binding_violation"] * 3 + ["proxy.ssrf_blocked"] * 20
    assert "the newest 20 of 34 known that matched are shown, and of every event the newest 10;" in printed.err
    # One source alone is shown in its order and no more.
    assert call("--suspicious", "--source", "known", "--limit", "20", "--json") == 0
    assert "proxy.binding_violation" not in events(capsys.readouterr().out)


async def test_json_is_a_list_in_plain_ascii(ledger, capsys):
    tamper(ledger, "DROP TRIGGER audit_events_no_update", "UPDATE audit_events SET reason = char(27, 155, 8238)")
    assert call("--json") == 0
    text = capsys.readouterr().out
    assert text.isascii()
    assert "\x1b" not in text
    assert len(events(text)) == 5


async def test_a_missing_ledger_is_said(layout, capsys):
    assert call() == 1
    assert "mycelos: there is no ledger" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "nearest"), [("proxy.bogus", "proxy"), ("run.startd", "run.started"), ("polici", "policy")]
)
async def test_an_event_that_does_not_exist_is_wrong_usage_and_the_nearest_is_named(ledger, capsys, given, nearest):
    assert call("--type", given) == 2
    assert nearest in capsys.readouterr().err.partition("exists is ")[2]


async def test_follow_shows_what_comes_and_ends_with_ctrl_c(ledger, capsys, monkeypatch):
    recorder = await Recorder.open(ledger.ledger, keys=ledger_keys)
    await recorder.close()
    looks = []

    def next_look(_seconds):
        looks.append(1)
        if len(looks) == 2:
            raise KeyboardInterrupt
        source = sqlite3.connect(ledger.ledger, isolation_level=None)
        row = list(source.execute("SELECT * FROM audit_events ORDER BY seq DESC LIMIT 1").fetchone())
        source.execute(f"INSERT INTO audit_events VALUES ({','.join('?' * len(row))})", [row[0] + 1, *row[1:]])
        source.close()

    monkeypatch.setattr(audit.time, "sleep", next_look)
    assert call("--follow", "--json", "--limit", "1") == 0
    assert [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()] == [4, 5]


async def test_follow_with_a_filter_walks_over_nothing_twice(ledger, capsys, monkeypatch):
    """What does not match is passed over once: else each look would walk over all that came since the start."""
    starts = []
    after = LedgerReader.after

    def watched(reader, seq, *rest):
        starts.append(seq)
        return after(reader, seq, *rest)

    def next_look(_seconds):
        if len(starts) == 3:
            raise KeyboardInterrupt
        source = sqlite3.connect(ledger.ledger, isolation_level=None)
        # An entry of the first event, which is not suspicious, and in the end one that is.
        like = 2 if len(starts) == 2 else 1
        row = list(source.execute("SELECT * FROM audit_events WHERE seq = ?", [like]).fetchone())
        source.execute(f"INSERT INTO audit_events VALUES ({','.join('?' * len(row))})", [5 + len(starts), *row[1:]])
        source.close()

    monkeypatch.setattr(LedgerReader, "after", watched)
    monkeypatch.setattr(audit.time, "sleep", next_look)
    assert call("--follow", "--json", "--suspicious", "--limit", "1") == 0
    assert [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()] == [2, 4, 7]
    assert starts == [4, 5, 6]


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
async def test_a_time_without_a_date_in_utc_is_wrong_usage(ledger, capsys, time):
    assert call("--since", time) == 2
    assert capsys.readouterr().err.startswith("mycelos: --since: ")
    assert call("--since", "0999-01-01T00:00:00Z", "--json") == 0
    assert len(events(capsys.readouterr().out)) == 5


@pytest.mark.parametrize(
    ("table", "words"),
    [
        *[("audit_events", words) for words in ("", "--suspicious", "export", "checkpoint", "proof 1", "verify")],
        *[("checkpoints", words) for words in ("export", "checkpoint", "proof 1", "verify")],
    ],
)
async def test_a_file_that_is_damaged_below_its_rows_is_said_to_be(ledger, capsys, table, words):
    with closing(sqlite3.connect(ledger.ledger)) as intruder:
        intruder.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = intruder.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        (size,) = intruder.execute("PRAGMA page_size").fetchone()
    with ledger.ledger.open("r+b") as stream:
        stream.seek((root - 1) * size)
        stream.write(b"\xff" * size)
    assert call(*words.split()) == 1
    assert str(ledger.ledger) in capsys.readouterr().err
