"""Reading the two wire formats: what the person wrote last, what the tools gave back, what is on offer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Conversation:
    """What a scripted model needs to know. ``offered`` holds the tools' names as this provider writes them."""

    person: str
    results: tuple[str, ...]
    offered: tuple[str, ...]

    def provider_name(self, tool: str) -> str:
        """How this provider writes ``tool``; a tool that is not on offer is asked for all the same."""
        for name in self.offered:
            if re.sub(r"[^a-z0-9]+", ".", name.lower()) == re.sub(r"[^a-z0-9]+", ".", tool):
                return name
        return tool.replace(".", "__")


def read_openai(body: dict[str, Any]) -> Conversation:
    """A body of OpenAI's `POST /v1/chat/completions`."""
    person = ""
    results: list[str] = []
    for message in body["messages"]:
        if message["role"] == "user":
            person, results = _text(message["content"]), []
        elif message["role"] == "tool":
            results.append(_text(message["content"]))
    offered = tuple(tool["function"]["name"] for tool in body.get("tools") or ())
    return Conversation(person, tuple(results), offered)


def read_anthropic(body: dict[str, Any]) -> Conversation:
    """A body of Anthropic's `POST /v1/messages`, where tool results come in messages of the user."""
    person = ""
    results: list[str] = []
    for message in body["messages"]:
        content = message["content"]
        if message["role"] != "user":
            continue
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        found = [_text(block.get("content") or "") for block in blocks if block["type"] == "tool_result"]
        if found:
            results += found
        else:
            person, results = _text(blocks), []
    offered = tuple(tool["name"] for tool in body.get("tools") or ())
    return Conversation(person, tuple(results), offered)


def _text(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "".join(block.get("text", "") for block in content if block["type"] == "text")
