"""L1: what an entry says cannot drive whoever looks at it, though it was written past the ledger's own escaping."""

from __future__ import annotations

import json
import re

import pytest
from anyio import to_thread
from gateway_page import served_page

from mycelos.cli import audit
from mycelos.ledger.chain import EMPTY, Head, computed_hash
from mycelos.ledger.entry import COLUMNS, Entry
from mycelos.ledger.events import Event
from mycelos.proxy.ledger.database import INSERT, open_for_writing
from mycelos.proxy.ledger.recorder import Recorder

pytestmark = pytest.mark.anyio

HOSTILE = (
    "\x1b[2J", "\x1b]0;owned\x07", "\x1b]8;;https://attacker.example\x1b\\", "\x9b31m", "\x90q\x9c", "\r", "\n", "\x00",
    "\x7f", "\u202e", "\u2066", "\u200b", "\ufeff", "\u2028", "\u2029", "\u061c", "\U000e0041",
    "<script>alert(1)</script>",
)  # fmt: skip
TEXT = "".join(HOSTILE)
COLUMNS_OF_TEXT = (
    "tenant", "principal", "actor", "run", "agent", "subject", "outcome", "reason",
)  # fmt: skip


def hostile_entry(head):
    details = json.dumps(
        {"host": TEXT, "method": TEXT, "path": TEXT, "tool": TEXT, "service": TEXT}, ensure_ascii=False
    )
    values = dict.fromkeys(COLUMNS_OF_TEXT, TEXT) | {
        "seq": head.seq + 1, "v": 1, "epoch": 0, "at": "2026-01-31T12:00:00.000000Z", "mono": 0,
        "event": Event.PROXY_HTTP_REQUEST.value, "phase": "fact", "intent_seq": None, "source": "proxy",
        "args_mac": None, "details": details, "prev_hash": head.leaf_hash, "leaf_hash": "",
    }  # fmt: skip
    entry = Entry(*(values[name] for name in COLUMNS))
    return entry._replace(leaf_hash=computed_hash(entry))


@pytest.fixture
async def ledger(layout):
    recorder = await Recorder.open(layout.ledger)
    await recorder.fact(Event.PROXY_STARTED, reason=TEXT, details={"version": TEXT})
    head = recorder.head
    await recorder.close()
    connection = open_for_writing(layout.ledger)
    connection.execute("BEGIN")
    connection.execute(INSERT, hostile_entry(Head(head.seq, head.leaf_hash)))
    connection.execute("COMMIT")
    connection.close()
    return layout


def harmless(text):
    return all(character.isprintable() or character == "\n" for character in text)


@pytest.mark.parametrize(
    "flags", [[], ["--json"], ["--suspicious"], ["--type", "proxy"], ["--json", "--follow"], ["--follow"]]
)
async def test_nothing_reaches_the_terminal_as_it_is(ledger, monkeypatch, capsys, flags):
    monkeypatch.setenv("MYCELOS_DATA_DIR", str(ledger.root))
    monkeypatch.setattr(audit.time, "sleep", _stop)
    with pytest.raises(SystemExit):
        audit.app(flags)
    shown = capsys.readouterr()
    assert harmless(shown.out), flags
    assert harmless(shown.err)
    assert "--suspicious" in flags or "proxy.http_request" in shown.out


async def test_an_export_and_its_verification_stay_plain(ledger, monkeypatch, capsysbinary, tmp_path):
    monkeypatch.setenv("MYCELOS_DATA_DIR", str(ledger.root))
    file = tmp_path / "x\x1b[2J.jsonl"
    for words in (["export", "--output", str(file)], ["verify", "--export", str(file)], ["verify"]):
        with pytest.raises(SystemExit):
            await to_thread.run_sync(audit.app, words)
    shown = capsysbinary.readouterr()
    assert harmless(shown.out.decode())
    assert harmless(shown.err.decode())


@pytest.mark.parametrize("show", ["all", "suspicious", "outside"])
async def test_the_page_shows_it_as_text(tmp_path, show):
    entry = hostile_entry(EMPTY).as_dict()
    async with served_page(tmp_path) as page:
        page.proxy.entries = [entry]
        browser = await page.signed_in()
        text = (await browser.get(f"/audit?show={show}")).text
    assert "<script>alert" not in text
    assert "proxy.http_request" in text
    assert not re.search(
        "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\u200b\\u202e\\u2066\\ufeff\\u2028\\u2029\\u061c]", text
    )


def _stop(_seconds):
    raise KeyboardInterrupt


def test_the_columns_are_all_of_them():
    ours = {
        "seq", "v", "epoch", "at", "mono", "event", "phase", "intent_seq", "source", "args_mac", "details", "prev_hash",
        "leaf_hash",
    }  # fmt: skip
    assert set(COLUMNS) == ours | set(COLUMNS_OF_TEXT)
