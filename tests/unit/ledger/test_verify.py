from __future__ import annotations

from dataclasses import replace

import pytest
from ledger_attacks import ATTACKS, KNOWN, judge, sound_log, table
from signed_log import grown, head_of, linked

from mycelos.ledger.chain import EMPTY, Head, computed_hash
from mycelos.ledger.signed_note import VerifierKey
from mycelos.ledger.verify import EXIT_CODES, GIVEN_KEY, RememberedNote, Verdict, Verifier, tail_fault, verify
from mycelos.proxy.vault.signing import verifies

IDS = [attack.name for attack in ATTACKS]


@pytest.mark.parametrize("known", KNOWN)
@pytest.mark.parametrize("attack", ATTACKS, ids=IDS)
def test_each_attack_has_its_verdict_for_whoever_looks(attack, known):
    result = judge(attack, known)
    assert result.verdict is attack.expected(known)
    assert result.exit_code == EXIT_CODES[result.verdict]
    assert (result.fault is not None) is (result.verdict is Verdict.BROKEN)
    if result.fault is not None:
        assert result.fault.expected != result.fault.found
        assert str(result.fault) == result.reason


@pytest.mark.parametrize("attack", ATTACKS, ids=IDS)
def test_each_attack_is_located(attack):
    fault = judge(attack, KNOWN[-1]).fault
    assert (fault and fault.seq) == attack.at


def test_who_knows_nothing_is_never_told_that_it_holds():
    assert all(judge(attack, "nothing").verdict is not Verdict.HOLDS for attack in ATTACKS)


def test_the_attacks_as_a_table(capsys):
    told = table()
    with capsys.disabled():
        print(f"\n{told}")
    assert len(told.splitlines()) == len(ATTACKS) + 2


def test_what_a_verification_says_of_a_sound_log():
    log = sound_log()
    note = RememberedNote(log.note(16))
    result = verify(log.items(), {"b": note, "a": note}, verifies, trusted=log.vkey())
    assert (result.verdict, result.entries, result.head) == (Verdict.HOLDS, 19, head_of(log.entries[-1]))
    assert (result.compared, result.untrusted, result.fault) == (("a", "b", GIVEN_KEY), {}, None)
    assert (result.origin, result.key, result.signed_size) == (log.origin, str(log.vkey()), 19)
    assert "signatures" not in result.reason
    assert result.reason == f"every link holds, up to and past what a and b and {GIVEN_KEY} remembered"


def test_the_key_alone_vouches_for_what_it_signed_and_not_for_the_end():
    log = sound_log()
    result = verify(log.items(), {}, verifies, trusted=log.vkey())
    assert result.reason == (
        "every link holds, and the key that was given vouches for the first 19 entries; nobody remembers whether there "
        "were more"
    )


def test_a_copy_may_be_older_than_the_key_that_was_given_and_the_log_itself_may_not():
    log = sound_log()
    later = log.vkey(9)
    result = verify(log.items(), {}, verifies, trusted=later, is_copy=True)
    assert (result.verdict, result.compared, result.fault) == (Verdict.CANNOT_TELL, (), None)
    assert "this copy is older than that key, or of a forged log; what tells is the key of that time" in result.reason
    whole = {"a file": RememberedNote(log.note())}
    assert verify(log.items(), whole, verifies, trusted=later).verdict is Verdict.BROKEN
    result = verify(log.items(), whole, verifies, trusted=later, is_copy=True)
    assert (result.verdict, result.compared) == (Verdict.HOLDS, ("a file",))
    # The origin never changes with the key; and who names no key has none that came before.
    for trusted, items in ((VerifierKey("another.example", later.public_key), log.items()), (later, [])):
        assert verify(items, {}, verifies, trusted=trusted, is_copy=True).verdict is Verdict.BROKEN


def test_a_copy_without_the_key_that_was_given_is_borne_out_by_the_whole_of_it_on_the_operator_s_side():
    """Else a thief of the key before could have gone on from what was remembered, or the gateway have made it up."""
    log = sound_log()
    for memory in (
        RememberedNote(log.note(log.size - 1)),
        RememberedNote(log.note(), is_operators=False),
        RememberedNote(grown(30).note(), binds=False),
    ):
        result = verify(log.items(), {"keeper": memory}, verifies, trusted=log.vkey(9), is_copy=True)
        assert result.verdict is not Verdict.HOLDS


def test_a_log_that_names_a_key_and_has_no_checkpoint_is_broken():
    result = verify(sound_log().entries, {}, verifies)
    assert (result.verdict, result.fault.seq, result.signed_size) == (Verdict.BROKEN, 0, 0)
    assert "no checkpoint covers" in result.reason


def test_entries_of_a_log_without_a_key_are_compared_by_heads(make_log):
    log = make_log(20)
    result = verify(log, {"the gateway": head_of(log[12])}, verifies)
    assert (result.verdict, result.exit_code, result.entries, result.head) == (Verdict.HOLDS, 0, 20, head_of(log[-1]))
    assert (result.compared, result.origin, result.key, result.signed_size) == (("the gateway",), None, None, 0)


@pytest.mark.parametrize("count", [0, 1, 20])
def test_without_a_remembered_head_it_cannot_tell_and_never_says_that_it_holds(make_log, count):
    result = verify(make_log(count), {}, verifies)
    assert (result.verdict, result.exit_code, result.fault) == (Verdict.CANNOT_TELL, 6, None)


def test_an_edited_entry_is_located_with_what_was_expected_and_found(make_log):
    log = make_log(20)
    log[7] = log[7]._replace(outcome="ok")
    result = verify(log, {}, verifies)
    assert (result.verdict, result.exit_code, result.fault.seq, result.entries) == (Verdict.BROKEN, 1, 7, 7)
    assert result.fault.expected == log[7].leaf_hash
    assert result.fault.found == computed_hash(log[7])


def test_an_edited_entry_with_a_recomputed_hash_is_located_at_its_successor(make_log):
    log = make_log(20)
    log[7] = log[7]._replace(outcome="ok")
    log[7] = log[7]._replace(leaf_hash=computed_hash(log[7]))
    result = verify(log, {}, verifies)
    assert (result.verdict, result.fault.seq) == (Verdict.BROKEN, 8)


def test_a_log_written_anew_is_located_by_a_remembered_head(make_log):
    log = make_log(20)
    forged = linked([entry._replace(outcome="ok" if entry.seq == 7 else "") for entry in log])
    assert verify(forged, {}, verifies).verdict is Verdict.CANNOT_TELL
    result = verify(forged, {"the command line": head_of(log[12])}, verifies)
    assert (result.verdict, result.fault.seq) == (Verdict.BROKEN, 12)
    assert (result.fault.expected, result.fault.found) == (log[12].leaf_hash, forged[12].leaf_hash)


def test_a_cut_tail_is_located_by_a_remembered_head(make_log):
    log = make_log(20)
    result = verify(log[:15], {"the command line": head_of(log[-1])}, verifies)
    assert (result.verdict, result.fault.seq) == (Verdict.BROKEN, 15)
    assert "the command line" in result.fault.what
    assert (result.fault.expected, result.fault.found) == ("entry 19", "the log ends with entry 14")


def test_one_keeper_that_remembers_otherwise_is_enough(make_log):
    log = make_log(20)
    result = verify(log, {"the command line": head_of(log[5]), "the proxy": Head(6, "ab" * 32)}, verifies)
    assert (result.verdict, result.fault.seq) == (Verdict.BROKEN, 6)


def test_progress_ends_with_all_entries():
    told = []
    verify(grown(40).items(), {}, verifies, progress=told.append)
    assert told == [0, 41]


def test_the_links_of_a_tail_are_checked_from_an_anchor(make_log):
    log = make_log(20)
    assert tail_fault(log[10:], head_of(log[9])) == (None, head_of(log[-1]))
    assert tail_fault([], EMPTY) == (None, EMPTY)
    fault, head = tail_fault(log[11:], head_of(log[9]))
    assert (fault.seq, head) == (10, head_of(log[9]))


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_in_pieces_it_comes_to_the_same(size):
    log = grown(7, 5)
    items = log.items()
    for given in (items, [*items[:4], *items[5:]]):
        verifier = Verifier({"a": RememberedNote(log.note(10))}, verifies)
        for start in range(0, len(given), size):
            verifier.take(given[start : start + size])
        assert verifier.end() == verify(given, {"a": RememberedNote(log.note(10))}, verifies)


def test_without_evidence_that_is_missing_nothing_is_said_to_hold() -> None:
    unsure = verify((), {}, None)
    assert unsure.without([]) is unsure
    assert unsure.without(["a", "b"]).reason == f"{unsure.reason}; a and b"
    holds = replace(unsure, verdict=Verdict.HOLDS)
    assert (holds.without(["a"]).verdict, holds.without(["a"]).reason) == (
        Verdict.CANNOT_TELL,
        "every link holds, but a",
    )
    broken = replace(unsure, verdict=Verdict.BROKEN)
    assert broken.without(["a"]) is broken
