"""The agent's loop: ask the model, do what it wishes through the broker, ask again, until it answers.

Every wish for a tool goes to the broker, known or not and well-formed or not, so that each refusal is recorded
where it cannot be skipped. Nothing is decided here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mycelos.runner.channel import ChannelError
from mycelos.wire.conversation import Message, ToolMessage, ToolUse
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
    from mycelos.wire.runner import Limits


class Frames(Protocol):
    """What the loop needs of a channel."""

    def send(self, frame: FromRunner) -> None:
        """Send one frame."""

    def receive(self) -> ToRunner:
        """The next frame."""


class AgentLoop:
    """One run's conversation, from the hello to the end."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._tool_calls = 0
        self._characters = 0

    def run(self) -> None:
        """Drive the run; the last frame sent is `Done`.

        Raises:
            ChannelError: the gateway went away or broke the protocol.
        """
        hello = self._frames.receive()
        if not isinstance(hello, Hello):
            raise ChannelError
        self._frames.send(self._converse(list(hello.messages), hello.limits))

    def _converse(self, messages: list[Message], limits: Limits) -> Done:
        for number in range(limits.model_requests):
            response = self._ask_model(f"m{number}", messages)
            if response.message is None:
                return Done(ok=False, code=response.code, text=response.detail)
            messages.append(response.message)
            if self._characters > limits.answer_characters:
                return _over("answer_characters", "The answer became longer than this run may write")
            if not response.message.tool_uses:
                return Done(ok=True, code="answered", text=response.message.text)
            if self._tool_calls + len(response.message.tool_uses) > limits.tool_calls:
                return _over("tool_calls", "The model wished for more tool calls than this run may make")
            messages.extend(self._call(use) for use in response.message.tool_uses)
        return _over("model_requests", "The model was asked as often as this run may ask, and did not come to an end")

    def _ask_model(self, request_id: str, messages: list[Message]) -> ModelResponse:
        self._frames.send(ModelRequest(id=request_id, messages=tuple(messages)))
        is_later_turn = self._characters > 0
        while True:
            frame = self._frames.receive()
            if isinstance(frame, ModelResponse) and frame.id == request_id:
                return frame
            if not isinstance(frame, ModelDelta) or frame.id != request_id:
                raise ChannelError
            if is_later_turn:
                self._frames.send(Emit(text="\n\n"))
                is_later_turn = False
            self._characters += len(frame.text)
            self._frames.send(Emit(text=frame.text))

    def _call(self, use: ToolUse) -> ToolMessage:
        self._tool_calls += 1
        call = ToolCall(id=f"t{self._tool_calls}", tool=use.tool, args=use.args)
        self._frames.send(call)
        result = self._frames.receive()
        if not isinstance(result, ToolResult) or result.id != call.id:
            raise ChannelError
        return ToolMessage(id=use.id, tool=use.tool, ok=result.ok, content=result.content)


def _over(limit: str, sentence: str) -> Done:
    return Done(ok=False, code=f"limit_{limit}", text=sentence)
