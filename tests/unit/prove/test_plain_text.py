from __future__ import annotations

import pytest

from mycelos.prove import plain_text
from mycelos.prove.installation import Installation
from mycelos.prove.outcome import CannotShowError
from mycelos.prove.twin import Answer, Twin


def test_the_gateway_sees_nothing_in_plain_on_the_code_as_it_is(layout):
    findings = plain_text.probe_gateway(Installation(layout, None))
    assert [finding for finding in findings if not finding.held] == []
    assert len(findings) == 6


def test_a_check_that_refuses_every_text_shows_nothing(layout, monkeypatch):
    monkeypatch.setattr(Twin, "gateway", lambda *_, **__: Answer(200, {"is_held": True}))
    with pytest.raises(CannotShowError, match="harmless"):
        plain_text.probe_gateway(Installation(layout, None))
