#!/usr/bin/env python3
"""Take the README's pictures of the pages from a running system. Starts nothing but the browser.

    scripts/take_picture.py "$(mycelos open --print)" --agent gardener --question "What are the open issues?"
    scripts/take_picture.py "$(mycelos open --print)" --page audit --height 1300

Signs in by the one-time link. For the chat it asks each question in one chat and waits for its answer (without a
question it shows the newest chat); any other page is opened as it is. Writes docs/images/PAGE.png.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
WAIT_MILLISECONDS = 120_000


def main() -> int:
    """0 when the picture is written; 2 where there is no link or no browser."""
    parser = argparse.ArgumentParser(description="Take the README's picture from a running system.")
    parser.add_argument("link", help="what `mycelos open` printed")
    parser.add_argument("--page", default="chat", help="chat, or an address such as audit or audit/20")
    parser.add_argument("--question", action="append", default=[], help="ask this; may be given several times")
    parser.add_argument("--agent", default="assistant", help="whom to ask")
    parser.add_argument("--scroll", type=int, default=0, help="how far above the end to look, in pixels")
    parser.add_argument("--width", type=int, default=1280, help="of the window, in pixels")
    parser.add_argument("--height", type=int, default=800, help="of the window, in pixels")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--dark", action="store_true", help="in the dark colours")
    options = parser.parse_args()
    found = re.search(r"https?://[^\s/]+/login\?code=[A-Za-z0-9_-]+", options.link)
    if not found:
        print("there is no one-time link in that text; give it what `mycelos open` prints", file=sys.stderr)
        return 2
    if not CHROMIUM.exists():
        print("Debian's chromium is needed: apt-get install chromium", file=sys.stderr)
        return 2
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(
            viewport={"width": options.width, "height": options.height},
            device_scale_factor=2,
            color_scheme="dark" if options.dark else "light",
        )
        page.set_default_timeout(WAIT_MILLISECONDS)
        sign_in(page, found[0])
        if options.page == "chat":
            show_chat(page, options.question, options.agent)
        else:
            page.goto(f"{found[0].partition('/login?')[0]}/{options.page}")
        page.mouse.move(options.width * 0.6, 400)
        page.mouse.wheel(0, -options.scroll)
        # The wheel is followed within a frame or two.
        page.wait_for_timeout(500)
        output = options.output or ROOT / "docs" / "images" / f"{options.page.replace('/', '-')}.png"
        output.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=output)
        browser.close()
    print(output)
    return 0


def sign_in(page: Page, link: str) -> None:
    """Use the one-time link."""
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="New chat")).to_be_visible()


def show_chat(page: Page, questions: list[str], agent: str) -> None:
    """Bring a finished conversation onto the page."""
    if not questions:
        page.locator(".chats ul a").first.click()
        wait_for_end(page, 1)
    for number, question in enumerate(questions, 1):
        if number == 1:
            page.get_by_label("Agent", exact=True).select_option(agent)
        page.get_by_label("Message").fill(question)
        page.get_by_label("Message").press("Enter")
        wait_for_end(page, number)


def wait_for_end(page: Page, questions: int) -> None:
    """Wait until that many questions are answered: no answer is live, and the composer is back."""
    expect(page.locator(".said.by-person").nth(questions - 1)).to_be_visible()
    expect(page.locator("article.is-live")).to_have_count(0, timeout=WAIT_MILLISECONDS)
    expect(page.get_by_role("button", name="Send")).to_be_visible()


if __name__ == "__main__":
    raise SystemExit(main())
