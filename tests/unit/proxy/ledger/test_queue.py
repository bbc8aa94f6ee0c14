from __future__ import annotations

import threading
import time

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
    assert waiting.take_group() == appends


def test_taking_waits_until_something_comes():
    waiting = AppendQueue()
    taken = []
    thread = threading.Thread(target=lambda: taken.append(waiting.take_group()))
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
    assert waiting.take_group() == [one]
    assert waiting.take_group() == []
    with pytest.raises(QueueFullError):
        waiting.put(append())


def fill(waiting, event, count):
    """Put so many; one more is refused."""
    for _ in range(count):
        waiting.put(append(event))
    with pytest.raises(QueueFullError):
        waiting.put(append(event))


def test_the_gateway_cannot_fill_the_part_of_the_proxy_nor_its_requests_that_of_the_operator(monkeypatch):
    monkeypatch.setattr(queue, "ENTRY_LIMIT", 8)
    waiting = AppendQueue()
    fill(waiting, Event.TOOL_CALLED, 4)
    fill(waiting, Event.PROXY_BINDING_VIOLATION, 2)
    fill(waiting, Event.OPERATOR_LOGIN_FAILED, 1)
    fill(waiting, Event.CREDENTIAL_DELETED, 1)


def test_a_revocation_goes_into_the_next_group_before_all_that_waits_and_the_group_is_bounded(monkeypatch):
    monkeypatch.setattr(queue, "GROUP_ENTRIES", 3)
    waiting = AppendQueue()
    claimed = [append(Event.TOOL_CALLED) for _ in range(5)]
    for one in claimed:
        waiting.put(one)
    revocation = append(Event.CREDENTIAL_DELETED)
    waiting.put(revocation)
    assert waiting.take_group() == [revocation, *claimed[:3]]
    assert waiting.take_group() == claimed[3:]


def test_without_precedence_it_waits_behind_all_of_them(monkeypatch):
    monkeypatch.setattr(queue, "GROUP_ENTRIES", 3)
    monkeypatch.setattr(queue, "comes_first", lambda _draft: False)
    waiting = AppendQueue()
    for _ in range(5):
        waiting.put(append(Event.TOOL_CALLED))
    revocation = append(Event.CREDENTIAL_DELETED)
    waiting.put(revocation)
    assert revocation not in waiting.take_group()


def test_a_group_is_bounded_by_weight_too_and_one_append_alone_is_taken_whatever_it_weighs(monkeypatch):
    monkeypatch.setattr(queue, "GROUP_WEIGHT", 1)
    waiting = AppendQueue()
    appends = [append(Event.TOOL_CALLED) for _ in range(2)]
    for one in appends:
        waiting.put(one)
    assert [waiting.take_group(), waiting.take_group()] == [[one] for one in appends]


def test_what_was_taken_makes_room_and_what_still_waits_does_not(monkeypatch):
    monkeypatch.setattr(queue, "ENTRY_LIMIT", 8)
    monkeypatch.setattr(queue, "GROUP_ENTRIES", 1)
    waiting = AppendQueue()
    fill(waiting, Event.TOOL_CALLED, 4)
    waiting.take_group()
    fill(waiting, Event.TOOL_CALLED, 1)


def test_weight_is_bounded_too_and_taking_makes_room(monkeypatch):
    monkeypatch.setattr(queue, "WEIGHT_LIMIT", 2_000)
    waiting = AppendQueue()
    waiting.put(append(reason="x" * 500))
    with pytest.raises(QueueFullError):
        waiting.put(append(reason="x" * 500))
    waiting.take_group()
    waiting.put(append(reason="x" * 500))


def wait_until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_writer_that_waits_can_be_held_and_takes_what_came_meanwhile_when_it_is_released():
    waiting = AppendQueue()
    taken = []
    assert not waiting.claim(), "nobody waits"
    thread = threading.Thread(target=lambda: taken.append(waiting.take_group()))
    thread.start()
    wait_until(waiting.claim)
    assert not waiting.claim(), "it is held already"
    one = append()
    waiting.put(one)
    thread.join(0.05)
    assert thread.is_alive()
    waiting.release()
    thread.join(10)
    assert taken == [[one]]


def test_where_something_waits_the_writer_is_not_held():
    waiting = AppendQueue()
    taken = []
    thread = threading.Thread(target=lambda: taken.append(waiting.take_group()))
    with waiting._lock:
        thread.start()
    wait_until(lambda: waiting._is_awaited)
    with waiting._lock:
        # Woken, and not yet able to go on.
        waiting._others.append(append())
        waiting._is_awaited = False
        waiting._has_come.notify()
    assert not waiting.claim()
    thread.join(10)


def test_a_queue_that_is_closed_while_its_writer_is_held_ends_it_at_the_release():
    waiting = AppendQueue()
    taken = []
    thread = threading.Thread(target=lambda: taken.append(waiting.take_group()))
    thread.start()
    wait_until(waiting.claim)
    waiting.close()
    thread.join(0.05)
    assert thread.is_alive()
    waiting.release()
    thread.join(10)
    assert taken == [[]]
    assert not waiting.claim()
