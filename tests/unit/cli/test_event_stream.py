from __future__ import annotations

import io

import pytest

from mycelos.cli import event_stream
from mycelos.cli.event_stream import Event, EventStreamError, read_events


def events(text: str) -> list[Event]:
    return list(read_events(io.BytesIO(text.encode())))


def test_events_are_read_and_comments_passed_over() -> None:
    text = ': alive\n\nid: 1\nevent: token\ndata: {"text": "a"}\n\n: alive\n\nid: 2\nevent: done\ndata: {}\n\n'
    assert events(text) == [Event(1, "token", {"text": "a"}), Event(2, "done", {})]


def test_carriage_returns_at_line_ends_are_allowed() -> None:
    assert events('id: 3\r\nevent: done\r\ndata:{"a":1}\r\n\r\n') == [Event(3, "done", {"a": 1})]


def test_an_event_that_was_cut_off_is_not_an_event() -> None:
    assert events('id: 1\nevent: token\ndata: {"text": "a"}\n') == []
    assert events('id: 1\nevent: token\ndata: {"te') == []


@pytest.mark.parametrize("text", ["id: x\ndata: {}\n\n", "data: {}\n\n", "id: 1\ndata: []\n\n", "id: 1\ndata: {\n\n"])
def test_what_no_gateway_of_ours_writes_is_refused(text: str) -> None:
    with pytest.raises(EventStreamError):
        events(text)


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "LINE_LIMIT", 100)
    with pytest.raises(EventStreamError, match="too long"):
        events("data: " + "x" * 200)
