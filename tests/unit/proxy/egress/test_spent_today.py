from __future__ import annotations

import pytest
from egress_house import EGRESS, House, call_for, fetch, serve

from mycelos.proxy.egress import spent_today
from mycelos.proxy.egress.quota import QuotaBook, utc_day
from mycelos.proxy.egress.web_budget import WebBudget
from mycelos.wire.binding import Quota
from mycelos.wire.problems import Refusal

pytestmark = pytest.mark.anyio


async def test_a_restart_gives_back_no_quota_and_no_budget(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spent_today, "_PAGE", 3)
    quota = Quota(requests_per_day=2, bytes_per_day=10)
    await house.rules.set_web(enabled=True)
    house.resolver.answers = {f"host{number}.example": [["127.0.0.1"]] for number in range(30)}
    async with serve() as upstream:
        await house.store(upstream.port, quota=quota)
        pipeline = house.pipeline(upstream.port)
        call = call_for(f"http://127.0.0.1:{upstream.port}/", "POST", service="github", body=b"1234567", length=7)
        await fetch(pipeline, call)
        for number in range(30):
            with pytest.raises(Refusal, match="ssrf_blocked"):
                await fetch(pipeline, call_for(f"https://host{number}.example/", run="run_a"))
        await house.entries()
        credential = house.vault.list()[0]

        quotas, web_budget = QuotaBook(), WebBudget(EGRESS.web_per_run, EGRESS.web_per_day)
        again = house.pipeline(upstream.port, quotas=quotas, web_budget=web_budget)
        await spent_today.count_spent(house.recorder, utc_day(), quotas, web_budget)
        with pytest.raises(Refusal, match="rate_limited"):
            await fetch(again, call_for("https://host30.example/", run="run_a"))
        with pytest.raises(Refusal, match="rate_limited"):
            quotas.take_bytes(credential.id, quota, 4)
        quotas.take_bytes(credential.id, quota, 3)
        with pytest.raises(Refusal, match="rate_limited"):
            await fetch(again, call)


async def test_what_was_before_today_counts_no_more(house: House) -> None:
    async with serve() as upstream:
        await house.store(upstream.port)
        await fetch(house.pipeline(upstream.port), call_for(f"http://127.0.0.1:{upstream.port}/", service="github"))
        quotas = QuotaBook()
        await spent_today.count_spent(house.recorder, "9999-01-01", quotas, house.web_budget)
        quotas.take_request(house.vault.list()[0].id, Quota(requests_per_day=1, bytes_per_day=1))
