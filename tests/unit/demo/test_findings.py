from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mycelos.demo.findings import Evidence, judge


def ledger(*events: str) -> str:
    return json.dumps([{"event": event} for event in events])


GOOD = Evidence(
    token="the-secret",
    answer="The moss spreads over the path",
    refusals="Refused (policy_denied)",
    ledger=ledger("policy.denied", "proxy.binding_violation", "proxy.ssrf_blocked"),
    verified="holds: every link holds\n  entries 9\n",
    seen_by_model="[]",
    seen_by_api=[{"method": "GET", "path": "/repos/mycelos/garden/issues", "authenticated": True}],
    seen_by_thief=[],
)


def failing(evidence: Evidence) -> list[str]:
    return [finding.title for finding in judge(evidence) if not finding.holds]


def test_a_tour_that_showed_everything_holds() -> None:
    assert failing(GOOD) == []


@pytest.mark.parametrize(
    ("change", "title"),
    [
        ({"seen_by_api": []}, "the agent's answer"),
        ({"seen_by_api": [{"method": "GET", "path": "/", "authenticated": False}]}, "the agent's answer"),
        ({"answer": "nothing came"}, "the agent's answer"),
        ({"answer": "moss, by the-secret"}, "the agent's answer"),
        ({"refusals": "the-secret"}, "the agent's answer"),
        ({"seen_by_model": "the-secret"}, "the agent's answer"),
        ({"ledger": ledger("proxy.binding_violation", "proxy.ssrf_blocked")}, "the refused write"),
        ({"seen_by_api": [*GOOD.seen_by_api, {"method": "POST", "authenticated": True}]}, "the refused write"),
        ({"ledger": ledger("policy.denied", "proxy.ssrf_blocked")}, "the refused theft"),
        ({"ledger": ledger("policy.denied", "proxy.binding_violation")}, "the refused theft"),
        ({"seen_by_thief": [{"url": "/collect"}]}, "the refused theft"),
        ({"verified": "does not hold: entry 3\n"}, "the verified ledger"),
        ({"verified": ""}, "the verified ledger"),
    ],
)
def test_a_tour_in_which_something_is_missing_says_which(change, title: str) -> None:
    assert failing(replace(GOOD, **change)) == [title]
