"""Claim L2: one bit of any byte of the ledger's files is changed. It is noticed, or nobody reads that byte.

The files are the database, `ledger.signed`, an export, and what the keepers remember. Every byte at depth ``deep``.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from ledger_keys import ledger_keys
from sqlite_pages import Role, roles

from mycelos.cli.audit import app
from mycelos.ledger.entry import Phase, entry_from_row, make_draft
from mycelos.ledger.events import Event
from mycelos.ledger.export import item_from_line, to_checkpoint_line, to_line
from mycelos.ledger.verify import RememberedNote, Verdict, verify
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.heads import remember
from mycelos.proxy.ledger.last_signed import BLOCK, file_of
from mycelos.proxy.ledger.rare_index import RARE
from mycelos.proxy.ledger.reader import READ_LIMIT, LedgerReader
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.ledger.verification import verify_ledger
from mycelos.proxy.vault.signing import verifies
from mycelos.proxy.vault.store import Vault
from mycelos.wire.identifiers import DEFAULT_TENANT

pytestmark = pytest.mark.anyio

DEEP = os.environ.get("MYCELOS_TEST_DEPTH") == "deep"
PARTS = 32 if DEEP else 1
ENTRIES = 300
"""A full tile and some more: there is a stored hash, and there are two checkpoints."""

UNREAD = frozenset({Role.UNUSED, Role.ROW_ID_TYPE, Role.SCHEMA_NUMBER})
UNREAD_IN_HEAD = frozenset({
    18, 19,             # how it may be written and read
    *range(24, 28),     # the counter of changes
    *range(40, 44),     # the schema's cookie: whether a statement is prepared anew
    *range(44, 48),     # the format of the schema, of which one byte is looked at
    *range(48, 52),     # how large the cache is
    *range(56, 60),     # the encoding of texts, of which two bits are looked at
    *range(68, 72),     # the application's number
    *range(72, 92),     # kept for later
    *range(92, 100),    # for which counter the size is valid, and who wrote it
})  # fmt: skip
"""Bytes of the file's head that say nothing of its content."""


@pytest.fixture
async def ledger(layout, anyio_backend):
    """A stopped log, and its newest checkpoint."""
    recorder = await Recorder.open(layout.ledger, keys=ledger_keys)
    for size in (200, ENTRIES):
        drafts = tuple(
            make_draft(
                Event.PROXY_HTTP_REQUEST if number % 50 else Event.PROXY_STARTED,
                Phase.FACT,
                tenant=DEFAULT_TENANT,
                run=f"run-{number}",
            )
            for number in range(size - recorder.head.seq - 1)
        )
        await recorder._submit(drafts)
    note = recorder.checkpoint
    await recorder.close()
    return layout, note


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :]


def everything(path):
    """What anybody reads of a ledger."""
    with LedgerReader(path) as reader:
        return (
            reader.after(-1, READ_LIMIT),
            reader.newest(READ_LIMIT),
            list(reader.items()),
            {level: list(nodes) for level, nodes in reader.stored_nodes().items()},
            reader.newest_checkpoint(),
            reader.every(RARE),
        )


def judge(path, note):
    """``noticed``, or ``unread`` where the ledger is said to hold."""
    try:
        result = verify_ledger(path, {"the test": RememberedNote(note.encode())}).result
    except (LedgerError, OSError):
        return "noticed"
    return "noticed" if result.verdict is Verdict.BROKEN else "unread"


@pytest.mark.parametrize("part", range(PARTS))
async def test_a_flipped_bit_of_the_database_is_noticed_or_changes_nothing_that_is_read(ledger, part):
    layout, note = ledger
    image = layout.ledger.read_bytes()
    assert not layout.ledger.with_name("ledger.sqlite-wal").exists()
    read, role = everything(layout.ledger), roles(image)
    places = range(part, len(image), PARTS if DEEP else 331)
    found: Counter[tuple[Role, str]] = Counter()
    for place in (*(range(100) if part == 0 else ()), *places):
        layout.ledger.write_bytes(flipped(image, place))
        said = judge(layout.ledger, note)
        found[role[place], said] += 1
        if said == "unread":
            assert everything(layout.ledger) == read, place
            assert role[place] in {Role.UNUSED, Role.ROW_ID_TYPE, Role.SCHEMA_NUMBER} or place in UNREAD_IN_HEAD, (
                place,
                role[place],
            )
    print(f"part {part}: {sum(found.values())} bytes of {len(image)}: {dict(found)}")
    assert found[Role.CONTENT, "unread"] == found[Role.STRUCTURE, "unread"] == 0
    assert found[Role.CONTENT, "noticed"] > 100


async def test_a_flipped_bit_of_ledger_signed_is_noticed(ledger):
    layout, note = ledger
    data = file_of(layout.ledger).read_bytes()
    assert len(data) == BLOCK
    for place in range(0, BLOCK, 1 if DEEP else 3):
        file_of(layout.ledger).write_bytes(flipped(data, place))
        assert judge(layout.ledger, note) == "noticed", place


@pytest.mark.parametrize("part", range(PARTS))
async def test_a_flipped_bit_of_an_export_is_noticed(ledger, part):
    layout, note = ledger
    with LedgerReader(layout.ledger) as reader:
        lines = [
            to_checkpoint_line(item) if isinstance(item, bytes) else to_line(entry_from_row(item))
            for item in reader.items()
        ]
    data = b"".join(line + b"\n" for line in lines)

    def verdict_of(content):
        items = map(item_from_line, content.splitlines(keepends=True))
        return verify(items, {"the test": RememberedNote(note.encode())}, verifies).verdict

    assert verdict_of(data) is Verdict.HOLDS
    for place in range(part, len(data), PARTS if DEEP else 499):
        assert verdict_of(flipped(data, place)) is Verdict.BROKEN, place


@pytest.mark.parametrize("keeper", ["gateway_head", "command_line_head"])
async def test_a_flipped_bit_of_what_is_remembered_never_says_that_the_ledger_holds(
    ledger, keeper, monkeypatch, capsys
):
    layout, note = ledger
    monkeypatch.setenv("MYCELOS_DATA_DIR", str(layout.root))
    # Somebody outside of the data folder would tell more than the one who is looked at.
    Vault.open(layout, bytes(32)).close()
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    path = getattr(layout, keeper)

    def exit_code():
        with pytest.raises(SystemExit) as ended:
            app(["verify", "--json"])
        capsys.readouterr()
        # What the command remembers in turn is no evidence here.
        layout.command_line_head.unlink(missing_ok=True)
        return ended.value.code or 0

    remember(path, note)
    data = path.read_bytes()
    assert exit_code() == 0
    codes = Counter()
    for place in range(0, len(data), 1 if DEEP else 5):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(flipped(data, place))
        codes[exit_code()] += 1
    print(keeper, dict(codes))
    assert codes[0] == 0
    assert (codes[1] == 0) == (keeper == "gateway_head"), "what the gateway remembers alone makes no ledger look broken"
