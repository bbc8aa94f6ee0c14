"""The proxy's `POST /http`: one request as JSON, its answer as JSON; and the headers of `/forward`."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

PROTOCOL_HEADER: Final = "Mycelos-Protocol"
PROTOCOL_VERSION: Final = "1"
CREDENTIAL_PLACEHOLDER: Final = "{credential}"

FORWARD_CREDENTIAL: Final = "Mycelos-Credential"
FORWARD_INJECT_AS: Final = "Mycelos-Inject-As"
FORWARD_RUN: Final = "Mycelos-Run"
FORWARD_AGENT: Final = "Mycelos-Agent"
FORWARD_PURPOSE: Final = "Mycelos-Purpose"
FORWARD_APPROVAL: Final = "Mycelos-Approval"

ShortText = Annotated[str, msgspec.Meta(max_length=256)]


class HttpCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /http`. ``url`` may hold ``{credential}``; ``timeout`` is in seconds.

    ``body`` is a string, sent as it is, or any other JSON value, sent as JSON; at most one of ``body``
    and ``body_base64`` is given. ``inject_as`` is ``bearer``, ``header:NAME``, ``basic:USER`` or ``url_path``.
    """

    method: str
    url: Annotated[str, msgspec.Meta(max_length=8192)]
    headers: dict[str, str] = {}
    body: Any = None
    body_base64: str | None = None
    inject_credential: ShortText | None = None
    inject_as: ShortText | None = None
    timeout: Annotated[float, msgspec.Meta(gt=0, le=600)] | None = None
    run_id: ShortText | None = None
    agent: ShortText | None = None
    purpose: ShortText | None = None
    approval: ShortText | None = None


class HttpAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Answer of `POST /http`: what upstream said, scrubbed. ``url`` still holds the placeholder."""

    status: int
    headers: dict[str, str]
    url: str
    truncated: bool
    elapsed_ms: int
    body: str | None = None
    body_base64: str | None = None


class MaterializeCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /credential/materialize`."""

    service: ShortText


class MaterializedCredential(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Answer of `POST /credential/materialize`: the one message of this door that holds plaintext."""

    service: str
    secret: str

    def __repr__(self) -> str:
        """Without the secret."""
        return f"MaterializedCredential(service={self.service!r})"


class NothingAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /credential/list`, which may also be absent."""


class CredentialSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Metadata of a stored credential; times are RFC 3339. Never the secret, its length or a digest of it."""

    service: str
    label: str
    created_at: str
    bindings: tuple[Any, ...]
    last_used_at: str | None
