from __future__ import annotations

import pytest

from mycelos.prove import failures
from mycelos.prove.failing_upstream import FAILURES
from mycelos.prove.installation import Installation
from mycelos.prove.outcome import CannotShowError
from mycelos.prove.twin import Twin


def test_no_failure_tells_the_credential_on_the_code_as_it_is(layout):
    findings = failures.probe_failures(Installation(layout, None))
    assert [finding for finding in findings if not finding.held] == []
    assert len(findings) == len(FAILURES) + 4


def test_a_credential_that_does_not_arrive_shows_nothing(layout, monkeypatch):
    monkeypatch.setattr(Twin, "everything", lambda *_, **__: b"HTTP/1.1 200 OK\r\n\r\n{}")
    with pytest.raises(CannotShowError, match="would show nothing"):
        failures.probe_failures(Installation(layout, None))


def test_a_log_that_is_not_loud_shows_nothing(layout, monkeypatch):
    monkeypatch.setattr("mycelos.prove.twin._LOUD", "")
    with pytest.raises(CannotShowError, match="log"):
        failures.probe_failures(Installation(layout, None))


def test_an_answer_s_code_is_read_and_what_is_no_json_has_none():
    assert failures._code(b'HTTP/1.1 502 x\r\n\r\n{"code": "upstream_invalid"}') == "upstream_invalid"
    assert failures._code(b'HTTP/1.1 200 OK\r\n\r\n{"status": 500}') == ""
    assert failures._code(b"HTTP/1.1 200 OK\r\n\r\nnone") == "no JSON"


def test_a_text_that_holds_a_form_is_found():
    assert failures._searched("look", b"a secret", [b"secret"]).held is False
    assert failures._searched("look", b"nothing", [b"secret"]).held is True
