"""A passkey in software, and a browser around it: honest unless it is told what to get wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor
from fido2.cose import ES256

ORIGIN = "http://localhost:9101"
PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


def encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


class SoftwareAuthenticator:
    """One key. Its count goes up by one with each signature; ``counts`` off, it stays at zero, as synced keys do."""

    def __init__(self, name: bytes = b"software-passkey", *, counts: bool = True) -> None:
        self.credential_id = name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.counts = counts
        self.count = 0
        self.handle: str | None = None

    def create(self, options: dict[str, Any], **wrong: Any) -> dict[str, Any]:
        """The answer to creation options; ``wrong`` replaces parts of it (see `_parts`)."""
        self.handle = options["user"]["id"]
        client_data, head = self._parts(options, "webauthn.create", options["rp"]["id"], ATTESTED, wrong)
        public_key = wrong.get("public_key", cbor.encode(dict(ES256.from_cryptography_key(self.key.public_key()))))
        attested = bytes(16) + struct.pack(">H", len(self.credential_id)) + self.credential_id + public_key
        attestation = cbor.encode({"fmt": "none", "attStmt": {}, "authData": head + wrong.get("attested", attested)})
        return self._answer({"clientDataJSON": encode(client_data), "attestationObject": encode(attestation)}, wrong)

    def get(self, options: dict[str, Any], **wrong: Any) -> dict[str, Any]:
        """The answer to request options; ``wrong`` replaces parts of it."""
        client_data, data = self._parts(options, "webauthn.get", options["rpId"], 0, wrong)
        signed = data + hashlib.sha256(client_data).digest()
        response = {
            "clientDataJSON": encode(client_data),
            "authenticatorData": encode(data),
            "signature": encode(wrong.get("signature", self.key.sign(signed, ec.ECDSA(hashes.SHA256())))),
            "userHandle": wrong.get("handle", self.handle),
        }
        return self._answer(response, wrong)

    def _parts(
        self, options: dict[str, Any], kind: str, relying_party: str, more_flags: int, wrong: dict[str, Any]
    ) -> tuple[bytes, bytes]:
        self.count += self.counts
        client_data = {
            "type": wrong.get("type", kind),
            "challenge": wrong.get("challenge", options["challenge"]),
            "origin": wrong.get("origin", ORIGIN),
            "crossOrigin": wrong.get("cross_origin", False),
        }
        flags = wrong.get("flags", PRESENT | VERIFIED) | more_flags
        data = hashlib.sha256(wrong.get("relying_party", relying_party).encode()).digest()
        return json.dumps(client_data).encode(), data + struct.pack(">BI", flags, wrong.get("count", self.count))

    def _answer(self, response: dict[str, Any], wrong: dict[str, Any]) -> dict[str, Any]:
        credential_id = encode(wrong.get("credential_id", self.credential_id))
        # More than is asked for, as browsers send it.
        return {
            "id": credential_id, "rawId": credential_id, "type": "public-key", "response": response,
            "authenticatorAttachment": "platform", "clientExtensionResults": {},
        }  # fmt: skip
