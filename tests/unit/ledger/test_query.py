from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mycelos.ledger.log_filter import CountFilter
from mycelos.ledger.query import EventQuery, check_keys, read_event_query, read_since, read_summary_query
from mycelos.wire.problems import ProblemCode, Refusal

NOW = datetime(2026, 5, 6, 12, tzinfo=UTC)


def test_each_key_is_read() -> None:
    pairs = [("after", "7"), ("limit", "5"), ("suspicious", "true"), ("since", "24h"), ("event", "run.started")]
    assert read_event_query([*pairs, ("agent", "a"), ("run", "r")], NOW) == EventQuery(
        after=7, limit=5, suspicious=True, since="2026-05-05T12:00:00.000000Z", event="run.started", agent="a", run="r"
    )
    more = [("before", "9"), ("outside", "true"), ("outcome", "ok"), ("host", "a.example"), ("source", "known")]
    expected = EventQuery(before=9, outside=True, outcome="ok", host="a.example", source="known")
    assert read_event_query(more, NOW) == expected
    assert read_event_query([], NOW) == EventQuery()
    assert read_event_query([("after", "-1")], NOW).after == -1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("since", "zzz"), ("since", ""), ("since", "2026-01-01"), ("limit", "0"), ("limit", "1001"), ("limit", "-1"),
        ("limit", "٣"), ("limit", "9" * 5000), ("after", "-2"), ("after", "x"), ("suspicious", "yes"),
        ("suspicious", ""), ("before", "-1"), ("before", "x"), ("outside", "1"), ("source", "x"),
    ],
)  # fmt: skip
def test_a_value_that_is_not_understood_is_refused_by_the_name_of_its_key(key: str, value: str) -> None:
    with pytest.raises(Refusal) as refused:
        read_event_query([(key, value)], NOW)
    assert refused.value.problem.code is ProblemCode.INVALID_REQUEST
    assert refused.value.problem.detail.startswith(f"{key}: ")


def test_a_query_for_counts_has_a_span_of_its_own_and_neither_places_nor_limits() -> None:
    assert read_summary_query([], NOW) == CountFilter(since="2026-05-05T12:00:00.000000Z")
    pairs = [("since", "1h"), ("event", "run"), ("agent", "a"), ("run", "r"), ("outcome", "ok"), ("host", "h")]
    pairs.append(("source", "gateway"))
    expected = CountFilter(
        since="2026-05-06T11:00:00.000000Z", event="run", agent="a", run="r", outcome="ok", host="h", source="gateway"
    )
    assert read_summary_query(pairs, NOW) == expected
    for key, value in (("since", "zzz"), ("limit", "1"), ("after", "1"), ("suspicious", "true"), ("source", "")):
        with pytest.raises(Refusal, match=f"{key}: "):
            read_summary_query([(key, value)], NOW)


def test_an_unknown_key_is_refused_with_the_nearest_and_a_double_one_too() -> None:
    with pytest.raises(Refusal) as refused:
        check_keys(["suspicous"], ("since", "suspicious"))
    assert "suspicous" in refused.value.problem.detail
    assert refused.value.problem.next == "The nearest one that exists is suspicious."
    with pytest.raises(Refusal, match="since: given more than once"):
        check_keys(["since", "since"], ("since",))
    with pytest.raises(Refusal) as refused:
        check_keys(["<script>"], ("since",))
    assert "script" not in refused.value.problem.detail


def test_a_span_is_counted_from_the_time_given() -> None:
    assert read_since("1h", NOW) == "2026-05-06T11:00:00.000000Z"
