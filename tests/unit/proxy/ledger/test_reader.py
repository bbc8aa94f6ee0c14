from __future__ import annotations

import sqlite3

import msgspec
import pytest

from mycelos.ledger.events import Event
from mycelos.ledger.log_filter import Filter
from mycelos.ledger.verify import verify
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.reader import LedgerReader

pytestmark = pytest.mark.anyio


@pytest.fixture
async def reader(recorder, path):
    for number in range(10):
        await recorder.fact(Event.PROXY_HTTP_REQUEST, run=f"r{number}")
    with LedgerReader(path) as made:
        yield made


async def test_the_newest_come_oldest_first(reader):
    assert [entry.seq for entry in reader.newest(3)] == [7, 8, 9]


async def test_those_after_a_place_come_in_order(reader):
    assert [entry.seq for entry in reader.after(3, 2)] == [4, 5]
    assert reader.after(9, 5) == []


async def test_one_entry_is_found_by_its_place(reader):
    assert reader.entry(4).run == "r4"
    assert reader.entry(10) is None


async def test_an_area_is_not_a_prefix_of_names(reader):
    assert len(reader.newest(99, Filter(event="proxy"))) == 10
    assert reader.newest(99, Filter(event="prox")) == []
    assert reader.newest(99, Filter(event="proxy.http%")) == []


@pytest.mark.parametrize("field", msgspec.structs.fields(Filter), ids=lambda field: field.name)
async def test_each_field_of_a_filter_narrows_the_search(reader, field):
    absent = {bool: True, int | None: 0, str | None: "~"}[field.type]
    wanted = Filter(**{field.name: absent})
    matches = 10 if field.name == "outside" else 0
    assert (len(reader.newest(99, wanted)), reader.count(wanted)) == (matches, matches)


async def test_every_row_is_there_for_verification(reader):
    assert verify(reader.rows(), {}, None).entries == 10
    assert reader.schema_faults() == []


async def test_a_value_in_a_filter_is_a_value_and_no_statement(reader):
    assert reader.newest(99, Filter(run="' OR 1=1 --")) == []


async def test_what_is_written_meanwhile_is_seen(reader, recorder):
    await recorder.fact(Event.PROXY_STARTED)
    assert reader.newest(1)[0].event == "proxy.started"


async def test_a_row_that_is_no_entry_names_what_to_do(reader, path):
    intruder = sqlite3.connect(path, isolation_level=None)
    intruder.execute("DROP TRIGGER audit_events_no_update")
    intruder.execute("UPDATE audit_events SET v = 9 WHERE seq = 5")
    intruder.close()
    with pytest.raises(LedgerError, match="audit verify"):
        reader.newest(10)


async def test_text_that_is_none_is_a_row_like_another_for_verification(reader, path):
    before = list(reader.rows())
    intruder = sqlite3.connect(path, isolation_level=None)
    intruder.execute("DROP TRIGGER audit_events_no_update")
    intruder.execute("UPDATE audit_events SET reason = CAST(x'ff' AS TEXT) WHERE seq IN (5, 7)")
    intruder.close()
    rows = list(reader.rows())
    assert [row[0] for row in rows] == list(range(10))
    assert [row == old for row, old in zip(rows, before, strict=True)] == [seq not in {5, 7} for seq in range(10)]
    assert verify(rows, {}, None).fault.seq == 5
    # And the same connection reads on as it did.
    assert reader.entry(5).reason == "\udcff"


async def test_a_damaged_file_says_how_far_it_can_be_read(recorder, path):
    for _ in range(200):
        await recorder.fact(Event.PROXY_HTTP_REQUEST, reason="x" * 400)
    await recorder.close()
    data = bytearray(path.read_bytes())
    # The last page that holds rows: everything before it stays readable.
    data[-4096:] = b"\xff" * 4096
    path.write_bytes(data)
    with LedgerReader(path) as damaged, pytest.raises(LedgerError, match="damaged"):
        list(damaged.rows())


async def test_a_tree_that_makes_searches_miss_rows_is_noticed(recorder, path):
    for _ in range(60):
        await recorder.fact(Event.PROXY_HTTP_REQUEST, reason="x" * 400)
    await recorder.close()
    connection = sqlite3.connect(path)
    (size,), (root,) = (
        connection.execute(statement).fetchone()
        for statement in ("PRAGMA page_size", "SELECT rootpage FROM sqlite_master WHERE name = 'audit_events'")
    )
    connection.close()
    data = bytearray(path.read_bytes())
    page = (root - 1) * size
    # An interior page of a table (https://sqlite.org/fileformat2.html#b_tree_pages): its first key, lowered by two.
    assert data[page] == 5
    cell = page + int.from_bytes(data[page + 12 : page + 14], "big")
    key = data[cell + 4]
    data[cell + 4] = key - 2
    path.write_bytes(data)
    with LedgerReader(path) as bent:
        assert bent.entry(key) is None, "the attack no longer hides a row"
        assert bent.after(key - 1, 1)[0].seq > key
        with pytest.raises(LedgerError, match="a search can miss"):
            verify(bent.rows(), {}, None)


async def test_the_newest_entry_that_holds_a_field_is_found_by_its_source(recorder, path):
    for generation in (1, 2):
        await recorder.fact(Event.PROXY_STARTED, details={"vault_generation": generation, "vault_digest": "ab"})
    # A text that looks like the field, and an entry without it.
    await recorder.fact(Event.PROXY_STARTED, reason='"vault_digest":', details={"version": '"vault_digest":'})
    with LedgerReader(path) as reader:
        assert reader.newest_holding("vault_digest", ("proxy", "operator")).seq == 1
        assert reader.newest_holding("vault_digest", ("operator",)) is None
        assert reader.newest_holding("port", ("proxy",)) is None
