"""The audit page in Chromium: what left is seen at a glance, hostile entries come to nothing, no policy is broken."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from gateway_page import WAIT, Page, served_page
from ledger_page import LedgerProxy, send, signed_ledger
from playwright.async_api import Browser, BrowserContext, Locator, expect
from playwright.async_api import Page as Tab

from mycelos.gateway.web import audit_walk
from mycelos.ledger.events import Event
from mycelos.ledger.export import item_from_line
from mycelos.ledger.signed_note import VerifierKey
from mycelos.ledger.verify import GIVEN_KEY, verify
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.vault.signing import verifies
from mycelos.wire.audit import AppendRequest

pytestmark = [pytest.mark.anyio, pytest.mark.machine]

TAKEN = "document.title='taken'"
HOSTILE = f'"><img src=x onerror="{TAKEN}"><script>{TAKEN}</script>'
LEDGER = "ledger.sqlite"


@pytest.fixture
async def page(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Page]:
    async with signed_ledger(tmp_path / LEDGER) as recorder:
        await fill(recorder)
        async with served_page(tmp_path, proxy=LedgerProxy(recorder, tmp_path)) as served:
            yield served


async def fill(recorder: Recorder) -> None:
    """Two requests that left, and two hostile entries."""
    await send(recorder, "api.github.com", "/issues", run="run_1", agent="assistant")
    await send(recorder, "api.openai.com", "/v1/chat", run="run_2", agent="gardener", outcome="failed")
    # The gateway may be hijacked: this is what it can put on record, and the most that it can put there.
    texts = dict.fromkeys(("principal", "actor", "run", "agent", "subject", "outcome", "reason"), HOSTILE * 3)
    await recorder.append_claimed(AppendRequest(event="policy.denied", details={"tool": HOSTILE}, **texts))
    await recorder.fact(
        Event.PROXY_SSRF_BLOCKED,
        agent=HOSTILE,
        run="run_2",
        outcome="refused",
        details={"method": "GET", "scheme": "http", "host": HOSTILE, "path": "/x" * 400},
    )


class Window:
    """A signed-in window that remembers every complaint of the browser."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.complaints: list[str] = []
        self.tab: Tab

    async def open(self, page: Page, path: str = "/audit") -> Window:
        self.tab = await self.context.new_page()
        self.tab.set_default_timeout(WAIT * 1000)
        self.tab.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        await self.tab.goto(await page.link())
        await self.tab.get_by_role("button", name="Sign in").click()
        await expect(self.tab.get_by_role("link", name="New chat")).to_be_visible()
        await self.tab.goto(page.url + path)
        return self

    def line(self) -> Locator:
        return self.tab.get_by_role("region", name="Time line")

    async def fits(self) -> bool:
        return await self.tab.locator("html").evaluate("page => page.scrollWidth <= page.clientWidth")

    async def is_unharmed(self) -> bool:
        hostile = "main img, main script, main [onerror], main a[href^='javascript']"
        return await self.tab.locator(hostile).count() == 0 and "taken" not in await self.tab.title()


@pytest.mark.parametrize("script", [True, False], ids=["with JavaScript", "without"])
async def test_what_left_is_seen_filtered_and_opened(browser: Browser, page: Page, script: bool) -> None:
    window = await Window(await browser.new_context(java_script_enabled=script)).open(page)
    counts = window.tab.get_by_role("region", name="What left the machine")
    await expect(counts.get_by_role("row", name="api.github.com 1 0 320 B")).to_be_visible()
    await expect(counts.locator("svg rect.left")).to_have_count(1)
    await counts.get_by_role("link", name="gardener").click()
    await expect(window.line().get_by_text("GET https://api.openai.com/v1/chat")).to_be_visible()
    await expect(window.line().get_by_text("api.github.com")).to_have_count(0)
    await window.tab.get_by_role("link", name="Clear", exact=True).click()
    await window.tab.locator("summary", has_text="Filter").click()
    await window.tab.get_by_label("Host").fill("api.github.com")
    await window.tab.get_by_label("Host").press("Enter")
    await window.line().get_by_role("link", name="A request left the machine").click()
    await expect(window.tab.get_by_text("The content has the hash")).to_be_visible()
    await expect(window.tab.get_by_text("Checked by hashing")).to_be_visible()
    await window.tab.get_by_role("link", name="Its intent, #1").click()
    await expect(window.tab.get_by_role("heading", name="A request left the machine")).to_be_visible()
    assert window.complaints == []


@pytest.mark.parametrize("width", [360, 1280])
async def test_hostile_entries_run_nothing_and_break_no_page(browser: Browser, page: Page, width: int) -> None:
    context = await browser.new_context(viewport={"width": width, "height": 800})
    window = await Window(context).open(page)
    for path in ("/audit", "/audit?show=suspicious", "/audit?show=outside", "/audit/5", "/audit/6"):
        await window.tab.goto(page.url + path)
        assert await window.is_unharmed(), path
        assert await window.fits(), path
    await window.tab.goto(f"{page.url}/audit?show=suspicious")
    await expect(window.line().get_by_text(HOSTILE).first).to_be_visible()
    # Its name is a link that filters by it, and comes back as the same text in the form.
    await window.line().get_by_role("link", name=HOSTILE, exact=True).click()
    await expect(window.tab.get_by_label("Agent")).to_have_value(HOSTILE)
    await expect(window.line().get_by_text("A forbidden address was blocked")).to_be_visible()
    assert await window.is_unharmed()
    assert window.complaints == []


async def test_a_row_written_past_the_ledger_is_shown_as_changed_with_its_escapes_visible(
    browser: Browser, page: Page, tmp_path: Path
) -> None:
    intruder = sqlite3.connect(tmp_path / LEDGER, isolation_level=None)
    intruder.execute("DROP TRIGGER audit_events_no_update")
    intruder.execute("UPDATE audit_events SET agent = char(27, 8238) || 'x' WHERE seq = 2")
    intruder.close()
    window = await Window(await browser.new_context()).open(page, "/audit/2")
    await expect(window.tab.get_by_text("\\u001b\\u202ex").first).to_be_visible()
    await expect(window.tab.get_by_text("does not hold")).to_be_visible()
    await window.tab.goto(f"{page.url}/audit")
    await window.tab.get_by_role("link", name="Verify every entry").click()
    await expect(window.tab.get_by_role("heading", name="does not hold Entry 2")).to_be_visible()
    assert window.complaints == []


async def test_the_whole_page_is_reached_by_the_keyboard(browser: Browser, page: Page) -> None:
    window = await Window(await browser.new_context()).open(page)
    reached = set()
    for _ in range(120):
        await window.tab.keyboard.press("Tab")
        focused = window.tab.locator(":focus")
        if await focused.count() == 0:
            break
        reached.add(((await focused.text_content()) or "").strip())
    assert {
        "Suspicious",
        "Filter",
        "As a table",
        "api.github.com",
        "Verify every entry",
        "Download every entry",
    } <= reached


@pytest.mark.parametrize("script", [True, False], ids=["with JavaScript", "without"])
async def test_the_ledger_is_verified_and_the_way_there_is_shown(
    browser: Browser, page: Page, script: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_walk, "MOST_ENTRIES", 2)
    half, go = asyncio.Event(), asyncio.Event()
    real = page.proxy.audit_events

    async def slow(**query: Any) -> list[dict[str, Any]]:
        if query.get("after") == 3:
            half.set()
            await go.wait()
        return await real(**query)

    window = await Window(await browser.new_context(java_script_enabled=script)).open(page)
    monkeypatch.setattr(page.proxy, "audit_events", slow)
    await window.tab.get_by_role("link", name="Verify every entry").click(no_wait_after=True)
    await half.wait()
    # The answer is not at its end, and the person sees how far it is.
    newest = window.tab.locator(".walk progress").last
    await expect(newest).to_have_attribute("value", "4")
    # It lies over the steps before it: a click meets it and nothing else.
    await newest.click(trial=True)
    await expect(window.tab.get_by_role("link", name="Stop")).to_be_visible()
    go.set()
    await expect(window.tab.get_by_role("heading", name="Every entry is as it was signed")).to_be_visible()
    await expect(window.tab.get_by_role("link", name="Stop")).to_be_hidden()
    assert window.complaints == []


async def test_a_verification_that_a_person_stops_ends_and_another_can_begin(
    browser: Browser, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = await Window(await browser.new_context()).open(page)
    real, asked, ended = page.proxy.audit_events, asyncio.Event(), asyncio.Event()

    async def never(**_query: Any) -> list[dict[str, Any]]:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    monkeypatch.setattr(page.proxy, "audit_events", never)
    await window.tab.get_by_role("link", name="Verify every entry").click(no_wait_after=True)
    await asked.wait()
    monkeypatch.setattr(page.proxy, "audit_events", real)
    await window.tab.get_by_role("link", name="Stop").click()
    async with asyncio.timeout(WAIT):
        await ended.wait()
    await window.tab.get_by_role("link", name="Verify every entry").click()
    await expect(window.tab.get_by_role("heading", name="Every entry is as it was signed")).to_be_visible()


async def test_the_download_is_a_file_that_verifies(browser: Browser, page: Page, tmp_path: Path) -> None:
    window = await Window(await browser.new_context(accept_downloads=True)).open(page)
    async with window.tab.expect_download() as download:
        await window.tab.get_by_role("button", name="Download every entry").click()
    target = tmp_path / "saved.jsonl"
    await (await download.value).save_as(target)
    lines = target.read_bytes().splitlines()
    assert json.loads(lines[-2])["event"] == "audit.downloaded"
    key = VerifierKey.parse((await page.proxy.newest_checkpoint()).key or "")
    found = verify(map(item_from_line, lines), {}, verifies, trusted=key)
    assert (found.fault, found.compared, found.entries) == (None, (GIVEN_KEY,), len(lines) - 1)
    assert window.complaints == []
