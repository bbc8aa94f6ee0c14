from __future__ import annotations

import pytest

from mycelos.proxy.egress.quota import QuotaBook, utc_day
from mycelos.wire.binding import Quota
from mycelos.wire.problems import ProblemCode, Refusal

QUOTA = Quota(requests_per_day=2, bytes_per_day=10)


def test_the_request_after_the_last_one_is_refused_until_the_next_day() -> None:
    day = "2026-01-01"
    book = QuotaBook(lambda: day)
    book.take_request("cred_a", QUOTA)
    book.take_request("cred_a", QUOTA)
    with pytest.raises(Refusal) as caught:
        book.take_request("cred_a", QUOTA)
    assert caught.value.problem.code is ProblemCode.RATE_LIMITED
    book.take_request("cred_b", QUOTA)
    day = "2026-01-02"
    book.take_request("cred_a", QUOTA)


def test_bytes_beyond_the_quota_are_refused_before_they_are_sent() -> None:
    book = QuotaBook(lambda: "2026-01-01")
    book.take_bytes("cred_a", QUOTA, 10)
    with pytest.raises(Refusal):
        book.take_bytes("cred_a", QUOTA, 1)
    with pytest.raises(Refusal):
        book.take_request("cred_a", QUOTA)


def test_without_a_quota_all_is_counted_and_nothing_refused() -> None:
    book = QuotaBook(lambda: "2026-01-01")
    for _ in range(100):
        book.take_request("cred_a", None)
        book.take_bytes("cred_a", None, 1000)
    with pytest.raises(Refusal):
        book.take_request("cred_a", QUOTA)


def test_the_day_is_a_date() -> None:
    assert len(utc_day()) == 10
