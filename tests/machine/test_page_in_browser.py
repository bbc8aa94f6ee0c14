"""The page in Chromium: the policy holds, answers stream, hostile pages and texts come to nothing.

The strict Content-Security-Policy forbids evaluated code, so the page is watched through locators.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gateway_page import WAIT, Page, served_page
from playwright.async_api import Browser, BrowserContext, expect

from mycelos.gateway.middleware import origin_check
from mycelos.gateway.web import forms

pytestmark = [pytest.mark.anyio, pytest.mark.machine]


@pytest.fixture
async def page(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Page]:
    async with served_page(tmp_path) as served:
        await served.store.models.create("small", "openai", "http://127.0.0.1:1/v1", "m", None)
        yield served


class Window:
    """A signed-in window that remembers every complaint of the browser."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.complaints: list[str] = []

    async def open(self, page: Page) -> Window:
        self.tab = await self.context.new_page()
        self.tab.set_default_timeout(WAIT * 1000)
        self.tab.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        await self.tab.goto(await page.link())
        await self.tab.get_by_role("button", name="Sign in").click()
        await expect(self.tab.get_by_role("link", name="New chat")).to_be_visible()
        return self

    async def ask(self, page: Page, text: str) -> str:
        await self.tab.goto(f"{page.url}/chat")
        await self.tab.get_by_label("Message").fill(text)
        await self.tab.get_by_label("Message").press("Enter")
        await expect(self.tab.get_by_role("button", name="Stop")).to_be_visible()
        return (await page.store.runs.all())[0].id


async def test_signing_in_by_the_link_and_walking_every_page_breaks_no_policy(browser: Browser, page: Page) -> None:
    window = await Window(await browser.new_context()).open(page)
    (cookie,) = await window.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    for name in ("Agents", "Connections", "Audit", "Settings", "Chat"):
        await window.tab.get_by_role("link", name=name, exact=True).first.click()
        await expect(window.tab.locator("nav a[aria-current=page]").first).to_have_text(name)
    await window.tab.get_by_role("button", name="Sign out").click()
    await expect(window.tab.get_by_role("heading", name="Sign in with a one-time link")).to_be_visible()
    assert window.complaints == []


async def test_tokens_are_shown_as_they_come_and_the_end_with_its_form(browser: Browser, page: Page) -> None:
    window = await Window(await browser.new_context()).open(page)
    run = await window.ask(page, "What is open?")
    answer = window.tab.locator("article.is-live")
    await page.runs.say(run, "token", text="There are **th")
    await expect(answer.locator(".words")).to_have_text("There are **th")
    await page.runs.say(run, "token", text="ree** issues.")
    await expect(answer.locator(".words")).to_have_text("There are **three** issues.")
    await page.runs.say(run, "tool_call", id="c1", tool="github.write.comment", args={"issue": 7})
    await expect(answer.locator(".card .name")).to_have_text("github.write.comment")
    await page.runs.say(
        run,
        "tool_result",
        id="c1",
        tool="github.write.comment",
        ok=False,
        code="policy_denied",
        content="Refused (policy_denied): It may not.",
        labels=[],
    )
    await expect(answer.locator(".card.is-refused .reason")).to_have_text("It may not.")
    await page.runs.say(run, "done", text="There are **three** issues.", code="answered")
    await expect(window.tab.locator("article strong").first).to_have_text("three")
    await expect(window.tab.get_by_role("link", name="Grant github.write.comment to assistant")).to_be_visible()
    assert window.complaints == []


async def test_a_line_that_breaks_is_taken_up_where_it_was(browser: Browser, page: Page) -> None:
    window = await Window(await browser.new_context()).open(page)
    run = await window.ask(page, "Count")
    words = window.tab.locator("article.is-live .words")
    await page.runs.say(run, "token", text="one ")
    await expect(words).to_have_text("one ")
    for connection in list(page.server._state.connections):
        connection.transport.abort()
    await page.runs.say(run, "token", text="two ")
    await expect(words).to_have_text("one two ", timeout=WAIT * 1000)


async def test_without_javascript_the_whole_conversation_works(browser: Browser, page: Page) -> None:
    window = await Window(await browser.new_context(java_script_enabled=False)).open(page)
    await window.tab.goto(f"{page.url}/chat")
    await window.tab.get_by_label("Message").fill("What is open?")
    await window.tab.get_by_role("button", name="Send").click()
    await expect(window.tab.get_by_role("button", name="Stop")).to_be_visible()
    run = (await page.store.runs.all())[0].id
    await page.runs.say(run, "token", text="Three.")
    await page.runs.say(run, "done", text="Three.", code="answered")
    await expect(window.tab.get_by_text("Three.")).to_be_visible(timeout=WAIT * 1000)
    assert window.complaints == []


TAKEN = "document.title='taken'"
HOSTILE = f'<img src=x onerror="{TAKEN}"><script>{TAKEN}</script>[x](javascript:{TAKEN})'


async def test_hostile_text_of_models_and_tools_runs_nothing(browser: Browser, page: Page) -> None:
    window = await Window(await browser.new_context()).open(page)
    run = await window.ask(page, HOSTILE)
    await page.runs.say(run, "token", text=HOSTILE)
    await page.runs.say(run, "tool_call", id="c1", tool=HOSTILE, args={"x": HOSTILE})
    await page.runs.say(run, "tool_result", id="c1", tool=HOSTILE, ok=False, code="failed", content=HOSTILE, labels=[])
    await expect(window.tab.locator("article.is-live .reason")).to_have_text(HOSTILE)
    assert await window.tab.locator("main img:not([src='/static/icon.svg'])").count() == 0
    await page.runs.say(run, "error", code="failed", detail=HOSTILE, next=HOSTILE)
    await expect(window.tab.get_by_text("without an answer")).to_be_visible()
    assert await window.tab.locator("main img:not([src='/static/icon.svg'])").count() == 0
    assert await window.tab.locator("main script, main a[href^='javascript']").count() == 0
    assert "taken" not in (await window.tab.title()).replace(TAKEN, "")
    assert window.complaints == []


ATTACK = """<!doctype html><title>trying</title>
<form id=f method=post action="{url}/chat" target=frame><input name=text value=hello><input name=agent value=assistant>
<input name=model value=""><input name=form_token value=""></form><iframe name=frame></iframe>
<iframe src="{url}/chat"></iframe><script src="{url}/api/runs/{run}/events"></script>
<script>
const seen = [];
const attempt = (path, more) => fetch("{url}" + path, {{credentials: "include", ...more}});
const read = (path) => attempt(path).then((answer) => answer.text()).then((text) => seen.push("read:" + text), () => 0);
const json = {{"Content-Type": "application/json"}};
f.submit();
const tries = [
  attempt("/api/chats", {{method: "POST", mode: "no-cors", body: "{{}}"}}),
  attempt("/api/chats", {{method: "POST", headers: json, body: "{{}}"}}).then(() => seen.push("posted"), () => 0),
  read("/api/runs/{run}/events"),
  read("/api/credentials/list"),
  new Promise((done) => {{
    const source = new EventSource("{url}/api/runs/{run}/events", {{withCredentials: true}});
    source.addEventListener("token", (event) => {{ seen.push("stream:" + event.data); done(); }});
    source.onerror = () => {{ source.close(); done(); }};
  }}),
];
Promise.allSettled(tries).then(() => {{ document.title = "tried:" + seen.join("|"); }});
</script>"""


async def attack(browser: Browser, page: Page, name: str) -> int:
    """Visit a hostile page on another port of ``name`` with a signed-in browser; the status that its form got."""
    context = await browser.new_context()
    await Window(context).open(page)
    _, run = await page.begin_run()
    await page.runs.say(run, "token", text="private words")
    body = ATTACK.format(url=page.url, run=run).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    hostile = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = hostile.sockets[0].getsockname()[1]
    tab = await context.new_page()
    tab.set_default_timeout(WAIT * 1000)
    async with tab.expect_response(lambda got: got.request.method == "POST" and got.url == f"{page.url}/chat") as form:
        await tab.goto(f"http://{name}:{port}/")
    await expect(tab).to_have_title("tried:", timeout=WAIT * 1000)
    hostile.close()
    await hostile.wait_closed()
    return (await form.value).status


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"], ids=["another port of this machine", "another site"])
async def test_a_hostile_page_can_neither_act_nor_read(browser: Browser, page: Page, name: str) -> None:
    """The page of another local program shares the cookie's host; the one of another site does not even that."""
    assert await attack(browser, page, name) in {401, 403}
    assert len(await page.store.chats.all()) == 1
    assert len(await page.store.runs.all()) == 1
    assert "chat.created" not in page.proxy.names()


async def test_without_origin_check_and_form_token_the_hostile_page_acts(
    browser: Browser, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Takes the walls away and sees the attack succeed."""
    monkeypatch.setattr(origin_check, "_check", lambda scope: None)
    monkeypatch.setattr(forms, "check_form_token", lambda principal, submitted: None)
    assert await attack(browser, page, "localhost") == 303
    assert "chat.created" in page.proxy.names()
    assert len(await page.store.chats.all()) == 2
