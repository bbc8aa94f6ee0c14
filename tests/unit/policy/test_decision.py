from __future__ import annotations

import dataclasses

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mycelos.policy.capabilities import grants
from mycelos.policy.decision import Allow, Ask, Deny, Reason, decide

TOOLS = frozenset({"github.read.issues", "github.read.repos", "github.write.issues", "web.fetch"})
NAMES = ["github", "github.read", "github.write", "web.fetch", "web", "git", "github.rea"]
CAPABILITIES = st.sets(st.sampled_from(NAMES))


def test_a_covered_tool_is_allowed_and_the_narrowest_capability_is_named():
    decision = decide(["github", "github.read"], "github.read.issues", registered=TOOLS)
    assert decision == Allow("github.read.issues", "github.read", Reason.CAPABILITY)


@pytest.mark.parametrize("tool", ["github.write.issues", "web.fetch"])
def test_an_uncovered_tool_is_denied_and_says_what_could_be_done(tool):
    decision = decide(["github.read"], tool, registered=TOOLS)
    assert isinstance(decision, Deny)
    assert decision.reason is Reason.NO_CAPABILITY
    assert tool in decision.detail
    assert "grant" in decision.next_step


def test_an_empty_set_grants_nothing():
    for tool in TOOLS:
        assert isinstance(decide([], tool, registered=TOOLS), Deny)


@pytest.mark.parametrize("tool", ["github", "", "github.", "GitHub.read.issues", "github.read.issues\n", "a" * 500])
def test_what_is_no_tool_s_name_is_denied(tool):
    decision = decide(["github"], tool, registered=TOOLS)
    assert isinstance(decision, Deny)
    assert decision.reason is Reason.MALFORMED_TOOL


@pytest.mark.parametrize("bad", ["", "*", "github.*", "GitHub", "github."])
def test_one_malformed_capability_refuses_every_call(bad):
    for arguments in ({"capabilities": ["github.read", bad]}, {"capabilities": ["github"], "person_decides": [bad]}):
        decision = decide(tool="github.read.issues", registered=TOOLS, **arguments)
        assert isinstance(decision, Deny)
        assert decision.reason is Reason.MALFORMED_CAPABILITY


def test_a_tool_that_does_not_exist_is_denied_even_where_it_is_covered():
    decision = decide(["github"], "github.read.secrets", registered=TOOLS)
    assert isinstance(decision, Deny)
    assert decision.reason is Reason.UNKNOWN_TOOL


def test_where_a_person_decides_the_answer_is_ask():
    decision = decide(["github"], "github.write.issues", registered=TOOLS, person_decides=["github.write"])
    assert decision == Ask("github.write.issues", "github", Reason.PERSON_DECIDES)


@given(CAPABILITIES, st.sampled_from(sorted(TOOLS)), CAPABILITIES)
def test_a_rule_that_asks_a_person_only_narrows(capabilities, tool, asks):
    with_rule = decide(capabilities, tool, registered=TOOLS, person_decides=asks)
    without = decide(capabilities, tool, registered=TOOLS)
    assert isinstance(without, Allow) == any(grants(name, tool) for name in capabilities)
    if isinstance(with_rule, Allow):
        assert with_rule == without
    assert isinstance(with_rule, Deny) == isinstance(without, Deny)


@pytest.mark.parametrize("decision", [Allow("a.b", "a"), Ask("a.b", "a"), Deny("a.b", Reason.NO_CAPABILITY, "", "")])
def test_a_decision_cannot_be_changed(decision):
    with pytest.raises(dataclasses.FrozenInstanceError):
        decision.tool = "x.y"
