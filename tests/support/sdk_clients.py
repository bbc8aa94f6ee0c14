"""The official SDKs of two providers as a test uses them, each in its own words: sync and async, whole and streamed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import anthropic
import openai
from model_upstream import TOOL

_PARAMETERS = {"type": "object", "properties": {"place": {"type": "string"}}}


class OpenAISdk:
    """`openai`, unchanged: the gateway's bearer is its API key."""

    service = "openai"
    scheme = "http"
    module: Any = openai

    def __init__(self, origin: str, token: str, headers: Mapping[str, str]) -> None:
        given: dict[str, Any] = {
            "api_key": token,
            "base_url": f"{origin}/v1",
            "default_headers": headers,
            "max_retries": 0,
        }
        self.sync = openai.OpenAI(**given)
        self.asynchronous = openai.AsyncOpenAI(**given)

    def _question(self, words: str, **more: Any) -> dict[str, Any]:
        function = {"name": TOOL, "description": "The weather.", "parameters": _PARAMETERS}
        tools = [{"type": "function", "function": function}]
        return {"model": "m", "messages": [{"role": "user", "content": words}], "tools": tools, **more}

    def ask(self, words: str) -> str:
        return self._text(self.sync.chat.completions.create(**self._question(words)))

    async def ask_async(self, words: str) -> str:
        return self._text(await self.asynchronous.chat.completions.create(**self._question(words)))

    def stream(self, words: str) -> Iterator[str]:
        with self.sync.chat.completions.create(**self._question(words, stream=True)) as events:
            yield from map(self._piece, events)

    async def stream_async(self, words: str) -> AsyncIterator[str]:
        async with await self.asynchronous.chat.completions.create(**self._question(words, stream=True)) as events:
            async for event in events:
                yield self._piece(event)

    def unbound(self) -> Any:
        """A call that the credential is not bound to."""
        return self.sync.models.list()

    async def unbound_async(self) -> Any:
        return await self.asynchronous.models.list()

    @staticmethod
    def _text(answer: Any) -> str:
        message = answer.choices[0].message
        calls = [f"{call.function.name} {call.function.arguments}" for call in message.tool_calls or ()]
        return (message.content or "") + "".join(calls)

    @staticmethod
    def _piece(event: Any) -> str:
        delta = event.choices[0].delta
        calls = [(call.function.name or "", call.function.arguments or "") for call in delta.tool_calls or ()]
        return (delta.content or "") + "".join(f"{name} " * bool(name) + arguments for name, arguments in calls)


class AnthropicSdk:
    """`anthropic`, unchanged: the gateway's bearer is its auth token."""

    service = "anthropic"
    scheme = "https"
    module: Any = anthropic

    def __init__(self, origin: str, token: str, headers: Mapping[str, str]) -> None:
        given: dict[str, Any] = {
            "auth_token": token,
            "base_url": origin,
            "default_headers": headers,
            "max_retries": 0,
        }
        self.sync = anthropic.Anthropic(**given)
        self.asynchronous = anthropic.AsyncAnthropic(**given)

    def _question(self, words: str, **more: Any) -> dict[str, Any]:
        tools = [{"name": TOOL, "description": "The weather.", "input_schema": _PARAMETERS}]
        messages = [{"role": "user", "content": words}]
        return {"model": "m", "max_tokens": 64, "messages": messages, "tools": tools, **more}

    def ask(self, words: str) -> str:
        return self._text(self.sync.messages.create(**self._question(words)))

    async def ask_async(self, words: str) -> str:
        return self._text(await self.asynchronous.messages.create(**self._question(words)))

    def stream(self, words: str) -> Iterator[str]:
        with self.sync.messages.create(**self._question(words, stream=True)) as events:
            yield from map(self._piece, events)

    async def stream_async(self, words: str) -> AsyncIterator[str]:
        async with await self.asynchronous.messages.create(**self._question(words, stream=True)) as events:
            async for event in events:
                yield self._piece(event)

    def unbound(self) -> Any:
        """A call that the credential is not bound to."""
        return self.sync.models.list()

    async def unbound_async(self) -> Any:
        return await self.asynchronous.models.list()

    @staticmethod
    def _text(answer: Any) -> str:
        return "".join(
            block.text if block.type == "text" else f"{block.name} {json.dumps(block.input)}"
            for block in answer.content
        )

    @staticmethod
    def _piece(event: Any) -> str:
        if event.type == "content_block_start" and event.content_block.type == "tool_use":
            return f"{event.content_block.name} "
        if event.type == "content_block_delta":
            return event.delta.text if event.delta.type == "text_delta" else event.delta.partial_json
        return ""
