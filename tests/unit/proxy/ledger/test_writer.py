from __future__ import annotations

import json
import queue
import sqlite3
import threading
import time
from types import SimpleNamespace

import pytest
from ledger_keys import ledger_keys

from mycelos.ledger.chain import EMPTY
from mycelos.ledger.checkpoint import open_checkpoint, parse_text
from mycelos.ledger.entry import EntryError, Phase, make_draft
from mycelos.ledger.events import Event
from mycelos.ledger.merkle import Frontier
from mycelos.ledger.signed_note import VerifierKey, parse_note
from mycelos.proxy.ledger.database import INSERT, LedgerError, open_for_reading, open_for_writing
from mycelos.proxy.ledger.last_signed import LastSigned, read_last_signed
from mycelos.proxy.ledger.queue import Append, QueueFullError
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.writer import LOG_PAGES, LedgerWriter, NoRoomError, WriteError
from mycelos.proxy.vault.signing import verifies


def append(name="", event=Event.PROXY_HTTP_REQUEST, **about):
    return Append((make_draft(event, Phase.FACT, tenant="t", run=name, **about),), name)


@pytest.fixture
def delivered():
    return queue.Queue()


@pytest.fixture
def writer(path, delivered, clock):
    made = LedgerWriter(path, delivered.put, clock)
    yield made
    made.close()


def next_results(delivered):
    return {one.waiter: result for one, result in delivered.get(timeout=20)}


def runs(path):
    reader = open_for_reading(path)
    try:
        return [run for (run,) in reader.execute("SELECT run FROM audit_events ORDER BY seq")]
    finally:
        reader.close()


def test_what_waits_is_written_in_one_group(writer, delivered, path):
    for name in ("a", "b", "c"):
        writer.submit(append(name))
    writer.start()
    results = next_results(delivered)
    assert [entry.seq for (entry,) in results.values()] == [0, 1, 2]
    assert runs(path) == ["a", "b", "c"]
    assert writer.head.seq == 2


def test_one_transaction_serves_a_whole_group(writer, delivered):
    statements = []
    writer._connection.set_trace_callback(statements.append)
    for name in "abcdefgh":
        writer.submit(append(name))
    writer.start()
    assert len(next_results(delivered)) == 8
    assert [statement for statement in statements if statement in {"BEGIN IMMEDIATE", "COMMIT"}] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ]


def test_each_group_is_signed_in_its_own_transaction_and_what_is_signed_is_its_tree(writer, delivered, path):
    keys = ledger_keys()
    key = VerifierKey("a.log", keys.public_key)
    kept = LastSigned.open(path)
    seen = []
    original = delivered.put
    writer._deliver = lambda results: (seen.append((read_last_signed(path), writer.checkpoint)), original(results))
    writer.sign_with(key, keys.sign)
    writer.start()
    tree = Frontier()
    for number in range(600):
        writer.submit(append(str(number)))
        for (entry,) in next_results(delivered).values():
            list(tree.append(bytes.fromhex(entry.leaf_hash)))
        signed = open_checkpoint(writer.checkpoint.encode(), "a.log", [key], verifies)
        assert (signed.size, signed.root) == (tree.size, tree.root())
    assert all(last.decode() == newest for last, newest in seen)
    kept.close()
    with LedgerReader(path) as reader:
        assert reader.newest_checkpoint() == (600, writer.checkpoint)
        assert reader.tree.root(600) == tree.root()
        rows = reader._connection.execute("SELECT tile, size FROM checkpoints").fetchall()
    assert rows == [(0, 255), (1, 511), (2, 600)]


def test_what_was_not_committed_was_signed_for_nobody(writer, delivered, path, monkeypatch):
    keys = ledger_keys()
    writer.sign_with(VerifierKey("a.log", keys.public_key), keys.sign)
    writer.start()
    writer.submit(append("a"))
    next_results(delivered)
    before = writer.checkpoint

    def broken(_message):
        message = "the key is gone"
        raise OSError(message)

    writer.sign_with(VerifierKey("a.log", keys.public_key), broken)
    writer.submit(append("b"))
    (result,) = next_results(delivered).values()
    assert isinstance(result, WriteError)
    assert (runs(path), writer.checkpoint, read_last_signed(path).decode()) == (["a"], before, before)
    writer.sign_with(VerifierKey("a.log", keys.public_key), keys.sign)
    writer.submit(append("c"))
    next_results(delivered)
    assert runs(path) == ["a", "c"]
    with LedgerReader(path) as reader:
        assert parse_text(parse_note(writer.checkpoint.encode()).text).root == reader.tree.root(2)


def test_a_last_note_that_cannot_be_written_refuses_the_group_and_the_next_one_goes_on(
    writer, delivered, path, monkeypatch
):
    keys = ledger_keys()
    writer.sign_with(VerifierKey("a.log", keys.public_key), keys.sign)
    writer.start()

    def refuse(*_arguments):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(writer._last_signed, "write", refuse)
        writer.submit(append("a"))
        (result,) = next_results(delivered).values()
        assert isinstance(result, WriteError)
    writer.submit(append("b"))
    next_results(delivered)
    # What was committed and not said stands: an intent that somebody was refused, without its effect.
    assert runs(path) == ["a", "b"]
    with LedgerReader(path) as reader:
        assert parse_text(parse_note(writer.checkpoint.encode()).text).root == reader.tree.root(2)


def test_an_append_is_delivered_only_when_it_is_committed(writer, delivered, path):
    seen = []
    original = delivered.put
    writer._deliver = lambda results: (seen.append(runs(path)), original(results))
    writer.submit(append("a"))
    writer.start()
    next_results(delivered)
    assert seen == [["a"]]


def test_an_entry_too_large_is_refused_and_the_rest_of_the_group_goes_in(writer, delivered, path):
    writer.submit(append("a"))
    writer.submit(append("big", details={"addresses": ["漢" * 1024] * 60}))
    writer.submit(append("b"))
    writer.start()
    results = next_results(delivered)
    assert isinstance(results["big"], EntryError)
    assert runs(path) == ["a", "b"]


def test_drafts_that_belong_together_go_in_together_or_not_at_all(writer, delivered, path):
    good = append().drafts[0]
    bad = append(details={"addresses": ["漢" * 1024] * 60}).drafts[0]
    writer.submit(Append((good, bad), "both"))
    writer.start()
    assert isinstance(next_results(delivered)["both"], EntryError)
    assert runs(path) == []


class Failing:
    """A connection whose disk refuses at one statement."""

    def __init__(self, connection, at):
        self.connection, self.at = connection, at

    def execute(self, statement, *values):
        if statement == self.at:
            message = "database or disk is full"
            raise sqlite3.OperationalError(message)
        return self.connection.execute(statement, *values)

    def executemany(self, *values):
        return self.connection.executemany(*values)

    def close(self):
        self.connection.close()


@pytest.mark.parametrize("at", ["BEGIN IMMEDIATE", "COMMIT"])
def test_when_the_disk_refuses_every_append_of_the_group_is_refused_and_the_next_one_goes_in(
    writer, delivered, path, at
):
    writer._connection = Failing(writer._connection, at)
    writer.submit(append("a"))
    writer.submit(append("b"))
    writer.start()
    results = next_results(delivered)
    assert all(isinstance(result, WriteError) for result in results.values())
    writer.submit(append("c"))
    (entry,) = next_results(delivered)["c"]
    assert entry.seq == 0
    assert runs(path) == ["c"]


def test_a_commit_that_fails_after_the_data_is_there_refuses_and_goes_on_from_what_is_there(writer, delivered, path):
    class Late(Failing):
        def execute(self, statement, *values):
            result = self.connection.execute(statement, *values)
            if statement == "COMMIT":
                message = "disk I/O error"
                raise sqlite3.OperationalError(message)
            return result

    writer._connection = Late(writer._connection, "")
    writer.submit(append("a"))
    writer.start()
    assert isinstance(next_results(delivered)["a"], WriteError)
    writer.submit(append("b"))
    (entry,) = next_results(delivered)["b"]
    assert entry.seq == 1
    assert runs(path) == ["a", "b"]


def test_a_ledger_that_somebody_else_wrote_to_takes_nothing_more(writer, delivered, path):
    writer.start()
    writer.submit(append("a"))
    ((mine,),) = next_results(delivered).values()
    intruder = sqlite3.connect(path, isolation_level=None)
    intruder.execute(INSERT, mine._replace(seq=1, run="forged"))
    intruder.close()
    for name in ("b", "c"):
        writer.submit(append(name))
        assert isinstance(next_results(delivered)[name], WriteError)
    assert runs(path) == ["a", "forged"]


def test_a_ledger_that_was_replaced_takes_nothing_more(writer, delivered, path, tmp_path):
    writer.start()
    path.rename(tmp_path / "taken")
    writer.submit(append("a"))
    assert isinstance(next_results(delivered)["a"], WriteError)
    path.write_bytes(b"")
    path.chmod(0o600)
    writer.submit(append("b"))
    assert isinstance(next_results(delivered)["b"], WriteError)
    assert path.read_bytes() == b""


def test_each_life_of_the_writer_is_an_epoch_and_counts_its_own_time(writer, delivered, path, clock):
    clock.pass_(1.5)
    writer.submit(append("a"))
    writer.start()
    ((first,),) = next_results(delivered).values()
    assert (first.epoch, first.mono, first.at) == (0, 1_500_000, "2026-01-31T12:00:01.500000Z")
    writer.close()
    again = LedgerWriter(path, delivered.put, clock)
    again.submit(append("b"))
    again.start()
    ((second,),) = next_results(delivered).values()
    assert (second.epoch, second.mono, second.prev_hash) == (1, 0, first.leaf_hash)
    again.close()


@pytest.mark.parametrize("step", [3600, -3600])
def test_a_step_of_the_clock_is_recorded_and_the_order_stays(writer, delivered, path, clock, step):
    writer.start()
    writer.submit(append("a"))
    next_results(delivered)
    clock.pass_(1)
    clock.wall += step
    writer.submit(append("b"))
    ((entry,),) = next_results(delivered).values()
    assert entry.seq == 2
    reader = open_for_reading(path)
    events = reader.execute("SELECT event, details FROM audit_events ORDER BY seq").fetchall()
    reader.close()
    assert events[1] == ("clock.stepped", f'{{"step_ms":{step * 1000}}}')


@pytest.mark.parametrize(("step", "told"), [(-3600, [-3600_000]), (3600, []), (-1, [])])
def test_a_clock_that_was_set_back_while_nothing_ran_is_recorded_once(writer, delivered, path, clock, step, told):
    writer.start()
    writer.submit(append("a"))
    next_results(delivered)
    writer.close()
    clock.wall += step
    clock.monotonic = 5.0
    again = LedgerWriter(path, delivered.put, clock)
    again.start()
    for name in ("b", "c"):
        again.submit(append(name))
        next_results(delivered)
    again.close()
    reader = open_for_reading(path)
    rows = reader.execute("SELECT seq, event, details, run FROM audit_events ORDER BY seq").fetchall()
    reader.close()
    assert [json.loads(details)["step_ms"] for _, event, details, _ in rows if event == "clock.stepped"] == told
    assert [run for *_, run in rows if run] == ["a", "b", "c"]
    assert [seq for seq, *_ in rows] == list(range(len(rows)))


def test_a_step_that_could_not_be_written_is_recorded_with_the_next_group(writer, delivered, path, clock):
    writer.start()
    writer.submit(append("a"))
    next_results(delivered)
    clock.wall -= 3600
    path.rename(path.with_name("away"))
    writer.submit(append("lost"))
    assert isinstance(next_results(delivered)["lost"], WriteError)
    path.with_name("away").rename(path)
    writer.submit(append("b"))
    next_results(delivered)
    reader = open_for_reading(path)
    events = [event for (event,) in reader.execute("SELECT event FROM audit_events ORDER BY seq")]
    reader.close()
    assert events == ["proxy.http_request", "clock.stepped", "proxy.http_request"]


def test_closing_writes_what_waits_and_then_takes_nothing(writer, delivered, path):
    writer.submit(append("a"))
    writer.start()
    writer.close()
    assert next_results(delivered)["a"][0].seq == 0
    with pytest.raises(QueueFullError):
        writer.submit(append("b"))


def test_a_new_ledger_ends_nowhere(writer):
    assert writer.head == EMPTY
    assert writer.epoch == 0


def test_nobody_is_left_waiting_when_the_writer_s_thread_dies(writer, delivered, monkeypatch):
    died = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: died.set())
    monkeypatch.setattr(writer, "_write", lambda _: 1 / 0)
    writer.submit(append("a"))
    writer.start()
    assert isinstance(next_results(delivered)["a"], WriteError)
    assert died.wait(20)
    with pytest.raises(QueueFullError):
        writer.submit(append("b"))


@pytest.fixture
def quick(writer, delivered, monkeypatch):
    """A writer that lets what is alone be written at once, however slow this disk is; it has written "a"."""
    monkeypatch.setattr("mycelos.proxy.ledger.writer.QUICK", float("inf"))
    keys = ledger_keys()
    writer.sign_with(VerifierKey("a.log", keys.public_key), keys.sign)
    writer.start()
    writer.submit(append("a"))
    next_results(delivered)
    # It has also copied the write-ahead log when it waits again.
    wait_until(lambda: writer._queue._is_awaited)
    return writer


def wait_until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_what_is_alone_is_written_and_signed_on_the_thread_that_brings_it(quick, delivered, path):
    bring = append("b")
    ((brought, (entry,)),) = quick.write_now(bring)
    assert (brought, entry.seq, quick.head.seq) == (bring, 1, 1)
    assert runs(path) == ["a", "b"]
    assert parse_text(parse_note(quick.checkpoint.encode()).text).size == 2
    assert read_last_signed(path).decode() == quick.checkpoint
    quick.submit(append("c"))
    ((entry,),) = next_results(delivered).values()
    assert entry.seq == 2
    assert delivered.empty(), "what was written at once is not delivered as well"


def test_beside_something_that_waits_nothing_is_written_at_once(quick, delivered, path):
    original, entered, go_on = quick._write, threading.Event(), threading.Event()

    def held(group, patience):
        entered.set()
        assert go_on.wait(20)
        return original(group, patience)

    quick._write = held
    quick.submit(append("b"))
    assert entered.wait(20)
    assert quick.write_now(append("c")) is None, "the writer is at work"
    go_on.set()
    next_results(delivered)
    assert runs(path) == ["a", "b"]


def test_a_writer_that_has_not_started_or_has_ended_writes_nothing_at_once(writer, monkeypatch):
    monkeypatch.setattr("mycelos.proxy.ledger.writer.QUICK", float("inf"))
    writer._log_pages = 0
    assert writer.write_now(append("a")) is None
    writer.start()
    writer.close()
    assert writer.write_now(append("a")) is None


@pytest.fixture
def timed(writer, delivered, monkeypatch):
    """Write one append after the other in groups that take so many seconds; how many were written at once."""
    now = 0.0

    def perf_counter():
        nonlocal now
        now += timed_write.seconds
        return now

    def timed_write(count, seconds):
        timed_write.seconds = seconds
        at_once = 0
        for _ in range(count):
            one = append("x")
            wait_until(lambda: writer._queue._is_awaited)
            if writer.write_now(one) is None:
                writer.submit(one)
                next_results(delivered)
            else:
                at_once += 1
        return at_once

    monkeypatch.setattr("mycelos.proxy.ledger.writer.time", SimpleNamespace(perf_counter=perf_counter))
    writer.start()
    return timed_write


def test_only_while_groups_are_quick_something_is_written_at_once(timed):
    assert timed(40, 0.0005) == 0, "the disk is not known yet"
    timed(30, 0.0005)
    assert timed(10, 0.0005) == 10
    # One that is somewhat slow, then one that is very slow.
    timed(1, 0.003)
    assert timed(10, 0.0005) == 10
    assert timed(1, 1.0) == 1
    assert timed(40, 0.0005) == 0
    timed(30, 0.0005)
    assert timed(10, 0.0005) == 10
    timed(10, 0.0012)
    assert timed(10, 0.0012) == 0


def test_behind_another_s_lock_nothing_is_written_at_once_and_the_thread_waits_for_it(quick, delivered, path):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    one = append("b")
    assert quick.write_now(one) is None
    quick.submit(one)
    assert delivered.empty()
    other.execute("ROLLBACK")
    other.close()
    assert next_results(delivered)["b"][0].seq == 1
    assert runs(path) == ["a", "b"]


@pytest.mark.parametrize("at", ["BEGIN IMMEDIATE", INSERT, "COMMIT"])
def test_what_cannot_be_written_at_once_is_refused_and_leaves_nothing(quick, delivered, path, at):
    quick._connection = Failing(quick._connection, at)
    ((_, result),) = quick.write_now(append("b"))
    assert isinstance(result, WriteError)
    assert quick.write_now(append("c")) is None, "until the writer has written again"
    quick.submit(append("d"))
    assert next_results(delivered)["d"][0].seq == 1
    assert runs(path) == ["a", "d"]


def test_an_entry_that_is_too_large_is_refused_at_once_and_holds_no_lock(quick, path):
    many = {"scopes": ["x" * 400] * 200}
    draft = make_draft(Event.PROXY_HTTP_REQUEST, Phase.FACT, tenant="t")._replace(details=json.dumps(many))
    ((_, result),) = quick.write_now(Append((draft,), "b"))
    assert isinstance(result, EntryError)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.close()


def test_the_write_ahead_log_is_copied_by_the_thread_once_it_is_long_and_nothing_is_written_at_once_before(
    quick, delivered, path, monkeypatch
):
    monkeypatch.setattr("mycelos.proxy.ledger.writer.LOG_PAGES", 6)
    before = path.read_bytes()
    assert [quick.write_now(append(name)) is None for name in "bcd"] == [False, False, True]
    assert path.read_bytes() == before
    quick.submit(append("e"))
    next_results(delivered)
    wait_until(lambda: quick._queue._is_awaited)
    assert path.read_bytes() != before
    assert quick.write_now(append("f")) is not None


def test_a_log_that_cannot_be_copied_stops_nothing(quick, delivered, path, monkeypatch):
    def refuse(_connection):
        message = "disk I/O error"
        raise sqlite3.OperationalError(message)

    monkeypatch.setattr("mycelos.proxy.ledger.writer.copy_back", refuse)
    quick._log_pages = LOG_PAGES
    for name in ("b", "c"):
        quick.submit(append(name))
        assert isinstance(next_results(delivered)[name], list)
    assert runs(path) == ["a", "b", "c"]


@pytest.mark.parametrize(("step", "fits"), [(0, True), (-3600, False)])
def test_without_a_key_a_group_fits_whole_with_a_step_of_the_clock_or_is_refused(
    writer, delivered, path, clock, monkeypatch, step, fits
):
    monkeypatch.setattr("mycelos.proxy.ledger.writer.LIMIT", 3)
    writer.start()
    writer.submit(append("a"))
    next_results(delivered)
    clock.wall += step
    writer.submit(Append((*append("b").drafts, *append("c").drafts), "bc"))
    result = next_results(delivered)["bc"]
    assert isinstance(result, list) == fits
    assert fits or isinstance(result, NoRoomError)
    assert runs(path) == (["a", "b", "c"] if fits else ["a"])
    # It is no fault of the file: what still fits is written.
    writer.submit(append("d"))
    assert isinstance(next_results(delivered)["d"], NoRoomError) == fits


def test_with_a_key_there_is_no_such_limit(writer, delivered, path, monkeypatch):
    monkeypatch.setattr("mycelos.proxy.ledger.writer.LIMIT", 1)
    keys = ledger_keys()
    writer.sign_with(VerifierKey("log.example", keys.public_key), keys.sign)
    writer.start()
    for name in ("a", "b"):
        writer.submit(append(name))
        assert isinstance(next_results(delivered)[name], list)


def test_a_writer_that_cannot_begin_leaves_no_connection_open(writer, delivered, path, monkeypatch):
    opened = []
    original = open_for_writing

    def remember(wanted):
        opened.append(original(wanted))
        return opened[-1]

    def refuse(*_arguments):
        message = "the newest checkpoint cannot be read"
        raise LedgerError(message)

    monkeypatch.setattr("mycelos.proxy.ledger.writer.open_for_writing", remember)
    monkeypatch.setattr("mycelos.proxy.ledger.writer.newest_checkpoint", refuse)
    with pytest.raises(LedgerError):
        LedgerWriter(path, delivered.put)
    (connection,) = opened
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")
