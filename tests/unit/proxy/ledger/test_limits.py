from __future__ import annotations

import pytest

from mycelos.configuration.operator_file import LedgerSettings
from mycelos.ledger.entry import Phase, make_draft
from mycelos.ledger.events import Event
from mycelos.proxy.ledger.limits import REPORT_EVERY, STRANGERS_BURST, STRANGERS_RATE, LedgerLimits, LimitedError
from mycelos.wire.problems import ProblemCode

CLAIM = make_draft(Event.TOOL_CALLED, Phase.FACT, tenant="t")
REFUSAL = make_draft(Event.PROXY_BINDING_VIOLATION, Phase.FACT, tenant="t")
INTENT = make_draft(Event.PROXY_HTTP_REQUEST, Phase.INTENT, tenant="t")
OUTCOME = make_draft(Event.PROXY_HTTP_REQUEST, Phase.OUTCOME, tenant="t", intent_seq=0)
GUESS = make_draft(Event.OPERATOR_LOGIN_FAILED, Phase.FACT, tenant="t")
SIGN_IN = make_draft(Event.OPERATOR_LOGIN, Phase.FACT, tenant="t")
REVOCATION = make_draft(Event.CREDENTIAL_DELETED, Phase.INTENT, tenant="t")
SIZE = CLAIM.size


class World:
    """Limits with room for four entries at once and one a second, a clock and a disk."""

    def __init__(self):
        self.now = 0.0
        self.is_full = False
        settings = LedgerSettings(bytes_per_second=SIZE, burst_bytes=4 * SIZE)
        self.limits = LedgerLimits(settings, self, lambda: self.now)

    def is_reached(self):
        return self.is_full

    def taken(self, draft, count=20):
        """How many of ``count`` are admitted, and the last refusal."""
        taken, refusal = 0, None
        for _ in range(count):
            try:
                self.limits([draft])
            except LimitedError as error:
                refusal = error
            else:
                taken += 1
        return taken, refusal


@pytest.fixture
def world():
    return World()


def test_a_burst_is_taken_and_then_a_rate(world):
    taken, refusal = world.taken(CLAIM)
    assert (taken, refusal.problem.code, refusal.source) == (4, ProblemCode.RATE_LIMITED, "gateway")
    world.now += 2.0
    assert world.taken(CLAIM)[0] == 2
    world.now += 1000.0
    assert world.taken(CLAIM)[0] == 4


def test_size_counts_and_not_only_number(world):
    large = make_draft(Event.TOOL_CALLED, Phase.FACT, tenant="t", reason="x" * SIZE)
    assert world.taken(large)[0] == 4 * SIZE // large.size


def test_the_gateway_s_claims_and_its_requests_have_a_limit_each(world):
    assert world.taken(CLAIM)[0] == 4
    assert world.taken(REFUSAL)[0] == 4


def test_a_failed_sign_in_is_recorded_whatever_the_gateway_floods(world):
    world.taken(CLAIM)
    world.taken(REFUSAL)
    assert world.taken(GUESS) == (20, None)


def test_guessing_has_a_limit_of_its_own_which_takes_nothing_from_others(world):
    taken, refusal = world.taken(GUESS, 10_000)
    assert taken == STRANGERS_BURST // GUESS.size
    assert (refusal.problem.code, refusal.source) == (ProblemCode.RATE_LIMITED, "operator")
    assert "mycelos open --operator" in refusal.problem.next
    world.now += 10.0
    assert world.taken(GUESS, 1000)[0] in {10 * STRANGERS_RATE // GUESS.size, 10 * STRANGERS_RATE // GUESS.size + 1}
    assert world.taken(SIGN_IN) == (20, None)
    assert world.taken(REVOCATION) == (20, None)
    assert world.taken(CLAIM)[0] == 4
    assert world.taken(REFUSAL)[0] == 4


def test_no_limit_stops_a_revocation(world):
    world.taken(CLAIM)
    world.taken(REFUSAL)
    world.is_full = True
    assert world.taken(REVOCATION) == (20, None)


def test_an_outcome_is_always_taken_and_the_next_intents_pay_for_it(world):
    world.taken(INTENT)
    assert world.taken(OUTCOME, 3) == (3, None)
    world.now += 3.0
    assert world.taken(INTENT)[0] == 0
    world.now += 1.0
    assert world.taken(INTENT)[0] == 1


def test_on_a_disk_that_is_nearly_full_only_what_comes_first_is_taken(world):
    world.is_full = True
    for draft in (CLAIM, REFUSAL, INTENT):
        taken, refusal = world.taken(draft)
        assert (taken, refusal.problem.code) == (0, ProblemCode.AUDIT_UNAVAILABLE)
    assert world.taken(OUTCOME) == (20, None)
    world.is_full = False
    assert world.taken(CLAIM)[0] == 4


def test_that_a_limit_refuses_is_to_be_reported_once_a_minute_with_how_often(world):
    world.taken(CLAIM, 4)
    reports = []
    for _ in range(3):
        reports.append(world.taken(CLAIM, 1)[1].report)
    world.now += REPORT_EVERY
    world.taken(CLAIM, 4)
    reports.append(world.taken(CLAIM, 1)[1].report)
    assert reports == [1, 0, 0, 3]
