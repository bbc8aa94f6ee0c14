"""The chat completions format of OpenAI and of the many servers that speak it, by the `openai` SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import msgspec
import openai

from mycelos.gateway.model_call import PLACEHOLDER_KEY, model_not_understood, model_refusal
from mycelos.gateway.proxy_client.client import refusal_from
from mycelos.gateway.tools.registry import function_name
from mycelos.wire.conversation import AssistantMessage, ToolMessage, UserMessage
from mycelos.wire.problems import REFUSED_HEADER, Refusal

if TYPE_CHECKING:
    from mycelos.gateway.model_call import AnswerBuilder, Endpoint, ModelCall
    from mycelos.wire.conversation import Message


class OpenAIFormat:
    """Streams one answer."""

    async def ask(self, call: ModelCall, endpoint: Endpoint, answer: AnswerBuilder) -> None:
        """See `mycelos.gateway.models.Format`."""
        sdk = openai.AsyncOpenAI(
            api_key=PLACEHOLDER_KEY,
            base_url=endpoint.base_url,
            http_client=endpoint.client,
            default_headers=endpoint.headers,
            max_retries=0,
        )
        request: dict[str, Any] = {
            "model": call.model.model,
            "messages": openai_messages(call.instructions, call.messages),
            "stream": True,
        }
        if call.tools:
            request["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": function_name(tool.name),
                        "description": tool.description,
                        "parameters": tool.parameters,
                    },
                }
                for tool in call.tools
            ]
        try:
            async with await sdk.chat.completions.create(**request) as stream:
                async for chunk in stream:
                    await _take(chunk, answer)
        except openai.APIStatusError as error:
            if REFUSED_HEADER in error.response.headers:
                raise refusal_from(await error.response.aread()) from None
            raise model_refusal(error.status_code) from None
        except openai.OpenAIError as error:
            if isinstance(error.__cause__, Refusal):
                raise error.__cause__ from None
            raise model_not_understood() from None
        except (httpx2.HTTPError, ValueError, TypeError, AttributeError):
            raise model_not_understood() from None


async def _take(chunk: Any, answer: AnswerBuilder) -> None:
    for choice in chunk.choices[:1]:
        delta = choice.delta
        if delta is None:
            continue
        await answer.text(_text(delta.content))
        for piece in delta.tool_calls or ():
            function = piece.function
            answer.tool_use(
                piece.index,
                use_id=_text(piece.id),
                function=_text(function and function.name),
                arguments=_text(function and function.arguments),
            )


def _text(value: Any) -> str:
    """The SDK does not check the types of what a server sends."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise model_not_understood()
    return value


def openai_messages(instructions: str, messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    """A conversation in this format."""
    converted: list[dict[str, Any]] = [{"role": "system", "content": instructions}] if instructions else []
    for message in messages:
        match message:
            case UserMessage():
                converted.append({"role": "user", "content": message.text})
            case AssistantMessage():
                converted.append(_assistant(message))
            case ToolMessage():
                converted.append({"role": "tool", "tool_call_id": message.id, "content": message.content})
    return converted


def _assistant(message: AssistantMessage) -> dict[str, Any]:
    converted: dict[str, Any] = {"role": "assistant", "content": message.text}
    if message.tool_uses:
        converted["tool_calls"] = [
            {
                "id": use.id,
                "type": "function",
                "function": {
                    "name": function_name(use.tool),
                    "arguments": msgspec.json.encode(use.args or {}).decode(),
                },
            }
            for use in message.tool_uses
        ]
    return converted
