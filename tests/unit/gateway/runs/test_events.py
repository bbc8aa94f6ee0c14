"""Which events are the last."""

from __future__ import annotations

from mycelos.gateway.runs.events import EventKind, RunEvent


def test_nothing_follows_an_answer_or_an_error() -> None:
    last = {kind for kind in EventKind if RunEvent(1, kind, {}).is_last}
    assert last == {EventKind.DONE, EventKind.ERROR}
