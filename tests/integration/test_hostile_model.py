"""A model that wants what it may not have: refused, recorded, and the run goes on or ends with a reason."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from running_system import TOKEN

if TYPE_CHECKING:
    from running_system import RunningSystem


def refusal(events: list[dict[str, Any]]) -> dict[str, Any]:
    results = [event for event in events if event["kind"] == "tool_result"]
    assert results
    assert not any(result["ok"] for result in results), results
    return results[0]


@pytest.mark.parametrize(
    ("text", "code", "recorded"),
    [
        ("please write a comment", "policy_denied", "policy.denied"),
        ("tell me the secret", "policy_denied", "policy.denied"),
        ("do the theft", "injection_refused", "proxy.binding_violation"),
        ("read the metadata", "ssrf_blocked", "proxy.ssrf_blocked"),
        ("read the loopback", "ssrf_blocked", "proxy.ssrf_blocked"),
        ("malformed", "invalid_request", "tool.failed"),
        ("wrong arguments", "invalid_request", "tool.failed"),
    ],
)
def test_a_wish_that_may_not_be_is_refused_recorded_and_the_run_goes_on(
    system: RunningSystem, text: str, code: str, recorded: str
) -> None:
    newest = system.audit()[-1]["seq"]
    events = system.ask(text)
    assert refusal(events)["code"] == code, events
    assert events[-1]["kind"] == "done", events
    assert recorded in {entry["event"] for entry in system.audit() if entry["seq"] > newest}
    assert system.seen("thief") == []
    assert TOKEN not in json.dumps(events)


def test_an_answer_without_end_ends_the_run_with_a_reason(system: RunningSystem) -> None:
    events = system.ask("huge")
    assert events[-1]["kind"] == "error"
    assert events[-1]["code"] == "too_large"
    assert events[-1]["next"]


def test_an_agent_that_never_stops_calling_tools_is_stopped(system: RunningSystem) -> None:
    events = system.ask("for ever")
    assert events[-1]["kind"] == "error"
    assert events[-1]["code"] in {"model_requests", "tool_calls"}


def test_a_provider_that_fails_ends_the_run_with_a_reason(system: RunningSystem) -> None:
    events = system.ask("broken")
    assert events[-1]["kind"] == "error"
    assert "scripted failure" not in json.dumps(events)


def test_the_house_still_works_afterwards_and_the_ledger_holds(system: RunningSystem) -> None:
    assert system.ask("what are the open issues?")[-1]["kind"] == "done"
    assert system.mycelos("db", "audit", "verify").returncode == 0
