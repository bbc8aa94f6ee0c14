from __future__ import annotations

import pytest

from mycelos.prove import policy
from mycelos.wire.runner import ToolCall


def test_names_around_a_capability_are_told_apart_by_the_code_as_it_is():
    assert all(finding.held for finding in policy.probe_capabilities(None))


def test_the_broker_as_it_is_decides_and_records_before_it_acts():
    findings = policy.probe_broker(None)
    assert [finding for finding in findings if not finding.held] == []
    assert len(findings) == 9


def test_a_handler_that_ran_is_seen():
    assert not policy._never_handled("try", ["policy.denied fact", "handler 1"]).held
    assert policy._never_handled("try", ["policy.denied fact"]).held


@pytest.mark.anyio
async def test_the_order_of_things_is_what_the_broker_really_did():
    steps = await policy._House().run(
        ToolCall(id="1", tool="probe.read.item", args={"value": "7"}),
        ToolCall(id="2", tool="probe.write.item", args={"value": "8"}),
    )
    assert steps == [
        "policy.allowed fact",
        "tool.called intent",
        "handler 7",
        "tool.called outcome",
        "policy.denied fact",
    ]
