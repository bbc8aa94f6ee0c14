"""Reading a page of the web, without a credential, through the proxy. What comes back is data of unknown intent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Annotated, Final

import msgspec

from mycelos.gateway.tools.permit import Permit
from mycelos.gateway.tools.registry import Tool, ToolAnswer
from mycelos.wire.egress import HttpAnswer, HttpCall
from mycelos.wire.problems import ProblemCode, Refusal

_SECONDS: Final = 30.0
_TEXT_TYPES: Final = ("text/", "application/json", "application/xml", "application/xhtml+xml")
_UNSEEN: Final = frozenset({"script", "style", "template", "noscript", "head"})
_BLOCKS: Final = frozenset({"p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "section", "article", "pre"})


class ReadPage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which page."""

    url: Annotated[str, msgspec.Meta(pattern="^https?://", max_length=2048, description="absolute http or https URL")]


@dataclass(frozen=True)
class Web:
    """The tool's handler. ``http`` is the proxy client's."""

    http: Callable[[HttpCall], Awaitable[HttpAnswer]]

    def tools(self) -> list[Tool]:
        """The tool, to be registered."""
        return [Tool("web.read.page", "Read the text of one page of the web.", ReadPage, self.read_page)]

    async def read_page(self, permit: Permit, args: ReadPage) -> ToolAnswer:
        """Status and text of the page."""
        answer = await self.http(
            HttpCall(
                method="GET",
                url=args.url,
                headers={"Accept": "text/html, text/plain, application/json"},
                timeout=_SECONDS,
                run_id=permit.run_id,
                agent=permit.agent,
                purpose=permit.tool,
            )
        )
        headers = {name.lower(): value for name, value in answer.headers.items()}
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if answer.body is None or not content_type.startswith(_TEXT_TYPES):
            raise Refusal(ProblemCode.UPSTREAM_INVALID, "The page is not text", "Ask for a page of text, HTML or JSON.")
        text = _visible_text(answer.body) if "html" in content_type else answer.body
        return ToolAnswer(f"Status {answer.status}\n{text}")


class _Text(HTMLParser):
    """Collects the text that a reader of the page would see."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - the parser's signature
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag in _BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN and self._unseen:
            self._unseen -= 1

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(data)


def _visible_text(html: str) -> str:
    parser = _Text()
    parser.feed(html)
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.parts).splitlines())
    return "\n".join(line for line in lines if line)
