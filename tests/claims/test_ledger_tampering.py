"""Claim L2: somebody who may write to the ledger's file edits, deletes, inserts, reorders, cuts, rewrites, rolls back.

Each is done with SQLite itself, with the guards taken off first and put back afterwards, and judged by the command
that a person uses. What no remembered head covers is said to be unknown, never to hold.
"""

from __future__ import annotations

import json
import shutil
import sqlite3

import pytest

from mycelos.cli.audit import app
from mycelos.ledger.chain import EMPTY, Head, computed_hash
from mycelos.ledger.entry import COLUMNS, entry_from_row
from mycelos.ledger.events import Event
from mycelos.proxy.ledger.database import INSERT, SELECT
from mycelos.proxy.ledger.heads import remember
from mycelos.proxy.ledger.recorder import Recorder

pytestmark = pytest.mark.anyio

COUNT = 30
REMEMBERED = 19
"""The entry that the gateway remembers: what came after it is not covered."""


@pytest.fixture(autouse=True)
def _data_directory(layout, monkeypatch):
    monkeypatch.setenv("MYCELOS_DATA_DIR", str(layout.root))


@pytest.fixture
async def ledger(layout):
    recorder = await Recorder.open(layout.ledger)
    for number in range(COUNT):
        receipt = await recorder.fact(Event.PROXY_HTTP_REQUEST, run=f"run-{number}", details={"host": "api.example"})
        if receipt.seq == REMEMBERED:
            remember(layout.gateway_head, Head(receipt.seq, receipt.leaf_hash))
    await recorder.close()
    return layout


def judge(layout, capsys):
    """What `mycelos db audit verify --json` says, with its exit code."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        app(["verify", "--json"])
    result = json.loads(capsys.readouterr().out)
    return ended.value.code or 0, result["fault"]["seq"] if result["fault"] else None


def tamper(layout, change):
    """Give ``change`` the rows as a list and write back what it leaves, past every guard."""
    connection = sqlite3.connect(layout.ledger, isolation_level=None)
    guards = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    rows = [entry_from_row(row) for row in connection.execute(f"{SELECT} ORDER BY seq")]
    changed = change(rows)
    for name, _ in guards:
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("DELETE FROM audit_events")
    connection.executemany(INSERT, changed)
    for _, sql in guards:
        connection.execute(sql)
    connection.close()


def edit(rows):
    rows[12] = rows[12]._replace(outcome="harmless")
    return rows


def edit_and_rehash(rows):
    changed = rows[12]._replace(outcome="harmless")
    rows[12] = changed._replace(leaf_hash=computed_hash(changed))
    return rows


def delete(rows):
    return rows[:12] + rows[13:]


def delete_and_renumber(rows):
    return [row._replace(seq=seq) for seq, row in enumerate(rows[:12] + rows[13:])]


def insert(rows):
    return [row._replace(seq=seq) for seq, row in enumerate([*rows[:12], rows[3], *rows[12:]])]


def reorder(rows):
    rows[12], rows[13] = rows[13]._replace(seq=12), rows[12]._replace(seq=13)
    return rows


def truncate(rows):
    return rows[:12]


def empty(_rows):
    return []


def rewrite(rows):
    """Everything anew from entry 12, with every hash right: what the chain alone cannot show."""
    head, made = EMPTY, []
    for row in rows:
        changed = row._replace(prev_hash=head.leaf_hash, **({"outcome": "harmless"} if row.seq == 12 else {}))
        changed = changed._replace(leaf_hash=computed_hash(changed))
        head = Head(changed.seq, changed.leaf_hash)
        made.append(changed)
    return made


ATTACKS = [
    (edit, 12),
    (edit_and_rehash, 13),
    (delete, 12),
    (delete_and_renumber, 12),
    (insert, 12),
    (reorder, 12),
    (truncate, 12),
    (empty, 0),
    (rewrite, REMEMBERED),
]


async def test_an_untouched_ledger_holds(ledger, capsys):
    assert judge(ledger, capsys) == (0, None)


@pytest.mark.parametrize(("attack", "place"), ATTACKS, ids=lambda value: getattr(value, "__name__", str(value)))
async def test_tampering_with_full_write_access_is_detected_and_located(ledger, capsys, attack, place):
    tamper(ledger, attack)
    assert judge(ledger, capsys) == (1, place)


@pytest.mark.parametrize("attack", [truncate, rewrite, empty])
async def test_without_the_remembered_head_the_same_attack_goes_unseen_and_verify_says_that_it_cannot_tell(
    ledger, capsys, attack
):
    tamper(ledger, attack)
    ledger.gateway_head.unlink()
    assert judge(ledger, capsys) == (6, None)


async def test_rolling_back_to_an_old_copy_is_detected(ledger, capsys, tmp_path):
    copy = tmp_path / "old"
    shutil.copytree(ledger.proxy, copy)
    recorder = await Recorder.open(ledger.ledger)
    receipt = await recorder.fact(Event.CREDENTIAL_DELETED, subject="github")
    await recorder.close()
    remember(ledger.gateway_head, Head(receipt.seq, receipt.leaf_hash))
    shutil.rmtree(ledger.proxy)
    shutil.copytree(copy, ledger.proxy)
    assert judge(ledger, capsys) == (1, COUNT)


async def test_writing_on_from_an_old_copy_is_detected(ledger, capsys, tmp_path):
    copy = tmp_path / "old"
    shutil.copytree(ledger.proxy, copy)
    for target, events in ((ledger, [Event.CREDENTIAL_DELETED] * 2), (None, [Event.PROXY_STARTED] * 5)):
        if target is None:
            shutil.rmtree(ledger.proxy)
            shutil.copytree(copy, ledger.proxy)
        recorder = await Recorder.open(ledger.ledger)
        for event in events:
            receipt = await recorder.fact(event)
            if target is not None:
                remember(ledger.gateway_head, Head(receipt.seq, receipt.leaf_hash))
        await recorder.close()
    assert judge(ledger, capsys) == (1, COUNT + 1)


async def test_a_new_ledger_in_the_old_one_s_place_is_detected(ledger, capsys):
    shutil.rmtree(ledger.proxy)
    recorder = await Recorder.open(ledger.ledger)
    for _ in range(COUNT):
        await recorder.fact(Event.PROXY_STARTED)
    await recorder.close()
    assert judge(ledger, capsys) == (1, REMEMBERED)


@pytest.mark.parametrize("column", [name for name in COLUMNS if name not in {"seq", "leaf_hash"}])
async def test_no_column_can_be_changed_unseen(ledger, capsys, column):
    def change(rows):
        value = getattr(rows[5], column)
        other = (value or 0) + 1 if isinstance(value, int) or column == "intent_seq" else (value or "") + " "
        rows[5] = rows[5]._replace(**{column: other})
        return rows

    tamper(ledger, change)
    assert judge(ledger, capsys) == (1, 5)
