from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mycelos.ledger.chain import EMPTY, seal
from mycelos.ledger.entry import Entry, Phase, make_draft
from mycelos.ledger.events import Event
from mycelos.ledger.key_change import KeyChange, KeyChangeError, check_key_change
from mycelos.wire.identifiers import DEFAULT_TENANT

OLD, NEW, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2, 3))


def public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


def verifies(public_key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


CHANGE = KeyChange(
    name="ledger-signing",
    previous_key_id="key_a",
    previous_public_key=public(OLD),
    key_id="key_b",
    public_key=public(NEW),
)
DETAILS = CHANGE.details(OLD.sign(CHANGE.statement()), NEW.sign(CHANGE.statement()))


def entry(details: dict[str, Any], event: Event = Event.KEY_ROTATED, phase: Phase = Phase.INTENT) -> Entry:
    draft = make_draft(event, phase, tenant=DEFAULT_TENANT, principal="operator", details=details)
    return seal(draft, EMPTY, 0, "2026-01-31T12:00:00.000000Z", 0)


def test_a_change_that_both_keys_have_signed_is_read() -> None:
    assert check_key_change(entry(DETAILS), verifies) == CHANGE


def test_the_statement_is_the_canonical_form_of_both_ids_and_both_keys() -> None:
    assert (
        CHANGE.statement()
        == (
            f'{{"format":"mycelos/key-change/1","name":"ledger-signing",'
            f'"next":{{"key_id":"key_b","public_key":"{public(NEW)}"}},'
            f'"previous":{{"key_id":"key_a","public_key":"{public(OLD)}"}}}}'
        ).encode()
    )


@pytest.mark.parametrize("field", sorted(DETAILS))
def test_a_change_of_any_field_is_refused(field: str) -> None:
    value = DETAILS[field]
    changed = value[:-1] + ("0" if value[-1] != "0" else "1")
    with pytest.raises(KeyChangeError, match="has not signed"):
        check_key_change(entry({**DETAILS, field: changed}), verifies)


@pytest.mark.parametrize("field", sorted(DETAILS))
def test_a_field_that_is_absent_is_refused(field: str) -> None:
    with pytest.raises(KeyChangeError, match="fields"):
        check_key_change(entry({name: value for name, value in DETAILS.items() if name != field}), verifies)


@pytest.mark.parametrize("details", ["[]", "{", '{"name": 1}', json.dumps({**DETAILS, "more": ""}), "null"])
def test_details_of_another_form_are_refused(details: str) -> None:
    with pytest.raises(KeyChangeError, match="fields"):
        check_key_change(entry(DETAILS)._replace(details=details), verifies)


@pytest.mark.parametrize(
    ("signer", "which"), [(OLD, "signature"), (NEW, "previous_signature"), (STRANGER, "signature")]
)
def test_one_key_alone_changes_nothing(signer: Ed25519PrivateKey, which: str) -> None:
    """A thief of the old key cannot hand on to a key that he does not hold, nor a thief of the new one inherit."""
    forged = {**DETAILS, which: signer.sign(CHANGE.statement()).hex()}
    with pytest.raises(KeyChangeError, match="has not signed"):
        check_key_change(entry(forged), verifies)


@pytest.mark.parametrize(
    "spelling", [str.upper, lambda text: text + " ", lambda text: " " + text, lambda text: "x" + text]
)
@pytest.mark.parametrize("field", ["public_key", "previous_public_key", "signature", "previous_signature"])
def test_a_value_has_one_spelling(field: str, spelling: Callable[[str], str]) -> None:
    with pytest.raises(KeyChangeError):
        check_key_change(entry({**DETAILS, field: spelling(DETAILS[field])}), verifies)


def test_a_key_that_follows_itself_is_no_change() -> None:
    same = KeyChange("ledger-signing", "key_a", public(OLD), "key_b", public(OLD))
    signature = OLD.sign(same.statement())
    with pytest.raises(KeyChangeError, match="does not change"):
        check_key_change(entry(same.details(signature, signature)), verifies)


def test_another_event_or_phase_announces_nothing() -> None:
    for changed in ({"event": Event.CREDENTIAL_ROTATED.value}, {"phase": Phase.OUTCOME.value}, {"phase": "fact"}):
        with pytest.raises(KeyChangeError, match="announces no change"):
            check_key_change(entry(DETAILS)._replace(**changed), verifies)


def test_without_a_look_at_the_signatures_a_stranger_could_hand_the_ledger_to_himself() -> None:
    change = KeyChange("ledger-signing", "key_a", public(OLD), "key_x", public(STRANGER))
    signature = STRANGER.sign(change.statement())
    forged = entry(change.details(signature, signature))
    with pytest.raises(KeyChangeError, match="previous key has not signed"):
        check_key_change(forged, verifies)
    assert check_key_change(forged, lambda *_: True) == change
