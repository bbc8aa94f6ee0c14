#!/usr/bin/env python3
"""Take the README's picture of the chat page from a running system. Starts nothing but the browser.

    scripts/take_picture.py "$(mycelos open --print)" --agent gardener --question "What are the open issues?"

Signs in by the one-time link, asks each question in one chat and waits for its answer (without a question it shows
the newest chat), and writes docs/images/chat.png.
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
    parser.add_argument("--question", action="append", default=[], help="ask this; may be given several times")
    parser.add_argument("--agent", default="assistant", help="whom to ask")
    parser.add_argument("--scroll", type=int, default=0, help="how far above the end to look, in pixels")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images" / "chat.png")
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
            viewport={"width": 1280, "height": 800},
            device_scale_factor=2,
            color_scheme="dark" if options.dark else "light",
        )
        page.set_default_timeout(WAIT_MILLISECONDS)
        show_chat(page, found[0], options.question, options.agent)
        page.mouse.move(800, 400)
        page.mouse.wheel(0, -options.scroll)
        # The wheel is followed within a frame or two.
        page.wait_for_timeout(500)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=options.output)
        browser.close()
    print(options.output)
    return 0


def show_chat(page: Page, link: str, questions: list[str], agent: str) -> None:
    """Sign in and bring a finished conversation onto the page."""
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="New chat")).to_be_visible()
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
