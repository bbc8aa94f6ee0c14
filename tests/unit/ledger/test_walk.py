from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signed_log import SignedLog, grown, head_of, linked, private_key

from mycelos.ledger import entry as entry_module
from mycelos.ledger import walk as walk_module
from mycelos.ledger.chain import EMPTY
from mycelos.ledger.checkpoint import Checkpoint
from mycelos.ledger.entry import COLUMNS, body
from mycelos.ledger.events import Event
from mycelos.ledger.fault import FaultFoundError
from mycelos.ledger.log_keys import LogKeys
from mycelos.ledger.merkle import EMPTY_ROOT, Frontier
from mycelos.ledger.remembered import Memories
from mycelos.ledger.verify import tail_fault, verify
from mycelos.ledger.walk import Walk, link
from mycelos.proxy.vault.signing import verifies

LOG = grown(2)
VALUES = (
    st.none() | st.booleans() | st.floats() | st.integers(-1, 2**70) | st.text(st.characters()) | st.binary(max_size=9)
)


def walked(items, progress=lambda _: None):
    walk = Walk(LogKeys(verifies), Memories({}), progress)
    walk.run(items)
    return walk


def fault_of(items):
    try:
        walked(items)
    except FaultFoundError as found:
        return found.fault
    return None


def resealed(row):
    """The row with the hash of what it says now, where it can be hashed at all."""
    try:
        return [*row[:20], hashlib.sha256(b"\x00" + body(row)).hexdigest()]
    except (TypeError, UnicodeEncodeError):
        return row


def rows_of(log):
    return [list(entry) for entry in log.entries]


@given(st.integers(0, 2), st.sampled_from(range(len(COLUMNS))), VALUES, st.booleans())
def test_the_short_way_through_a_row_says_what_the_long_one_says(place, column, value, is_resealed):
    rows = rows_of(LOG)
    rows[place][column] = value
    if is_resealed:
        rows[place] = resealed(rows[place])
    fault = fault_of(rows)
    expected = tail_fault(rows, EMPTY)[0]
    # What the log says of its keys is looked at by the walk alone.
    if expected is not None or place != 0:
        assert fault == expected


@pytest.mark.parametrize("row", [(), (1, 2, 3), ("x",) * 21, [None] * 21, [0] * 22], ids=len)
def test_a_row_that_is_no_entry_is_a_fault_on_both_ways(row):
    items = [*LOG.entries, row]
    assert fault_of(items) == tail_fault(items, EMPTY)[0]
    assert fault_of(items).what == "this row is not an entry"


def test_a_number_of_another_type_with_a_hash_of_its_own_is_no_entry(monkeypatch):
    rows = rows_of(LOG)
    rows[2][COLUMNS.index("mono")] = 2.0
    rows[2] = resealed(rows[2])
    assert fault_of(rows).seq == 2
    # With nobody looking at the types, the hash would vouch for it.
    monkeypatch.setattr(entry_module, "_ROW_TYPES", {tuple(map(type, row)) for row in rows})
    assert fault_of(rows) is None


def test_half_a_surrogate_pair_is_a_fault_and_no_error():
    rows = rows_of(LOG)
    rows[1][COLUMNS.index("run")] = "\ud800"
    assert fault_of(rows).found == "text that is not UTF-8"


def test_the_root_is_that_of_the_entries_walked():
    assert walked([]).root() == EMPTY_ROOT
    walk = walked(LOG.items())
    assert (walk.size, walk.head, walk.signed_size) == (3, head_of(LOG.entries[-1]), 3)
    assert str(LOG.size).encode() in LOG.note()
    assert walk.root() == walked(LOG.entries).root()


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 1024])
def test_a_checkpoint_at_every_size_is_checked_whatever_the_batch(batch, monkeypatch):
    monkeypatch.setattr(walk_module, "BATCH", batch)
    log = SignedLog()
    log.sign()
    for _ in range(40):
        log.fill(1)
        log.sign()
    assert walked(log.items()).signed_size == 41
    for place in (3, 40):
        changed = grown()
        changed.notes = log.notes
        changed.entries = linked([entry._replace(reason="x") if entry.seq == place else entry for entry in log.entries])
        assert fault_of(changed.items()).seq == place


def test_progress_is_told_in_steps(monkeypatch):
    monkeypatch.setattr(walk_module, "BATCH", 4)
    told = []
    walked(grown(9).entries, told.append)
    assert told == [0, 4, 8, 10]


TREE_LOG = grown(36)
TREE_LEVELS = (1, 3)


def stored_tree(log):
    nodes, tree = {level: [] for level in TREE_LEVELS}, Frontier()
    for entry in log.entries:
        for level, place, found in tree.append(bytes.fromhex(entry.leaf_hash)):
            if level in nodes:
                nodes[level].append((place, found))
    return nodes


def fault_with(nodes, log=TREE_LOG):
    return verify(log.items(), {}, verifies, stored=nodes).fault


@pytest.mark.parametrize("batch", [1, 3, 16, 1024])
def test_the_stored_tree_is_held_against_the_entries(batch, monkeypatch):
    monkeypatch.setattr(walk_module, "BATCH", batch)
    assert fault_with(stored_tree(TREE_LOG)) is None
    for level in TREE_LEVELS:
        for place in range(len(stored_tree(TREE_LOG)[level])):
            nodes = stored_tree(TREE_LOG)
            nodes[level][place] = (place, bytes(32))
            fault = fault_with(nodes)
            assert (fault.seq, fault.found) == (((place + 1) << level) - 1, f"{bytes(32).hex()} at place {place}")


@pytest.mark.parametrize(
    ("change", "seq"),
    [
        (lambda nodes: nodes[3].pop(), 31),
        (lambda nodes: nodes[3].pop(0), 7),
        (lambda nodes: nodes[3].append((4, bytes(32))), 37),
        (lambda nodes: nodes[3].reverse(), 7),
        (lambda nodes: nodes[3].insert(1, nodes[3][0]), 15),
        (lambda nodes: nodes[1].__setitem__(4, (4, "text")), 9),
        (lambda nodes: nodes[1].__setitem__(4, (5, nodes[1][4][1])), 9),
        (lambda nodes: nodes[1].__setitem__(4, (None, None)), 9),
    ],
)
def test_a_stored_tree_with_more_less_or_other_hashes_is_located(change, seq):
    nodes = stored_tree(TREE_LOG)
    change(nodes)
    assert fault_with(nodes).seq == seq


def test_where_the_log_is_broken_before_its_stored_tree_that_is_said():
    log = grown(36)
    log.entries[20] = log.entries[20]._replace(reason="x")
    nodes = stored_tree(TREE_LOG)
    nodes[1][10] = (10, bytes(32))
    assert fault_with(nodes, log).what == "the entry's content was changed"


def test_an_error_of_the_source_is_not_a_fault():
    def items():
        yield LOG.entries[0]
        message = "the file is damaged"
        raise ValueError(message)

    with pytest.raises(ValueError, match="damaged"):
        walked(items())


def test_a_link_gives_the_head_behind_it():
    assert link(LOG.entries[1], head_of(LOG.entries[0])) == head_of(LOG.entries[1])
    with pytest.raises(FaultFoundError, match="entry 1"):
        link(LOG.entries[2], head_of(LOG.entries[0]))


def test_what_a_command_records_beside_a_stopped_system_may_end_a_log_without_a_signature():
    log = grown(1)
    log.append(Event.BACKUP_CREATED, principal="operator")
    walk = walked(log.items())
    walk.demand_signed_end()
    assert (walk.size, walk.signed_size) == (3, 2)
    log.fill(1)
    walk = walked(log.items())
    with pytest.raises(FaultFoundError, match="entry 3: an entry that no checkpoint covers"):
        walk.demand_signed_end()


def test_a_log_that_names_no_key_may_end_without_a_signature():
    log = SignedLog()
    walked(linked(log.entries[1:])).demand_signed_end()


@pytest.mark.parametrize(
    ("note", "what"),
    [
        (b"", "cannot be read"),
        (b"\xff", "cannot be read"),
        (grown(2).note(2), "out of order"),
        (grown(9).note(9), "are missing"),
        (grown(2).note(3, signer=2), "has not signed"),
    ],
)
def test_a_checkpoint_that_does_not_hold_is_located(note, what):
    fault = fault_of([*LOG.entries, note])
    assert what in fault.what
    assert fault.seq in {2, 3}
    assert fault.expected != fault.found


def test_a_checkpoint_of_another_log_by_the_same_key_is_refused():
    checkpoint = Checkpoint("ledger.mycelos.internal/other", 3, walked(LOG.entries).root())
    signed = str(checkpoint.signed([(LOG.vkey(), private_key(1).sign)])).encode()
    fault = fault_of([*LOG.entries, signed])
    assert (fault.what, fault.expected, fault.found) == ("a checkpoint of another log", LOG.origin, checkpoint.origin)


def test_a_checkpoint_before_the_log_names_a_key_is_refused():
    log = SignedLog()
    log.fill(2)
    log.entries = linked([log.entries[1], log.entries[0], log.entries[2]])
    assert fault_of([log.entries[0], log.note(1), *log.entries[1:]]).expected == "the log names no key"
    log.notes = [(2, log.note(2))]
    assert walked(log.items()).signed_size == 2
