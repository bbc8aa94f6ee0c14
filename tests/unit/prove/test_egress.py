from __future__ import annotations

import pytest

from mycelos.prove import egress
from mycelos.prove.installation import Installation
from mycelos.prove.outcome import CannotShowError
from mycelos.prove.twin import Answer, Twin


def test_every_address_is_refused_by_the_code_as_it_is_and_on_record(layout):
    findings = egress.probe_addresses(Installation(layout, None))
    assert [finding for finding in findings if not finding.held] == []
    assert len(findings) == len(egress.REFUSED) + 2


def test_the_table_holds_each_form_once_and_none_that_is_public():
    assert len(set(egress.REFUSED)) == len(egress.REFUSED) >= 25


def test_a_twin_that_reaches_nothing_at_all_shows_nothing(layout, monkeypatch):
    monkeypatch.setattr(Twin, "use", lambda *_, **__: Answer(403, {"code": "ssrf_blocked"}))
    with pytest.raises(CannotShowError, match="would show nothing"):
        egress.probe_addresses(Installation(layout, None))
