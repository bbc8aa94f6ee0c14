from __future__ import annotations

import pytest

from mycelos.prove.outcome import CannotShowError
from mycelos.prove.recorded_requests import requests_that_say_a_secret
from mycelos.prove.twin import Answer, Twin


def test_no_secret_of_a_request_is_on_record_on_the_code_as_it_is():
    findings = requests_that_say_a_secret()
    assert [finding for finding in findings if not finding.held] == []
    assert len(findings) == 2


def test_a_proxy_that_lets_nothing_go_shows_nothing(monkeypatch):
    monkeypatch.setattr(Twin, "use", lambda *_, **__: Answer(403, {}))
    with pytest.raises(CannotShowError, match="not on record at all"):
        requests_that_say_a_secret()
