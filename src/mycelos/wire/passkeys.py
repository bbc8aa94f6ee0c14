"""What crosses the operator's door about passkeys: who is who at the vault page.

The two browser's answers have the form that `PublicKeyCredential.toJSON()` gives them (WebAuthn Level 3, section 5.1).
Browsers add to it, so a field that is not known there is passed over; everything that decides is in signed bytes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from mycelos.wire.identifiers import IdentifierError, Kind, parse_identifier
from mycelos.wire.operator import check_label

Base64Url = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,65536}\Z")]
"""Bytes as base64url without padding."""
SessionDigest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""What the proxy knows a session of the vault page by; it opens nothing."""
RequestDigest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""SHA-256 of a request that waits for a person, in lower-case hex."""


class RegistrationBytes(msgspec.Struct, frozen=True, kw_only=True):
    """What an authenticator says of a new key."""

    client_data: Base64Url = msgspec.field(name="clientDataJSON")
    attestation: Base64Url = msgspec.field(name="attestationObject")


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """A browser's answer to `navigator.credentials.create`."""

    id: Base64Url
    type: Literal["public-key"]
    response: RegistrationBytes


class AssertionBytes(msgspec.Struct, frozen=True, kw_only=True):
    """What an authenticator signed, and its signature. ``user_handle`` is the key's own name at this door."""

    client_data: Base64Url = msgspec.field(name="clientDataJSON")
    authenticator_data: Base64Url = msgspec.field(name="authenticatorData")
    signature: Base64Url
    user_handle: Base64Url | None = msgspec.field(name="userHandle", default=None)


class Assertion(msgspec.Struct, frozen=True, kw_only=True):
    """A browser's answer to `navigator.credentials.get`."""

    id: Base64Url
    type: Literal["public-key"]
    response: AssertionBytes


class BeginEnrolment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /passkey/enrol/begin`: the session that asks, and what the person calls the key."""

    session: SessionDigest
    label: str

    def __post_init__(self) -> None:
        """Refuse what the types alone let through."""
        check_label(self.label)
        if not self.label.strip():
            message = "label: expected a name by which you know the passkey again"
            raise ValueError(message)


class FinishEnrolment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /passkey/enrol/finish`: from the session that began it."""

    session: SessionDigest
    registration: Registration


class FinishSignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /passkey/sign-in/finish`; `/passkey/sign-in/begin` needs nothing."""

    assertion: Assertion


class BeginApproval(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /passkey/approval/begin`: the request that is to be signed."""

    digest: RequestDigest


class RemovePasskey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /passkey/remove`."""

    id: str

    def __post_init__(self) -> None:
        """Refuse what the types alone let through."""
        try:
            parse_identifier(Kind.PASSKEY, self.id)
        except IdentifierError as error:
            message = f"id: {error}"
            raise ValueError(message) from None


class CeremonyOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the page hands to `PublicKeyCredential.parse…OptionsFromJSON()`, as it is."""

    options: dict[str, Any]


class PasskeyView(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One passkey as the operator sees it. Times are RFC 3339."""

    id: str
    label: str
    created_at: str
    last_used_at: str | None


class PasskeyList(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Answer of `POST /passkey/list`, the oldest first."""

    passkeys: tuple[PasskeyView, ...]
