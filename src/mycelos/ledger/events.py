"""The events of the ledger: each with its severity, whether it is suspicious, its one source, and its fields.

An event that is not listed here cannot be written, and a name listed here cannot be dead: a test walks both.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Source(StrEnum):
    """Who says so. Set by the door that an entry came through, never by its body.

    What source ``gateway`` says is *claimed*: the gateway is assumed to be open to takeover.
    """

    PROXY = "proxy"
    OPERATOR = "operator"
    GATEWAY = "gateway"
    INGRESS = "ingress"


KNOWN: Final = frozenset({Source.PROXY, Source.OPERATOR})
"""Whose word is known and not only claimed."""


class Severity(StrEnum):
    """How much an event matters to a person who looks."""

    INFO = "info"
    NOTICE = "notice"
    WARNING = "warning"
    CRITICAL = "critical"


class Event(StrEnum):
    """Every event, as ``area.verb``."""

    PROXY_STARTED = "proxy.started"
    PROXY_HTTP_REQUEST = "proxy.http_request"
    PROXY_CREDENTIAL_MATERIALIZED = "proxy.credential_materialized"
    PROXY_MATERIALIZE_DENIED = "proxy.materialize_denied"
    PROXY_AUTH_FAILED = "proxy.auth_failed"
    PROXY_SSRF_BLOCKED = "proxy.ssrf_blocked"
    PROXY_BINDING_VIOLATION = "proxy.binding_violation"
    PROXY_RESPONSE_SCRUBBED = "proxy.response_scrubbed"
    PROXY_SECRET_REFUSED = "proxy.secret_refused"  # noqa: S105 - the name of an event
    PACKAGE_INSTALL_BLOCKED = "package.install_blocked"
    CREDENTIAL_STORED = "credential.stored"
    CREDENTIAL_ROTATED = "credential.rotated"
    CREDENTIAL_DELETED = "credential.deleted"
    CREDENTIAL_BOUND = "credential.bound"
    CREDENTIAL_ARMED = "credential.armed"
    CREDENTIAL_PARKED = "credential.parked"
    CREDENTIAL_CONFIRMED = "credential.confirmed"
    CONFIRM_ASKED = "confirm.asked"
    CONFIRM_GRANTED = "confirm.granted"
    CONFIRM_REFUSED = "confirm.refused"
    CONFIRM_EXPIRED = "confirm.expired"
    KEY_ROTATED = "key.rotated"
    POLICY_ALLOWED = "policy.allowed"
    POLICY_DENIED = "policy.denied"
    POLICY_ASKED = "policy.asked"
    POLICY_CHANGED = "policy.changed"
    APPROVAL_GRANTED = "approval.granted"
    APPROVAL_REFUSED = "approval.refused"
    APPROVAL_EXPIRED = "approval.expired"
    RUN_STARTED = "run.started"
    RUN_FINISHED = "run.finished"
    RUN_FAILED = "run.failed"
    RUN_CANCELLED = "run.cancelled"
    TOOL_CALLED = "tool.called"
    TOOL_FAILED = "tool.failed"
    SANDBOX_REFUSED = "sandbox.refused"
    SANDBOX_KILLED = "sandbox.killed"
    SANDBOX_PROBE_FAILED = "sandbox.probe_failed"
    SANDBOX_WALL_WAIVED = "sandbox.wall_waived"
    MCP_REGISTERED = "mcp.registered"
    MCP_STARTED = "mcp.started"
    MCP_CALLED = "mcp.called"
    MCP_STOPPED = "mcp.stopped"
    MCP_REFUSED = "mcp.refused"
    AUTH_LOGIN = "auth.login"
    AUTH_LOGIN_FAILED = "auth.login_failed"
    AUTH_LOCKED_OUT = "auth.locked_out"
    AUTH_REFUSED = "auth.refused"
    AUTH_LOGOUT = "auth.logout"
    AUTH_PASSKEY_ENROLLED = "auth.passkey_enrolled"
    AUTH_PASSKEY_REMOVED = "auth.passkey_removed"
    AUTH_LINK_CREATED = "auth.link_created"
    AUTH_TOKEN_CREATED = "auth.token_created"  # noqa: S105 - the name of an event
    AUTH_TOKEN_REVOKED = "auth.token_revoked"  # noqa: S105 - the name of an event
    AUTH_SESSION_REVOKED = "auth.session_revoked"
    AGENT_CREATED = "agent.created"
    AGENT_CHANGED = "agent.changed"
    AGENT_DELETED = "agent.deleted"
    MODEL_CHANGED = "model.changed"
    GATEWAY_STARTED = "gateway.started"
    CHAT_CREATED = "chat.created"
    CHAT_DELETED = "chat.deleted"
    MEMORY_SAVED = "memory.saved"
    MEMORY_FORGOTTEN = "memory.forgotten"
    SCHEDULE_CHANGED = "schedule.changed"
    SCHEDULE_FIRED = "schedule.fired"
    TELEGRAM_PAIRED = "telegram.paired"
    TELEGRAM_UNPAIRED = "telegram.unpaired"
    OPERATOR_LINK_CREATED = "operator.link_created"
    OPERATOR_LOGIN = "operator.login"
    OPERATOR_LOGIN_FAILED = "operator.login_failed"
    OPERATOR_LOGOUT = "operator.logout"
    OPERATOR_REFUSED = "operator.refused"
    OPERATOR_PASSKEY_ENROLLED = "operator.passkey_enrolled"
    OPERATOR_PASSKEY_REMOVED = "operator.passkey_removed"
    BACKUP_CREATED = "backup.created"
    BACKUP_RESTORED = "backup.restored"
    AUDIT_EXPORTED = "audit.exported"
    AUDIT_DOWNLOADED = "audit.downloaded"
    CLOCK_STEPPED = "clock.stepped"
    EGRESS_OPENED = "egress.opened"
    EGRESS_RULE_CHANGED = "egress.rule_changed"
    INTENT_UNRESOLVED = "intent.unresolved"
    LEDGER_CHECKPOINT = "ledger.checkpoint"
    LEDGER_LIMITED = "ledger.limited"
    LEDGER_VAULT_STATED = "ledger.vault_stated"
    LEDGER_VERIFY_FAILED = "ledger.verify_failed"
    LEDGER_RESTORED = "ledger.restored"
    LEDGER_REBUILT = "ledger.rebuilt"
    LEDGER_WITNESSED = "ledger.witnessed"
    LEDGER_WITNESS_FAILED = "ledger.witness_failed"
    LEDGER_WITNESS_DISAGREED = "ledger.witness_disagreed"
    LOCKDOWN_SET = "lockdown.set"
    LOCKDOWN_LIFTED = "lockdown.lifted"


@dataclass(frozen=True)
class EventRule:
    """What is fixed about an event. ``fields`` are the names that its details may hold."""

    severity: Severity
    is_suspicious: bool
    source: Source
    fields: frozenset[str]


_REQUEST: Final = (
    "method scheme host port path service credential_id credential_version inject_form form status bytes_sent "
    "bytes_received elapsed_ms truncated stream purpose addresses address address_class rule_id approval_id stage "
    "code error door run_id web url_bytes"
)
_DECISION: Final = " request_digest expires_at passkey_id"
_CREDENTIAL: Final = (
    "service label credential_id credential_version host hosts port scheme methods paths form inject_form confirm "
    "binding_digest count key_id door changed"
)
_POLICY: Final = "tool agent_id matched_capability capabilities decision reasons code call_id model policy_digest"
_APPROVAL: Final = "approval_id tool agent_id call_id expires_at code method host path"
_RUN: Final = (
    "agent_id chat_id model profile model_requests tool_calls duration_ms code exit_code signal resumed limit tools "
    "capabilities walls job_id"
)
_TOOL: Final = "tool agent_id call_id code status size duration_ms truncated host service method path"
_SANDBOX: Final = "profile layer wall walls missing code exit_code signal limit version process name reasons"
_MCP: Final = "server program version tools tool hosts services code exit_code signal duration_ms size name"
_AUTH: Final = (
    "method peer origin host path session_id token_id passkey_id label scopes attempts locked_until expires_at code "
    "door telegram_id"
)
_CHANGE: Final = (
    "name agent_id model label capabilities changed tools policy_digest previous_digest host port scheme service form "
    "code version_number"
)
_LEDGER: Final = (
    "seq first_seq last_seq intent_seq event phase count size reasons code key_id version step_ms run_id file_label"
)
_KEY: Final = (
    "name key_id previous_key_id public_key previous_public_key signature previous_signature count keys_count "
    "rows_count code"
)
_BACKUP: Final = "seq leaf_hash size count sha256 file_label version vault_generation made_at"
_LOCKDOWN: Final = "since again code"
_STARTED: Final = (
    "version from_version process profile mode walls missing layer hosts count clean resumed host port key_id "
    "services code"
)
_RECORD: Final = "chat_id memory_id job_id label name count changed enabled telegram_id expires_at code size agent_id"


ANCHOR: Final = "vault_digest"
"""The field that makes an entry an anchor: it says what the vault held, and the start believes it."""
_ANCHOR: Final = f"vault_generation {ANCHOR}"


def _rule(severity: Severity, source: Source, fields: str, *, suspicious: bool = False) -> EventRule:
    return EventRule(severity, suspicious, source, frozenset(fields.split()))


def _vault_rule(severity: Severity, fields: str, *, suspicious: bool = False) -> EventRule:
    """Of an operator's act that may change the vault: its entries may say what that held when they were written."""
    return _rule(severity, Source.OPERATOR, f"{fields} {_ANCHOR}", suspicious=suspicious)


_INFO, _NOTICE, _WARNING, _CRITICAL = Severity
_PROXY, _OPERATOR, _GATEWAY, _INGRESS = Source

EVENTS: Final[Mapping[Event, EventRule]] = MappingProxyType(
    {
        Event.PROXY_STARTED: _rule(_NOTICE, _PROXY, f"{_STARTED} {_ANCHOR}"),
        Event.PROXY_HTTP_REQUEST: _rule(_INFO, _PROXY, _REQUEST),
        Event.PROXY_CREDENTIAL_MATERIALIZED: _rule(_WARNING, _PROXY, _REQUEST, suspicious=True),
        Event.PROXY_MATERIALIZE_DENIED: _rule(_WARNING, _PROXY, _REQUEST, suspicious=True),
        Event.PROXY_AUTH_FAILED: _rule(_WARNING, _PROXY, _REQUEST + " peer attempts", suspicious=True),
        Event.PROXY_SSRF_BLOCKED: _rule(_WARNING, _PROXY, _REQUEST, suspicious=True),
        Event.PROXY_BINDING_VIOLATION: _rule(_WARNING, _PROXY, _REQUEST + " reasons", suspicious=True),
        Event.PROXY_RESPONSE_SCRUBBED: _rule(_WARNING, _PROXY, _REQUEST + " count", suspicious=True),
        Event.PROXY_SECRET_REFUSED: _rule(_WARNING, _PROXY, _REQUEST, suspicious=True),
        Event.PACKAGE_INSTALL_BLOCKED: _rule(
            _WARNING, _GATEWAY, "package program agent_id code process", suspicious=True
        ),
        Event.CREDENTIAL_STORED: _vault_rule(_NOTICE, _CREDENTIAL),
        Event.CREDENTIAL_ROTATED: _vault_rule(_NOTICE, _CREDENTIAL),
        Event.CREDENTIAL_DELETED: _vault_rule(_NOTICE, _CREDENTIAL),
        Event.CREDENTIAL_BOUND: _vault_rule(_NOTICE, _CREDENTIAL),
        Event.CREDENTIAL_ARMED: _vault_rule(_WARNING, _CREDENTIAL + " expires_at", suspicious=True),
        Event.CREDENTIAL_PARKED: _vault_rule(_NOTICE, _CREDENTIAL),
        Event.CREDENTIAL_CONFIRMED: _vault_rule(_NOTICE, _CREDENTIAL),
        # The operator's word on one exact request: what the gateway says of its own asks is `approval.*`.
        Event.CONFIRM_ASKED: _rule(_NOTICE, _PROXY, _REQUEST + _DECISION),
        Event.CONFIRM_GRANTED: _vault_rule(_NOTICE, _REQUEST + _DECISION),
        Event.CONFIRM_REFUSED: _vault_rule(_NOTICE, _REQUEST + _DECISION),
        Event.CONFIRM_EXPIRED: _rule(_NOTICE, _PROXY, _REQUEST + _DECISION),
        Event.KEY_ROTATED: _vault_rule(_NOTICE, _KEY),
        Event.POLICY_ALLOWED: _rule(_INFO, _GATEWAY, _POLICY),
        Event.POLICY_DENIED: _rule(_WARNING, _GATEWAY, _POLICY, suspicious=True),
        Event.POLICY_ASKED: _rule(_NOTICE, _GATEWAY, _POLICY + " approval_id expires_at"),
        Event.POLICY_CHANGED: _rule(_NOTICE, _GATEWAY, _CHANGE),
        Event.APPROVAL_GRANTED: _rule(_NOTICE, _GATEWAY, _APPROVAL),
        Event.APPROVAL_REFUSED: _rule(_NOTICE, _GATEWAY, _APPROVAL),
        Event.APPROVAL_EXPIRED: _rule(_NOTICE, _GATEWAY, _APPROVAL),
        Event.RUN_STARTED: _rule(_INFO, _GATEWAY, _RUN),
        Event.RUN_FINISHED: _rule(_INFO, _GATEWAY, _RUN),
        Event.RUN_FAILED: _rule(_NOTICE, _GATEWAY, _RUN),
        Event.RUN_CANCELLED: _rule(_NOTICE, _GATEWAY, _RUN),
        Event.TOOL_CALLED: _rule(_INFO, _GATEWAY, _TOOL),
        Event.TOOL_FAILED: _rule(_NOTICE, _GATEWAY, _TOOL),
        Event.SANDBOX_REFUSED: _rule(_WARNING, _GATEWAY, _SANDBOX, suspicious=True),
        Event.SANDBOX_KILLED: _rule(_WARNING, _GATEWAY, _SANDBOX, suspicious=True),
        Event.SANDBOX_PROBE_FAILED: _rule(_CRITICAL, _GATEWAY, _SANDBOX, suspicious=True),
        Event.SANDBOX_WALL_WAIVED: _rule(_WARNING, _PROXY, _SANDBOX, suspicious=True),
        Event.MCP_REGISTERED: _vault_rule(_NOTICE, _MCP + " confirm changed"),
        Event.MCP_STARTED: _rule(_INFO, _PROXY, _MCP),
        Event.MCP_CALLED: _rule(_INFO, _PROXY, _MCP),
        Event.MCP_STOPPED: _rule(_INFO, _PROXY, _MCP),
        Event.MCP_REFUSED: _rule(_WARNING, _PROXY, _MCP, suspicious=True),
        Event.AUTH_LOGIN: _rule(_INFO, _GATEWAY, _AUTH),
        Event.AUTH_LOGIN_FAILED: _rule(_WARNING, _GATEWAY, _AUTH, suspicious=True),
        Event.AUTH_LOCKED_OUT: _rule(_WARNING, _GATEWAY, _AUTH, suspicious=True),
        # A request that was to change something, or came from where none may: refused before it was looked at.
        Event.AUTH_REFUSED: _rule(_WARNING, _GATEWAY, _AUTH, suspicious=True),
        Event.AUTH_LOGOUT: _rule(_INFO, _GATEWAY, _AUTH),
        Event.AUTH_PASSKEY_ENROLLED: _rule(_NOTICE, _GATEWAY, _AUTH),
        Event.AUTH_PASSKEY_REMOVED: _rule(_NOTICE, _GATEWAY, _AUTH),
        Event.AUTH_LINK_CREATED: _rule(_INFO, _GATEWAY, _AUTH),
        Event.AUTH_TOKEN_CREATED: _rule(_NOTICE, _GATEWAY, _AUTH),
        Event.AUTH_TOKEN_REVOKED: _rule(_NOTICE, _GATEWAY, _AUTH),
        Event.AUTH_SESSION_REVOKED: _rule(_NOTICE, _GATEWAY, _AUTH + " count"),
        Event.AGENT_CREATED: _rule(_NOTICE, _GATEWAY, _CHANGE),
        Event.AGENT_CHANGED: _rule(_NOTICE, _GATEWAY, _CHANGE),
        Event.AGENT_DELETED: _rule(_NOTICE, _GATEWAY, _CHANGE),
        Event.MODEL_CHANGED: _rule(_NOTICE, _GATEWAY, _CHANGE),
        Event.GATEWAY_STARTED: _rule(_NOTICE, _GATEWAY, _STARTED),
        Event.CHAT_CREATED: _rule(_INFO, _GATEWAY, _RECORD),
        Event.CHAT_DELETED: _rule(_NOTICE, _GATEWAY, _RECORD),
        Event.MEMORY_SAVED: _rule(_INFO, _GATEWAY, _RECORD),
        Event.MEMORY_FORGOTTEN: _rule(_INFO, _GATEWAY, _RECORD),
        Event.SCHEDULE_CHANGED: _rule(_NOTICE, _GATEWAY, _RECORD),
        Event.SCHEDULE_FIRED: _rule(_INFO, _GATEWAY, _RECORD),
        Event.TELEGRAM_PAIRED: _rule(_NOTICE, _GATEWAY, _RECORD),
        Event.TELEGRAM_UNPAIRED: _rule(_NOTICE, _GATEWAY, _RECORD),
        Event.OPERATOR_LINK_CREATED: _rule(_INFO, _OPERATOR, _AUTH),
        Event.OPERATOR_LOGIN: _rule(_NOTICE, _OPERATOR, _AUTH),
        Event.OPERATOR_LOGIN_FAILED: _rule(_WARNING, _OPERATOR, _AUTH, suspicious=True),
        Event.OPERATOR_LOGOUT: _rule(_INFO, _OPERATOR, _AUTH + " count"),
        Event.OPERATOR_REFUSED: _rule(_WARNING, _OPERATOR, _AUTH + " status", suspicious=True),
        Event.OPERATOR_PASSKEY_ENROLLED: _vault_rule(_NOTICE, _AUTH),
        Event.OPERATOR_PASSKEY_REMOVED: _vault_rule(_NOTICE, _AUTH),
        Event.BACKUP_CREATED: _rule(_NOTICE, _OPERATOR, _BACKUP),
        Event.BACKUP_RESTORED: _rule(_WARNING, _OPERATOR, _BACKUP, suspicious=True),
        Event.AUDIT_EXPORTED: _rule(_NOTICE, _OPERATOR, _LEDGER),
        # Through the page, so that it is the gateway's word.
        Event.AUDIT_DOWNLOADED: _rule(_NOTICE, _GATEWAY, _LEDGER),
        Event.CLOCK_STEPPED: _rule(_WARNING, _PROXY, _LEDGER, suspicious=True),
        Event.EGRESS_OPENED: _rule(_WARNING, _PROXY, _REQUEST, suspicious=True),
        Event.EGRESS_RULE_CHANGED: _vault_rule(_NOTICE, _REQUEST + " changed enabled methods"),
        Event.INTENT_UNRESOLVED: _rule(_WARNING, _PROXY, _LEDGER, suspicious=True),
        Event.LEDGER_CHECKPOINT: _rule(_NOTICE, _PROXY, _LEDGER + " origin public_key"),
        Event.LEDGER_LIMITED: _rule(_WARNING, _PROXY, _LEDGER, suspicious=True),
        Event.LEDGER_VAULT_STATED: _rule(_INFO, _PROXY, _ANCHOR),
        Event.LEDGER_VERIFY_FAILED: _rule(_CRITICAL, _PROXY, _LEDGER, suspicious=True),
        Event.LEDGER_RESTORED: _vault_rule(_CRITICAL, _LEDGER + " leaf_hash", suspicious=True),
        Event.LEDGER_REBUILT: _rule(_CRITICAL, _OPERATOR, _LEDGER, suspicious=True),
        Event.LEDGER_WITNESSED: _rule(_INFO, _PROXY, _LEDGER),
        Event.LEDGER_WITNESS_FAILED: _rule(_WARNING, _PROXY, _LEDGER, suspicious=True),
        Event.LEDGER_WITNESS_DISAGREED: _rule(_CRITICAL, _PROXY, _LEDGER, suspicious=True),
        Event.LOCKDOWN_SET: _vault_rule(_CRITICAL, _LOCKDOWN, suspicious=True),
        Event.LOCKDOWN_LIFTED: _vault_rule(_WARNING, _LOCKDOWN, suspicious=True),
    }
)
"""The rule of each event."""

EVENTS_AND_AREAS: Final = tuple(sorted({*Event, *(event.partition(".")[0] for event in Event)}))
"""What entries can be asked for by: an event, or the first part of one for all of its area."""

UNSIGNED: Final = frozenset({Event.BACKUP_CREATED, Event.AUDIT_EXPORTED, Event.CLOCK_STEPPED, Event.LEDGER_REBUILT})
"""What may stand at the end of a signed log without a signature: a command beside a stopped system has no key."""

SUSPICIOUS: Final = frozenset(event for event, rule in EVENTS.items() if rule.is_suspicious)
"""What ``--suspicious`` shows."""

OUTSIDE: Final = frozenset({Event.PROXY_HTTP_REQUEST, Event.PROXY_CREDENTIAL_MATERIALIZED})
"""What left the machine, or the vault: the intent of each is on record before it goes."""

STATES_VAULT: Final = frozenset(event for event, rule in EVENTS.items() if ANCHOR in rule.fields)
"""What may say what the vault held."""

ANCHORED: Final = STATES_VAULT - {Event.LEDGER_VAULT_STATED}
"""Those that say something new: the operator's acts that may change it, and the proxy's start."""
