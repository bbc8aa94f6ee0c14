"""A conversation between a person, a model and tools, in no provider's format."""

from __future__ import annotations

from typing import Any

import msgspec


class UserMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="role", tag="user"):
    """What a person wrote."""

    text: str


class ToolUse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model's wish to call a tool. ``args`` is null where the model's arguments were no JSON object."""

    id: str
    tool: str
    args: dict[str, Any] | None


class AssistantMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="role", tag="assistant"):
    """What a model answered: text, wishes for tools, or both."""

    text: str
    tool_uses: tuple[ToolUse, ...] = ()


class ToolMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="role", tag="tool"):
    """What a tool, or the refusal to call it, gave back to the model."""

    id: str
    tool: str
    ok: bool
    content: str


Message = UserMessage | AssistantMessage | ToolMessage


class ToolDefinition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool as a model sees it; ``parameters`` is a JSON Schema of type object."""

    name: str
    description: str
    parameters: dict[str, Any]
