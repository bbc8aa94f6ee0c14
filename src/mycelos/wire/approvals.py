"""What crosses the operator's door about requests that wait for a person: shown exactly as they will be sent.

A credential that is bound with ``confirm`` is used for nothing that a person did not see and approve. The digest names
one such request: whoever decides sends back the digest of what was shown, and the proxy decides nothing else by it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from mycelos.wire.identifiers import IdentifierError, Kind, parse_identifier

Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""SHA-256 in lower-case hex."""


class ApprovalView(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One request that waits. Times are RFC 3339, UTC.

    ``url`` holds ``{credential}`` where the secret will stand in the path; ``inject_as`` says where else it goes, as
    ``bearer`` or ``header:NAME``. ``headers`` are those that go out, names in lower case, in their order, without the
    one that carries the secret and without framing. Of ``body_text`` and ``body_base64`` at most one is there: the
    body as text where it is UTF-8. ``agent``, ``run`` and ``purpose`` are the gateway's word, empty where it gave none.
    """

    id: str
    digest: Digest
    service: str
    credential_version: int
    method: str
    url: str
    inject_as: str
    headers: tuple[tuple[str, str], ...]
    body_text: str | None
    body_base64: str | None
    agent: str
    run: str
    purpose: str
    created_at: str
    expires_at: str


class ApprovalList(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Answer of `POST /approval/list`, the oldest first."""

    approvals: tuple[ApprovalView, ...]


class DecideApproval(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /approval/decide`; its answer is ``{}``.

    ``digest`` is that of the request as it was shown. ``assertion`` is a passkey's, over the digest, or null.
    """

    id: str
    digest: Digest
    decision: Literal["approve", "refuse"]
    assertion: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        """Refuse what the types alone let through."""
        try:
            parse_identifier(Kind.APPROVAL, self.id)
        except IdentifierError as error:
            message = f"id: {error}"
            raise ValueError(message) from None
