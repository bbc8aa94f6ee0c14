from __future__ import annotations

from typing import Any

from mycelos.gateway.web.audit_view import _TITLES, lines_of
from mycelos.ledger.events import Event


def entry(seq: int, event: str, at: str = "2026-11-22T16:05:04.000000Z", **other: Any) -> dict[str, Any]:
    return {"seq": seq, "event": event, "at": at, "phase": "fact", "source": "proxy", **other}


def test_entries_come_newest_first_by_day() -> None:
    days = lines_of(
        [entry(0, "auth.login", "2026-11-21T10:00:00.000000Z"), entry(1, "auth.login"), entry(2, "auth.logout")],
        outside_only=False,
    )
    assert [(day, [line.seq for line in lines]) for day, lines in days] == [
        ("Sunday, 22 November 2026", [2, 1]),
        ("Saturday, 21 November 2026", [0]),
    ]
    assert days[0][1][0].clock == "16:05:04"


def test_a_request_says_where_it_went() -> None:
    details = {
        "method": "GET",
        "scheme": "https",
        "host": "api.github.com",
        "port": 443,
        "path": "/issues",
        "service": "github",
    }
    ((_, (line,)),) = lines_of([entry(0, "proxy.http_request", details=details, outcome="ok")], outside_only=True)
    assert line.text == "GET https://api.github.com/issues · service github"
    assert not line.is_bad
    details["port"] = 8443
    ((_, (line,)),) = lines_of([entry(0, "proxy.http_request", details=details)], outside_only=True)
    assert "https://api.github.com:8443/issues" in line.text


def test_what_left_the_machine_is_only_that() -> None:
    assert lines_of([entry(0, "auth.login"), entry(1, "policy.denied")], outside_only=True) == []


def test_suspicion_comes_from_the_ledgers_own_list() -> None:
    ((_, lines),) = lines_of(
        [entry(0, "proxy.ssrf_blocked"), entry(1, "run.failed", outcome="failed"), entry(2, "auth.login")],
        outside_only=False,
    )
    assert [(line.is_suspicious, line.is_bad) for line in lines] == [(False, False), (False, True), (True, True)]


def test_an_entry_in_an_unknown_shape_is_shown_as_it_is() -> None:
    ((day, (line,)),) = lines_of([{"event": "new.event", "at": "whenever", "details": [1]}], outside_only=False)
    assert (day, line.title, line.clock, line.seq, line.text) == ("unknown day", "new.event", "whenever", -1, "")


def test_no_title_is_for_an_event_that_does_not_exist() -> None:
    assert set(_TITLES) <= {event.value for event in Event}
