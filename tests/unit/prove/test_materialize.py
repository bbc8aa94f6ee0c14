from __future__ import annotations

import pytest

from mycelos.prove import materialize, twin
from mycelos.prove.installation import Installation
from mycelos.prove.outcome import CannotShowError

NEVER = """
from mycelos.proxy.materialize import DeniedError, Denial, Materializing

def refuse(self, service):
    raise DeniedError(Denial.NOT_ARMED)

Materializing._spend = refuse
"""


def test_the_probe_holds_on_the_code_as_it_is(layout):
    findings = materialize.probe_materialize(Installation(layout, None))
    assert [finding for finding in findings if not finding.held] == []
    assert len(findings) >= 22


def test_where_nothing_is_ever_given_out_nothing_is_shown(layout, monkeypatch):
    """A refusal says something only where the same request would have been answered at another time."""
    monkeypatch.setattr(twin, "PROGRAM", NEVER + twin.PROGRAM)
    with pytest.raises(CannotShowError, match="does not give out"):
        materialize.probe_materialize(Installation(layout, None))
