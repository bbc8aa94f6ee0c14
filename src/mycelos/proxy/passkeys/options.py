"""What a browser is asked for: the options of WebAuthn Level 3, sections 5.4 and 5.5, in their JSON form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mycelos.proxy.passkeys.ceremony import ALGORITHMS, RelyingParty, encode

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME: Final = "Mycelos vault"
_MILLISECONDS: Final = 120_000


def creation_options(
    relying_party: RelyingParty, challenge: bytes, handle: str, label: str, known: Iterable[bytes]
) -> dict[str, Any]:
    """For a new key. ``handle`` becomes its name at this door; an authenticator that holds a known key makes none."""
    return {
        "rp": {"id": relying_party.id, "name": _NAME},
        # A handle of its own for each key: with a shared one, another installation at localhost would overwrite it.
        "user": {"id": encode(handle.encode("ascii")), "name": _NAME, "displayName": label},
        "challenge": encode(challenge),
        "pubKeyCredParams": [{"type": "public-key", "alg": algorithm} for algorithm in ALGORITHMS],
        "timeout": _MILLISECONDS,
        "excludeCredentials": _descriptors(known),
        "authenticatorSelection": {
            "residentKey": "required",
            "requireResidentKey": True,
            "userVerification": "required",
        },
        "attestation": "none",
    }


def request_options(relying_party: RelyingParty, challenge: bytes, known: Iterable[bytes] = ()) -> dict[str, Any]:
    """For a signature. Before somebody is signed in no key is named: the browser knows its own."""
    return {
        "rpId": relying_party.id,
        "challenge": encode(challenge),
        "timeout": _MILLISECONDS,
        "allowCredentials": _descriptors(known),
        "userVerification": "required",
    }


def _descriptors(known: Iterable[bytes]) -> list[dict[str, str]]:
    return [{"type": "public-key", "id": encode(credential_id)} for credential_id in known]
