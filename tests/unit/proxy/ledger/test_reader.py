from __future__ import annotations

import sqlite3

import msgspec
import pytest

from mycelos.ledger.events import Event
from mycelos.ledger.log_filter import Filter
from mycelos.ledger.verify import verify
from mycelos.prove.ledger_copy import forge_index
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


async def test_rare_entries_are_found_without_a_walk_over_the_others(recorder, path):
    for event in (Event.LEDGER_CHECKPOINT, Event.LOCKDOWN_SET, Event.PROXY_HTTP_REQUEST, Event.LOCKDOWN_LIFTED) * 2:
        await recorder.fact(event)
    lockdown = (Event.LOCKDOWN_SET, Event.LOCKDOWN_LIFTED)
    with LedgerReader(path) as reader:
        walked = []
        reader._connection.set_trace_callback(walked.append)
        assert reader.oldest(Event.LEDGER_CHECKPOINT).seq == 0
        assert reader.newest_of(lockdown).seq == 7
        assert reader.newest_of([Event.KEY_ROTATED]) is reader.oldest(Event.KEY_ROTATED) is None
        assert [entry.seq for entry in reader.every(lockdown)] == [1, 3, 5, 7]
        assert [entry.seq for entry in reader.every(lockdown, 3)] == [5, 7]
        reader._connection.set_trace_callback(None)
        plans = [
            [row[3] for row in reader._connection.execute(f"EXPLAIN QUERY PLAN {statement}")] for statement in walked
        ]
        assert len(plans) > 5
        for plan in plans:
            assert plan in (
                ["SEARCH audit_events USING COVERING INDEX audit_events_rare (event=?)"],
                ["SEARCH audit_events USING INTEGER PRIMARY KEY (rowid=?)"],
            )
        for read in (reader.oldest, lambda event: reader.every([event]), lambda event: reader.newest_of([event])):
            with pytest.raises(ValueError, match=r"proxy\.http_request is not in the index"):
                read(Event.PROXY_HTTP_REQUEST)


async def test_without_the_index_nothing_is_walked_instead(recorder, path):
    await recorder.fact(Event.LEDGER_CHECKPOINT)
    await recorder.close()
    intruder = sqlite3.connect(path, isolation_level=None)
    intruder.execute("DROP INDEX audit_events_rare")
    intruder.close()
    with LedgerReader(path) as reader:
        with pytest.raises(LedgerError, match="audit rebuild"):
            reader.oldest(Event.LEDGER_CHECKPOINT)
        with pytest.raises(LedgerError, match="its index cannot be read"):
            reader.index_fault()


async def test_an_index_that_lies_hides_nothing_from_a_filter_and_renames_nothing(recorder, path):
    for event in (Event.LEDGER_CHECKPOINT, Event.LOCKDOWN_SET, Event.PROXY_HTTP_REQUEST):
        await recorder.fact(event)
    await recorder.close()
    # It has the lockdown as another event, and the checkpoint not at all.
    forge_index(path, "CASE event WHEN 'lockdown.set' THEN 'key.rotated' ELSE '' END")
    with LedgerReader(path) as reader:
        assert reader.schema_faults() == []
        assert reader.oldest(Event.LEDGER_CHECKPOINT) is None
        with pytest.raises(LedgerError, match="an entry that is not there"):
            reader.every([Event.KEY_ROTATED])
        assert reader.entry(1).event == Event.LOCKDOWN_SET
        for event in (Event.LEDGER_CHECKPOINT, Event.LOCKDOWN_SET):
            assert [found.event for found in reader.newest(9, Filter(event=event))] == [event]
            assert [found.event for found in reader.after(-1, 9, Filter(event=event))] == [event]
            assert reader.count(Filter(event=event)) == 1
        assert reader.newest(9, Filter(suspicious=True))[0].event == Event.LOCKDOWN_SET
