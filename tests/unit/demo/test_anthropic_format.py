"""Anthropic's form; that real clients read it is shown in test_scripted_model."""

from __future__ import annotations

from mycelos.demo import anthropic_format


def test_a_stream_of_text_has_a_beginning_pieces_and_an_end() -> None:
    events = [*anthropic_format.text_events(["a", "b"]), *anthropic_format.end_events(wishes_for_tool=False)]
    names = [event.split(b"\n")[0].removeprefix(b"event: ").decode() for event in events]
    assert names == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_arguments_that_are_no_json_become_a_string() -> None:
    assert anthropic_format.tool_body("a_b", "{oops")["content"][0]["input"] == "{oops"
