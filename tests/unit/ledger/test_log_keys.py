from __future__ import annotations

import json

import pytest
from signed_log import SignedLog, grown, linked, public_key

from mycelos.ledger.entry import Phase
from mycelos.ledger.events import Event
from mycelos.ledger.fault import FaultFoundError
from mycelos.ledger.log_keys import KEY_EVENTS, LogKeys
from mycelos.ledger.signed_note import NoteError, parse_note
from mycelos.ledger.verify import GIVEN_KEY, Verdict, verify
from mycelos.proxy.vault.signing import verifies


def keys_after(log, trusted=None):
    keys = LogKeys(verifies, trusted)
    for entry in log.entries:
        if entry.event in KEY_EVENTS:
            keys.read(entry)
    return keys


def accepted(log):
    return [next(number for number in range(1, 9) if key == log.vkey(number)) for key in keys_after(log).accepted]


def verdict(log):
    return verify(log.items(), {}, verifies, trusted=log.vkey(1)).verdict


def test_a_log_names_its_key_and_with_it_itself():
    log = SignedLog()
    keys = keys_after(log)
    assert (keys.in_use, keys.origin, keys.accepted) == (log.vkey(), log.origin, (log.vkey(),))
    assert (LogKeys(verifies).in_use, LogKeys(verifies).origin, LogKeys(verifies).accepted) == (None, None, ())


def test_a_later_entry_names_nothing_anew():
    log = SignedLog()
    log.append(Event.LEDGER_CHECKPOINT, details={"origin": "other", "public_key": public_key(2).hex()})
    assert accepted(log) == [1]


def test_an_entry_without_a_key_or_of_another_source_names_none():
    log = SignedLog()
    (named,) = log.entries
    log.entries = linked([named._replace(details="{}"), named._replace(source="gateway"), named._replace(details="[]")])
    assert keys_after(log).in_use is None


@pytest.mark.parametrize(
    "changed",
    [
        {"public_key": "00"},
        {"public_key": "x"},
        {"origin": "a b"},
        {"origin": ""},
        {"origin": "\ud800"},
        {"public_key": 5},
    ],
    ids=str,
)
def test_an_entry_that_names_what_is_no_key_is_a_fault(changed):
    log = SignedLog()
    details = json.loads(log.entries[0].details) | changed
    log.entries = linked([log.entries[0]._replace(details=json.dumps(details))])
    with pytest.raises(FaultFoundError, match="entry 0: the entry that names the log's key names none"):
        keys_after(log)


def test_between_announcement_and_use_both_keys_are_accepted():
    log = SignedLog()
    intent = log.announce(2)
    assert accepted(log) == [1, 2]
    log.settle(intent)
    assert accepted(log) == [2]


def test_an_announced_key_is_in_use_from_its_first_checkpoint_on():
    log = SignedLog()
    log.announce(2)
    keys = keys_after(log)
    assert keys.signer(parse_note(log.note(signer=2))) == log.vkey(2)
    assert keys.accepted == (log.vkey(1), log.vkey(2))
    keys.has_signed(log.vkey(2))
    assert keys.accepted == (log.vkey(2),)
    with pytest.raises(NoteError):
        keys.signer(parse_note(log.note(signer=1)))


@pytest.mark.parametrize("outcome", ["failed", "refused", "unknown"])
def test_a_change_that_was_not_settled_leaves_both_keys_accepted(outcome):
    log = SignedLog()
    log.settle(log.announce(2), outcome)
    assert accepted(log) == [1, 2]


def test_a_change_after_one_that_failed_begins_with_either_key():
    log = SignedLog()
    log.settle(log.announce(2), "failed")
    log.announce(3, previous=1)
    assert accepted(log) == [1, 2, 3]
    log.announce(4, previous=2)
    assert accepted(log) == [2, 4]


def test_an_outcome_of_a_change_that_is_void_changes_nothing():
    log = SignedLog()
    void, intent = log.announce(2), log.announce(3)
    log.settle(intent)
    log.settle(void)
    assert accepted(log) == [3]


def test_changes_of_other_keys_are_passed_over():
    log = SignedLog()
    intent = log.append(Event.KEY_ROTATED, Phase.INTENT, details={"name": "master-key"})
    log.settle(intent)
    assert accepted(log) == [1]


def test_a_change_before_the_log_names_a_key_says_nothing():
    log = SignedLog()
    log.announce(2)
    log.entries = linked(log.entries[1:])
    assert keys_after(log).in_use is None


def test_a_change_that_one_of_its_keys_has_not_signed_is_a_fault():
    log = SignedLog()
    log.announce(2)
    details = json.loads(log.entries[1].details)
    details["previous_signature"] = details["signature"]
    log.entries = linked([log.entries[0], log.entries[1]._replace(details=json.dumps(details))])
    with pytest.raises(FaultFoundError, match="entry 1: a change of the signing key that its keys have not made"):
        keys_after(log)
    # With the wall away, whoever holds a key of his own takes the log over.
    keys = LogKeys(lambda *_: True)
    for entry in log.entries:
        keys.read(entry)
    assert log.vkey(2) in keys.accepted


def test_a_change_that_begins_with_a_stranger_s_key_is_a_fault():
    log = SignedLog()
    log.announce(2, previous=3)
    with pytest.raises(FaultFoundError, match="begins with a key that is not this log's"):
        keys_after(log)


def test_a_log_over_two_changes_holds_and_any_of_its_keys_vouches_for_it():
    log = grown(3)
    log.rotate(2)
    log.sign()
    log.fill(3)
    intent = log.announce(3)
    log.sign()
    log.signer = 3
    log.fill(1)
    log.sign()
    log.settle(intent)
    log.sign()
    for number in (1, 2, 3):
        result = verify(log.items(), {}, verifies, trusted=log.vkey(number))
        assert (result.compared, result.key, result.signed_size) == ((GIVEN_KEY,), str(log.vkey(3)), log.size)
    assert verify(log.items(), {}, verifies, trusted=log.vkey(4)).verdict is Verdict.BROKEN


def test_a_key_before_the_one_trusted_vouches_for_nothing():
    log = grown(3)
    log.announce(2)
    log.sign()
    result = verify(log.items(), {}, verifies, trusted=log.vkey(2))
    assert (result.compared, result.fault) == ((), None)
    log.signer = 2
    log.fill(1)
    log.sign()
    assert verify(log.items(), {}, verifies, trusted=log.vkey(2)).compared == (GIVEN_KEY,)


@pytest.mark.parametrize("signer", [1, 3])
def test_after_a_change_the_key_before_and_a_stranger_sign_nothing(signer):
    log = grown(3)
    log.rotate(2)
    log.sign()
    # The key vouches for what is there; whether there was more nobody remembers.
    assert verdict(log) is Verdict.CANNOT_TELL
    log.fill(1)
    log.signer = signer
    log.sign()
    assert verdict(log) is Verdict.BROKEN
