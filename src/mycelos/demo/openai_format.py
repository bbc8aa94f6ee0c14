"""A scripted step as OpenAI's chat completions write it: one body, or a stream of chunks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_IDENTITY: Final = {"id": "chatcmpl-scripted", "created": 0, "model": "scripted"}
_USAGE: Final = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def text_body(text: str) -> dict[str, Any]:
    """A whole answer of text."""
    return _body({"role": "assistant", "content": text}, "stop")


def tool_body(name: str, arguments: str) -> dict[str, Any]:
    """A whole answer that wishes for one tool."""
    return _body({"role": "assistant", "content": None, "tool_calls": [_call(name, arguments)]}, "tool_calls")


def text_events(pieces: Iterable[str]) -> Iterator[bytes]:
    """The stream's events before the end, a piece of text each."""
    for piece in pieces:
        yield _event({"role": "assistant", "content": piece}, None)


def tool_events(name: str, arguments: str) -> Iterator[bytes]:
    """The stream's events before the end: the call's name first, then its arguments in two parts."""
    middle = len(arguments) // 2
    yield _event({"role": "assistant", "tool_calls": [{"index": 0, **_call(name, "")}]}, None)
    for part in (arguments[:middle], arguments[middle:]):
        yield _event({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}, None)


def end_events(*, wishes_for_tool: bool) -> Iterator[bytes]:
    """How a stream ends."""
    yield _event({}, "tool_calls" if wishes_for_tool else "stop")
    yield b"data: [DONE]\n\n"


def _call(name: str, arguments: str) -> dict[str, Any]:
    return {"id": "call_scripted", "type": "function", "function": {"name": name, "arguments": arguments}}


def _body(message: dict[str, Any], reason: str) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return {**_IDENTITY, "object": "chat.completion", "choices": [choice], "usage": _USAGE}


def _event(delta: dict[str, Any], reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    chunk = {**_IDENTITY, "object": "chat.completion.chunk", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"
