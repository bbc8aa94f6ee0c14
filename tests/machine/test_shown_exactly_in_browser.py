"""In Chromium: two requests that differ never look the same, and cookies of another port keep nobody out."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from neighbour import neighbour
from playwright.async_api import Browser, BrowserContext, Page, expect
from vault_page import ServedVaultPage, served_vault_page

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.egress.approval_check import Asked
from operator_system import OperatorSystem

pytestmark = [pytest.mark.anyio, pytest.mark.machine]

WAIT = 20_000.0
"""Milliseconds after which any wait of these tests has failed."""
ASKED = Asked("github", "cred_1", 1, "POST", "https://api.example/pay", "bearer", (), None, "run_1", "helper", "")
PAD = " " * 200
HEADERS = (("accept", "application/json"), ("idempotency-key", "42"), ("prefer", "return=minimal, dry-run"))
ALIKE: dict[str, list[dict[str, Any]]] = {
    "headers": [
        {"headers": (("accept", f"application/json{PAD}idempotency-key: 42{PAD}prefer: return=minimal, dry-run"),)},
        {"headers": HEADERS},
    ],
    "lines": [{"body": f"to: alice{PAD}amount: 5".encode()}, {"body": b"to: alice\namount: 5"}],
    "ends": [{"body": body} for body in (b"pay=1", b"pay=1\n", b"pay=1   ", b"pay=1 ", b"pay=1\t", b"pay=1\r\n")],
    "blanks": [
        {"body": f"a{sign}c".encode()} for sign in ("", " ", "\ufffc", "\u00a0", "\u2800", "\u3164", "\U0001d159")
    ],
    "scripts": [{"body": body.encode()} for body in ("pay 100 to al", "p\u0430y 100 to al", "pay 100 to \u05d0\u05d1")],
    "marks": [
        {"body": body.encode()}
        for body in ("caf\u00e9", "cafe\u0301", "\u2126", "\u03a9", "\u27e8U+200B\u27e9", "\u200b")
    ],
    "digits": [{"headers": (("a", "1"),)}, {"headers": (("a", "1 "),)}, {"headers": (("a", " 1"),)}],
}
FULL = 200
"""Letters that fill several lines of the page: somewhere among them a line breaks."""


@pytest.fixture
def system() -> Iterator[OperatorSystem]:
    folder = Path(tempfile.mkdtemp(prefix="m-", dir="/tmp"))
    started = OperatorSystem(DataLayout(folder / "data"))
    started.start()
    try:
        yield started
    finally:
        started.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def served(system: OperatorSystem) -> Iterator[ServedVaultPage]:
    with served_vault_page(system.layout) as page:
        yield page


async def signed_in(context: BrowserContext, system: OperatorSystem, served: ServedVaultPage) -> Page:
    context.set_default_timeout(WAIT)
    tab = await context.new_page()
    await tab.goto(f"{served.base}/login?code={system.client.create_link().code}")
    await tab.get_by_role("button", name="Sign in").click()
    await expect(tab.get_by_role("link", name="Approvals")).to_be_visible()
    return tab


async def seen(tab: Page, system: OperatorSystem, changes: dict[str, Any]) -> tuple[str, str]:
    """What the page shows of one request: its accessible text, and the picture of it."""
    held = system.approvals.hold(replace(ASKED, **changes))
    await tab.get_by_role("link", name="Approvals").click()
    await tab.locator(f"a[href$='{held.id}']").click()
    await expect(tab.get_by_role("heading", name="May this be sent?")).to_be_visible()
    # Hash and length are there to be compared; without them, too, nothing is alike.
    await tab.evaluate(
        "document.querySelectorAll('.values tfoot, .values').forEach("
        "part => { if (part.matches('tfoot') && part.textContent.includes('SHA-256')) part.remove() })"
    )
    await tab.evaluate("document.querySelectorAll('dd > p').forEach(part => part.remove())")
    part = tab.locator("dl.request dd")
    texts = [await part.nth(index).aria_snapshot() for index in (1, 2)]
    pictures = [hashlib.sha256(await part.nth(index).screenshot()).hexdigest() for index in (1, 2)]
    system.approvals.forget("lockdown", lambda _: False)
    return "\n".join(texts), str(pictures)


@pytest.mark.parametrize("kind", ALIKE)
async def test_requests_that_differ_look_different(
    browser: Browser, system: OperatorSystem, served: ServedVaultPage, kind: str
) -> None:
    context = await browser.new_context()
    tab = await signed_in(context, system, served)
    views = [await seen(tab, system, changes) for changes in ALIKE[kind]]
    texts, pictures = zip(*views, strict=True)
    assert len(set(texts)) == len(views)
    assert len(set(pictures)) == len(views)
    await context.close()


async def test_a_space_is_drawn_wherever_a_line_breaks(
    browser: Browser, system: OperatorSystem, served: ServedVaultPage
) -> None:
    context = await browser.new_context()
    tab = await signed_in(context, system, served)
    solid = await seen(tab, system, {"body": b"x" * FULL})
    for place in range(60, 100):
        body = b"x" * place + b" " + b"x" * (FULL - place)
        view = await seen(tab, system, {"body": body})
        assert view[1] != solid[1], place
        (width,) = await tab.evaluate("[...document.querySelectorAll('.space')].map(part => part.offsetWidth)")
        assert width > 4, place
    await context.close()


async def test_the_old_styles_would_hang_the_spaces_and_the_pictures_would_be_the_same(
    browser: Browser, system: OperatorSystem, served: ServedVaultPage
) -> None:
    context = await browser.new_context()
    tab = await context.new_page()
    pictures = []
    for text in (f"to: alice{PAD}amount: 5", "to: alice\namount: 5"):
        await tab.set_content(f"<code style='display:block;width:40em;white-space:pre-wrap'>{text}</code>")
        pictures.append(await tab.locator("code").screenshot())
    assert pictures[0] == pictures[1]
    await context.close()


async def test_cookies_of_another_port_keep_nobody_out_or_are_named(
    browser: Browser, system: OperatorSystem, served: ServedVaultPage
) -> None:
    context = await browser.new_context()
    tab = await signed_in(context, system, served)
    home = tab.url
    with neighbour() as hostile:
        other = await context.new_page()
        hostile.plants = [f"b{number}={'A' * 3900}; Path=/" for number in range(12)]
        await other.goto(hostile.url)
        answer = await tab.goto(home)
        assert answer is not None
        assert answer.status == 200
        hostile.plants = [f"c{number}={'A' * 3900}; Path=/" for number in range(40)]
        await other.goto(hostile.url)
        answer = await tab.goto(f"{served.base}/login")
        assert answer is not None
        assert answer.status == 431
        await expect(tab.get_by_role("heading")).to_have_text("Your browser sent too many cookies along")
        private = await browser.new_context()
        fresh = await private.new_page()
        found = await fresh.goto(f"{served.base}/login")
        assert found is not None
        assert found.status == 200
        await private.close()
    await context.close()
