"""Anthropic's messages format, by the `anthropic` SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import anthropic
import httpx2

from mycelos.gateway.model_call import PLACEHOLDER_KEY, model_not_understood, model_refusal
from mycelos.gateway.proxy_client.client import refusal_from
from mycelos.gateway.tools.registry import function_name
from mycelos.wire.conversation import AssistantMessage, ToolMessage, UserMessage
from mycelos.wire.problems import REFUSED_HEADER, Refusal

if TYPE_CHECKING:
    from mycelos.gateway.model_call import AnswerBuilder, Endpoint, ModelCall
    from mycelos.wire.conversation import Message

ANSWER_TOKENS: Final = 8192


class AnthropicFormat:
    """Streams one answer."""

    async def ask(self, call: ModelCall, endpoint: Endpoint, answer: AnswerBuilder) -> None:
        """See `mycelos.gateway.models.Format`."""
        sdk = anthropic.AsyncAnthropic(
            api_key=PLACEHOLDER_KEY,
            base_url=endpoint.base_url,
            http_client=endpoint.client,
            default_headers=endpoint.headers,
            max_retries=0,
        )
        request: dict[str, Any] = {
            "model": call.model.model,
            "max_tokens": ANSWER_TOKENS,
            "messages": anthropic_messages(call.messages),
            "stream": True,
        }
        if call.instructions:
            request["system"] = call.instructions
        if call.tools:
            request["tools"] = [
                {
                    "name": function_name(tool.name),
                    "description": tool.description,
                    "input_schema": tool.parameters,
                }
                for tool in call.tools
            ]
        try:
            async with await sdk.messages.create(**request) as stream:
                async for event in stream:
                    await _take(event, answer)
        except anthropic.APIStatusError as error:
            if REFUSED_HEADER in error.response.headers:
                raise refusal_from(await error.response.aread()) from None
            raise model_refusal(error.status_code) from None
        except anthropic.AnthropicError as error:
            if isinstance(error.__cause__, Refusal):
                raise error.__cause__ from None
            raise model_not_understood() from None
        except (httpx2.HTTPError, ValueError, TypeError, AttributeError):
            raise model_not_understood() from None


async def _take(event: Any, answer: AnswerBuilder) -> None:
    if event.type == "content_block_start":
        block = event.content_block
        if block.type == "text":
            await answer.text(_text(block.text))
        elif block.type == "tool_use":
            answer.tool_use(event.index, use_id=_text(block.id), function=_text(block.name))
    elif event.type == "content_block_delta":
        if event.delta.type == "text_delta":
            await answer.text(_text(event.delta.text))
        elif event.delta.type == "input_json_delta":
            answer.tool_use(event.index, arguments=_text(event.delta.partial_json))


def _text(value: Any) -> str:
    """The SDK does not check the types of what a server sends."""
    if not isinstance(value, str):
        raise model_not_understood()
    return value


def anthropic_messages(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    """A conversation in this format: the results of one turn's tools stand together in one user message."""
    converted: list[dict[str, Any]] = []
    for message in messages:
        match message:
            case UserMessage():
                converted.append({"role": "user", "content": [{"type": "text", "text": message.text}]})
            case AssistantMessage():
                converted.append({"role": "assistant", "content": _blocks(message)})
            case ToolMessage():
                result = {
                    "type": "tool_result",
                    "tool_use_id": message.id,
                    "content": message.content,
                    "is_error": not message.ok,
                }
                if converted and converted[-1]["content"][0]["type"] == "tool_result":
                    converted[-1]["content"].append(result)
                else:
                    converted.append({"role": "user", "content": [result]})
    return converted


def _blocks(message: AssistantMessage) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = [
        {"type": "tool_use", "id": use.id, "name": function_name(use.tool), "input": use.args or {}}
        for use in message.tool_uses
    ]
    if message.text or not blocks:
        blocks.insert(0, {"type": "text", "text": message.text or "(no answer)"})
    return blocks
