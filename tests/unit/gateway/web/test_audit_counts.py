from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mycelos.gateway.web.audit_counts import HEIGHT, WIDTH, chart_of
from mycelos.wire.audit import AuditSummary, HourCount

NOW = datetime(2026, 5, 6, 12, 30, tzinfo=UTC)


def summary(since: str, *hours: HourCount) -> AuditSummary:
    return AuditSummary(since, 0, 9, True, 9, list(hours), [], [], 0, [], 0)


def test_a_day_has_a_bar_for_each_hour_also_for_the_quiet_ones() -> None:
    chart = chart_of(summary("2026-05-05T12:30:00.000000Z", HourCount("2026-05-06T09", 5, 2, 1, 1)), NOW)
    assert (len(chart.bars), chart.unit, chart.width) == (25, "hour", 25 * WIDTH)
    assert (chart.bars[0].label, chart.bars[-1].label) == ("2026-05-05 12:00", "2026-05-06 12:00")
    (busy,) = [bar for bar in chart.bars if bar.entries]
    assert (busy.label, busy.left, busy.refused, busy.suspicious) == ("2026-05-06 09:00", 2, 1, 1)
    assert (chart.left, chart.refused, chart.suspicious) == (2, 1, 1)


def test_a_month_has_a_bar_for_each_day() -> None:
    hours = [HourCount("2026-05-05T23", 1, 1, 0, 0), HourCount("2026-05-05T03", 2, 2, 0, 0)]
    chart = chart_of(summary("2026-04-06T12:30:00.000000Z", *hours), NOW)
    assert (len(chart.bars), chart.unit, chart.bars[-1].label) == (31, "day", "2026-05-06")
    assert [(bar.label, bar.left) for bar in chart.bars if bar.left] == [("2026-05-05", 3)]


@pytest.mark.parametrize("left", [0, 1, 7, 100_000])
@pytest.mark.parametrize("refused", [0, 1, 7, 100_000])
def test_no_bar_leaves_the_picture_and_none_that_counts_is_invisible(left: int, refused: int) -> None:
    hours = [HourCount("2026-05-06T09", 9, left, refused, 0), HourCount("2026-05-06T10", 9, 50_000, 50_000, 0)]
    for bar in chart_of(summary("2026-05-06T06:00:00.000000Z", *hours), NOW).bars:
        assert 0 <= bar.refused_y <= bar.left_y <= HEIGHT
        assert bar.refused_y + bar.refused_height == bar.left_y
        assert bar.left_y + bar.left_height == HEIGHT
        assert (bar.left_height > 0, bar.refused_height > 0) == (bar.left > 0, bar.refused > 0)


@pytest.mark.parametrize("since", ["1970-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z", "no time"])
def test_a_strange_clock_draws_a_bounded_picture(since: str) -> None:
    chart = chart_of(summary(since, HourCount("no hour", 1, 1, 1, 1), HourCount("1970-01-01T00", 1, 1, 0, 0)), NOW)
    assert len(chart.bars) <= 200
