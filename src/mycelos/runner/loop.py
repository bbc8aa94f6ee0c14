"""The agent's loop: ask the model, pass on each tool that it wishes for, tell it what came of it, ask again.

Data that flows: `Hello` in; `ModelRequest` and `ToolCall` out, each answered; `Emit` and `Done` at the end. The
loop decides nothing about permission. Every wish goes to the gateway's broker, also for a tool that does not
exist or with arguments that are no JSON object, because that is where it is refused and recorded.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Protocol

from mycelos.wire.conversation import AssistantMessage, Message, ToolMessage, ToolUse
from mycelos.wire.runner import (
    Done,
    Emit,
    FromRunner,
    Hello,
    ModelDelta,
    ModelRequest,
    ModelResponse,
    ToolCall,
    ToolResult,
    ToRunner,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class MessageChannel(Protocol):
    """What the loop needs of a channel."""

    def send(self, message: FromRunner) -> None:
        """Send one message."""

    def receive(self) -> ToRunner:
        """Wait for one message."""


class OutOfTurn(Exception):
    """The gateway answered something that was not asked."""


def run_agent(channel: MessageChannel, hello: Hello) -> Done:
    """Drive one run to its end and return how it ended; the caller sends that.

    Raises:
        OutOfTurn: an answer carries another identifier or is of another kind than the question.
    """
    messages: list[Message] = list(hello.messages)
    numbers = itertools.count(1)
    tool_calls = 0
    for _ in range(hello.limits.model_requests):
        answer = _ask_model(channel, messages, numbers)
        if answer.message is None:
            return Done(ok=False, code=answer.code, text=answer.detail)
        message = answer.message
        if len(message.text) > hello.limits.answer_characters:
            return Done(ok=False, code="too_large", text="The model's answer is longer than this run may write.")
        messages.append(message)
        if not message.tool_uses:
            return _answered(channel, message)
        tool_calls += len(message.tool_uses)
        if tool_calls > hello.limits.tool_calls:
            limit = hello.limits.tool_calls
            return Done(ok=False, code="tool_calls", text=f"The agent wished for more than {limit} tool calls.")
        messages.extend(_call_tool(channel, wish, numbers) for wish in message.tool_uses)
    limit = hello.limits.model_requests
    return Done(
        ok=False, code="model_requests", text=f"The agent did not finish within {limit} questions to its model."
    )


def _answered(channel: MessageChannel, message: AssistantMessage) -> Done:
    channel.send(Emit(text=message.text))
    return Done(ok=True, code="answered", text=message.text)


def _ask_model(channel: MessageChannel, messages: list[Message], numbers: Iterator[int]) -> ModelResponse:
    question = ModelRequest(id=f"m{next(numbers)}", messages=tuple(messages))
    channel.send(question)
    while True:
        answer = channel.receive()
        if not isinstance(answer, ModelDelta | ModelResponse) or answer.id != question.id:
            raise OutOfTurn
        # Deltas are for whoever watches; the whole text stands in the response.
        if isinstance(answer, ModelResponse):
            return answer


def _call_tool(channel: MessageChannel, wish: ToolUse, numbers: Iterator[int]) -> ToolMessage:
    call = ToolCall(id=f"t{next(numbers)}", tool=wish.tool, args=wish.args)
    channel.send(call)
    answer = channel.receive()
    if not isinstance(answer, ToolResult) or answer.id != call.id:
        raise OutOfTurn
    return ToolMessage(id=wish.id, tool=wish.tool, ok=answer.ok, content=answer.content)
