"""Reading both wire formats."""

from __future__ import annotations

from mycelos.demo.conversation import Conversation, read_anthropic, read_openai


def test_openai_results_count_from_the_last_words_of_the_person() -> None:
    body = {
        "messages": [
            {"role": "user", "content": "first"},
            {"role": "tool", "content": "old"},
            {"role": "user", "content": [{"type": "text", "text": "second"}]},
            {"role": "assistant", "content": None},
            {"role": "tool", "content": "new"},
        ],
        "tools": [{"function": {"name": "a_b"}}],
    }
    assert read_openai(body) == Conversation("second", ("new",), ("a_b",))


def test_anthropic_results_come_in_messages_of_the_user() -> None:
    body = {
        "messages": [
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "yes"},
            {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": "new"}]}]},
        ],
        "tools": [{"name": "a_b"}],
    }
    assert read_anthropic(body) == Conversation("first", ("new",), ("a_b",))


def test_a_tool_on_offer_is_found_under_the_name_of_the_provider() -> None:
    conversation = Conversation("", (), ("github__read__issues",))
    assert conversation.provider_name("github.read.issues") == "github__read__issues"
    assert conversation.provider_name("github.write.comment") == "github__write__comment"
