from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mycelos.ledger.since import SinceError, parse_since

NOW = datetime(2026, 1, 31, 12, 0, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30m", "2026-01-31T11:30:00.000005Z"),
        ("24h", "2026-01-30T12:00:00.000005Z"),
        ("7d", "2026-01-24T12:00:00.000005Z"),
        ("90s", "2026-01-31T11:58:30.000005Z"),
        ("2w", "2026-01-17T12:00:00.000005Z"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000Z"),
        ("2026-01-31T12:00:00.25+02:00", "2026-01-31T10:00:00.250000Z"),
        ("0999-01-01T00:00:00Z", "0999-01-01T00:00:00.000000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_span_or_a_time_names_a_moment(text, moment):
    assert parse_since(text, NOW) == moment


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_that_has_no_date_in_utc_is_refused(text):
    with pytest.raises(SinceError, match="24h"):
        parse_since(text, NOW)


@pytest.mark.parametrize(
    "text", ["", "24", "h", "-1h", "1.5h", "24H", "yesterday", "999999w", "2026-01-31T12:00:00", "\u0663h"]
)
def test_anything_else_is_refused(text):
    with pytest.raises(SinceError, match="24h"):
        parse_since(text, NOW)
