"""What the operator's door shows of credentials and rules, and what the record says of a change."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mycelos.proxy.egress.approval_check import Asked, Held
from mycelos.proxy.egress.rules import EgressRule
from mycelos.proxy.passkeys.store import Passkey
from mycelos.proxy.vault.envelope import canonical_bindings
from mycelos.proxy.vault.records import Credential
from mycelos.wire import operator as messages
from mycelos.wire.approvals import ApprovalView
from mycelos.wire.keys import KeyRotated
from mycelos.wire.passkeys import PasskeyView

if TYPE_CHECKING:
    from mycelos.wire.binding import Binding


@dataclass(frozen=True)
class Decided:
    """A person's word on a request; ``passkey_id`` is empty where it came without a passkey."""

    passkey_id: str


def credential_view(credential: Credential) -> messages.CredentialView:
    """A credential as the operator sees it: metadata, never the secret."""
    return messages.CredentialView(
        id=credential.id,
        version=credential.version,
        service=credential.service,
        label=credential.label,
        bindings=credential.bindings,
        created_at=credential.created_at,
        changed_at=credential.changed_at,
        last_used_at=credential.last_used_at,
        parked_at=credential.parked_at,
    )


def rule_view(rule: EgressRule) -> messages.RuleView:
    """An egress rule as the operator sees it."""
    return messages.RuleView(
        id=rule.id,
        method=rule.method,
        scheme=rule.scheme,
        host=rule.host,
        port=rule.port,
        created_at=rule.created_at,
    )


def passkey_view(passkey: Passkey) -> PasskeyView:
    """A passkey as the operator sees it."""
    return PasskeyView(
        id=passkey.id, label=passkey.label, created_at=passkey.created_at, last_used_at=passkey.last_used_at
    )


def approval_view(held: Held, asked: Asked) -> ApprovalView:
    """A request that waits, as a person sees it: exactly as it will be sent."""
    text, encoded = None, None
    if asked.body is not None:
        try:
            text = asked.body.decode("utf-8")
        except UnicodeDecodeError:
            encoded = base64.b64encode(asked.body).decode("ascii")
    return ApprovalView(
        id=held.id,
        digest=held.digest,
        service=asked.service,
        credential_version=asked.credential_version,
        method=asked.method,
        url=asked.url,
        inject_as=asked.inject_as,
        headers=asked.headers,
        body_text=text,
        body_base64=encoded,
        agent=asked.agent,
        run=asked.run,
        purpose=asked.purpose,
        created_at=held.created_at,
        expires_at=held.expires_at,
    )


def approval_details(held: Held) -> dict[str, Any]:
    """What the record says of a request that a person was asked about."""
    details: dict[str, Any] = {
        "approval_id": held.id,
        "request_digest": held.digest,
        "expires_at": held.expires_at,
    }
    if held.asked is None:
        return details
    return details | {
        "service": held.asked.service,
        "credential_id": held.asked.credential_id,
        "credential_version": held.asked.credential_version,
        "method": held.asked.method,
    }


def binding_details(label: str | None, bindings: tuple[Binding, ...]) -> dict[str, Any]:
    """What the record says of a credential's bindings."""
    details: dict[str, Any] = {
        "hosts": sorted({f"{binding.scheme}://{binding.host}:{binding.port}" for binding in bindings}),
        "methods": sorted({method.value for binding in bindings for method in binding.methods}),
        "paths": sorted({"/" + "/".join(binding.path) for binding in bindings}),
        "binding_digest": hashlib.sha256(canonical_bindings(bindings).encode("utf-8")).hexdigest(),
        "confirm": any(binding.confirm for binding in bindings),
        "count": len(bindings),
    }
    return details if label is None else {"label": label, **details}


def rule_details(rule: messages.AddRule | EgressRule) -> dict[str, Any]:
    """What the record says of an egress rule."""
    return {"method": str(rule.method), "scheme": rule.scheme, "host": rule.host, "port": rule.port}


def result_details(result: object) -> dict[str, Any]:
    """What the record says of what a change has made."""
    match result:
        case Credential():
            return {"credential_id": result.id, "credential_version": result.version}
        case Decided():
            return {"passkey_id": result.passkey_id} if result.passkey_id else {}
        case KeyRotated():
            counted = {"count": result.records, "keys_count": result.keys, "rows_count": result.rows}
            return {"name": result.name, "key_id": result.key_id, **counted}
        case EgressRule():
            return {"rule_id": result.id}
        case Passkey():
            return {"passkey_id": result.id, "label": result.label}
        case messages.MaterializeArmed():
            return {
                "credential_id": result.credential_id,
                "credential_version": result.credential_version,
                "expires_at": result.expires_at,
            }
        case _:
            return {}
