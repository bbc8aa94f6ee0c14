"""What a run is told of the chat before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mycelos.wire.conversation import AssistantMessage, Message, UserMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mycelos.gateway.store.records import StoredMessage

MOST_MESSAGES: Final = 100
MOST_CHARACTERS: Final = 400_000


def conversation(stored: Sequence[StoredMessage]) -> tuple[Message, ...]:
    """The newest messages that fit, oldest first, beginning with a person's."""
    kept: list[Message] = []
    characters = 0
    for message in reversed(stored[-MOST_MESSAGES:]):
        characters += len(message.text)
        if kept and characters > MOST_CHARACTERS:
            break
        kept.append(UserMessage(message.text) if message.role == "user" else AssistantMessage(message.text))
    while kept and not isinstance(kept[-1], UserMessage):
        kept.pop()
    return tuple(reversed(kept))
