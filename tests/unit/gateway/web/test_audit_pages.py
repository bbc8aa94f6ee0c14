from __future__ import annotations

import asyncio
import html
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx2
import pytest
from gateway_page import Page
from ledger_page import LedgerProxy, send, signed_ledger

from mycelos.gateway.web import audit_pages, audit_walk
from mycelos.ledger.events import Event
from mycelos.ledger.export import item_from_line
from mycelos.ledger.inclusion import parse_proof
from mycelos.ledger.signed_note import VerifierKey
from mycelos.ledger.verify import GIVEN_KEY, verify
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.vault.signing import verifies
from mycelos.wire.audit import AppendRequest
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio


@pytest.fixture
async def recorder(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Recorder]:
    async with signed_ledger(tmp_path / "ledger.sqlite") as recorder:
        yield recorder


@pytest.fixture
async def audited(
    serve: Callable[..., AbstractAsyncContextManager[Page]], recorder: Recorder, tmp_path: Path
) -> AsyncIterator[Page]:
    """A page over a real ledger in which two requests left and one was kept back."""
    await send(recorder, "api.github.com", "/issues", run="run_1", agent="assistant")
    await send(recorder, "api.openai.com", "/v1/chat", run="run_2", agent="gardener", outcome="failed")
    await recorder.fact(
        Event.PROXY_SSRF_BLOCKED,
        agent="<i>",
        run="run_2",
        outcome="refused",
        reason="ssrf_blocked",
        details={"host": "169.254.169.254"},
    )
    async with serve(proxy=LedgerProxy(recorder, tmp_path)) as page:
        yield page


async def test_a_fresh_ledger_says_that_nothing_happened(page: Page) -> None:
    text = (await (await page.signed_in()).get("/audit")).text
    assert "Nothing yet." in text
    assert "Nothing left this machine in this time" in text


async def test_one_sees_what_left_for_whom_and_what_is_suspicious_first(audited: Page) -> None:
    text = (await (await audited.signed_in()).get("/audit")).text
    suspicious, _, rest = text.partition("What left the machine</h2>")
    assert "A forbidden address was blocked" in suspicious
    counts, _, line = rest.partition('aria-label="Time line"')
    for words in ("ok 1", "failed 1", "refused 1", "api.github.com", "169.254.169.254", "assistant", "run_2", "320 B"):
        assert words in counts
    assert counts.count('<rect class="left"') >= 1
    assert "GET https://api.github.com/issues" in line
    assert "is-suspicious" in line
    assert "<i>" not in text


async def test_each_filter_narrows_the_time_line(audited: Page) -> None:
    client = await audited.signed_in()
    for query, there, absent in (
        ({"show": "suspicious"}, "forbidden address", "A request left"),
        ({"show": "outside"}, "A request left", "Somebody signed in"),
        ({"host": "api.github.com"}, "/issues", "/v1/chat"),
        ({"agent": "gardener"}, "/v1/chat", "/issues"),
        ({"run": "run_1"}, "/issues", "/v1/chat"),
        ({"outcome": "refused"}, "forbidden address", "A request left"),
        ({"source": "gateway"}, "Somebody signed in", "A request left"),
        ({"source": "known"}, "A request left", "Somebody signed in"),
        ({"event": "auth"}, "Somebody signed in", "A request left"),
        ({"since": "2999-01-01T00:00:00Z"}, "Nothing that fits the filter", "A request left"),
        ({"show": "suspicious", "since": "24h"}, "forbidden address", "A request left"),
    ):
        answer = await client.get("/audit", params={"since": "24h", **query})
        line = answer.text.partition('aria-label="Time line"')[2]
        assert there in line, query
        assert absent not in line, query


async def test_a_flood_of_claims_pushes_nothing_known_off_the_page(
    audited: Page, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_pages, "PAGE", 5)
    for _ in range(8):
        await recorder.append_claimed(AppendRequest(event="policy.denied", run="run_9", agent="assistant"))
    client = await audited.signed_in()
    for view in ("all", "suspicious"):
        text = (await client.get("/audit", params={"show": view})).text
        first, _, line = text.partition('aria-label="Time line"')
        assert "A forbidden address was blocked" in first.partition('id="first"')[2], view
        assert "A tool call was denied" in line
        assert "forbidden address" not in line
    link = text.partition('id="first"')[2].partition('href="')[2].partition('"')[0].replace("&amp;", "&")
    line = (await client.get(link)).text.partition('aria-label="Time line"')[2]
    assert "A forbidden address was blocked" in line
    assert "A tool call was denied" not in line
    # Nor is what is claimed hidden by what is known; and what the time line has is not told twice above it.
    monkeypatch.setattr(audit_pages, "PAGE", 50)
    first = (await client.get("/audit")).text.partition("What left the machine</h2>")[0]
    assert first.count("A tool call was denied") == audit_pages.SUSPICIOUS_FIRST
    assert 'id="first"' not in (await client.get("/audit", params={"show": "suspicious"})).text


async def test_one_pages_through_all_of_it_by_place(audited: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_pages, "PAGE", 2)
    client = await audited.signed_in()
    address, seen = "/audit", 0
    while True:
        text = (await client.get(address)).text
        seen += 1
        older = text.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
        if not older:
            break
        address = older
    assert seen >= 4
    assert "Newest" in text
    newer = text.partition('rel="prev" href="')[2].partition('"')[0].replace("&amp;", "&")
    assert "before" not in newer
    assert (await client.get(newer)).status_code == 200


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"since": "yesterday"}, "Give a span such as 30m"),
        ({"event": "run.startd"}, "The nearest one that exists is run.started."),
        ({"source": "proxi"}, "source: must be one of proxy, operator, gateway, ingress, known, claimed"),
    ],
)
async def test_a_field_that_is_not_understood_is_said_beside_what_was_typed(
    page: Page, query: dict[str, str], told: str
) -> None:
    answer = await (await page.signed_in()).get("/audit", params=query)
    assert answer.status_code == 400
    assert told in answer.text
    assert f'value="{next(iter(query.values()))}"' in answer.text
    assert page.proxy.queries == []


@pytest.mark.parametrize("query", [{"show": "other"}, {"limit": "5"}, {"before": "x"}, [("run", "a"), ("run", "b")]])
async def test_another_address_is_refused(page: Page, query: dict[str, str]) -> None:
    assert (await (await page.signed_in()).get("/audit", params=query)).status_code == 400


async def test_an_alarm_of_the_ledger_stands_above_everything(page: Page) -> None:
    page.proxy.ledger_alarm = "It was set back."
    assert "It was set back." in (await (await page.signed_in()).get("/audit")).text


async def test_a_proxy_that_is_away_is_a_page_that_says_so(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await page.signed_in()

    async def away(**_query: object) -> None:
        raise Refusal(ProblemCode.PROXY_UNAVAILABLE, "The proxy does not answer.", "mycelos status")

    monkeypatch.setattr(page.proxy, "audit_events", away)
    answer = await client.get("/audit", headers={"Accept": "text/html"})
    assert answer.status_code == 503
    assert "The proxy does not answer" in answer.text


async def test_one_entry_is_shown_in_full_with_its_proof(audited: Page) -> None:
    client = await audited.signed_in()
    text = (await client.get("/audit/2")).text
    entries = await audited.proxy.audit_events(after=1, limit=1)
    hashes = (entries[0]["leaf_hash"], entries[0]["prev_hash"])
    for words in (
        *hashes,
        "bytes_received",
        "Its intent, #1",
        "The content has",
        "Checked by hashing",
        "139e3940e64b54",
    ):
        assert words in text
    assert 'href="/audit/1"' in text
    assert 'href="/audit/3"' in text
    hostile = (await client.get("/audit/5")).text
    assert "&lt;i&gt;" in hostile
    assert "<i>" not in hostile


async def test_a_proof_is_a_file_that_another_verifies_with_the_ledgers_key(audited: Page) -> None:
    client = await audited.signed_in()
    answer = await client.get("/audit/2/proof")
    assert 'filename="entry-2.tlog-proof"' in answer.headers["content-disposition"]
    key = VerifierKey.parse((await audited.proxy.newest_checkpoint()).key)
    (entry,) = await audited.proxy.audit_events(after=1, limit=1)
    proof = parse_proof(answer.content)
    assert proof.verify(bytes.fromhex(entry["leaf_hash"]), key.name, [key], verifies).size > 2


async def test_an_entry_that_was_changed_is_shown_as_changed_and_has_no_proof(
    audited: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await audited.signed_in()
    (entry,) = await audited.proxy.audit_events(after=1, limit=1)

    async def changed(**_query: object) -> list[dict[str, object]]:
        return [entry | {"agent": "nobody"}]

    monkeypatch.setattr(audited.proxy, "audit_events", changed)
    assert "does not hold" in (await client.get("/audit/2")).text
    assert (await client.get("/audit/2/proof")).status_code == 409


@pytest.mark.parametrize(("place", "status"), [("99", 404), ("-1", 400), ("x", 400), ("9" * 16, 400)])
@pytest.mark.parametrize("below", ["", "/proof"])
async def test_a_place_without_an_entry_is_refused(audited: Page, place: str, status: int, below: str) -> None:
    assert (await (await audited.signed_in()).get(f"/audit/{place}{below}")).status_code == status


async def post(page: Page, path: str) -> httpx2.Response:
    client = await page.signed_in()
    return await client.post(path, data={"form_token": await page.form_token(client)})


async def test_the_page_says_what_is_signed_and_with_which_key(audited: Page) -> None:
    text = (await (await audited.signed_in()).get("/audit")).text
    kept = audited.proxy.head.kept
    for words in (f"{kept.size} entries", kept.checkpoint.root.hex(), str(audited.proxy.recorder.key)):
        assert html.escape(words) in text


async def test_the_whole_ledger_is_walked_and_holds(audited: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_walk, "MOST_ENTRIES", 2)
    text = (await (await audited.signed_in()).get("/audit/verify")).text
    size = audited.proxy.head.kept.size
    assert f'<progress value="2" max="{size}">' in text
    assert "Every entry is as it was signed" in text
    assert "signatures are not checked here" in text
    assert text.rstrip().endswith("</html>")


async def test_a_ledger_that_was_changed_is_located(audited: Page, tmp_path: Path) -> None:
    intruder = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    intruder.execute("DROP TRIGGER audit_events_no_update")
    intruder.execute("UPDATE audit_events SET agent = '<b>' WHERE seq = 3")
    intruder.close()
    text = (await (await audited.signed_in()).get("/audit/verify")).text
    assert "does not hold</span> Entry 3" in text
    assert "the entry&#39;s content was changed" in text.lower()
    assert "Every entry is as it was signed" not in text


async def test_a_ledger_that_signs_nothing_cannot_be_told(page: Page) -> None:
    assert "cannot tell" in (await (await page.signed_in()).get("/audit/verify")).text


async def test_a_walk_that_cannot_go_on_says_so_and_never_that_it_holds(
    audited: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await audited.signed_in()

    async def away(**_query: object) -> None:
        raise Refusal(ProblemCode.PROXY_UNAVAILABLE, "The proxy does not answer", "mycelos status")

    monkeypatch.setattr(audited.proxy, "audit_events", away)
    text = (await client.get("/audit/verify")).text
    assert "could not be walked" in text
    assert "holds</span>" not in text


async def test_without_the_forms_token_nothing_is_downloaded(audited: Page) -> None:
    client = await audited.signed_in()
    assert (await client.post("/audit/export", data={"form_token": "x"})).status_code == 403
    assert "audit.downloaded" not in audited.proxy.names()


async def test_the_download_is_the_whole_ledger_and_is_on_record_before_its_first_byte(audited: Page) -> None:
    answer = await post(audited, "/audit/export")
    assert answer.status_code == 200
    lines = answer.content.splitlines()
    key = audited.proxy.recorder.key
    found = verify(map(item_from_line, lines), {}, verifies, trusted=key)
    assert (found.fault, found.compared) == (None, (GIVEN_KEY,))
    assert found.entries == found.signed_size == len(lines) - 1
    last = json.loads(lines[-2])
    assert (last["event"], last["source"], last["principal"]) == ("audit.downloaded", "gateway", "owner")
    assert f'filename="mycelos-ledger-{last["seq"]}.jsonl"' in answer.headers["content-disposition"]


async def test_a_download_that_cannot_be_on_record_does_not_begin(audited: Page) -> None:
    client = await audited.signed_in()
    token = await audited.form_token(client)
    audited.proxy.is_down = True
    answer = await client.post("/audit/export", data={"form_token": token})
    assert answer.json()["code"] == "audit_unavailable"


async def test_a_download_that_breaks_off_is_cut_and_does_not_look_whole(
    audited: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await audited.signed_in()
    token = await audited.form_token(client)
    real, asked = audited.proxy.audit_events, asyncio.Event()

    async def broken(**query: object) -> list[dict[str, object]]:
        if asked.is_set():
            return []
        asked.set()
        return await real(**(query | {"limit": 2}))

    monkeypatch.setattr(audited.proxy, "audit_events", broken)
    with pytest.raises(httpx2.RemoteProtocolError):
        await client.post("/audit/export", data={"form_token": token})
