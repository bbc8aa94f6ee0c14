"""Reading ``--since``: a span such as ``24h``, or a time as RFC 3339 writes it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_SPAN: Final = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class SinceError(ValueError):
    """The text is neither a span nor a time."""


def parse_since(text: str, now: datetime) -> str:
    """The moment that ``text`` names, as entries write theirs (RFC 3339, UTC, microseconds).

    Args:
        text: ``30m``, ``24h``, ``7d``, or RFC 3339 with its offset.
        now: the time that a span is counted back from, with its zone.

    Raises:
        SinceError: anything else.
    """
    found = _SPAN.fullmatch(text)
    try:
        named = _back(now, found) if found else datetime.fromisoformat(text)
        # Near the first and the last year the same moment may have no date in UTC.
        moment = None if named.tzinfo is None else named.astimezone(UTC)
    except (ValueError, OverflowError):
        moment = None
    if moment is None:
        message = "give a span such as 30m, 24h or 7d, or a time with its offset such as 2026-01-31T12:00:00Z"
        raise SinceError(message)
    # strftime does not fill up a year before 1000, and entries are compared as text.
    return f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _back(now: datetime, span: re.Match[str]) -> datetime:
    return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
