"""D3, where a passkey is enrolled: a person's word counts with its signature alone, made for the vault page itself."""

from __future__ import annotations

import hashlib
import json
import struct
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fido2 import cbor

from mycelos.configuration.environment import read_environment
from mycelos.prove.outcome import CannotShowError, Finding
from mycelos.proxy.passkeys.ceremony import encode
from mycelos.supervisor.processes import operator_url
from mycelos.wire.approvals import DecideApproval
from mycelos.wire.passkeys import Assertion, Registration
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mycelos.prove.twin import Twin
    from mycelos.prove.upstream import Upstream

_RUN: Final = "run_passkey"
_SESSION: Final = "ab" * 32
_PRESENT, _VERIFIED, _ATTESTED = 0x01, 0x04, 0x40
_EVIL: Final = "http://localhost:1"
_WRONG: Final[dict[str, dict[str, Any]]] = {
    "of a page on another port": {"origin": _EVIL},
    "of another site": {"origin": "https://evil.example"},
    "given in a frame of another page": {"cross_origin": True},
    "for another name": {"relying_party": "evil.example"},
    "of nobody who was asked to prove who they are": {"flags": _PRESENT},
    "for another request": {"challenge": encode(bytes(32))},
    "for another ceremony": {"kind": "webauthn.create"},
    "with a made-up signature": {"signature": bytes(64)},
}
"""How an assertion is, and what is changed of a right one."""


class _Authenticator:
    """A passkey in software (Ed25519, RFC 9053), honest unless it is told what to get wrong."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self._id = b"passkey-of-a-probe"
        self._origin = operator_url(read_environment({}))
        self._handle = ""
        self._count = 0

    def create(self, options: dict[str, Any], **wrong: Any) -> Registration:
        """The answer to creation options."""
        self._handle = options["user"]["id"]
        client_data, head = self._parts("webauthn.create", options["challenge"], options["rp"]["id"], _ATTESTED, wrong)
        public_key = cbor.encode({1: 1, 3: -8, -1: 6, -2: self._key.public_key().public_bytes_raw()})
        attested = bytes(16) + struct.pack(">H", len(self._id)) + self._id + public_key
        attestation = cbor.encode({"fmt": "none", "attStmt": {}, "authData": head + attested})
        response = {"clientDataJSON": encode(client_data), "attestationObject": encode(attestation)}
        return msgspec.convert({"id": encode(self._id), "type": "public-key", "response": response}, Registration)

    def get(self, options: dict[str, Any], **wrong: Any) -> dict[str, Any]:
        """The answer to request options."""
        kind = wrong.get("kind", "webauthn.get")
        client_data, data = self._parts(kind, options["challenge"], options["rpId"], 0, wrong)
        signature = wrong.get("signature") or self._key.sign(data + hashlib.sha256(client_data).digest())
        response = {
            "clientDataJSON": encode(client_data),
            "authenticatorData": encode(data),
            "signature": encode(signature),
            "userHandle": self._handle,
        }
        return {"id": encode(self._id), "type": "public-key", "response": response}

    def _parts(
        self, kind: str, challenge: str, relying_party: str, more_flags: int, wrong: dict[str, Any]
    ) -> tuple[bytes, bytes]:
        self._count += 1
        client_data = {
            "type": kind,
            "challenge": wrong.get("challenge", challenge),
            "origin": wrong.get("origin", self._origin),
            "crossOrigin": wrong.get("cross_origin", False),
        }
        flags = wrong.get("flags", _PRESENT | _VERIFIED) | more_flags
        data = hashlib.sha256(wrong.get("relying_party", relying_party).encode()).digest()
        return json.dumps(client_data).encode(), data + struct.pack(">BI", flags, self._count)


def misuse_passkeys(twin: Twin, bound: Upstream, service: str) -> Iterator[Finding]:
    """Attacks on the approvals of ``service``, which is bound with ``confirm``, once a passkey is enrolled."""
    operator, authenticator = twin.operator, _Authenticator()

    def enrol(**wrong: Any) -> None:
        operator.finish_enrolment(
            _SESSION, authenticator.create(operator.begin_enrolment(_SESSION, "a probe's"), **wrong)
        )

    def sign_in(**wrong: Any) -> None:
        answer = authenticator.get(operator.begin_passkey_sign_in(), **wrong)
        operator.finish_passkey_sign_in(msgspec.convert(answer, Assertion))

    happened, is_refused = _refused(partial(enrol, origin=_EVIL))
    yield Finding("enrol a passkey from a page on another port", happened, is_refused)
    try:
        if is_refused:
            enrol()
        sign_in()
    except Refusal as refusal:
        message = f"the twin takes no passkey ({refusal.problem.detail}), so refusals would show nothing"
        raise CannotShowError(message) from None
    yield Finding("sign in with a passkey from a page on another port", *_refused(partial(sign_in, origin=_EVIL)))
    yield from _decide(twin, bound, service, authenticator)


def _decide(twin: Twin, bound: Upstream, service: str, authenticator: _Authenticator) -> Iterator[Finding]:
    url = f"http://{bound.authority}/bound/item"
    asked = twin.use(url, inject_credential=service, run_id=_RUN)
    waits = asked.code == ProblemCode.APPROVAL_REQUIRED
    yield Finding("use a credential that waits for a person, while a passkey is enrolled",
                  f"status {asked.status} {asked.code}".rstrip(), held=waits)  # fmt: skip
    if not waits:
        return
    waiting = next((one for one in twin.operator.approvals() if one.run == _RUN), None)
    if waiting is None:
        message = "the twin's operator is not shown the request that waits, so refusals would show nothing"
        raise CannotShowError(message)
    options = twin.operator.begin_approval(waiting.digest)

    def decide(assertion: dict[str, Any] | None) -> None:
        message = DecideApproval(id=waiting.id, digest=waiting.digest, decision="approve", assertion=assertion)
        twin.operator.decide_approval(message)

    wrong = {f"with an assertion {how}": authenticator.get(options, **change) for how, change in _WRONG.items()}
    for tried, assertion in {"without an assertion": None, **wrong}.items():
        happened, is_refused = _refused(partial(decide, assertion))
        # What was approved waits no more, and whatever is tried afterwards is refused for that.
        still_waits = any(one.id == waiting.id for one in twin.operator.approvals())
        held = is_refused and still_waits
        yield Finding(f"approve a request {tried}, while a passkey is enrolled", happened, held)
        if not held:
            return
    decide(authenticator.get(options))
    status = twin.use(url, inject_credential=service, run_id=_RUN, approval=waiting.id).status
    if status != 200:
        message = f"the twin's approved request does not arrive (status {status}), so refusals would show nothing"
        raise CannotShowError(message)


def _refused(attempt: Callable[[], None]) -> tuple[str, bool]:
    try:
        attempt()
    except Refusal as refusal:
        return f"refused ({refusal.problem.code.value})", True
    return "it was taken", False
