from __future__ import annotations

import msgspec
import pytest

from mycelos.prove import injection
from mycelos.prove.installation import Installation
from mycelos.prove.outcome import CannotShowError
from mycelos.prove.twin import Answer, Twin
from mycelos.wire.binding import Basic, Bearer, Header, Injection, UrlPath
from mycelos.wire.operator import RotateCredential, check_secret
from mycelos.wire.problems import ProblemCode, Refusal


def test_the_injection_probe_holds_on_the_code_as_it_is(layout):
    findings = injection.probe_injection(Installation(layout, None))
    assert [finding for finding in findings if not finding.held] == []
    assert len(findings) > 30


def test_each_form_of_injection_has_a_credential():
    # The twin's own is the bearer.
    assert {type(form) for form in injection._FORMS.values()} | {Bearer} == set(Injection.__args__)
    assert {Basic, Header, UrlPath} == {type(form) for form in injection._FORMS.values()}


@pytest.mark.parametrize("secret", injection.BAD_SECRETS)
def test_each_bad_secret_would_be_refused_by_the_client_so_it_is_sent_past_it(secret):
    with pytest.raises(ValueError, match="secret"):
        check_secret(secret)
    message = RotateCredential(service="x", secret="y" * 8)
    msgspec.structs.force_setattr(message, "secret", secret)
    assert msgspec.json.decode(msgspec.json.encode(message))["secret"] == secret


def test_what_a_door_takes_is_not_said_to_be_refused():
    def refuse(_):
        raise Refusal(ProblemCode.INVALID_REQUEST, "x", "y")

    assert injection._is_refused(refuse, None)
    assert not injection._is_refused(lambda _: None, None)


def test_a_twin_that_reaches_nothing_at_all_shows_nothing(layout, monkeypatch):
    monkeypatch.setattr(Twin, "use", lambda *_, **__: Answer(403, {"code": "ssrf_blocked"}))
    with pytest.raises(CannotShowError, match="would show nothing"):
        injection.probe_injection(Installation(layout, None))
