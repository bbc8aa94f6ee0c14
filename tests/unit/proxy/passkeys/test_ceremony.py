from typing import Any

import msgspec
import pytest
from fido2 import cbor
from hypothesis import given
from hypothesis import strategies as st
from software_authenticator import SoftwareAuthenticator, encode

from mycelos.proxy.passkeys import ceremony
from mycelos.proxy.passkeys.ceremony import (
    RelyingParty,
    advances,
    challenge_in,
    check_assertion,
    check_registration,
    decode,
)
from mycelos.proxy.passkeys.faults import Fault, PasskeyRefused
from mycelos.proxy.passkeys.options import creation_options, request_options
from mycelos.wire.passkeys import Assertion, Registration

VAULT_PAGE = RelyingParty.of("http://localhost:9101")
CHALLENGE = bytes(range(32))
CREATION = creation_options(VAULT_PAGE, CHALLENGE, "passkey_x", "laptop", ())
REQUEST = request_options(VAULT_PAGE, CHALLENGE)


def made(key: SoftwareAuthenticator, **wrong: Any) -> Registration:
    return msgspec.convert(key.create(CREATION, **wrong), Registration)


def refused(answer: Registration) -> Fault:
    with pytest.raises(PasskeyRefused) as caught:
        check_registration(answer, VAULT_PAGE, CHALLENGE)
    return caught.value.fault


def test_the_relying_party_is_the_name_in_the_address() -> None:
    assert RelyingParty.of("http://localhost:9101") == RelyingParty("localhost", "http://localhost:9101")
    assert RelyingParty.of("https://vault.example") == RelyingParty("vault.example", "https://vault.example")


def test_a_new_key_is_read_and_its_signature_then_holds() -> None:
    key = SoftwareAuthenticator()
    new = check_registration(made(key), VAULT_PAGE, CHALLENGE)
    assert (new.credential_id, new.sign_count) == (key.credential_id, 1)
    answer = msgspec.convert(key.get(REQUEST), Assertion)
    assert challenge_in(answer.response.client_data) == CHALLENGE
    assert check_assertion(answer, VAULT_PAGE, CHALLENGE, new.public_key) == 2


@pytest.mark.parametrize(
    ("public_key", "fault"),
    [
        ({1: 2, 3: -35, -1: 2, -2: bytes(48), -3: bytes(48)}, Fault.ALGORITHM),
        ({1: 2, 3: -7, -1: 1, -2: bytes(32), -3: bytes(32)}, Fault.ALGORITHM),
        ({1: 2, 3: -7}, Fault.ALGORITHM),
        ({1: 1, 3: -8, -1: 6, -2: b"short"}, Fault.ALGORITHM),
        ({1: 2}, Fault.MALFORMED),
    ],
)
def test_a_key_that_could_never_sign_is_not_enrolled(public_key: dict[int, Any], fault: Fault) -> None:
    assert refused(made(SoftwareAuthenticator(), public_key=cbor.encode(public_key))) is fault


@pytest.mark.parametrize("attested", [b"", bytes(18), b"\x81" * 3000, bytes(16) + b"\xff\xff" + b"x"])
def test_an_attestation_that_cannot_be_read_is_refused(attested: bytes) -> None:
    assert refused(made(SoftwareAuthenticator(), attested=attested)) is Fault.MALFORMED


@pytest.mark.parametrize("number", [0, 37, 2**40, 2**63, [1, 2], None, True, "text"])
def test_of_a_number_where_bytes_belong_no_bytes_are_made(number: object) -> None:
    """`bytes(2**40)` is a terabyte of zeros, and whoever reaches the page may send this before anybody is signed in."""
    fields = {"type": "webauthn.create", "challenge": number, "origin": VAULT_PAGE.origin}
    if number != "text":
        with pytest.raises(PasskeyRefused) as caught:
            challenge_in(encode(msgspec.json.encode(fields)))
        assert caught.value.fault is Fault.MALFORMED
    new = SoftwareAuthenticator().create(CREATION)
    attestation = {"fmt": "none", "attStmt": {}, "authData": 0 if number is None else number}
    new["response"]["attestationObject"] = encode(cbor.encode(attestation))
    assert refused(msgspec.convert(new, Registration)) is Fault.MALFORMED


@pytest.mark.parametrize("fields", [{}, {"authData": b""}, {"fmt": "none", "attStmt": {}}, [1], 2**40, b"\0" * 40])
def test_an_attestation_of_another_form_is_refused(fields: Any) -> None:
    new = SoftwareAuthenticator().create(CREATION)
    new["response"]["attestationObject"] = encode(cbor.encode(fields))
    assert refused(msgspec.convert(new, Registration)) is Fault.MALFORMED


def test_a_new_key_has_the_name_that_it_is_sent_under() -> None:
    assert refused(made(SoftwareAuthenticator(), credential_id=b"other")) is Fault.MALFORMED
    assert refused(made(SoftwareAuthenticator(b""), credential_id=b"x")) is Fault.MALFORMED
    assert refused(made(SoftwareAuthenticator(b"x" * 1024))) is Fault.MALFORMED


@pytest.mark.parametrize(
    ("known", "given_count", "expected"),
    [(0, 0, True), (0, 1, True), (1, 2, True), (1, 1, False), (2, 1, False), (2, 0, False)],
)
def test_a_count_must_go_on(known: int, given_count: int, *, expected: bool) -> None:
    assert advances(known, given_count) is expected


def test_base64_of_another_form_is_malformed() -> None:
    assert decode("AAEC") == b"\x00\x01\x02"
    for text in ("é", "a", "====", "a+/b", "a b"):
        with pytest.raises(PasskeyRefused):
            decode(text)


@given(st.binary(min_size=1, max_size=300), st.binary(min_size=1, max_size=300), st.binary(min_size=1, max_size=80))
def test_whatever_bytes_come_the_answer_is_a_refusal(client_data: bytes, data: bytes, signature: bytes) -> None:
    response = {
        "clientDataJSON": encode(client_data),
        "authenticatorData": encode(data),
        "signature": encode(signature),
    }
    answer = msgspec.convert({"id": "eA", "type": "public-key", "response": response}, Assertion)
    with pytest.raises(PasskeyRefused):
        check_assertion(answer, VAULT_PAGE, CHALLENGE, data)
    registration = msgspec.convert(
        {"id": "eA", "type": "public-key",
         "response": {"clientDataJSON": encode(client_data), "attestationObject": encode(data)}},
        Registration,
    )  # fmt: skip
    with pytest.raises(PasskeyRefused):
        check_registration(registration, VAULT_PAGE, CHALLENGE)


@given(st.binary(min_size=1, max_size=300))
def test_with_true_client_data_too_whatever_bytes_come_are_refused(data: bytes) -> None:
    key = SoftwareAuthenticator()
    answer = key.get(REQUEST)
    answer["response"]["authenticatorData"] = encode(data)
    with pytest.raises(PasskeyRefused):
        check_assertion(msgspec.convert(answer, Assertion), VAULT_PAGE, CHALLENGE, data)
    new = key.create(CREATION)
    new["response"]["attestationObject"] = encode(data)
    with pytest.raises(PasskeyRefused):
        check_registration(msgspec.convert(new, Registration), VAULT_PAGE, CHALLENGE)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=4))
def test_client_data_of_another_form_is_refused(value: object) -> None:
    fields = ("type", "challenge", "origin", "crossOrigin")
    for written in (value, dict.fromkeys(fields, value)):
        answer = SoftwareAuthenticator().get(REQUEST)
        answer["response"]["clientDataJSON"] = encode(msgspec.json.encode(written))
        with pytest.raises(PasskeyRefused):
            check_assertion(msgspec.convert(answer, Assertion), VAULT_PAGE, CHALLENGE, b"\xa0")


def test_nothing_of_a_browsers_answer_is_decided_outside_signed_bytes() -> None:
    """The fields that are not signed name the key and its handle; the key that is named must have signed."""
    assert set(Assertion.__struct_fields__) == {"id", "type", "response"}
    assert ceremony.ALGORITHMS == (-8, -7, -257)
