from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from mycelos.proxy.egress.check import check_url
from mycelos.proxy.egress.guard import Guard
from mycelos.proxy.egress.resolve import fail
from mycelos.proxy.egress.url import parse_host

VECTORS = Path(__file__).parents[3] / "vectors" / "ssrf_dev.jsonl"
ROWS = [json.loads(line) for line in VECTORS.read_text("utf-8").splitlines()]
# A redirect is a new request of whoever follows it, with a verdict of its own; going from https to http, or in
# circles, is for a follower to refuse, and the proxy follows nothing.
FOLLOWER_ONLY = {"downgrade https to http", "redirect loop over the limit"}

MakeGuard = Callable[..., Guard]


class RowResolver:
    """Answers as the row says: one list for each successive question."""

    def __init__(self, answers: dict[str, list[list[str]]]) -> None:
        self.answers = {parse_host(name.rstrip(".")): list(lists) for name, lists in answers.items()}

    async def resolve(self, name: str, *, local: bool = False) -> tuple[Any, ...]:
        lists = self.answers.get(name)
        if not lists:
            fail("does not resolve")
        answer = lists.pop(0) if len(lists) > 1 else lists[0]
        return tuple(ipaddress.ip_address(text) for text in answer if not text.startswith("CNAME:"))


async def verdicts(row: dict[str, Any], guard: Guard) -> list[dict[str, Any]]:
    resolver = RowResolver(row.get("dns", {"example.com": [["93.184.216.34"]]}))
    found = [await check_url(row["url"], guard, resolver)]
    here = row["url"]
    for location in row.get("redirects", []):
        here = urljoin(here, location)
        found.append(await check_url(here, guard, resolver))
    return found


@pytest.mark.anyio
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['cat']}: {row['why']}")
async def test_the_development_set_is_judged_right_in_both_directions(
    row: dict[str, Any], make_guard: MakeGuard
) -> None:
    found = await verdicts(row, make_guard())
    allowed = all(verdict["allowed"] for verdict in found)
    if row["why"] in FOLLOWER_ONLY:
        assert allowed
    else:
        assert allowed == (row["expect"] == "allow"), found


@pytest.mark.anyio
async def test_a_verdict_names_code_reason_and_addresses(make_guard: MakeGuard) -> None:
    resolver = RowResolver({"example.com": [["1.1.1.1"]], "bad.example": [["10.0.0.1"]]})
    assert await check_url("https://example.com", make_guard(), resolver) == {
        "url": "https://example.com/", "allowed": True, "code": "ok", "reason": "public", "addresses": ["1.1.1.1"],
    }  # fmt: skip
    bad = await check_url("https://bad.example/", make_guard(), resolver)
    assert (bad["allowed"], bad["code"], bad["addresses"]) == (False, "ssrf_blocked", ["10.0.0.1"])
    missing = await check_url("https://none.example/", make_guard(), resolver)
    assert (missing["allowed"], missing["code"]) == (False, "resolution_failed")


@pytest.mark.anyio
async def test_without_a_resolver_a_public_name_is_allowed_and_said_to_be_unresolved(make_guard: MakeGuard) -> None:
    verdict = await check_url("https://example.com/", make_guard(), None)
    assert verdict["allowed"]
    assert "not resolved" in verdict["reason"]


@pytest.mark.anyio
async def test_an_unusual_port_needs_somebody_who_names_it(make_guard: MakeGuard) -> None:
    url = "http://127.0.0.1:8080/"
    assert not (await check_url("https://example.com:8443/", make_guard(), None))["allowed"]
    assert not (await check_url(url, make_guard(), None))["allowed"]
    assert (await check_url(url, make_guard({("127.0.0.1", 8080): ["127.0.0.1"]}), None))["allowed"]
