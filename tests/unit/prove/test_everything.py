from __future__ import annotations

from mycelos.ledger.events import EVENTS, Source
from mycelos.prove.everything import GATEWAY, QUIET, STEPS


def test_what_is_quiet_is_used_in_no_step_that_must_be_recorded():
    walked = {(step.door, step.method, step.route) for step in STEPS}
    assert walked & set(QUIET) == {("operator", "POST", "/egress/rules")}, "its list reads, the rest changes"


def test_no_step_of_the_operator_s_is_left_to_the_gateway_to_tell():
    assert {EVENTS[step.event].source for step in STEPS if step.door != GATEWAY} == {Source.OPERATOR, Source.PROXY}


def test_each_quiet_route_has_its_reason():
    assert all(reason for reason, _ in QUIET.values())
