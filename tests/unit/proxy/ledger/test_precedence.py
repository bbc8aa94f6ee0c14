from __future__ import annotations

import pytest

from mycelos.ledger.entry import Phase, make_draft
from mycelos.ledger.events import EVENTS, Event, Source
from mycelos.proxy.ledger.precedence import comes_first

REVOCATIONS = (Event.CREDENTIAL_DELETED, Event.CREDENTIAL_ROTATED, Event.CREDENTIAL_PARKED, Event.LOCKDOWN_SET)
CALLED_FOR = (
    Event.PROXY_HTTP_REQUEST,
    Event.PROXY_AUTH_FAILED,
    Event.PROXY_SSRF_BLOCKED,
    Event.PROXY_BINDING_VIOLATION,
    Event.PROXY_SECRET_REFUSED,
    Event.PROXY_MATERIALIZE_DENIED,
    Event.CONFIRM_ASKED,
    Event.OPERATOR_LOGIN_FAILED,
)


def draft(event, phase=Phase.FACT):
    return make_draft(event, phase, tenant="t", intent_seq=0 if phase is Phase.OUTCOME else None)


@pytest.mark.parametrize("event", REVOCATIONS, ids=str)
@pytest.mark.parametrize("phase", Phase, ids=str)
def test_a_revocation_comes_first_from_its_intent_to_its_outcome(event, phase):
    assert comes_first(draft(event, phase))


@pytest.mark.parametrize("event", CALLED_FOR, ids=str)
def test_what_somebody_can_call_for_again_and_again_does_not(event):
    assert not comes_first(draft(event))


@pytest.mark.parametrize("phase", Phase, ids=str)
@pytest.mark.parametrize("event", [event for event in Event if EVENTS[event].source is Source.GATEWAY], ids=str)
def test_nothing_that_the_gateway_claims_does(event, phase):
    assert not comes_first(draft(event, phase))


def test_the_outcome_of_a_request_does_because_its_intent_was_admitted():
    assert comes_first(draft(Event.PROXY_HTTP_REQUEST, Phase.OUTCOME))
    assert not comes_first(draft(Event.PROXY_HTTP_REQUEST, Phase.INTENT))
