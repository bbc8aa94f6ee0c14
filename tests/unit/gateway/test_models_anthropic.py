"""Conversations in Anthropic's messages format."""

from __future__ import annotations

from mycelos.gateway.models_anthropic import anthropic_messages
from mycelos.wire.conversation import AssistantMessage, ToolMessage, ToolUse, UserMessage


def test_the_results_of_one_turns_tools_stand_together() -> None:
    uses = (ToolUse("c1", "a.b", {"x": 1}), ToolUse("c2", "a.c", None))
    messages = (
        UserMessage("hi"),
        AssistantMessage("I look", uses),
        ToolMessage("c1", "a.b", True, "one"),
        ToolMessage("c2", "a.c", False, "refused"),
    )
    converted = anthropic_messages(messages)
    assert [message["role"] for message in converted] == ["user", "assistant", "user"]
    assert converted[1]["content"] == [
        {"type": "text", "text": "I look"},
        {"type": "tool_use", "id": "c1", "name": "a__b", "input": {"x": 1}},
        {"type": "tool_use", "id": "c2", "name": "a__c", "input": {}},
    ]
    assert [(block["tool_use_id"], block["is_error"]) for block in converted[2]["content"]] == [
        ("c1", False),
        ("c2", True),
    ]


def test_an_answer_without_a_word_is_still_a_message() -> None:
    (message,) = anthropic_messages((AssistantMessage(""),))
    assert message["content"][0]["text"]
