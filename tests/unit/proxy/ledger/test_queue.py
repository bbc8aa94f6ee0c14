from __future__ import annotations

import threading

import pytest

from mycelos.ledger.entry import Phase, make_draft
from mycelos.ledger.events import Event
from mycelos.proxy.ledger import queue
from mycelos.proxy.ledger.queue import Append, AppendQueue, QueueFullError


def append(event=Event.PROXY_HTTP_REQUEST, reason=""):
    return Append((make_draft(event, Phase.FACT, tenant="t", reason=reason),), None)


def test_everything_that_waits_is_taken_at_once_and_in_order():
    waiting = AppendQueue()
    appends = [append() for _ in range(3)]
    for one in appends:
        waiting.put(one)
    assert waiting.take_all() == appends


def test_taking_waits_until_something_comes():
    waiting = AppendQueue()
    taken = []
    thread = threading.Thread(target=lambda: taken.append(waiting.take_all()))
    thread.start()
    one = append()
    waiting.put(one)
    thread.join(10)
    assert taken == [[one]]


def test_a_closed_queue_gives_out_what_waits_and_then_nothing_and_takes_no_more():
    waiting = AppendQueue()
    one = append()
    waiting.put(one)
    waiting.close()
    assert waiting.take_all() == [one]
    assert waiting.take_all() == []
    with pytest.raises(QueueFullError):
        waiting.put(append())


def test_the_gateway_cannot_fill_the_part_of_proxy_and_operator(monkeypatch):
    monkeypatch.setattr(queue, "ENTRY_LIMIT", 8)
    waiting = AppendQueue()
    for _ in range(6):
        waiting.put(append(Event.TOOL_CALLED))
    with pytest.raises(QueueFullError):
        waiting.put(append(Event.TOOL_CALLED))
    waiting.put(append(Event.CREDENTIAL_DELETED))
    waiting.put(append(Event.PROXY_HTTP_REQUEST))
    with pytest.raises(QueueFullError):
        waiting.put(append(Event.CREDENTIAL_DELETED))


def test_weight_is_bounded_too_and_taking_makes_room(monkeypatch):
    monkeypatch.setattr(queue, "WEIGHT_LIMIT", 2_000)
    waiting = AppendQueue()
    waiting.put(append(reason="x" * 500))
    with pytest.raises(QueueFullError):
        waiting.put(append(reason="x" * 500))
    waiting.take_all()
    waiting.put(append(reason="x" * 500))
