"""Refusals as RFC 9457 problem documents, with a stable ``code`` and a ``next`` step for a person.

``detail`` is text of ours: it never holds a secret or the text of a library's exception.
"""

from __future__ import annotations

from enum import StrEnum
from http import HTTPStatus
from typing import Final

import msgspec

MEDIA_TYPE: Final = "application/problem+json"
REFUSED_HEADER: Final = "Mycelos-Refused"


class ProblemCode(StrEnum):
    """Stable words that programs may rely on."""

    APPROVAL_REQUIRED = "approval_required"
    AUDIT_UNAVAILABLE = "audit_unavailable"
    BINDING_VIOLATION = "binding_violation"
    CONFLICT = "conflict"
    CREDENTIAL_UNKNOWN = "credential_unknown"
    EGRESS_NOT_ALLOWED = "egress_not_allowed"
    FORBIDDEN = "forbidden"
    HOST_NOT_ALLOWED = "host_not_allowed"
    INJECTION_REFUSED = "injection_refused"
    INTERNAL = "internal"
    INVALID_REQUEST = "invalid_request"
    LOCKED_DOWN = "locked_down"
    LOCKED_OUT = "locked_out"
    MATERIALIZE_DENIED = "materialize_denied"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    MODEL_UNAVAILABLE = "model_unavailable"
    NOT_FOUND = "not_found"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"
    POLICY_DENIED = "policy_denied"
    PROTOCOL_UNSUPPORTED = "protocol_unsupported"
    PROXY_UNAVAILABLE = "proxy_unavailable"
    RATE_LIMITED = "rate_limited"
    RESOLUTION_FAILED = "resolution_failed"
    SANDBOX_REFUSED = "sandbox_refused"
    SSRF_BLOCKED = "ssrf_blocked"
    TOO_LARGE = "too_large"
    UNAUTHORIZED = "unauthorized"
    UPSTREAM_INVALID = "upstream_invalid"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UPSTREAM_TLS = "upstream_tls"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    VAULT_UNAVAILABLE = "vault_unavailable"


_STATUS: Final[dict[ProblemCode, int]] = {
    ProblemCode.APPROVAL_REQUIRED: 403,
    ProblemCode.AUDIT_UNAVAILABLE: 503,
    ProblemCode.BINDING_VIOLATION: 403,
    ProblemCode.CONFLICT: 409,
    ProblemCode.CREDENTIAL_UNKNOWN: 403,
    ProblemCode.EGRESS_NOT_ALLOWED: 403,
    ProblemCode.FORBIDDEN: 403,
    ProblemCode.HOST_NOT_ALLOWED: 421,
    ProblemCode.INJECTION_REFUSED: 400,
    ProblemCode.INTERNAL: 500,
    ProblemCode.INVALID_REQUEST: 400,
    ProblemCode.LOCKED_DOWN: 503,
    ProblemCode.LOCKED_OUT: 429,
    ProblemCode.MATERIALIZE_DENIED: 403,
    ProblemCode.METHOD_NOT_ALLOWED: 405,
    ProblemCode.MODEL_UNAVAILABLE: 503,
    ProblemCode.NOT_FOUND: 404,
    ProblemCode.ORIGIN_NOT_ALLOWED: 403,
    ProblemCode.POLICY_DENIED: 403,
    ProblemCode.PROTOCOL_UNSUPPORTED: 400,
    ProblemCode.PROXY_UNAVAILABLE: 503,
    ProblemCode.RATE_LIMITED: 429,
    ProblemCode.RESOLUTION_FAILED: 502,
    ProblemCode.SANDBOX_REFUSED: 503,
    ProblemCode.SSRF_BLOCKED: 403,
    ProblemCode.TOO_LARGE: 413,
    ProblemCode.UNAUTHORIZED: 401,
    ProblemCode.UPSTREAM_INVALID: 502,
    ProblemCode.UPSTREAM_TIMEOUT: 504,
    ProblemCode.UPSTREAM_TLS: 502,
    ProblemCode.UPSTREAM_UNREACHABLE: 502,
    ProblemCode.VAULT_UNAVAILABLE: 503,
}


class PendingApproval(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A request that a person has been asked about; ``expires_at`` is RFC 3339."""

    id: str
    expires_at: str


class Problem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One problem document. ``approval``, an extension member, is there while a person can still decide."""

    type: str
    title: str
    status: int
    detail: str
    code: ProblemCode
    next: str
    approval: PendingApproval | None = None


def make_problem(code: ProblemCode, detail: str, next_step: str, approval: PendingApproval | None = None) -> Problem:
    """A problem with the status and title that belong to ``code``.

    ``detail`` is kept without its full stop, so that whoever shows it can go on after it; `joined` sets it again.
    """
    status = _STATUS[code]
    return Problem(
        type=f"urn:mycelos:problem:{code.value}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail.removesuffix("."),
        code=code,
        next=next_step,
        approval=approval,
    )


def joined(detail: str, next_step: str) -> str:
    """Detail and next step as one text, each a sentence."""
    stop = "" if not detail or detail.endswith((".", "!", "?", "…", ":")) else "."
    return f"{detail}{stop} {next_step}".strip() if next_step else detail


class Refusal(Exception):
    """Raised inside a zone to refuse; the zone's border turns it into its problem document."""

    def __init__(self, code: ProblemCode, detail: str, next_step: str, approval: PendingApproval | None = None) -> None:
        self.problem = make_problem(code, detail, next_step, approval)
        super().__init__(f"{code.value}: {self.problem.detail}")
