"""The counts of the ledger as a picture and words: bars of hours or days, drawn by the server. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from mycelos.wire.audit import AuditSummary, HourCount

HEIGHT: Final = 64
"""Units of the picture's height; a bar is `WIDTH` wide."""
WIDTH: Final = 10
_MOST_BARS: Final = 7 * 24 + 1
_LEAST: Final = 3
"""The height of the lowest bar that is not zero: one request among thousands is seen."""


@dataclass(frozen=True)
class Bar:
    """One hour or day. ``x``, ``left_y`` and so on are places in the picture, from its upper left."""

    label: str
    left: int
    refused: int
    suspicious: int
    entries: int
    x: int
    left_y: int
    left_height: int
    refused_y: int
    refused_height: int


@dataclass(frozen=True)
class Chart:
    """The bars of a span, oldest first, its picture's width, and the ``unit`` of one bar."""

    bars: tuple[Bar, ...]
    unit: str
    width: int
    left: int
    refused: int
    suspicious: int


def chart_of(summary: AuditSummary, now: datetime) -> Chart:
    """Bars from the summary's ``since`` to ``now``: one an hour, or one a day where those would be too many."""
    first = _moment(summary.since) or now
    counts = summary.hours
    unit, step, length = "hour", timedelta(hours=1), 13
    if (now - first) / step >= _MOST_BARS:
        unit, step, length = "day", timedelta(days=1), 10
    sums: dict[str, tuple[int, int, int, int]] = {}
    for count in counts:
        old = sums.get(count.hour[:length], (0, 0, 0, 0))
        # As many numbers as there were.
        sums[count.hour[:length]] = tuple(map(sum, zip(old, _numbers(count), strict=True)))  # type: ignore[assignment]
    labels = _labels(first, now, step, length)
    most = max((sums[label][0] + sums[label][1] for label in labels if label in sums), default=0)
    bars = tuple(_bar(number, label, sums, most) for number, label in enumerate(labels))
    return Chart(
        bars,
        unit,
        width=max(1, len(bars)) * WIDTH,
        left=sum(count.left for count in counts),
        refused=sum(count.refused for count in counts),
        suspicious=sum(count.suspicious for count in counts),
    )


def _numbers(count: HourCount) -> tuple[int, int, int, int]:
    return count.left, count.refused, count.suspicious, count.entries


def _labels(first: datetime, now: datetime, step: timedelta, length: int) -> list[str]:
    # The newest bars where there are too many: the clock, or the span asked for, may be anything.
    count = min(int((now - first) / step) + 2, _MOST_BARS + 1)
    labels = [(now - step * back).strftime("%Y-%m-%dT%H")[:length] for back in range(count)]
    return [label for label in reversed(labels) if label >= first.strftime("%Y-%m-%dT%H")[:length]]


def _bar(number: int, label: str, sums: Mapping[str, tuple[int, int, int, int]], most: int) -> Bar:
    left, refused, suspicious, entries = sums.get(label, (0, 0, 0, 0))
    left_height, refused_height = _height(left, most), _height(refused, most)
    return Bar(
        label=f"{label[:10]} {label[11:]}:00" if len(label) > 10 else label,
        left=left,
        refused=refused,
        suspicious=suspicious,
        entries=entries,
        x=number * WIDTH + 1,
        left_y=HEIGHT - left_height,
        left_height=left_height,
        refused_y=HEIGHT - left_height - refused_height,
        refused_height=refused_height,
    )


def _height(count: int, most: int) -> int:
    # Room for the lowest bar of the other kind is kept, so that both together stay in the picture.
    return 0 if count == 0 else max(_LEAST, count * (HEIGHT - _LEAST) // most)


def _moment(at: str) -> datetime | None:
    try:
        return datetime.fromisoformat(at).astimezone(UTC)
    except ValueError:
        return None
