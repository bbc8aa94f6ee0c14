"""What nobody signed is exactly what a command writes beside a stopped system, or it is refused."""

from __future__ import annotations

import pytest

from mycelos.ledger.chain import EMPTY, seal
from mycelos.ledger.entry import EntryError, Phase, make_draft
from mycelos.ledger.events import ANCHOR, ANCHORED, EVENTS, UNSIGNED, Event
from mycelos.ledger.fault import FaultFoundError
from mycelos.ledger.unsigned import LIMIT, demand_unsigned
from mycelos.wire.identifiers import DEFAULT_TENANT

AT = "2026-01-31T12:00:00.000000Z"


def entry(event=Event.BACKUP_CREATED, **about):
    about = {"principal": "operator", "outcome": "ok", "details": {"size": 7, "file_label": "a.age"}} | about
    return seal(make_draft(event, Phase.FACT, tenant=DEFAULT_TENANT, **about), EMPTY, 3, AT, 5)


@pytest.mark.parametrize("event", sorted(UNSIGNED))
def test_each_event_of_the_list_may_stand_there(event):
    demand_unsigned([entry(event, details={}), entry(event, details={})._replace(epoch=4)], 2, "a key")


def test_none_of_the_list_is_a_claim_of_the_gateway_or_an_effect():
    assert {EVENTS[event].source.value for event in UNSIGNED} == {"operator", "proxy"}
    assert Event.INTENT_UNRESOLVED not in UNSIGNED


@pytest.mark.parametrize("event", sorted(set(Event) - UNSIGNED))
def test_every_other_event_is_refused(event):
    with pytest.raises(FaultFoundError, match="no checkpoint covers"):
        demand_unsigned([entry()._replace(event=event.value, source=EVENTS[event].source.value)], 3, "a key")


@pytest.mark.parametrize(
    "changed",
    [
        {"details": "garbage"},
        {"details": "[]"},
        {"details": "null"},
        {"details": '{"size": 7}'},
        {"details": '{"size":"7"}'},
        {"details": '{"unknown":7}'},
        {"details": '{"size":7,"size":7}'},
        {"details": '{"' + ANCHOR + '":"' + "ab" * 32 + '","vault_generation":4}'},
        {"details": "[" * 100_000},
        {"epoch": 2},
        {"epoch": 5},
        {"epoch": 2**63 - 1},
        {"mono": -1},
        {"mono": 2**53},
        {"at": "not a time"},
        {"at": "9999-99-99T12:00:00.000000Z"},
        {"at": "2026-01-31T12:00:00Z"},
        {"phase": "outcome", "intent_seq": 17},
        {"phase": "intent"},
        {"intent_seq": 17},
        {"source": "proxy"},
        {"source": "gateway"},
        {"tenant": "another"},
        {"args_mac": "ab" * 32},
        {"principal": "\x1b[31m"},
        {"reason": "x" * 600},
    ],
    ids=str,
)
def test_what_is_not_as_it_would_be_written_is_refused(changed):
    with pytest.raises(FaultFoundError, match="no checkpoint covers"):
        demand_unsigned([entry()._replace(**changed)], 3, "a key")


def test_none_of_them_may_say_what_the_vault_held():
    # The start believes that, so it is for who has the key to write.
    assert not UNSIGNED & ANCHORED
    with pytest.raises(EntryError, match=ANCHOR):
        entry(details={"size": 7, ANCHOR: "ab" * 32})


def test_they_are_few():
    demand_unsigned([entry()] * LIMIT, 3, "a key")
    with pytest.raises(FaultFoundError):
        demand_unsigned([entry()] * (LIMIT + 1), 3, "a key")


def test_the_first_that_is_wrong_is_told():
    rows = [entry(), entry()._replace(seq=1, at="never"), entry()._replace(seq=2, at="never")]
    with pytest.raises(FaultFoundError) as caught:
        demand_unsigned(rows, 3, "a key")
    assert caught.value.fault.seq == 1
