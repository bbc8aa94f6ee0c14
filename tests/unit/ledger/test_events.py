from __future__ import annotations

import re

import pytest

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
