"""Conversations in the chat completions format."""

from __future__ import annotations

from mycelos.gateway.models_openai import openai_messages
from mycelos.wire.conversation import AssistantMessage, ToolMessage, ToolUse, UserMessage


def test_a_conversation_with_tools_is_converted() -> None:
    use = ToolUse("c1", "github.read.issues", {"repository": "a/b"})
    messages = (UserMessage("hi"), AssistantMessage("", (use,)), ToolMessage("c1", "github.read.issues", True, "[]"))
    assert openai_messages("be kind", messages) == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "github__read__issues", "arguments": '{"repository":"a/b"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "[]"},
    ]


def test_malformed_arguments_are_told_back_as_an_empty_object_and_no_instructions_as_no_message() -> None:
    (message,) = openai_messages("", (AssistantMessage("x", (ToolUse("c1", "rm -rf /", None),)),))
    assert message["tool_calls"][0]["function"] == {"name": "rm_-rf__", "arguments": "{}"}
