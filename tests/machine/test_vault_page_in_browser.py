"""The vault page in Chromium, beside the gateway's page and a hostile one on other ports of the same machine."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
from neighbour import Neighbour, neighbour
from playwright.async_api import Browser, BrowserContext, CDPSession, Page, Request, Route, expect
from running_system import RunningSystem, running_system

pytestmark = [pytest.mark.anyio, pytest.mark.machine]

COOKIE = "mycelos_operator"
WAIT = 20_000.0
"""Milliseconds after which any wait of these tests has failed."""


@pytest.fixture(scope="module")
def system() -> Iterator[RunningSystem]:
    folder = Path(tempfile.mkdtemp(prefix="m-", dir="/tmp"))
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir(mode=0o711)
    try:
        with running_system(data) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def other_port() -> Iterator[Neighbour]:
    with neighbour() as running:
        yield running


class Visit:
    """A window that is signed in at the vault page, and every request that its browser makes."""

    def __init__(self, system: RunningSystem, context: BrowserContext, tab: Page) -> None:
        self.system = system
        self.context = context
        self.tab = tab
        self.complaints: list[str] = []
        self.requests: list[Request] = []
        context.set_default_timeout(WAIT)
        context.on("request", self.remember)
        tab.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)

    def remember(self, request: Request) -> None:
        self.requests.append(request)

    async def sign_in(self, *flags: str) -> str:
        """Follow a fresh link and press its button; the address that one arrives at."""
        await self.tab.goto(self.system.must("open", "--print", *flags).strip())
        await self.tab.get_by_role("button", name="Sign in").click()
        await expect(self.tab.get_by_role("button", name="Sign out")).to_be_visible()
        return self.tab.url

    async def cookie(self, url: str) -> str | None:
        """The value of the vault page's cookie that the browser would send to an address."""
        return next((found["value"] for found in await self.context.cookies(url) if found["name"] == COOKIE), None)


@pytest.fixture
async def visit(browser: Browser, system: RunningSystem) -> AsyncIterator[Visit]:
    context = await browser.new_context()
    yield Visit(system, context, await context.new_page())
    await context.close()


async def test_every_page_and_form_works_below_the_secret_path(visit: Visit) -> None:
    home = await visit.sign_in("--operator")
    assert re.fullmatch(rf"http://localhost:{visit.system.operator_port}/s/[A-Za-z0-9_-]{{43}}/", home)
    tab = visit.tab
    await tab.get_by_role("link", name="Add a credential").click()
    await tab.get_by_label("Name", exact=True).fill("example")
    await tab.get_by_label("Secret").fill("canary-in-browser-1")
    await tab.get_by_label("Host").fill("api.example.com")
    await tab.get_by_role("button", name="Store it").click()
    await expect(tab.get_by_role("status")).to_have_text("The credential example was stored.")
    await tab.get_by_role("link", name="Replace the secret").click()
    await tab.get_by_label("New secret").fill("canary-in-browser-2")
    await tab.get_by_role("button", name="Replace it").click()
    await expect(tab.get_by_role("status")).to_have_text("The credential example was rotated.")
    await tab.get_by_role("link", name="Delete").click()
    await tab.get_by_role("button", name="Delete example").click()
    await expect(tab.get_by_role("status")).to_have_text("The credential example was deleted.")
    await tab.get_by_role("link", name="Egress rules").click()
    await tab.get_by_role("button", name="No").click()
    await expect(tab.get_by_text("Agents may not read public web pages.")).to_be_visible()
    await tab.get_by_role("link", name="Lock down").click()
    await tab.get_by_role("link", name="Cancel").click()
    assert tab.url == home
    await tab.get_by_role("button", name="Sign out").click()
    await expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()
    assert await visit.cookie(home) is None
    await tab.goto(home)
    await expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()
    assert visit.complaints == []


async def test_the_gateways_page_gets_neither_the_cookie_nor_the_path(visit: Visit) -> None:
    home = await visit.sign_in("--operator")
    gateway = f"http://localhost:{visit.system.port}"
    await visit.sign_in()
    for name in ("Agents", "Connections"):
        await visit.tab.get_by_role("link", name=name, exact=True).first.click()
        await expect(visit.tab.locator("nav a[aria-current=page]").first).to_have_text(name)
    sent = [await request.all_headers() for request in visit.requests if request.url.startswith(gateway)]
    assert any("mycelos_session=" in headers.get("cookie", "") for headers in sent)
    assert not any(COOKIE in str(headers) or home in str(headers) for headers in sent)
    assert await visit.cookie(gateway) is None
    assert await visit.cookie(home) is not None
    # The gateway's link cannot know the path; the tab that does is still signed in.
    await visit.tab.get_by_role("link", name="Open the vault page").click()
    await expect(visit.tab.get_by_role("heading", name="Sign in")).to_be_visible()
    await visit.tab.goto(home)
    await expect(visit.tab.get_by_role("button", name="Sign out")).to_be_visible()


FOLLOW = """([url, policy]) => {
  const link = document.createElement("a");
  link.href = url; link.referrerPolicy = policy;
  document.body.append(link);
  link.click();
}"""


async def test_another_port_gets_no_cookie_and_no_referrer_and_plants_in_vain(
    visit: Visit, other_port: Neighbour
) -> None:
    home = await visit.sign_in("--operator")
    other_port.plants = [f"{COOKIE}=x; Path={path}" for path in ("/", "/s", "/s/")]
    await visit.tab.evaluate(FOLLOW, [f"{other_port.url}/s/", ""])
    await expect(visit.tab).to_have_title("neighbour")
    first, *_later = other_port.requests
    assert first.startswith("GET /s/ ")
    assert "Referer" not in first
    assert COOKIE not in first
    await visit.tab.goto(f"{home}rules")
    await expect(visit.tab.get_by_role("heading", name="Egress rules")).to_be_visible()
    assert home not in other_port.seen
    assert str(await visit.cookie(home)) not in other_port.seen
    assert len([found for found in await visit.context.cookies(home) if found["name"] == COOKIE]) == 4


async def test_without_the_cookies_path_and_the_referrer_policy_another_port_has_both(
    visit: Visit, other_port: Neighbour
) -> None:
    """Takes the walls away and sees the attack succeed."""
    home = await visit.sign_in("--operator")
    value = await visit.cookie(home)
    assert value
    await visit.context.add_cookies([{"name": COOKIE, "value": value, "domain": "localhost", "path": "/"}])
    await visit.tab.evaluate(FOLLOW, [other_port.url, "unsafe-url"])
    await expect(visit.tab).to_have_title("neighbour")
    assert f"{COOKIE}={value}" in other_port.seen
    assert f"Referer: {home}" in other_port.seen


AUTHENTICATOR = {
    "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
    "isUserVerified": True, "automaticPresenceSimulation": True,
}  # fmt: skip


async def plug_in(visit: Visit, **changes: object) -> tuple[CDPSession, str]:
    """A virtual authenticator in this window: how to speak of it, and its id."""
    devtools = await visit.context.new_cdp_session(visit.tab)
    await devtools.send("WebAuthn.enable")
    added = await devtools.send("WebAuthn.addVirtualAuthenticator", {"options": {**AUTHENTICATOR, **changes}})
    return devtools, added["authenticatorId"]


async def enrol(visit: Visit, label: str) -> None:
    await visit.tab.get_by_role("link", name="Passkeys").click()
    await visit.tab.get_by_label("Label").fill(label)
    await visit.tab.get_by_role("button", name="Add a passkey").click()
    # Before its script has run, a button sends the form as it is.
    await expect(visit.tab.locator("[data-without-script]")).to_have_attribute("hidden", "")
    await visit.tab.get_by_role("button", name="Create the passkey").click()


async def use_passkey(visit: Visit) -> None:
    await visit.tab.get_by_role("button", name="Sign in with a passkey").click()
    # Before its script has run, a button sends the form as it is.
    await expect(visit.tab.locator("[data-without-script]")).to_have_attribute("hidden", "")
    await visit.tab.get_by_role("button", name="Use my passkey").click()


async def test_a_passkey_is_enrolled_and_signs_in_and_its_copy_does_not(visit: Visit) -> None:
    await visit.sign_in("--operator")
    devtools, authenticator = await plug_in(visit)
    await enrol(visit, "first laptop")
    tab = visit.tab
    await expect(tab.get_by_role("status")).to_have_text("added just now")
    # The browser itself says that this authenticator holds one of ours.
    await enrol(visit, "the same again")
    await expect(tab.get_by_role("alert")).to_have_text("This passkey is enrolled already.")
    await tab.get_by_role("button", name="Sign out").click()
    await use_passkey(visit)
    await expect(tab.get_by_role("heading", name="Credentials")).to_be_visible()
    (kept,) = (await devtools.send("WebAuthn.getCredentials", {"authenticatorId": authenticator}))["credentials"]
    assert kept["rpId"] == "localhost"
    # A copy of the key as it was before it was used: it signs with a count that has gone by.
    await devtools.send("WebAuthn.clearCredentials", {"authenticatorId": authenticator})
    copy = {"authenticatorId": authenticator, "credential": {**kept, "signCount": 0}}
    await devtools.send("WebAuthn.addCredential", copy)
    await tab.get_by_role("button", name="Sign out").click()
    await use_passkey(visit)
    await expect(tab.get_by_role("alert")).to_contain_text("there may be a copy of it")
    assert [found for found in visit.complaints if "Content Security Policy" in found] == []
    entries = json.loads(visit.system.must("db", "audit", "--type", "operator.login_failed", "--json"))
    assert entries[-1]["details"]["code"] == "counter"


async def test_a_passkey_that_asks_for_no_pin_is_not_enrolled(visit: Visit) -> None:
    await visit.sign_in("--operator")
    await plug_in(visit, hasUserVerification=False, isUserVerified=False)
    await enrol(visit, "no pin")
    await expect(visit.tab.get_by_role("alert")).to_contain_text("No passkey was used")


async def test_a_removed_passkey_signs_nobody_in_and_its_session_ends(visit: Visit) -> None:
    await visit.sign_in("--operator")
    await plug_in(visit)
    await enrol(visit, "lost key")
    tab = visit.tab
    await expect(tab.get_by_role("status")).to_be_visible()
    await tab.get_by_role("button", name="Sign out").first.click()
    await use_passkey(visit)
    await tab.get_by_role("link", name="Passkeys").click()
    await tab.get_by_role("article").filter(has_text="lost key").get_by_role("link", name="Remove").click()
    await expect(tab.get_by_text("This session is one of them.")).to_be_visible()
    await tab.get_by_role("button", name="Remove lost key").click()
    await expect(tab.get_by_text("The passkey that this session began with was removed.")).to_be_visible()
    await use_passkey(visit)
    await expect(tab.get_by_role("alert")).to_contain_text("not enrolled here")


async def test_the_gateways_page_can_use_the_passkey_and_gets_nowhere_with_it(visit: Visit) -> None:
    """Every port of localhost may ask for its passkeys: the origin in what is signed tells them apart."""
    home = await visit.sign_in("--operator")
    await plug_in(visit)
    await enrol(visit, "for the vault")
    await expect(visit.tab.get_by_role("status")).to_be_visible()
    await visit.tab.goto(home)
    await visit.tab.get_by_role("button", name="Sign out").click()
    await visit.tab.get_by_role("button", name="Sign in with a passkey").click()
    options = await visit.tab.locator("form[data-passkey]").get_attribute("data-options")
    answer_form = visit.tab.url.replace("/login/passkey", "/login/passkey/answer")
    await visit.tab.goto(f"http://localhost:{visit.system.port}/login")
    signed = await visit.tab.evaluate(ASK_FOR_PASSKEY, options)
    async with httpx2.AsyncClient(trust_env=False) as program:
        origin = f"http://localhost:{visit.system.operator_port}"
        answer = await program.post(answer_form, data={"credential": signed}, headers={"Origin": origin})
    assert answer.status_code == 403
    assert "used at another page" in answer.text


ASK_FOR_PASSKEY = """async (options) => {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(JSON.parse(options));
  return JSON.stringify((await navigator.credentials.get({ publicKey })).toJSON());
}"""


FRAME = """(url) => {
  const frame = document.createElement("iframe");
  frame.src = url;
  document.body.append(frame);
}"""
POST = """([url, fields]) => {
  const form = document.createElement("form");
  form.method = "post"; form.action = url;
  for (const [name, value] of Object.entries(fields)) {
    const input = document.createElement("input");
    input.type = "hidden"; input.name = name; input.value = value;
    form.append(input);
  }
  document.body.append(form);
  form.submit();
}"""


async def test_another_port_that_knows_everything_can_neither_post_nor_frame(
    visit: Visit, other_port: Neighbour
) -> None:
    """Ports of localhost are one site: the browser does send the cookie along, and nothing comes of it."""
    home = await visit.sign_in("--operator")
    token = await visit.tab.locator("input[name=form_token]").first.get_attribute("value")
    await visit.tab.goto(other_port.url)
    await visit.tab.evaluate(POST, [f"{home}rules/web", {"form_token": token, "enabled": "yes"}])
    await expect(visit.tab.get_by_text("This form was sent from another page.")).to_be_visible()
    posted = next(request for request in visit.requests if request.url.endswith("/rules/web"))
    assert COOKIE in (await posted.all_headers())["cookie"]
    await visit.tab.goto(f"{home}rules")
    await expect(visit.tab.get_by_text("Agents may read public web pages")).to_have_count(0)
    await visit.tab.goto(other_port.url)
    async with visit.tab.expect_response(home) as framed:
        await visit.tab.evaluate(FRAME, home)
    assert (await framed.value).status == 200
    await expect(visit.tab.frame_locator("iframe").get_by_text("Credentials")).to_have_count(0)


async def test_without_its_headers_another_port_frames_the_page(visit: Visit, other_port: Neighbour) -> None:
    """Takes the wall away and sees the attack succeed."""
    home = await visit.sign_in("--operator")

    async def strip(route: Route) -> None:
        answer = await route.fetch()
        gone = {"content-security-policy", "x-frame-options", "cross-origin-resource-policy"}
        headers = {name: value for name, value in answer.headers.items() if name not in gone}
        await route.fulfill(response=answer, headers=headers)

    await visit.context.route(home, strip)
    await visit.tab.goto(other_port.url)
    await visit.tab.evaluate(FRAME, home)
    await expect(visit.tab.frame_locator("iframe").get_by_role("heading", name="Credentials")).to_be_visible()


async def test_without_javascript_every_form_works_and_the_one_that_cannot_says_so(
    browser: Browser, system: RunningSystem
) -> None:
    context = await browser.new_context(java_script_enabled=False)
    visit = Visit(system, context, await context.new_page())
    tab = visit.tab
    await visit.sign_in("--operator")
    await tab.get_by_role("link", name="Add a credential").first.click()
    await tab.get_by_label("Name", exact=True).fill("plain")
    await tab.get_by_label("Secret").fill("canary-without-script")
    await tab.get_by_label("Host").fill("api.example.com")
    await tab.get_by_role("button", name="Store it").click()
    await expect(tab.get_by_role("status")).to_have_text("The credential plain was stored.")
    await tab.get_by_role("link", name="Change where it may go").click()
    await tab.get_by_label("Path prefix").fill("/v1")
    await tab.get_by_label("Host").fill("api.example.com")
    await tab.get_by_label("GET on any path of https://api.example.com").uncheck()
    await tab.get_by_role("button", name="Save").click()
    await expect(tab.get_by_text("GET on https://api.example.com/v1 and below it")).to_be_visible()
    await tab.get_by_role("link", name="Egress rules").click()
    await tab.get_by_label("Host").fill("docs.example.com")
    await tab.get_by_role("button", name="Add the rule").click()
    await tab.get_by_role("button", name="Remove GET https://docs.example.com").click()
    await expect(tab.get_by_text("There is no rule")).to_be_visible()
    await tab.get_by_role("link", name="Passkeys").click()
    await tab.get_by_label("Label").fill("laptop")
    await tab.get_by_role("button", name="Add a passkey").click()
    await expect(tab.get_by_text("This one button needs JavaScript.")).to_be_visible()
    await tab.get_by_role("button", name="Create the passkey").click()
    await expect(tab.get_by_role("alert")).to_contain_text("the browser sent no passkey")
    await context.close()
