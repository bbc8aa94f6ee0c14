"""L1: whoever holds the gateway's bearer says what the gateway can know, as the gateway, and nothing else."""

from __future__ import annotations

import pytest
from there_is import operator_routes

from mycelos.ledger.entry import COLUMNS
from mycelos.ledger.events import EVENTS, Event, Source
from mycelos.ledger.fields import FIELDS, FieldType
from mycelos.prove.twin import Twin
from mycelos.wire.audit import AppendRequest
from mycelos.wire.secret_forms import secret_forms

SET_BY_THE_DOOR = sorted(set(COLUMNS) - set(AppendRequest.__struct_fields__))


@pytest.fixture(scope="module")
def proxy():
    with Twin(9) as started:
        yield started


def append(proxy, body):
    answer = proxy.gateway("POST", "/audit/append", body)
    return answer.status, answer.code


def test_each_event_is_taken_from_its_own_source_alone(proxy):
    before = len(proxy.entries())
    refused = {event for event in Event if append(proxy, {"event": event.value}) == (403, "forbidden")}
    assert refused == {event for event in Event if EVENTS[event].source is not Source.GATEWAY}
    left = proxy.entries(before - 1)
    assert {entry.source for entry in left} == {"gateway"}
    assert {entry.event for entry in left} == {event.value for event in Event if event not in refused}


@pytest.mark.parametrize("source", Source, ids=str)
def test_no_body_says_who_it_is(proxy, source):
    before = len(proxy.entries())
    for event in (Event.GATEWAY_STARTED, Event.LOCKDOWN_LIFTED):
        assert append(proxy, {"event": event.value, "source": source.value}) == (400, "invalid_request")
    assert len(proxy.entries()) == before


@pytest.mark.parametrize("column", SET_BY_THE_DOOR)
def test_no_body_sets_what_the_door_sets(proxy, column):
    before = len(proxy.entries())
    for value in (0, "", "2020-01-01T00:00:00.000000Z", "00" * 32):
        assert append(proxy, {"event": "gateway.started", column: value}) == (400, "invalid_request")
    assert len(proxy.entries()) == before


def test_time_and_place_of_what_is_taken_are_the_door_s(proxy):
    assert {"seq", "at", "mono", "epoch", "source", "tenant", "prev_hash", "leaf_hash"} <= set(SET_BY_THE_DOOR)
    last = proxy.entries()[-1]
    assert append(proxy, {"event": "gateway.started"})[0] == 200
    entry = proxy.entries()[-1]
    assert (entry.seq, entry.prev_hash, entry.epoch) == (last.seq + 1, last.leaf_hash, last.epoch)
    assert entry.at >= last.at


def test_an_outcome_of_another_s_intent_is_refused(proxy):
    proxy.operator.create_link()
    proxy.use("http://127.0.0.1:9/bound/x")
    intents = [entry.seq for entry in proxy.entries() if entry.phase == "intent"]
    assert intents
    for seq in intents:
        body = {"event": "tool.called", "phase": "outcome", "intent_seq": seq, "outcome": "ok"}
        assert append(proxy, body) == (400, "invalid_request")


def test_the_operator_s_door_takes_no_entry_as_it_is():
    assert not [path for _, path in operator_routes() if "append" in path]


def test_no_field_of_any_event_takes_a_stored_secret(proxy):
    """One field of each event that has it, with the secret in plain; what is refused is not on record either."""
    tried = 0
    columns = ("principal", "actor", "run", "agent", "subject", "outcome", "reason")
    bodies = [{"event": "gateway.started", column: f"a {proxy.canary}"} for column in columns]
    for name, kind in FIELDS.items():
        holder = next(
            (event for event in Event if EVENTS[event].source is Source.GATEWAY and name in EVENTS[event].fields), None
        )
        if holder is not None and kind in {FieldType.TEXT, FieldType.TEXTS}:
            value = proxy.canary if kind is FieldType.TEXT else ["x", proxy.canary]
            bodies.append({"event": holder.value, "details": {name: value}})
    for body in bodies:
        assert append(proxy, body) == (400, "invalid_request"), body["event"]
        tried += 1
    assert tried > 40
    text = "\n".join(str(tuple(entry)) for entry in proxy.entries()).encode()
    assert not any(form in text for form in secret_forms(proxy.canary.encode()))


def test_a_field_that_an_event_does_not_have_is_refused_and_not_repeated(proxy):
    answer = proxy.gateway(
        "POST", "/audit/append", {"event": "gateway.started", "details": {"secret": "x-not-repeated"}}
    )
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert "x-not-repeated" not in str(answer.body)
