from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mycelos.cli.witness_words import in_words
from mycelos.wire.witness import WitnessCondition, WitnessStatus

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "age"),
    [
        ("2026-11-26T12:00:00Z", "0 s"),
        ("2026-11-26T11:59:01Z", "59 s"),
        ("2026-11-26T11:00:30Z", "59 min"),
        ("2026-11-25T12:00:01Z", "23 h"),
        ("2026-11-20T12:00:00Z", "6 d"),
        ("2026-11-26T12:00:09Z", "0 s"),
    ],
)
def test_the_age_of_what_it_took_is_told(at: str, age: str) -> None:
    status = WitnessStatus(place="/mnt/notes", condition=WitnessCondition.TAKES, size=1234, at=at)
    assert in_words(status, NOW) == f"/mnt/notes has 1,234 entries, the newest taken {age} ago"


def test_what_is_wrong_is_told_with_it() -> None:
    def words(condition: WitnessCondition) -> str:
        return in_words(WitnessStatus(place="https://w/", condition=condition, reason="why"), NOW)

    assert words(WitnessCondition.WAITS) == "https://w/ has taken nothing yet"
    assert words(WitnessCondition.FAILS) == "https://w/ has taken nothing yet; FAILS: why"
    assert words(WitnessCondition.DISAGREES) == "https://w/ has taken nothing yet; DISAGREES: why"
    assert "lockdown" in words(WitnessCondition.LOCKED)
