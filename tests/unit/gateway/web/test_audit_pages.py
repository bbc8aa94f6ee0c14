from __future__ import annotations

import pytest

pytestmark = pytest.mark.anyio


async def test_the_time_line_shows_what_the_ledger_says(page) -> None:
    client = await page.signed_in()
    assert "Nothing yet." in (await client.get("/audit")).text
    page.proxy.entries = [
        {"seq": 4, "at": "2026-11-22T16:05:04.000000Z", "event": "proxy.ssrf_blocked", "phase": "fact",
         "source": "proxy", "outcome": "denied", "agent": "<i>", "details": {"host": "169.254.169.254"}},
    ]  # fmt: skip
    text = (await client.get("/audit", params={"show": "suspicious"})).text
    assert page.proxy.query == {"limit": 200, "suspicious": True}
    for words in (
        "A forbidden address was blocked",
        "169.254.169.254",
        "16:05:04",
        "is-suspicious",
        "said by proxy",
    ):
        assert words in text
    assert "<i>" not in text


async def test_more_can_be_asked_for(page) -> None:
    client = await page.signed_in()
    page.proxy.entries = [{"seq": seq, "event": "auth.login", "at": "2026-11-22T16:05:04.000000Z"} for seq in range(5)]
    assert "limit=25" in (await client.get("/audit", params={"limit": 5})).text
    assert "Show more" not in (await client.get("/audit", params={"limit": 6})).text


@pytest.mark.parametrize("query", [{"show": "other"}, {"limit": "0"}, {"limit": "1001"}, {"limit": "x"}])
async def test_another_filter_is_refused(page, query: dict[str, str]) -> None:
    assert (await (await page.signed_in()).get("/audit", params=query)).status_code == 400
