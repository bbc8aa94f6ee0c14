from __future__ import annotations

import pytest

from mycelos.configuration.operator_file import WebLimits
from mycelos.proxy.egress.url import CanonicalUrl, parse_url
from mycelos.proxy.egress.web_budget import WebBudget
from mycelos.wire.problems import ProblemCode, Refusal

RUN = WebLimits(hosts=2, name_bytes=20, url_bytes=100)
DAY = WebLimits(hosts=3, name_bytes=30, url_bytes=150)


def at(host: str) -> CanonicalUrl:
    return parse_url(f"https://{host}/")


def refusal_of(budget: WebBudget, run: str, host: str, size: int = 1) -> str:
    with pytest.raises(Refusal) as caught:
        budget.take(run, at(host), size)
    assert caught.value.problem.code is ProblemCode.RATE_LIMITED
    return caught.value.problem.next


def test_distinct_hosts_are_counted_and_a_known_host_costs_none() -> None:
    budget = WebBudget(RUN, DAY)
    for host in ("a.test", "b.test", "a.test"):
        budget.take("run_a", at(host), 1)
    assert "web_per_run.hosts" in refusal_of(budget, "run_a", "c.test")
    budget.take("run_b", at("c.test"), 1)
    assert "web_per_day.hosts" in refusal_of(budget, "run_b", "d.test")
    budget.take("run_c", at("a.test"), 1)


def test_a_name_carries_data_and_an_address_carries_none() -> None:
    budget = WebBudget(RUN, DAY)
    assert "name_bytes" in refusal_of(budget, "run_a", "exfiltrated-data.x.test")
    budget.take("run_a", at("93.184.216.34"), 1)
    budget.take("run_a", at("0123456789abcde.test"), 1)
    assert "web_per_day.name_bytes" in refusal_of(budget, "run_b", "0123456789a.test")


def test_bytes_are_counted_for_the_run_and_for_the_day_whatever_run_is_claimed() -> None:
    budget = WebBudget(RUN, DAY)
    budget.take("run_a", at("a.test"), 100)
    assert "web_per_run.url_bytes" in refusal_of(budget, "run_a", "a.test")
    budget.take("run_b", at("a.test"), 50)
    assert "web_per_day.url_bytes" in refusal_of(budget, "run_c", "a.test")


def test_what_is_refused_is_not_counted() -> None:
    budget = WebBudget(RUN, DAY)
    refusal_of(budget, "run_a", "a.test", 101)
    budget.take("run_a", at("b.test"), 100)
    refusal_of(budget, "run_a", "c.test")


def test_a_new_day_begins_anew() -> None:
    day = "2026-01-01"
    budget = WebBudget(RUN, DAY, lambda: day)
    budget.take("run_a", at("a.test"), 100)
    refusal_of(budget, "run_a", "a.test")
    day = "2026-01-02"
    budget.take("run_a", at("a.test"), 100)


def test_what_was_on_record_before_the_start_counts() -> None:
    budget = WebBudget(RUN, DAY)
    budget.count("run_a", "a.test", 100)
    refusal_of(budget, "run_a", "a.test")
