"""A request that waits for a person, in Chromium: shown, signed with a passkey, sent once, never approved again."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect
from vault_page import ServedVaultPage, served_vault_page

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.egress.approval_check import Asked, State
from mycelos.proxy.passkeys.ceremony import RelyingParty
from operator_system import OperatorSystem

pytestmark = [pytest.mark.anyio, pytest.mark.machine]

WAIT = 20_000.0
"""Milliseconds after which any wait of these tests has failed."""
AUTHENTICATOR = {
    "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
    "isUserVerified": True, "automaticPresenceSimulation": True,
}  # fmt: skip
ASKED = Asked(
    "github", "cred_1", 1, "POST", "https://api.example/repos/a/issues", "bearer",
    (("content-type", "text/plain"),), "pay \u202e<img src=x onerror=alert(1)>".encode(), "run_1", "helper", "",
)  # fmt: skip


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
def page(system: OperatorSystem) -> Iterator[ServedVaultPage]:
    with served_vault_page(system.layout) as served:
        # The page has another port in each test, and the proxy is told so.
        system.passkeys._relying_party = RelyingParty.of(served.base)
        yield served


async def test_a_request_is_shown_signed_with_a_passkey_and_approved_once(
    browser: Browser, system: OperatorSystem, page: ServedVaultPage
) -> None:
    context = await browser.new_context()
    context.set_default_timeout(WAIT)
    tab = await context.new_page()
    complaints: list[str] = []
    tab.on("console", lambda said: complaints.append(said.text))
    devtools = await context.new_cdp_session(tab)
    await devtools.send("WebAuthn.enable")
    added = await devtools.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
    await tab.goto(f"{page.base}/login?code={system.client.create_link().code}")
    await tab.get_by_role("button", name="Sign in").click()
    await tab.get_by_role("link", name="Passkeys").click()
    await tab.get_by_label("Label").fill("laptop")
    await tab.get_by_role("button", name="Add a passkey").click()
    # Before its script has run, a button sends the form as it is.
    await expect(tab.locator("[data-without-script]")).to_have_attribute("hidden", "")
    await tab.get_by_role("button", name="Create the passkey").click()
    await expect(tab.get_by_role("status")).to_have_text("added just now")

    held = system.approvals.hold(ASKED)
    await tab.get_by_role("link", name="Approvals").click()
    await tab.get_by_role("link", name="Look at it and decide").click()
    await expect(tab.get_by_text("pay⟨space⟩⟨U+202E⟩<img src=x onerror=alert(1)>")).to_be_visible()
    await expect(tab.locator("main img")).to_have_count(0)
    # Without the person behind the key nothing is approved.
    user = {"authenticatorId": added["authenticatorId"], "isUserVerified": False}
    await devtools.send("WebAuthn.setUserVerified", user)
    # Before its script has run, a button sends the form as it is.
    await expect(tab.locator("[data-without-script]")).to_have_attribute("hidden", "")
    approve = tab.get_by_role("button", name="Approve it, once, with a passkey")
    await approve.click()
    await expect(tab.get_by_role("alert")).to_contain_text("No passkey was used")
    assert system.approvals.waiting() == (held,)
    await devtools.send("WebAuthn.setUserVerified", {**user, "isUserVerified": True})
    sent: list[str] = []
    tab.on("request", lambda request: sent.append(request.post_data or "") if request.method == "POST" else None)
    await approve.click()
    await expect(tab.get_by_role("status")).to_have_text("Approved: it can be sent once.")
    decided = system.approvals.find(held.id)
    assert decided is not None
    assert decided.state is State.APPROVED

    # The very same form again, from the very same page, and then for a request like it.
    other = system.approvals.hold(replace(ASKED, run="run_2"))
    home = re.sub(r"approvals.*", "", tab.url)
    for approval in (held, other):
        answer = await context.request.post(
            f"{home}approvals/{approval.id}", data=sent[0],
            headers={"Origin": page.base, "Content-Type": "application/x-www-form-urlencoded"},
        )  # fmt: skip
        assert answer.status in {403, 404, 409}
    assert system.approvals.waiting() == (other,)
    # The policy stopped nothing of ours, and nothing of the stranger's has run.
    assert complaints == []
    await context.close()
