from __future__ import annotations

import json

import pytest

from mycelos.ledger.events import Event
from mycelos.prove import bindings
from mycelos.prove.bindings import Attempt
from mycelos.prove.installation import Installation
from mycelos.prove.outcome import CannotShowError
from mycelos.prove.twin import Answer, Twin
from mycelos.wire.binding import Binding
from mycelos.wire.problems import ProblemCode


class Entry:
    def __init__(self, seq, event, **details):
        self.seq, self.event, self.details = seq, event, json.dumps(details)


class Recording:
    """A twin whose ledger grows by what a test says when it is used."""

    def __init__(self, answer, *new):
        self.answer = answer
        self.new = new
        self.ledger = [Entry(0, Event.PROXY_STARTED)]

    def use(self):
        self.ledger += [
            Entry(len(self.ledger) + number, event, **details) for number, (event, details) in enumerate(self.new)
        ]
        return self.answer

    def entries(self, after=-1):
        return [entry for entry in self.ledger if entry.seq > after]


VIOLATION = Answer(403, {"code": "binding_violation"})
RECORD = (Event.PROXY_BINDING_VIOLATION, {"reasons": ["host", "port"]})


def judged(twin, field="host", code=ProblemCode.BINDING_VIOLATION):
    return bindings._refused(twin, Attempt("x", twin.use, field, code))


def test_the_bearer_probe_holds_on_the_code_as_it_is(layout):
    findings = bindings.probe_bearer(Installation(layout, None))
    assert [finding for finding in findings if not finding.held] == []
    assert len(findings) > 30


def test_each_field_of_a_binding_is_attacked(layout, monkeypatch):
    """Response rules and quotas say what comes back and how often, not where; the version is the form itself."""
    attempts = []
    monkeypatch.setattr(bindings, "_refused", lambda _, attempt: attempts.append(attempt))
    bindings.probe_bearer(Installation(layout, None))
    confirmed = {"confirm"} if any(one.code is ProblemCode.APPROVAL_REQUIRED for one in attempts) else set()
    attacked = {attempt.field for attempt in attempts} | confirmed
    # A head that the door never saw is on record by that word.
    assert attacked - {"", "head"} == set(Binding.__struct_fields__) - {"v", "response", "quota"}


def test_a_refusal_that_is_on_record_with_the_field_holds():
    finding = judged(Recording(VIOLATION, RECORD))
    assert finding.held
    assert finding.happened == "status 403 binding_violation (host), on record as proxy.binding_violation"


@pytest.mark.parametrize(
    "twin",
    [
        Recording(Answer(200, {"status": 200}), RECORD),
        Recording(Answer(403, {"code": "ssrf_blocked"}), RECORD),
        Recording(VIOLATION),
        Recording(VIOLATION, RECORD, RECORD),
        Recording(VIOLATION, (Event.PROXY_SSRF_BLOCKED, {})),
        Recording(VIOLATION, (Event.PROXY_BINDING_VIOLATION, {"reasons": ["path"]})),
    ],
    ids=["not refused", "another code", "not on record", "twice on record", "another event", "another field"],
)
def test_anything_else_does_not(twin, monkeypatch):
    monkeypatch.setattr(bindings, "_RECORD_SECONDS", 0.05)
    assert not judged(twin).held


def test_what_is_not_well_formed_is_on_record_too_unless_it_names_no_one_credential(monkeypatch):
    monkeypatch.setattr(bindings, "_RECORD_SECONDS", 0.05)
    twin = Recording(Answer(400, {"code": "invalid_request"}))
    assert not judged(twin, "", ProblemCode.INVALID_REQUEST).held
    attempt = bindings.Attempt("x", twin.use, code=ProblemCode.INVALID_REQUEST, is_recorded=False)
    assert bindings._refused(twin, attempt).held


def test_a_twin_that_reaches_nothing_at_all_shows_nothing(layout, monkeypatch):
    monkeypatch.setattr(Twin, "use", lambda *_, **__: Answer(403, {"code": "ssrf_blocked"}))
    with pytest.raises(CannotShowError, match="would show nothing"):
        bindings.probe_bearer(Installation(layout, None))
