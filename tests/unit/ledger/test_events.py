from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import mycelos
from mycelos.ledger.events import EVENTS, SUSPICIOUS, Event, Source


def test_every_event_has_a_rule():
    assert set(EVENTS) == set(Event)


@pytest.mark.parametrize("event", Event, ids=str)
def test_an_event_is_named_area_dot_verb(event):
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", event.value)


def test_the_suspicious_events_are_those_whose_rule_says_so():
    assert {event for event in Event if EVENTS[event].is_suspicious} == SUSPICIOUS
    assert Event.PROXY_SSRF_BLOCKED in SUSPICIOUS
    assert Event.RUN_FINISHED not in SUSPICIOUS


@pytest.mark.parametrize("area", ["proxy", "credential", "key", "ledger", "egress", "lockdown", "intent", "clock"])
def test_what_only_proxy_and_operator_can_know_is_not_for_the_gateway_to_say(area):
    sources = {EVENTS[event].source for event in Event if event.value.startswith(f"{area}.")}
    assert sources
    assert sources <= {Source.PROXY, Source.OPERATOR}


LATER = {
    "approval.granted approval.refused approval.expired policy.asked": "a gateway that asks a person by itself",
    "auth.passkey_enrolled auth.passkey_removed auth.token_created auth.token_revoked": "the sign-in of the page",
    "mcp.registered mcp.started mcp.called mcp.stopped mcp.refused": "the manager of MCP servers",
    "memory.saved memory.forgotten": "the memory of agents",
    "package.install_blocked": "the containers",
    "policy.changed": "a policy beside the capabilities, whose changes are agent.changed",
    "sandbox.probe_failed": "probes of the sandbox at each start",
    "schedule.changed schedule.fired": "schedules",
    "telegram.paired telegram.unpaired": "Telegram",
}
"""Events that nothing writes yet, by what will."""


def written():
    """Every event that a module names outside of the ledger's own list and of the probes."""
    root = Path(mycelos.__file__).parent
    found = set()
    for path in root.rglob("*.py"):
        if path.relative_to(root).parts[0] in {"prove", "ledger"} or (
            path.parent.name == "cli" and path.name == "audit.py"
        ):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Event":
                found |= {Event[node.attr]} & set(Event) if node.attr in Event.__members__ else set()
    return found | {Event.INTENT_UNRESOLVED}


def test_no_event_is_dead_and_what_comes_later_is_named():
    later = {Event(name) for names in LATER for name in names.split()}
    assert set(Event) - written() == later


def test_each_event_of_the_interface_exists():
    names = [
        "proxy.http_request",
        "proxy.credential_materialized",
        "proxy.materialize_denied",
        "proxy.auth_failed",
        "proxy.ssrf_blocked",
        "package.install_blocked",
        "proxy.started",
        "proxy.binding_violation",
        "proxy.response_scrubbed",
        "credential.stored",
        "credential.rotated",
        "credential.deleted",
        "credential.bound",
        "credential.parked",
        "credential.confirmed",
        "key.rotated",
        "policy.allowed",
        "policy.denied",
        "policy.asked",
        "policy.changed",
        "approval.granted",
        "approval.refused",
        "approval.expired",
        "run.started",
        "run.finished",
        "run.failed",
        "run.cancelled",
        "tool.called",
        "tool.failed",
        "sandbox.refused",
        "sandbox.killed",
        "sandbox.probe_failed",
        "mcp.registered",
        "mcp.started",
        "mcp.called",
        "mcp.stopped",
        "mcp.refused",
        "auth.login",
        "auth.login_failed",
        "auth.locked_out",
        "auth.logout",
        "auth.passkey_enrolled",
        "auth.passkey_removed",
        "agent.created",
        "agent.changed",
        "agent.deleted",
        "gateway.started",
        "ledger.checkpoint",
        "ledger.verify_failed",
        "egress.opened",
        "auth.token_created",
        "auth.token_revoked",
        "auth.session_revoked",
        "chat.created",
        "chat.deleted",
        "memory.saved",
        "memory.forgotten",
        "schedule.changed",
        "schedule.fired",
        "telegram.paired",
        "telegram.unpaired",
        "backup.created",
        "backup.restored",
        "audit.exported",
        "clock.stepped",
        "egress.rule_changed",
        "sandbox.wall_waived",
        "intent.unresolved",
        "ledger.rebuilt",
        "ledger.restored",
        "lockdown.set",
        "lockdown.lifted",
    ]
    assert {event.value for event in Event} >= set(names)
