"""What a browser sent, checked step by step as WebAuthn Level 3 asks for in sections 7.1 and 7.2.

Each check stands here where it can be read; fido2 only takes bytes apart and holds the keys' arithmetic. It is given
bytes alone: of a number in their place it would make as many zero bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from fido2 import cbor
from fido2.cose import CoseKey
from fido2.webauthn import AttestationObject, AuthenticatorData

from mycelos.proxy.passkeys.faults import Fault, PasskeyRefused, demand

if TYPE_CHECKING:
    from mycelos.wire.passkeys import Assertion, Registration

ALGORITHMS: Final = (-8, -7, -257)
"""EdDSA, ECDSA with P-256, RSA with PKCS #1, all by SHA-256 or their own hash (RFC 9053, RFC 8812)."""
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*\Z")
_CREDENTIAL_ID_LIMIT: Final = 1023
# What taking untrusted bytes apart can raise; nothing else is caught.
_UNREADABLE: Final = (
    ArithmeticError, AttributeError, binascii.Error, LookupError, RecursionError, struct.error, TypeError, ValueError,
    UnsupportedAlgorithm, NotImplementedError,
)  # fmt: skip


@dataclass(frozen=True)
class RelyingParty:
    """Whose passkeys these are: ``id`` is the name in the address, ``origin`` the one page that may use them."""

    id: str
    origin: str

    @classmethod
    def of(cls, origin: str) -> RelyingParty:
        """The relying party of an address such as ``http://localhost:9101``."""
        return cls(urlsplit(origin).hostname or "", origin)


@dataclass(frozen=True)
class NewKey:
    """What an enrolment gave: the authenticator's id of the key, the key as COSE bytes, and where its count begins."""

    credential_id: bytes
    public_key: bytes
    sign_count: int


class _ClientData(msgspec.Struct, frozen=True):
    """What the browser signed for the page (section 5.8.1). Browsers add to it: other fields are passed over."""

    type: str
    challenge: str
    origin: str
    cross_origin: bool = msgspec.field(name="crossOrigin", default=False)


def decode(text: str) -> bytes:
    """Base64url without padding.

    Raises:
        PasskeyRefused: `malformed`.
    """
    demand(_BASE64URL.match(text) is not None, Fault.MALFORMED)
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise PasskeyRefused(Fault.MALFORMED) from None


def encode(value: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def challenge_in(client_data: str) -> bytes:
    """The challenge that a browser's answer says it answers; whether it was ever asked is not looked at.

    Raises:
        PasskeyRefused: `malformed`.
    """
    return decode(_client_data(client_data).challenge)


def check_registration(registration: Registration, relying_party: RelyingParty, challenge: bytes) -> NewKey:
    """A new key, after every check of section 7.1. Who made the authenticator is neither asked for nor looked at.

    Raises:
        PasskeyRefused: with the first fault.
    """
    response = registration.response
    _check_client_data(_client_data(response.client_data), "webauthn.create", relying_party, challenge)
    attestation = decode(response.attestation)
    try:
        demand(type(cbor.decode(attestation)["authData"]) is bytes, Fault.MALFORMED)  # type: ignore[index, call-overload]  # anything else than a map raises
        data = AttestationObject(attestation).auth_data
        new = data.credential_data
    except _UNREADABLE:
        raise PasskeyRefused(Fault.MALFORMED) from None
    _check_authenticator_data(data, relying_party)
    if new is None or not 0 < len(new.credential_id) <= _CREDENTIAL_ID_LIMIT:
        raise PasskeyRefused(Fault.MALFORMED)
    demand(new.credential_id == decode(registration.id), Fault.MALFORMED)
    public_key = cbor.encode(new.public_key)
    demand(_is_usable(public_key), Fault.ALGORITHM)
    return NewKey(new.credential_id, public_key, data.counter)


def check_assertion(assertion: Assertion, relying_party: RelyingParty, challenge: bytes, public_key: bytes) -> int:
    """The authenticator's count, after every check of section 7.2 but that of the count itself.

    Raises:
        PasskeyRefused: with the first fault.
    """
    response = assertion.response
    client_data = decode(response.client_data)
    _check_client_data(_client_data(response.client_data), "webauthn.get", relying_party, challenge)
    raw = decode(response.authenticator_data)
    try:
        data = AuthenticatorData(raw)
    except _UNREADABLE:
        raise PasskeyRefused(Fault.MALFORMED) from None
    _check_authenticator_data(data, relying_party)
    signature = decode(response.signature)
    demand(_verifies(public_key, raw + hashlib.sha256(client_data).digest(), signature), Fault.SIGNATURE)
    return data.counter


def advances(known: int, given: int) -> bool:
    """Whether a count is what the authenticator itself would send next: more, or none at all as synced keys do."""
    return given > known or (given == 0 and known == 0)


def _client_data(text: str) -> _ClientData:
    try:
        return msgspec.json.decode(decode(text), type=_ClientData)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise PasskeyRefused(Fault.MALFORMED) from None


def _check_client_data(data: _ClientData, ceremony: str, relying_party: RelyingParty, challenge: bytes) -> None:
    demand(data.type == ceremony, Fault.CEREMONY)
    demand(hmac.compare_digest(decode(data.challenge), challenge), Fault.CHALLENGE)
    # In a frame of another page the person does not see where they are.
    demand(data.origin == relying_party.origin and not data.cross_origin, Fault.ORIGIN)


def _check_authenticator_data(data: AuthenticatorData, relying_party: RelyingParty) -> None:
    expected = hashlib.sha256(relying_party.id.encode("ascii")).digest()
    demand(hmac.compare_digest(data.rp_id_hash, expected), Fault.RELYING_PARTY)
    demand(data.is_user_present(), Fault.PRESENCE)
    demand(data.is_user_verified(), Fault.VERIFICATION)


def _is_usable(public_key: bytes) -> bool:
    """Whether a signature can be checked with this key: one that never could would lock its owner out."""
    try:
        _key(public_key).verify(b"", b"")
    except InvalidSignature:
        return True
    except (*_UNREADABLE, PasskeyRefused):
        return False
    return False


def _verifies(public_key: bytes, signed: bytes, signature: bytes) -> bool:
    try:
        _key(public_key).verify(signed, signature)
    except (InvalidSignature, *_UNREADABLE):
        return False
    return True


def _key(public_key: bytes) -> CoseKey:
    key = CoseKey.parse(cbor.decode(public_key))  # type: ignore[arg-type]  # anything else than a map raises
    demand(key.ALGORITHM in ALGORITHMS, Fault.ALGORITHM)
    return key
