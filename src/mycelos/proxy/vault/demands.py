"""What the vault demands of a credential before it stores, changes or uses it, and how it refuses."""

from __future__ import annotations

from collections.abc import Sequence

from mycelos.proxy.vault.records import Credential
from mycelos.wire.binding import Binding
from mycelos.wire.injection import SecretNotInjectableError, check_injectable
from mycelos.wire.operator import check_label, check_secret, check_service
from mycelos.wire.problems import ProblemCode, Refusal


def demand_confirmed(credential: Credential) -> None:
    """Refuse a credential that a restore brought back, until the operator confirms it: it may have been revoked since.

    Raises:
        Refusal: `credential_unknown`.
    """
    if credential.parked_at is not None:
        raise Refusal(
            ProblemCode.CREDENTIAL_UNKNOWN,
            f"The credential {credential.service} came back with a restore at {credential.parked_at} and waits for the "
            "operator's word.",
            f"The operator confirms it with: mycelos credential confirm {credential.service}",
        )


def broken(service: str) -> Refusal:
    """The refusal of a credential whose record does not verify."""
    return Refusal(
        ProblemCode.VAULT_UNAVAILABLE,
        f"The record of the credential {service} does not open: it was altered outside Mycelos, or is damaged.",
        f"Delete it and store it again: mycelos credential delete {service}",
    )


def demand_form(*, service: str, label: str | None = None, secret: str | None = None) -> None:
    """Refuse a name, label or secret that cannot be one.

    Raises:
        Refusal: `invalid_request`; the text names the field and never its content.
    """
    try:
        check_service(service)
        if label is not None:
            check_label(label)
        if secret is not None:
            check_secret(secret)
    except ValueError as error:
        raise Refusal(ProblemCode.INVALID_REQUEST, f"{error}.", "Correct the field and try again.") from None


def demand_injectable(bindings: Sequence[Binding], secret: bytes | bytearray) -> None:
    """Refuse a secret that cannot stand where one of ``bindings`` would put it.

    Raises:
        Refusal: `invalid_request`.
    """
    # Refused by the person who can correct it, and not by the first agent that wants to use it.
    for binding in bindings:
        try:
            check_injectable(binding.inject, secret)
        except SecretNotInjectableError as error:
            raise Refusal(
                ProblemCode.INVALID_REQUEST,
                f"secret: {error}, where the binding to {binding.host} would put it.",
                "Correct the secret, or bind it with basic:USER or url_path where the service takes it so.",
            ) from None
