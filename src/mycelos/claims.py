"""The claims: what the security page promises, as data. `mycelos prove`, the tests and the documents go by this list.

A claim owns sentences of `docs/security/page.txt` (by their first words), commands, variables and events. One that is
not deferred has an attack in `tests/claims/` and a probe in `mycelos.prove`; a test refuses every gap, either way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_PROBED: Final = "test_installation.py::test_the_claim_holds_where_it_runs"
_BROKEN: Final = "test_broken_walls.py::"


@dataclass(frozen=True)
class Claim:
    """One claim.

    ``sentences`` are first words of sentences of the page. ``commands`` are first words of commands: the longest one
    that fits owns a command. ``attacks`` are tests in `tests/claims/`. ``deferred`` says what is still to come where
    the claim is not shown yet, and is empty where it is.
    """

    id: str
    text: str
    not_covered: str
    sentences: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()
    deferred: str = ""


CLAIMS: Final = (
    Claim(
        "F1",
        "A security check that fails denies the action.",
        "Faults of the kernel and of the hardware.",
        sentences=("Security", "Security in Mycelos is", "Every component is built"),
        commands=("prove", "doctor", "status", "config"),
        attacks=(_PROBED, _BROKEN + "test_f1_a_proxy_that_goes_on_without_its_ledger_is_seen"),
    ),
    Claim(
        "D1",
        "The Docker install runs two containers on an isolated internal network.",
        "A hostile container engine, and root on the host.",
        sentences=("Two-container deployment", "The default Docker install", "It has no direct internet route"),
        variables=("MYCELOS_PROXY_LISTEN", "MYCELOS_PROXY_URL"),
        deferred="The containers are built later; until then every install is host mode, and says so.",
    ),
    Claim(
        "D2",
        "Only the proxy holds the master key and can decrypt; calls to the outside start there.",
        "Root, and other programs of the same user. The read-only mount comes with the containers.",
        sentences=("mycelos-proxyholds the master key", "It bind-mounts", "All outbound calls"),
        commands=("proxy",),
        variables=("MYCELOS_MASTER_KEY", "MYCELOS_CA_FILE"),
        events=("proxy.started",),
        attacks=(_PROBED, _BROKEN + "test_d2_a_gateway_that_can_read_the_key_is_seen"),
    ),
    Claim(
        "D3",
        "With the gateway's bearer nobody obtains a credential, changes one, or uses one where it is not bound.",
        "What a bound API itself hands out.",
        sentences=("It cannot decrypt credentials",),
        commands=("model",),
        variables=("MYCELOS_PROXY_TOKEN",),
        events=("gateway.started", "model.changed", "proxy.binding_violation"),
        attacks=(_PROBED, _BROKEN + "test_d3_a_proxy_that_ignores_bindings_is_seen"),
    ),
    Claim(
        "D4",
        "Without Docker the kernel holds the same walls around the gateway.",
        "Other programs of the same user.",
        commands=("serve", "stop", "init"),
        variables=("MYCELOS_DATA_DIR",),
        events=("sandbox.wall_waived",),
        attacks=(_PROBED, _BROKEN + "test_d4_a_gateway_without_its_walls_is_seen"),
    ),
    Claim(
        "T1",
        "A threat model says what each phase does and does not mitigate.",
        "Nothing beyond what its own rows name.",
        sentences=("A full threat model",),
        deferred="The page is written with the containers; docs/limitations.md names the limits until then.",
    ),
    Claim(
        "V1",
        "Credentials lie on disk under AES-256-GCM only, and a changed record does not open.",
        "A reader who has the master key.",
        sentences=("Credential encryption", "Credentials are encrypted at rest"),
        commands=("credential",),
        events=("credential.stored", "credential.rotated", "credential.deleted", "credential.bound"),
        attacks=(_PROBED, _BROKEN + "test_v1_a_credential_in_plain_on_the_disk_is_seen"),
    ),
    Claim(
        "V2",
        "The master key is made once, in a file that its owner alone can read.",
        "Backups that somebody else makes of the folder.",
        sentences=("The master key is generated",),
        events=("key.rotated", "backup.created", "backup.restored"),
        attacks=(_PROBED, _BROKEN + "test_v2_a_key_that_everybody_can_read_is_seen"),
    ),
    Claim(
        "V3",
        "A credential is decrypted at the moment of use, inside the proxy.",
        "Bytes that the interpreter's heap keeps after use are measured, not ruled out.",
        sentences=("It is decrypted only",),
        deferred="The walk of all objects after use comes with the deepening of the vault.",
    ),
    Claim(
        "V4",
        "The gateway never sees a credential in plain.",
        "A secret that a person types into a chat before it was stored.",
        sentences=("The gateway never sees plaintext",),
        commands=("open",),
        variables=("MYCELOS_OPERATOR_PORT",),
        events=("operator.link_created", "operator.login", "operator.login_failed", "operator.logout"),
        deferred="The canary run through every way in and out comes with the deepening of the vault.",
    ),
    Claim(
        "V5",
        "Materialising a credential is one exception, allow-listed, within a window, on record.",
        "The exception itself; it is off and nothing needs it.",
        sentences=("That token is materialized", "See the threat model doc"),
        events=("proxy.credential_materialized", "proxy.materialize_denied", "telegram.paired", "telegram.unpaired"),
        deferred="The route refuses always; the window is built when Telegram is.",
    ),
    Claim(
        "I1",
        "No credential reaches a model.",
        "A reversible transformation by the upstream; an MCP server that was given the value.",
        sentences=("Credential isolation", "No credential ever appears", "- LLM prompts"),
        commands=("chat", "demo", "local"),
        events=("proxy.response_scrubbed", "chat.created", "chat.deleted"),
        deferred="Scrubbing stands and is tested; the canary run over every encoding comes with the egress.",
    ),
    Claim(
        "I2",
        "No credential is in a log or in the audit trail.",
        "A secret that a person writes into a label or a service's name.",
        sentences=("- Log files",),
        deferred="The fields of every event are closed and tested; the run at debug level comes with the vault.",
    ),
    Claim(
        "I3",
        "No credential is in an error or a traceback.",
        "Core dumps by root.",
        sentences=("- Error messages",),
        deferred="Every layer failing with the secret in hand comes with the deepening of the egress.",
    ),
    Claim(
        "I4",
        "No credential is in an agent's memory.",
        "A secret that was never stored as a credential.",
        sentences=("- Agent memory",),
        events=("memory.saved", "memory.forgotten"),
        deferred="Agents have no memory yet.",
    ),
    Claim(
        "I5",
        "The gateway lists service, label and time of a credential and nothing else; no route takes a secret.",
        "What a person writes into a label.",
        sentences=("- The gateway", "/api/credentials/list"),
        attacks=(_PROBED, _BROKEN + "test_i5_a_list_with_a_field_more_is_seen"),
    ),
    Claim(
        "S1",
        "Every call goes through the proxy, which dials the address that it checked and no private one.",
        "A host that the operator opened by name and port.",
        sentences=("SSRF protection", "Every outbound HTTP call"),
        commands=("egress",),
        variables=("MYCELOS_EGRESS_OPEN", "MYCELOS_DNS"),
        events=("proxy.ssrf_blocked", "egress.opened", "egress.rule_changed", "lockdown.set", "lockdown.lifted"),
        attacks=(_PROBED, _BROKEN + "test_s1_a_guard_that_lets_a_private_address_pass_is_seen"),
    ),
    Claim(
        "S2",
        "A credential is injected inside the proxy, after the checks.",
        "What the bound host does with it.",
        sentences=("Credential injection",),
        events=("credential.parked", "credential.confirmed"),
        deferred="Injection stands and is tested; its attacks as a probe come with the deepening of the egress.",
    ),
    Claim(
        "P1",
        "A capability covers a tool of its own name or below it, and nothing that only looks alike.",
        "What a granted tool does.",
        sentences=("Policy engine", "Per-tool access control", "An agent with capability", "Prefix matching uses"),
        commands=("agent", "policy"),
        events=("policy.changed", "agent.created", "agent.changed", "agent.deleted"),
        attacks=(_PROBED, _BROKEN + "test_p1_a_comparison_by_letters_alone_is_seen"),
    ),
    Claim(
        "P2",
        "A tool's arguments pass the policy before they reach its handler.",
        "A gateway that was taken over: its calls meet the proxy's own rules.",
        sentences=("Tool call arguments pass",),
        events=(
            "policy.allowed",
            "policy.denied",
            "policy.asked",
            "tool.called",
            "tool.failed",
            "approval.granted",
            "approval.refused",
            "approval.expired",
        ),
        attacks=(_PROBED, _BROKEN + "test_p2_a_broker_that_calls_before_it_decides_is_seen"),
    ),
    Claim(
        "A1",
        "HTTP Basic guards the page where a password is set.",
        "A password that others know.",
        sentences=("Authentication", "v0.3 ships", "Set MYCELOS_PASSWORD"),
        commands=("password",),
        variables=("MYCELOS_PASSWORD", "MYCELOS_PASSWORD_HASH"),
        events=(
            "auth.login",
            "auth.login_failed",
            "auth.locked_out",
            "auth.logout",
            "auth.session_revoked",
            "auth.token_created",
            "auth.token_revoked",
        ),
        deferred="Basic and its lockout stand and are tested; timing and brute force come with sign-in.",
    ),
    Claim(
        "A2",
        "The page listens on this machine only, and nobody gets in without its link.",
        "A browser extension, and other programs of the same user.",
        sentences=("By default the gateway binds",),
        variables=("MYCELOS_BIND", "MYCELOS_PORT"),
        events=("auth.link_created",),
        attacks=(_PROBED, _BROKEN + "test_a2_a_page_that_answers_a_foreign_host_is_seen"),
    ),
    Claim(
        "A3",
        "Passkeys sign people in and approve exact requests.",
        "A lost device that is not removed.",
        sentences=("Passkey (WebAuthn)",),
        events=("auth.passkey_enrolled", "auth.passkey_removed"),
        deferred="Passkeys come with sign-in.",
    ),
    Claim(
        "A4",
        "Behind a TLS-terminating proxy only trusted peers speak for others.",
        "A reverse proxy that was taken over.",
        sentences=("Until then, exposing",),
        variables=("MYCELOS_PUBLIC_URL", "MYCELOS_TRUSTED_PROXIES"),
        deferred="The examples for Caddy and nginx come with sign-in.",
    ),
    Claim(
        "L1",
        "Every operation that changes state is in audit_events.",
        "What a hijacked gateway does to its own chats and agents is only claimed by it.",
        sentences=("Audit trail", "Every state-mutating operation"),
        variables=("MYCELOS_DATABASE_URL",),
        events=("schedule.changed", "schedule.fired", "audit.exported"),
        deferred="The walk over every route and command comes with the deepening of the ledger.",
    ),
    Claim(
        "L2",
        "The trail is append-only, and tampering with its file is detected and located.",
        "Entries after the newest remembered head; a thief of every keeper's memory.",
        sentences=("The trail is append-only",),
        variables=("MYCELOS_WITNESS",),
        events=("ledger.checkpoint", "ledger.verify_failed", "ledger.restored", "clock.stepped"),
        attacks=(
            "test_ledger_tampering.py::test_tampering_with_full_write_access_is_detected_and_located",
            "test_ledger_tampering.py::test_rolling_back_to_an_old_copy_is_detected",
            "test_ledger_tampering.py::test_writing_on_from_an_old_copy_is_detected",
            _PROBED,
            _BROKEN + "test_l2_a_ledger_that_was_tampered_with_is_seen",
        ),
    ),
    Claim(
        "L3",
        "The trail can be looked at from the command line, by time, by event and by what is suspicious.",
        "The time line on the page is still to come.",
        sentences=("View it from the Settings page", "mycelos db audit"),
        commands=("db audit",),
        attacks=(_PROBED, _BROKEN + "test_l3_a_filter_that_hides_a_suspicious_event_is_seen"),
    ),
    Claim(
        "L4",
        "Every call at the proxy is on record before it takes effect, and without the secret.",
        "What does not cross the proxy.",
        sentences=("All credential-proxy calls log",),
        events=("proxy.http_request", "proxy.auth_failed", "intent.unresolved"),
        attacks=(_PROBED, _BROKEN + "test_l4_a_proxy_that_does_not_record_is_seen"),
    ),
    Claim(
        "X1",
        "In Docker, installing packages at run time is blocked and on record.",
        "Packages that a person builds into the image.",
        sentences=("Disabled in Docker", "Some operations", "- Runtime", "pip install", "For extra Python packages"),
        events=("package.install_blocked",),
        deferred="Comes with the containers.",
    ),
    Claim(
        "X2",
        "MCP servers start through the proxy's manager only.",
        "What a registered server does with what it was given.",
        sentences=("- Arbitrary subprocess launch",),
        events=("mcp.registered", "mcp.started", "mcp.called", "mcp.stopped", "mcp.refused"),
        deferred="The manager is still to come; nothing starts an MCP server.",
    ),
    Claim(
        "B1",
        "Agents run in a sandbox: no file but their workspace, no network, few system calls.",
        "Faults of the kernel; under Landlock alone a run learns that a file exists, and its size.",
        sentences=("Sandbox", "Agents run in sandboxed subprocesses"),
        commands=("sandbox",),
        events=(
            "run.started",
            "run.finished",
            "run.failed",
            "run.cancelled",
            "sandbox.refused",
            "sandbox.killed",
            "sandbox.probe_failed",
        ),
        attacks=(_PROBED, _BROKEN + "test_b1_a_sandbox_with_a_hole_is_seen"),
    ),
)

BY_ID: Final = {claim.id: claim for claim in CLAIMS}
