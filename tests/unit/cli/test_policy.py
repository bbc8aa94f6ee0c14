from __future__ import annotations

import json

import pytest

AGENT = {
    "name": "gardener",
    "instructions": "",
    "capabilities": ["github.read"],
    "model": None,
    "created_at": "2026-01-01T00:00:00.000000Z",
}


@pytest.fixture
def agent(gateway):
    gateway.answers["GET /api/agents/gardener"] = (200, AGENT)
    return gateway


@pytest.mark.parametrize(
    ("tool", "code", "word"),
    [
        ("github.read.issues", 0, "allow"),
        ("github.write.comment", 5, "deny"),
        ("github.read.everything", 5, "deny"),
        ("github.read", 5, "deny"),
        ("GitHub.read.issues", 5, "deny"),
    ],
)
def test_a_decision_is_the_exit_code(mycelos, agent, tool: str, code: int, word: str) -> None:
    found, out, _ = mycelos("policy", "check", "gardener", tool)
    assert found == code
    assert out.startswith(f"{word}: ")


def test_a_decision_as_json_has_its_reason(mycelos, agent) -> None:
    code, out, _ = mycelos("policy", "check", "gardener", "github.write.comment", "--json")
    assert code == 5
    decision = json.loads(out)
    assert (decision["decision"], decision["reason"]) == ("deny", "no_capability")


def test_a_call_that_needs_a_person_is_exit_code_four(mycelos, agent, monkeypatch) -> None:
    from mycelos.cli import policy
    from mycelos.policy.decision import Ask

    monkeypatch.setattr(policy, "decide", lambda _capabilities, tool, **_: Ask(tool, "github.read"))
    code, out, _ = mycelos("policy", "check", "gardener", "github.read.issues")
    assert code == 4
    assert out.startswith("ask: ")


def test_an_unknown_agent_is_an_error_and_no_decision(mycelos, gateway) -> None:
    assert mycelos("policy", "check", "nobody", "github.read.issues")[0] == 1
