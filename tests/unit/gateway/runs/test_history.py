"""What a run is told of the chat before."""

from __future__ import annotations

from mycelos.gateway.runs.history import MOST_CHARACTERS, MOST_MESSAGES, conversation
from mycelos.gateway.store.records import StoredMessage
from mycelos.wire.conversation import AssistantMessage, UserMessage


def stored(*texts: str) -> list[StoredMessage]:
    return [
        StoredMessage(f"msg_{place}", "chat", None, "user" if place % 2 == 0 else "assistant", text, "t")
        for place, text in enumerate(texts)
    ]


def test_messages_come_in_their_order() -> None:
    assert conversation(stored("a", "b", "c")) == (UserMessage("a"), AssistantMessage("b"), UserMessage("c"))


def test_a_long_chat_is_told_from_its_newest_part_beginning_with_the_person() -> None:
    told = conversation(stored(*["x"] * (MOST_MESSAGES * 3 + 1)))
    assert len(told) <= MOST_MESSAGES
    assert isinstance(told[0], UserMessage)
    assert isinstance(told[-1], UserMessage)


def test_long_messages_push_older_ones_out_but_the_newest_is_always_told() -> None:
    long = "x" * MOST_CHARACTERS
    assert conversation(stored("old", "answer", long + "y")) == (UserMessage(long + "y"),)
