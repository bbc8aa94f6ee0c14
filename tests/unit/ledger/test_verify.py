from __future__ import annotations

import pytest

from mycelos.ledger.chain import EMPTY, Head, computed_hash
from mycelos.ledger.verify import Verdict, tail_fault, verify


def head_of(entry):
    return Head(entry.seq, entry.leaf_hash)


def rewritten(entries, number, **changes):
    """The log as somebody would leave it who changes one entry and recomputes everything after it."""
    head, made = EMPTY, []
    for entry in entries:
        changed = entry._replace(prev_hash=head.leaf_hash, **(changes if entry.seq == number else {}))
        changed = changed._replace(leaf_hash=computed_hash(changed))
        head = head_of(changed)
        made.append(changed)
    return made


def test_a_sound_log_with_a_remembered_head_holds(make_log):
    log = make_log(20)
    result = verify(log, {"the gateway": head_of(log[12])})
    assert (result.verdict, result.exit_code, result.entries, result.head) == (Verdict.HOLDS, 0, 20, head_of(log[-1]))
    assert result.compared == ("the gateway",)


@pytest.mark.parametrize("count", [0, 1, 20])
def test_without_a_remembered_head_it_cannot_tell_and_never_says_that_it_holds(make_log, count):
    result = verify(make_log(count), {})
    assert (result.verdict, result.exit_code, result.fault) == (Verdict.CANNOT_TELL, 6, None)


def test_an_edited_entry_is_located_with_what_was_expected_and_found(make_log):
    log = make_log(20)
    log[7] = log[7]._replace(outcome="ok")
    result = verify(log, {})
    assert (result.verdict, result.exit_code, result.fault.seq) == (Verdict.BROKEN, 1, 7)
    assert result.fault.expected == log[7].leaf_hash
    assert result.fault.found == computed_hash(log[7])


def test_an_edited_entry_with_a_recomputed_hash_is_located_at_its_successor(make_log):
    log = make_log(20)
    log[7] = log[7]._replace(outcome="ok")
    log[7] = log[7]._replace(leaf_hash=computed_hash(log[7]))
    result = verify(log, {})
    assert (result.verdict, result.fault.seq) == (Verdict.BROKEN, 8)


def test_a_deleted_entry_is_located(make_log):
    log = make_log(20)
    del log[7]
    result = verify(log, {})
    assert (result.fault.seq, result.fault.expected, result.fault.found) == (7, "entry 7", "entry 8")


def test_an_inserted_entry_is_located(make_log):
    log = make_log(20)
    log.insert(7, log[3])
    assert verify(log, {}).fault.seq == 7


def test_reordered_entries_are_located(make_log):
    log = make_log(20)
    log[7], log[8] = log[8], log[7]
    assert verify(log, {}).fault.seq == 7


def test_a_cut_tail_is_located_by_a_remembered_head(make_log):
    log = make_log(20)
    result = verify(log[:15], {"the command line": head_of(log[-1])})
    assert (result.verdict, result.fault.seq) == (Verdict.BROKEN, 15)
    assert "the command line" in result.fault.what
    assert (result.fault.expected, result.fault.found) == ("entry 19", "the log ends with entry 14")


def test_an_empty_log_where_a_head_is_remembered_is_broken(make_log):
    result = verify([], {"the gateway": head_of(make_log(3)[-1])})
    assert (result.verdict, result.fault.seq, result.fault.found) == (Verdict.BROKEN, 0, "the log is empty")


def test_a_log_written_anew_is_located_by_a_remembered_head(make_log):
    log = make_log(20)
    forged = rewritten(log, 7, outcome="ok")
    assert verify(forged, {}).verdict is Verdict.CANNOT_TELL
    result = verify(forged, {"the gateway": head_of(log[12])})
    assert (result.verdict, result.fault.seq) == (Verdict.BROKEN, 12)
    assert (result.fault.expected, result.fault.found) == (log[12].leaf_hash, forged[12].leaf_hash)


def test_one_keeper_that_remembers_otherwise_is_enough(make_log):
    log = make_log(20)
    result = verify(log, {"the command line": head_of(log[5]), "the gateway": Head(6, "ab" * 32)})
    assert (result.verdict, result.fault.seq) == (Verdict.BROKEN, 6)


@pytest.mark.parametrize("row", [(), (1, 2, 3), ("x",) * 21], ids=len)
def test_a_row_that_is_no_entry_is_located(make_log, row):
    log = [*make_log(4), row]
    result = verify(log, {})
    assert (result.verdict, result.fault.seq, result.fault.what) == (Verdict.BROKEN, 4, "this row is not an entry")


def test_the_links_of_a_tail_are_checked_from_an_anchor(make_log):
    log = make_log(20)
    assert tail_fault(log[10:], head_of(log[9])) == (None, head_of(log[-1]))
    fault, _ = tail_fault(log[11:], head_of(log[9]))
    assert fault.seq == 10
