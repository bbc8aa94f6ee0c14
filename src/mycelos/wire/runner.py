"""Frames between the gateway and one runner, on the run's inherited socket. The socket is the identity.

Frames are JSON in the framing of `mycelos.wire.frames`; ``type`` is the tag, an unknown one is a refusal.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from mycelos.wire.conversation import AssistantMessage, Message, ToolDefinition

RUNNER_PROTOCOL: Final = 1
RUNNER_DESCRIPTOR: Final = 3
"""The run's socket is always this descriptor inside the sandbox."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one run may use. Exceeding one ends the run with a reason."""

    model_requests: int
    tool_calls: int
    answer_characters: int


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="hello"):
    """Gateway to runner, first: what the run is about."""

    protocol: Literal[1]
    profile: str
    instructions: str
    messages: tuple[Message, ...]
    tools: tuple[ToolDefinition, ...]
    limits: Limits


class ModelDelta(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="model.delta"):
    """Gateway to runner: a piece of the text that the model writes."""

    id: str
    text: str


class ModelResponse(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="model.response"):
    """Gateway to runner: the model's whole answer, or the problem's code and sentence instead."""

    id: str
    message: AssistantMessage | None
    code: str
    detail: str


class ToolResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="tool.result"):
    """Gateway to runner: what came of a call. ``labels`` say where the content came from."""

    id: str
    ok: bool
    content: str
    labels: tuple[str, ...]


class ModelRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="model.request"):
    """Runner to gateway: ask the model to go on from these messages."""

    id: str
    messages: tuple[Message, ...]


class ToolCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="tool.call"):
    """Runner to gateway: call a tool. ``args`` is null where the model wrote no JSON object."""

    id: str
    tool: str
    args: dict[str, Any] | None


class Emit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="emit"):
    """Runner to gateway: text for the person."""

    text: str


class Done(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="done"):
    """Runner to gateway, last: how the run ended. ``code`` is ``answered``, or names the limit or problem."""

    ok: bool
    code: str
    text: str


ToRunner = Hello | ModelDelta | ModelResponse | ToolResult
FromRunner = ModelRequest | ToolCall | Emit | Done
