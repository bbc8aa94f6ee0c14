"""An index of rare entries that differs from the rows is told, whatever way it differs."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from mycelos.ledger.entry import Phase, make_draft
from mycelos.ledger.events import ANCHORED, EVENTS, Event, Source
from mycelos.ledger.log_keys import KEY_EVENTS
from mycelos.prove.ledger_copy import forge_index
from mycelos.proxy.ledger.precedence import comes_first
from mycelos.proxy.ledger.rare_index import INDEX, RARE, index_fault, tail_index_fault
from mycelos.proxy.ledger.schema import SCHEMA_VERSION

pytestmark = pytest.mark.anyio

WRITTEN = (
    Event.LEDGER_CHECKPOINT,
    Event.PROXY_HTTP_REQUEST,
    Event.PROXY_STARTED,
    Event.CREDENTIAL_DELETED,
    Event.PROXY_HTTP_REQUEST,
    Event.PROXY_STARTED,
    Event.PROXY_STARTED,
    Event.LOCKDOWN_SET,
)


@pytest.fixture
async def stopped(recorder, path):
    """A ledger with the entries `WRITTEN` that nobody writes."""
    for event in WRITTEN:
        await recorder.fact(event)
    await recorder.close()
    return path


def judged(path, first=None):
    """What is said of the index: by who has every row, or the rows from ``first`` on."""
    with closing(sqlite3.connect(path)) as connection:
        if first is None:
            fault = index_fault(connection)
        else:
            fault = tail_index_fault(connection, list(enumerate(map(str, WRITTEN)))[first:], first)
    return None if fault is None else (fault.seq, fault.what, fault.expected, fault.found)


def test_rare_is_what_nobody_but_the_operator_and_the_proxy_itself_brings_about():
    assert {event.value for event in ANCHORED} | KEY_EVENTS < RARE
    for event in map(Event, RARE):
        assert EVENTS[event].source in {Source.PROXY, Source.OPERATOR}
        # The same reason for which no limit may refuse it.
        assert comes_first(make_draft(event, Phase.FACT, tenant="tenant")), event
    assert not RARE & {Event.OPERATOR_LOGIN_FAILED, Event.OPERATOR_REFUSED, Event.PROXY_HTTP_REQUEST}


def test_its_list_belongs_to_the_version_of_the_schema():
    listed = (
        "confirm.granted confirm.refused credential.armed credential.bound credential.confirmed credential.deleted "
        "credential.parked credential.rotated credential.stored egress.rule_changed intent.unresolved key.rotated "
        "ledger.checkpoint ledger.restored lockdown.lifted lockdown.set mcp.registered operator.passkey_enrolled "
        "operator.passkey_removed proxy.started"
    )
    one_of = " OR ".join(f"event = '{name}'" for name in listed.split())
    expected = f"CREATE INDEX audit_events_rare ON audit_events (event) WHERE ({one_of})"
    assert (SCHEMA_VERSION, INDEX) == (3, expected), "another list is another schema: give it the next version"


async def test_an_index_of_all_rare_entries_and_no_other_is_sound(stopped):
    assert judged(stopped) is None
    assert judged(stopped, 4) is None
    with closing(sqlite3.connect(stopped)) as connection:
        (size,) = connection.execute("SELECT count(*) FROM audit_events").fetchone()
        indexed = sum(
            connection.execute(
                f"SELECT count(*) FROM audit_events INDEXED BY audit_events_rare "
                f"WHERE {INDEX.partition('WHERE ')[2]} AND event = ?",
                (event,),
            ).fetchone()[0]
            for event in set(WRITTEN)
        )
    assert (size, indexed) == (8, 6)


async def test_an_entry_that_is_left_out_is_named(stopped):
    forge_index(stopped, where="event IN ('ledger.checkpoint', 'proxy.started')")
    told = "the index of rare entries leaves this entry out", "credential.deleted at 3", "no credential.deleted at 3"
    assert judged(stopped) == judged(stopped, 3) == (3, *told)
    # Behind it another is missing.
    assert judged(stopped, 4)[0] == 7


@pytest.mark.parametrize("where", ["seq <> 6", "seq <> 5", "seq < 6"])
async def test_so_is_one_among_others_of_its_kind(stopped, where):
    forge_index(stopped, where=where)
    assert judged(stopped)[0] == (5 if "5" in where else 6)


async def test_an_entry_that_the_log_has_not_is_named(stopped):
    forge_index(stopped, "CASE seq WHEN 4 THEN 'credential.deleted' ELSE event END")
    told = "the index of rare entries has an entry that the log has not"
    assert judged(stopped) == (4, told, "no credential.deleted at 4", "credential.deleted at 4")
    assert judged(stopped, 4)[:2] == (4, told)
    assert judged(stopped, 5) is None


async def test_so_is_one_of_a_row_that_is_gone(stopped):
    with closing(sqlite3.connect(stopped, isolation_level=None)) as connection:
        row = connection.execute("SELECT * FROM sqlite_master WHERE name = 'audit_events_rare'").fetchone()
        connection.execute("DROP TRIGGER audit_events_no_delete")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_master WHERE name = 'audit_events_rare'")
    with closing(sqlite3.connect(stopped, isolation_level=None)) as connection:
        connection.execute("DELETE FROM audit_events WHERE seq = 7")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)
    assert judged(stopped)[:2] == (7, "the index of rare entries has an entry that the log has not")


@pytest.mark.parametrize("twice", [False, True])
async def test_entries_in_another_order_are_a_fault(stopped, twice):
    with closing(sqlite3.connect(stopped)) as connection:
        page, size = (
            connection.execute(statement).fetchone()[0]
            for statement in (
                "SELECT rootpage FROM sqlite_master WHERE name = 'audit_events_rare'",
                "PRAGMA page_size",
            )
        )
    data = bytearray(stopped.read_bytes())
    start = (page - 1) * size
    # A leaf of an index and its six cells (https://sqlite.org/fileformat2.html#b_tree_pages); the last are of
    # `proxy.started`.
    assert (data[start], data[start + 4]) == (10, 6)
    cells = start + 8 + 2 * 3
    one, other = data[cells : cells + 2], data[cells + 2 : cells + 4]
    data[cells : cells + 4] = (other + other) if twice else (other + one)
    stopped.write_bytes(data)
    seq, what, expected, _ = judged(stopped)
    assert (what, expected) == ("the index of rare entries is not in order", "each proxy.started once, by its number")
    assert seq in {2, 5}
    # Also where these are not of the tail.
    assert judged(stopped, 7)[1] == what


async def test_where_there_is_none_nothing_is_walked_instead(stopped):
    with closing(sqlite3.connect(stopped)) as connection:
        connection.execute("DROP INDEX audit_events_rare")
        with pytest.raises(sqlite3.OperationalError, match="no such index"):
            index_fault(connection)
