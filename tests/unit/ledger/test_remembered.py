from __future__ import annotations

import pytest
from signed_log import SignedLog, grown, head_of, public_key

from mycelos.ledger.chain import EMPTY, Head
from mycelos.ledger.events import Event
from mycelos.ledger.signed_note import VerifierKey
from mycelos.ledger.verify import RememberedNote, Verdict, verify
from mycelos.proxy.vault.signing import verifies

LOG = grown(5, 5)


def result_of(remembered, log=LOG, **known):
    return verify(log.items(), remembered, verifies, **known)


def theirs(note):
    return RememberedNote(note)


def gateways(note):
    return RememberedNote(note, is_operators=False)


@pytest.mark.parametrize("of", [theirs, gateways])
@pytest.mark.parametrize("size", range(1, 12))
def test_a_checkpoint_of_any_size_bears_the_log_out(of, size):
    result = result_of({"keeper": of(LOG.note(size))})
    assert (result.verdict, result.compared, result.untrusted) == (Verdict.HOLDS, ("keeper",), {})


@pytest.mark.parametrize("of", [theirs, gateways])
def test_several_at_one_size_are_all_compared(of):
    remembered = {"b": of(LOG.note(7)), "a": theirs(LOG.note(7)), "c": head_of(LOG.entries[6])}
    assert result_of(remembered).compared == ("a", "b", "c")
    result = result_of(remembered | {"c": Head(6, "ab" * 32)})
    assert (result.verdict, result.fault.seq, result.fault.found) == (Verdict.BROKEN, 6, LOG.entries[6].leaf_hash)


@pytest.mark.parametrize("of", [theirs, gateways])
def test_another_root_is_located_at_its_last_entry(of):
    other = grown(4, 6)
    other.fill(1)
    result = result_of({"keeper": of(other.note(8))}, log=grown(4, 7))
    assert result.verdict is Verdict.HOLDS
    other.entries[3] = other.entries[3]._replace(leaf_hash="ab" * 32)
    result = result_of({"keeper": of(other.note(8))})
    assert (result.verdict, result.fault.seq) == (Verdict.BROKEN, 7)
    assert "keeper remembers another root" in result.fault.what


@pytest.mark.parametrize("of", [theirs, gateways])
def test_a_larger_size_means_that_the_end_is_missing(of):
    longer = grown(5, 5, 5)
    result = result_of({"keeper": of(longer.note(14))})
    assert (result.verdict, result.fault.seq) == (Verdict.BROKEN, 11)
    assert (result.fault.expected, result.fault.found) == ("entry 13", "the log ends with entry 10")


@pytest.mark.parametrize("is_operators", [True, False])
def test_a_copy_may_end_before_what_is_remembered_and_then_nothing_vouches_for_it(is_operators):
    longer = grown(5, 5, 5).note(14)
    beyond = RememberedNote(longer, is_operators, binds=False)
    result = result_of({"keeper": beyond})
    assert (result.verdict, result.compared, result.fault) == (Verdict.CANNOT_TELL, (), None)
    assert "older than what keeper remembered" in result.reason
    # Something else vouches; what binds the end still does; and another history is another history.
    result = result_of({"keeper": beyond, "other": theirs(LOG.note(8))})
    assert (result.verdict, result.compared) == (Verdict.HOLDS, ("other",))
    assert "older than what keeper remembered" in result.reason
    assert result_of({"keeper": beyond}, trusted=LOG.vkey()).verdict is Verdict.CANNOT_TELL
    assert result_of({"keeper": beyond, "other": theirs(longer)}).verdict is Verdict.BROKEN
    other = grown(4, 6)
    other.entries[3] = other.entries[3]._replace(leaf_hash="ab" * 32)
    assert result_of({"keeper": RememberedNote(other.note(8), is_operators, binds=False)}).verdict is Verdict.BROKEN


def heads_of(log, size, is_operators=True):
    """What an installation remembers, where a copy is looked at."""
    return RememberedNote(log.note(size), is_operators, binds=False)


@pytest.mark.parametrize("size", [5, 15])
def test_a_copy_of_another_log_is_not_compared_with_what_the_installation_remembers(size):
    other = grown(20, first=2)
    ours = {"the command line": heads_of(other, size), "the gateway": heads_of(other, size, is_operators=False)}
    result = result_of(ours)
    assert (result.verdict, result.compared, result.untrusted) == (Verdict.CANNOT_TELL, (), {})
    assert result.another == ("the command line", "the gateway")
    assert "it is not of this installation's log: the command line and the gateway remembered another" in result.reason
    # Its key alone says whose it is; a checkpoint that was given for it bears it out, and must be in it.
    assert result_of(ours, trusted=LOG.vkey()).verdict is Verdict.CANNOT_TELL
    result = result_of(ours | {"a file": theirs(LOG.note(8))}, trusted=LOG.vkey())
    assert (result.verdict, "not of this installation's log" in result.reason) == (Verdict.HOLDS, True)
    assert result_of(ours | {"a file": theirs(grown(5, 5, 5).note(14))}).verdict is Verdict.BROKEN
    assert result_of(ours | {"a file": theirs(other.note(size))}).verdict is Verdict.BROKEN


@pytest.mark.parametrize("size", [5, 15])
def test_the_log_itself_may_not_be_another_than_the_one_that_is_remembered(size):
    other = grown(20, first=2)
    result = result_of({"keeper": theirs(other.note(size)), "a file": theirs(LOG.note(8))})
    assert (result.verdict, result.another) == (Verdict.BROKEN, ())


def test_a_hijacked_gateway_does_not_bear_out_a_copy_of_a_log_that_it_made_up():
    ours = {"the command line": heads_of(grown(20, first=2), 5)}
    forged = {"the gateway": heads_of(LOG, 8, is_operators=False)}
    result = result_of(ours | forged)
    assert (result.verdict, result.another) == (Verdict.CANNOT_TELL, ("the command line",))
    # Nor is a copy of another log what the gateway alone says that it is.
    result = result_of({"the gateway": heads_of(grown(20, first=2), 5, is_operators=False), "a": theirs(LOG.note(8))})
    assert (result.verdict, result.another) == (Verdict.CANNOT_TELL, ())


def test_a_copy_that_bears_the_origin_of_the_installation_is_compared():
    """One keeper that remembers this origin is enough: the others then remember another log in its place."""
    ours = {"the proxy": heads_of(LOG, 8), "the command line": heads_of(grown(20, first=2), 9)}
    result = result_of(ours | {"a file": theirs(LOG.note(8))})
    assert (result.verdict, result.another) == (Verdict.BROKEN, ())
    forged = SignedLog(3, name=LOG.origin)
    forged.fill(12)
    forged.sign()
    for given in ({}, {"a file": theirs(forged.note(8))}):
        assert result_of({"the proxy": heads_of(LOG, 8)} | given, log=forged).verdict is Verdict.BROKEN


def test_another_root_than_remembered_may_be_of_before_a_restore_where_the_log_is_a_copy():
    fork = grown(5, 5)
    fork.entries = fork.entries[:4]
    fork.append(Event.LEDGER_RESTORED)
    fork.fill(8)
    for evidence, is_said in ((heads_of(fork, 9), True), (theirs(fork.note(9)), False)):
        result = result_of({"keeper": evidence})
        assert (result.verdict, result.fault.seq) == (Verdict.BROKEN, 8)
        assert ("before a backup was restored, which forks the log" in result.reason) is is_said
        assert "keeper remembers another root here" in result.reason


@pytest.mark.parametrize("size", [7, 11, 40])
def test_what_a_hijacked_gateway_makes_up_breaks_no_log_and_bears_none_out(size):
    forged = SignedLog(2, name=LOG.origin)
    forged.fill(60)
    memory = {"the gateway": gateways(forged.note(size))}
    result = result_of(memory)
    assert (result.verdict, result.fault, result.compared) == (Verdict.CANNOT_TELL, None, ())
    assert result.untrusted == {"the gateway": "no trusted key has signed this"}
    assert "the gateway (no trusted key has signed this)" in result.reason
    # The same on the operator's side is how a swapped key shows.
    assert result_of({"the command line": theirs(forged.note(size))}).verdict is Verdict.BROKEN


def test_a_gateway_that_remembers_a_key_from_a_part_that_was_cut_off_leaves_it_open():
    """What it remembers cannot be told from what it made up; so another keeper's older memory is not enough."""
    log = grown(5)
    before = len(log.entries)
    log.rotate(2)
    log.sign()
    newest, old = log.note(), log.note(3, signer=1)
    assert result_of({"the gateway": gateways(newest), "the command line": theirs(old)}, log=log).exit_code == 0
    del log.entries[before:], log.notes[-1]
    result = result_of({"the gateway": gateways(newest), "the command line": theirs(old)}, log=log)
    assert (result.verdict, result.compared) == (Verdict.CANNOT_TELL, ("the command line",))
    result = result_of({"the command line": theirs(newest)}, log=log)
    assert (result.verdict, result.fault.what.partition(":")[0]) == (Verdict.BROKEN, "the end of the log is missing")


def test_a_checkpoint_of_another_log_is_a_fault_on_the_operator_s_side_alone():
    other = grown(20, first=2)
    for size in (5, 15):
        result = result_of({"the witness": theirs(other.note(size))})
        assert (result.verdict, result.fault.found) == (Verdict.BROKEN, str(LOG.vkey()))
        assert result_of({"the gateway": gateways(other.note(size))}).verdict is Verdict.CANNOT_TELL


def test_a_text_about_another_log_that_this_key_has_signed_is_no_evidence():
    other = grown(5, 5)
    other.origin, key = "other.example", LOG.vkey()
    other.vkey = lambda _=None: key
    result = result_of({"the gateway": gateways(other.note(5))})
    assert result.untrusted == {"the gateway": "it is of another log"}
    assert result_of({"a file": theirs(other.note(5))}).verdict is Verdict.BROKEN


@pytest.mark.parametrize("of", [theirs, gateways])
@pytest.mark.parametrize("note", [b"", b"\xff", b"text\n", LOG.note(5)[:-1], LOG.note(5).replace(b"\n5\n", b"\n05\n")])
def test_what_cannot_be_read_leaves_it_open(of, note):
    result = result_of({"keeper": of(note), "b": head_of(LOG.entries[-1])})
    assert (result.verdict, list(result.untrusted), result.compared) == (Verdict.CANNOT_TELL, ["keeper"], ("b",))


@pytest.mark.parametrize("of", [theirs, gateways])
def test_a_changed_byte_of_a_remembered_checkpoint_never_passes(of):
    note = LOG.note(8)
    for place in range(len(note)):
        changed = note[:place] + bytes([note[place] ^ 1]) + note[place + 1 :]
        result = result_of({"keeper": of(changed)})
        assert result.verdict is not Verdict.HOLDS, place
        assert result.verdict is Verdict.CANNOT_TELL or of is theirs, place


def test_an_empty_log_is_a_log_whose_end_is_missing():
    nothing = SignedLog()
    nothing.entries = []
    for memory in (theirs(LOG.note(3)), head_of(LOG.entries[2])):
        result = result_of({"keeper": memory}, log=nothing)
        assert (result.verdict, result.fault.seq, result.fault.found) == (Verdict.BROKEN, 0, "the log is empty")
    assert result_of({"keeper": EMPTY}, log=nothing).fault is None
    # Whose key the gateway's memory bears, nothing here says.
    assert result_of({"the gateway": gateways(LOG.note(3))}, log=nothing).verdict is Verdict.CANNOT_TELL


def test_a_remembered_checkpoint_may_be_by_the_key_announced_at_its_size_and_by_none_before():
    log = grown(5)
    log.rotate(2)
    log.sign()
    intent, outcome = log.size - 2, log.size - 1
    assert (
        result_of({"a": theirs(log.note(intent + 1, 1)), "b": theirs(log.note(intent + 1, 2))}, log=log).exit_code == 0
    )
    assert result_of({"a": theirs(log.note(intent, 2))}, log=log).exit_code == 1
    assert result_of({"a": theirs(log.note(outcome + 1, 1))}, log=log).exit_code == 1


def test_where_signatures_are_not_checked_names_of_keys_are():
    result = verify(LOG.items(), {"the gateway": gateways(LOG.note(7))}, None)
    assert result.verdict is Verdict.HOLDS
    assert "signatures are not checked here" in result.reason
    stranger = SignedLog(2, name=LOG.origin)
    stranger.fill(9)
    result = verify(LOG.items(), {"the gateway": gateways(stranger.note(7))}, None)
    assert (result.verdict, result.compared) == (Verdict.CANNOT_TELL, ())
    # Behind the right name, whatever stands there passes: this is for who remembers for himself.
    forged = LOG.note(7)[:-9] + b"AAAAAAA=\n"
    assert verify(LOG.items(), {"the gateway": gateways(forged)}, None).verdict is Verdict.HOLDS
    assert verify(LOG.items(), {"the gateway": gateways(forged)}, verifies).verdict is Verdict.CANNOT_TELL


def test_a_key_is_of_no_use_without_the_arithmetic():
    with pytest.raises(ValueError, match="signatures"):
        verify([], {}, None, trusted=VerifierKey("a", public_key(1)))
