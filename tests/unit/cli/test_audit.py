from __future__ import annotations

import json
import sqlite3
import stat

import pytest

from mycelos.cli import audit
from mycelos.cli.audit import app
from mycelos.ledger.events import Event
from mycelos.proxy.ledger.heads import remember
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.wire.audit import AppendRequest

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _data_directory(layout, monkeypatch):
    monkeypatch.setenv("MYCELOS_DATA_DIR", str(layout.root))


@pytest.fixture
async def ledger(layout):
    """A stopped system's ledger of four entries."""
    recorder = await Recorder.open(layout.ledger)
    await recorder.fact(Event.PROXY_STARTED)
    await recorder.fact(Event.PROXY_SSRF_BLOCKED, run="r1", reason="private", details={"host": "10.0.0.1"})
    await recorder.append_claimed(AppendRequest(event="run.started", run="r2", agent="assistant"))
    await recorder.append_claimed(AppendRequest(event="policy.denied", run="r2", agent="assistant"))
    await recorder.close()
    return layout


def call(layout, *arguments):
    """Exit code of `mycelos db audit ARGUMENTS`."""
    with pytest.raises(SystemExit) as ended:
        app(list(arguments))
    return ended.value.code or 0


def tamper(layout, *statements):
    connection = sqlite3.connect(layout.ledger, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def changed(layout, *statements):
    """As `tamper`, and the guards are put back as they were."""
    connection = sqlite3.connect(layout.ledger, isolation_level=None)
    guards = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    connection.close()
    tamper(layout, *(f"DROP TRIGGER {name}" for name, _ in guards), *statements, *(sql for _, sql in guards))


def events(text):
    return [entry["event"] for entry in json.loads(text)]


async def test_the_newest_entries_are_shown(ledger, capsys):
    assert call(ledger) == 0
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
        (["--limit", "1"], ["policy.denied"]),
        (["--since", "24h", "--limit", "2"], ["run.started", "policy.denied"]),
        (["--since", "2099-01-01T00:00:00Z"], []),
    ],
)
async def test_filters_narrow_what_is_shown(ledger, capsys, arguments, expected):
    assert call(ledger, "--json", *arguments) == 0
    assert events(capsys.readouterr().out) == expected


@pytest.mark.parametrize("arguments", [["--since", "yesterday"], ["--limit", "0"], ["--limit", "10001"]])
async def test_wrong_usage_names_the_option(ledger, capsys, arguments):
    assert call(ledger, *arguments) == 2
    assert arguments[0] in capsys.readouterr().err


async def test_json_is_a_list_in_plain_ascii(ledger, capsys):
    tamper(ledger, "DROP TRIGGER audit_events_no_update", "UPDATE audit_events SET reason = char(27, 155, 8238)")
    assert call(ledger, "--json") == 0
    text = capsys.readouterr().out
    assert text.isascii()
    assert "\x1b" not in text
    assert len(events(text)) == 4


async def test_a_missing_ledger_is_said(layout, capsys):
    assert call(layout) == 1
    assert "mycelos: there is no ledger" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "nearest"), [("proxy.bogus", "proxy"), ("run.startd", "run.started"), ("polici", "policy")]
)
async def test_an_event_that_does_not_exist_is_wrong_usage_and_the_nearest_is_named(ledger, capsys, given, nearest):
    assert call(ledger, "--type", given) == 2
    assert nearest in capsys.readouterr().err.partition("exists is ")[2]


async def test_follow_shows_what_comes_and_ends_with_ctrl_c(ledger, capsys, monkeypatch):
    recorder = await Recorder.open(ledger.ledger)
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
    assert call(ledger, "--follow", "--json", "--limit", "1") == 0
    assert [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()] == [3, 4]


async def test_the_first_verification_cannot_tell_and_the_next_one_holds(ledger, capsys):
    assert call(ledger, "verify") == 6
    assert "cannot tell" in capsys.readouterr().out
    assert call(ledger, "verify") == 0
    assert capsys.readouterr().out.startswith("holds")


async def test_an_edited_entry_is_located_and_the_head_is_not_remembered(ledger, capsys):
    changed(ledger, "UPDATE audit_events SET run = 'x' WHERE seq = 1")
    assert call(ledger, "verify", "--json") == 1
    result = json.loads(capsys.readouterr().out)
    assert (result["verdict"], result["fault"]["seq"]) == ("broken", 1)
    assert not ledger.command_line_head.exists()


async def test_a_guard_that_was_taken_away_is_reported(ledger, capsys):
    tamper(ledger, "DROP TRIGGER audit_events_no_delete")
    assert call(ledger, "verify") == 1
    assert "audit_events_no_delete" in capsys.readouterr().out


async def test_a_cut_tail_is_located_by_what_the_command_line_remembers(ledger, capsys):
    call(ledger, "verify")
    changed(ledger, "DELETE FROM audit_events WHERE seq >= 2")
    capsys.readouterr()
    assert call(ledger, "verify") == 1
    text = capsys.readouterr().out
    assert "the command line remembers entry 3" in text
    assert "the log ends with entry 1" in text


async def test_a_ledger_that_is_gone_is_broken_where_a_head_is_remembered(ledger, capsys):
    call(ledger, "verify")
    for path in ledger.proxy.iterdir():
        path.unlink()
    assert call(ledger, "verify") == 1
    assert "the log is empty" in capsys.readouterr().out


async def test_where_there_never_was_a_ledger_nothing_is_said_to_hold(layout, capsys):
    assert call(layout, "verify") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "mycelos serve" in printed.err
    assert not layout.command_line_head.exists()


async def test_the_gateway_s_head_alone_is_enough_to_hold(ledger, capsys):
    recorder = await Recorder.open(ledger.ledger)
    remember(ledger.gateway_head, recorder.head)
    await recorder.close()
    assert call(ledger, "verify") == 0


async def test_a_remembered_head_that_cannot_be_read_is_missing_evidence(ledger, capsys):
    call(ledger, "verify")
    ledger.gateway.mkdir()
    ledger.gateway_head.write_text("{")
    capsys.readouterr()
    assert call(ledger, "verify") == 6
    assert "the gateway" in capsys.readouterr().out


async def test_a_running_ledger_is_verified(layout):
    recorder = await Recorder.open(layout.ledger)
    await recorder.fact(Event.PROXY_STARTED)
    assert call(layout, "verify") == 6
    await recorder.fact(Event.PROXY_STARTED)
    assert call(layout, "verify") == 0
    await recorder.close()


async def test_an_export_verifies_offline(ledger, tmp_path, capsys):
    target = tmp_path / "export.jsonl"
    assert call(ledger, "verify") == 6
    assert call(ledger, "export", "--output", str(target)) == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert call(ledger, "verify", "--export", str(target)) == 0
    lines = target.read_bytes().splitlines(keepends=True)
    target.write_bytes(b"".join(lines[:1] + lines[2:]))
    capsys.readouterr()
    assert call(ledger, "verify", "--export", str(target)) == 1
    assert "entry     1" in capsys.readouterr().out


async def test_an_export_never_overwrites_a_file(ledger, tmp_path, capsys):
    target = tmp_path / "mine"
    target.write_text("precious")
    assert call(ledger, "export", "--output", str(target)) == 1
    assert target.read_text() == "precious"


async def test_an_export_goes_to_standard_output(ledger, capfdbinary):
    assert call(ledger, "export") == 0
    assert len(capfdbinary.readouterr().out.splitlines()) == 4


async def test_a_head_that_cannot_be_written_is_a_failure(ledger, capsys):
    ledger.command_line_head.parent.touch()
    assert call(ledger, "verify") == 1
    assert "command-line.json cannot be written" in capsys.readouterr().err
