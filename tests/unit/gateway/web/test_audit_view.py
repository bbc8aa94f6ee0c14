from __future__ import annotations

from typing import Any

import pytest

from mycelos.gateway.web.audit_view import _TITLES, Line, lines_of, size_of
from mycelos.ledger.events import Event


def entry(seq: int, event: str, at: str = "2026-11-22T16:05:04.000000Z", **other: Any) -> dict[str, Any]:
    return {"seq": seq, "event": event, "at": at, "phase": "fact", "source": "proxy"} | other


def only(entry: dict[str, Any], *more: dict[str, Any]) -> Line:
    ((_, (line,)),) = lines_of([entry, *more])
    return line


def test_entries_come_newest_first_by_day() -> None:
    days = lines_of(
        [entry(0, "auth.login", "2026-11-21T10:00:00.000000Z"), entry(1, "auth.login"), entry(2, "auth.logout")]
    )
    assert [(day, [line.seq for line in lines]) for day, lines in days] == [
        ("Sunday, 22 November 2026", [2, 1]),
        ("Saturday, 21 November 2026", [0]),
    ]
    assert days[0][1][0].clock == "16:05:04"


DETAILS = {
    "method": "GET",
    "scheme": "https",
    "host": "api.github.com",
    "port": 443,
    "path": "/issues",
    "service": "github",
}


def test_a_request_says_where_it_went() -> None:
    line = only(entry(0, "proxy.http_request", details=DETAILS, outcome="ok", subject="api.github.com"))
    assert line.text == "GET https://api.github.com/issues · service github"
    assert not line.is_bad
    line = only(entry(0, "proxy.http_request", details=DETAILS | {"port": 8443}))
    assert "https://api.github.com:8443/issues" in line.text


def test_an_outcome_is_told_with_its_intent() -> None:
    intent = entry(4, "proxy.http_request", phase="intent", details=DETAILS, subject="api.github.com")
    ended = {"status": 200, "bytes_sent": 320, "bytes_received": 5120}
    outcome = entry(9, "proxy.http_request", phase="outcome", intent_seq=4, subject="api.github.com", details=ended)
    line = only(intent, outcome)
    assert (line.seq, line.intent_seq) == (9, 4)
    assert line.text == "GET https://api.github.com/issues · service github · status 200 · 320 B sent · 5.1 kB received"
    assert only(outcome).text == "api.github.com · status 200 · 320 B sent · 5.1 kB received"


@pytest.mark.parametrize("change", [{"event": "mcp.called"}, {"phase": "fact"}, {"seq": 3}])
def test_what_is_not_its_intent_stands_for_itself(change: dict[str, Any]) -> None:
    outcome = entry(9, "proxy.http_request", phase="outcome", intent_seq=4)
    ((_, lines),) = lines_of([entry(4, "proxy.http_request") | {"phase": "intent"} | change, outcome])
    assert [line.intent_seq for line in lines] == [None, None]


def test_suspicion_comes_from_the_ledgers_own_list() -> None:
    ((_, lines),) = lines_of(
        [entry(0, "proxy.ssrf_blocked"), entry(1, "run.failed", outcome="failed"), entry(2, "auth.login")]
    )
    assert [(line.is_suspicious, line.is_bad) for line in lines] == [(False, False), (False, True), (True, True)]


def test_what_the_gateway_says_is_not_known() -> None:
    assert [only(entry(0, "x.y", source=source)).is_known for source in ("proxy", "operator", "gateway", "else")] == [
        True,
        True,
        False,
        False,
    ]


def test_an_entry_in_an_unknown_shape_is_shown_as_it_is() -> None:
    ((day, (line,)),) = lines_of([{"seq": 0, "event": "new.event", "at": "whenever", "details": [1]}, {"event": "x"}])
    assert (day, line.title, line.clock, line.text) == ("unknown day", "new.event", "whenever", "")


def test_no_text_drives_the_page_and_none_fills_it() -> None:
    hostile = "\x1b]0;x\x07\u202e"
    about = dict.fromkeys(("agent", "run", "subject", "reason", "outcome", "at", "event", "phase"), hostile)
    line = only(entry(0, "x") | about | {"details": {"host": hostile, "path": "/p" * 1000, "tool": hostile}})
    texts = (line.at, line.clock, line.event, line.agent, line.run, line.title, line.text, line.outcome, line.phase)
    assert all(text.isprintable() for text in texts)
    assert len(line.text) < 1000


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (123_456, "123 kB"), (5_120_000, "5.1 MB"), (10**13, "10000 GB")],
)
def test_sizes_are_for_people(count: int, words: str) -> None:
    assert size_of(count) == words


def test_every_event_that_is_written_now_has_words() -> None:
    later = {"package", "mcp", "memory", "schedule", "telegram", "auth", "policy"}
    missing = {event.value for event in Event} - set(_TITLES)
    assert {event for event in missing if event.partition(".")[0] not in later} == set()


def test_no_title_is_for_an_event_that_does_not_exist() -> None:
    assert set(_TITLES) <= {event.value for event in Event}
