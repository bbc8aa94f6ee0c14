"""The scripted model on a real socket, read by the providers' own clients."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import anthropic
import openai
import pytest

from mycelos.demo.script import LABEL

TOOL = "github__read__issues"
ARGUMENTS = {"repository": "mycelos/garden"}


@pytest.fixture
def openai_client(outside: dict[str, str]) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"http://{outside['model']}/v1", api_key="unused", max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture
def anthropic_client(outside: dict[str, str]) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=f"http://{outside['model']}", api_key="unused", max_retries=0, timeout=20
    ) as client:
        yield client


def test_openai_text_whole_and_in_pieces(openai_client: openai.OpenAI) -> None:
    whole = openai_client.chat.completions.create(model="s", messages=[{"role": "user", "content": "hi"}])
    text = whole.choices[0].message.content
    assert text
    assert text.startswith(LABEL)
    with openai_client.chat.completions.create(
        model="s", messages=[{"role": "user", "content": "hi"}], stream=True
    ) as stream:
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert len(pieces) > 5
    assert "".join(pieces) == text


def test_openai_function_call_arrives_in_parts(openai_client: openai.OpenAI) -> None:
    with openai_client.chat.completions.create(
        model="s",
        messages=[{"role": "user", "content": "issues"}],
        tools=[{"type": "function", "function": {"name": TOOL}}],
        stream=True,
    ) as stream:
        calls = [call for chunk in stream for call in chunk.choices[0].delta.tool_calls or ()]
    assert calls[0].function
    assert calls[0].function.name == TOOL
    assert json.loads("".join((call.function and call.function.arguments) or "" for call in calls)) == ARGUMENTS


def test_anthropic_text_and_tool_use(anthropic_client: anthropic.Anthropic) -> None:
    with anthropic_client.messages.stream(
        model="s", max_tokens=100, messages=[{"role": "user", "content": "hi"}]
    ) as stream:
        assert "".join(stream.text_stream).startswith(LABEL)
    with anthropic_client.messages.stream(
        model="s",
        max_tokens=100,
        messages=[{"role": "user", "content": "issues"}],
        tools=[{"name": TOOL, "input_schema": {"type": "object"}}],
    ) as stream:
        (block,) = stream.get_final_message().content
    assert block.type == "tool_use"
    assert (block.name, block.input) == (TOOL, ARGUMENTS)


def test_a_scripted_failure_is_a_status(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError):
        openai_client.chat.completions.create(model="s", messages=[{"role": "user", "content": "broken"}])


def test_what_was_sent_is_remembered(outside: dict[str, str], openai_client: openai.OpenAI) -> None:
    openai_client.chat.completions.create(model="s", messages=[{"role": "user", "content": "remember me"}])
    with urllib.request.urlopen(f"http://{outside['model']}/seen", timeout=20) as response:
        assert json.load(response)[-1]["body"]["messages"][-1]["content"] == "remember me"
