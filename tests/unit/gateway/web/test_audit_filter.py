from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mycelos.gateway.web.audit_filter import AuditFilter, read_filter
from mycelos.ledger.events import EVENTS_AND_AREAS
from mycelos.ledger.log_filter import CountFilter
from mycelos.ledger.query import EventQuery
from mycelos.wire.problems import Refusal

NOW = datetime(2026, 5, 6, 12, tzinfo=UTC)
FULL = {
    "show": "outside",
    "since": "1h",
    "event": "proxy",
    "agent": "a b",
    "run": "r&1",
    "outcome": "ok",
    "host": "h.example",
    "source": "claimed",
}


def test_an_address_is_read_and_written() -> None:
    wanted = read_filter(FULL | {"before": "7"})
    assert (wanted.show, wanted.agent, wanted.run, wanted.before, wanted.after) == ("outside", "a b", "r&1", 7, None)
    expected = "/audit?show=outside&since=1h&event=proxy&agent=a+b&run=r%261&outcome=ok&host=h.example&source=claimed"
    assert wanted.link() == expected, "a link begins on the first page"
    assert wanted.link(before=5).endswith("/audit?show=outside&before=5&since=1h" + expected.partition("1h")[2])
    assert AuditFilter().link() == "/audit"
    assert wanted.link(show="all", since="", event="", agent="", run="", outcome="", host="", source="") == "/audit"


def test_an_empty_field_of_the_form_means_any() -> None:
    assert read_filter({"since": " ", "agent": "", "before": ""}) == AuditFilter()
    assert not AuditFilter().is_narrow
    assert AuditFilter(run="r").is_narrow


def test_the_queries_are_the_doors_own() -> None:
    wanted = read_filter(FULL | {"after": "3"})
    events = wanted.events_query(NOW, 50)
    assert events == {
        **{name: value for name, value in FULL.items() if name not in {"show", "since"}},
        "since": "2026-05-06T11:00:00.000000Z",
        "limit": 50,
        "after": 3,
        "outside": True,
    }
    assert set(events) <= set(EventQuery.__struct_fields__)
    assert set(wanted.summary_query(NOW)) <= set(CountFilter.__struct_fields__)
    assert AuditFilter().events_query(NOW, 50) == {"limit": 50}
    assert AuditFilter().summary_query(NOW) == {"since": "2026-05-05T12:00:00.000000Z"}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"show": "other"}, "show"),
        ({"before": "-1"}, "before"),
        ({"after": "٣"}, "after"),
        ({"run": "r" * 513}, "run"),
        ({"since": "yesterday"}, "since"),
        ({"event": "run.startd"}, "event"),
    ],
)
def test_what_is_not_understood_is_refused_by_its_name(given: dict[str, str], named: str) -> None:
    with pytest.raises(Refusal) as refused:
        read_filter(given).events_query(NOW, 50)
    assert refused.value.problem.detail.startswith(named)


def test_the_nearest_event_is_named() -> None:
    with pytest.raises(Refusal) as refused:
        AuditFilter(event="run.startd").summary_query(NOW)
    assert "run.started" in refused.value.problem.next
    assert {"run", "run.started"} <= set(EVENTS_AND_AREAS)
