"""A scripted step as Anthropic's messages write it: one body, or a stream of named events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_USAGE: Final = {"input_tokens": 1, "output_tokens": 1}


def text_body(text: str) -> dict[str, Any]:
    """A whole answer of text."""
    return _body([{"type": "text", "text": text}], "end_turn")


def tool_body(name: str, arguments: str) -> dict[str, Any]:
    """A whole answer that wishes for one tool. This form has no way to write arguments that are not JSON."""
    try:
        parsed = json.loads(arguments)
    except json.JSONDecodeError:
        parsed = arguments
    return _body([{"type": "tool_use", "id": "toolu_scripted", "name": name, "input": parsed}], "tool_use")


def text_events(pieces: Iterable[str]) -> Iterator[bytes]:
    """The stream's events before the end, a piece of text each."""
    yield from _begin({"type": "text", "text": ""})
    for piece in pieces:
        yield _delta({"type": "text_delta", "text": piece})


def tool_events(name: str, arguments: str) -> Iterator[bytes]:
    """The stream's events before the end: the block first, then its input in two parts."""
    middle = len(arguments) // 2
    yield from _begin({"type": "tool_use", "id": "toolu_scripted", "name": name, "input": {}})
    for part in (arguments[:middle], arguments[middle:]):
        yield _delta({"type": "input_json_delta", "partial_json": part})


def end_events(*, wishes_for_tool: bool) -> Iterator[bytes]:
    """How a stream ends."""
    reason = "tool_use" if wishes_for_tool else "end_turn"
    yield _event("content_block_stop", {"index": 0})
    yield _event("message_delta", {"delta": {"stop_reason": reason, "stop_sequence": None}, "usage": _USAGE})
    yield _event("message_stop", {})


def _body(content: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
    return {
        "id": "msg_scripted",
        "type": "message",
        "role": "assistant",
        "model": "scripted",
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": _USAGE,
    }


def _begin(block: dict[str, Any]) -> Iterator[bytes]:
    yield _event("message_start", {"message": _body([], None)})
    yield _event("content_block_start", {"index": 0, "content_block": block})


def _delta(delta: dict[str, Any]) -> bytes:
    return _event("content_block_delta", {"index": 0, "delta": delta})


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()
