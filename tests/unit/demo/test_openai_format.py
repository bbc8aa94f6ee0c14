"""OpenAI's form; that real clients read it is shown in test_scripted_model."""

from __future__ import annotations

import json

from mycelos.demo import openai_format


def test_a_stream_of_a_call_ends_with_its_reason_and_done() -> None:
    events = [*openai_format.tool_events("a_b", "{}"), *openai_format.end_events(wishes_for_tool=True)]
    assert events[-1] == b"data: [DONE]\n\n"
    assert json.loads(events[-2].removeprefix(b"data: "))["choices"][0]["finish_reason"] == "tool_calls"


def test_arguments_that_are_no_json_are_sent_as_they_are() -> None:
    body = openai_format.tool_body("a_b", "{oops")
    assert body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == "{oops"
