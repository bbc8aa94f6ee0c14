from __future__ import annotations

import io

from mycelos.cli.chat_display import ChatDisplay
from mycelos.cli.event_stream import Event


def shown(*events: tuple[str, dict]) -> str:
    stream = io.StringIO()
    display = ChatDisplay(stream)
    for number, (kind, data) in enumerate(events):
        display.show(Event(number, kind, data))
    return stream.getvalue()


def test_text_is_written_as_it_comes_and_ends_with_a_line_break() -> None:
    assert shown(("token", {"text": "a"}), ("token", {"text": "b"}), ("done", {"text": "ab"})) == "ab\n"


def test_an_answer_that_came_in_one_piece_is_written_once() -> None:
    assert shown(("done", {"text": "ab"})) == "ab\n"


def test_a_tool_call_and_its_result_stand_on_lines_of_their_own() -> None:
    text = shown(
        ("token", {"text": "I look."}),
        ("tool_call", {"tool": "github.read.issues", "args": {"repository": "a/b"}}),
        ("tool_result", {"tool": "github.read.issues", "ok": True, "content": "[]"}),
        ("done", {"text": ""}),
    )
    assert text.splitlines() == [
        "I look.",
        '  [calls github.read.issues {"repository": "a/b"}]',
        "  [github.read.issues gave []]",
    ]


def test_a_refusal_is_told_with_its_reason() -> None:
    text = shown(("tool_result", {"tool": "github.write.comment", "ok": False, "content": "Refused (policy_denied)"}))
    assert text == "  [github.write.comment was not done: Refused (policy_denied)]\n"


def test_an_end_without_an_answer_tells_why_and_what_to_do() -> None:
    text = shown(
        ("token", {"text": "I"}), ("error", {"code": "cancelled", "detail": "It was cancelled.", "next": "Ask."})
    )
    assert text == "I\n  [ended (cancelled): It was cancelled. Ask.]\n"


def test_a_wait_for_a_person_is_told() -> None:
    text = shown(("approval", {"tool": "mail.send"}))
    assert "waits for a person's word on mail.send" in text
    assert "mycelos approval list" in text


def test_an_unknown_kind_is_told_by_its_name() -> None:
    assert shown(("telepathy", {})) == "  [telepathy]\n"


def test_nothing_in_any_event_reaches_the_terminal_as_a_command() -> None:
    evil = "\x1b]52;c;x\x07\r\u202e"
    text = shown(
        ("token", {"text": evil}),
        ("tool_call", {"tool": evil, "args": {evil: evil}}),
        ("tool_result", {"tool": evil, "ok": False, "content": evil, "code": evil}),
        ("approval", {"tool": evil}),
        ("error", {"code": evil, "detail": evil, "next": evil}),
        (evil, {}),
    )
    assert not set(evil) & set(text) - set("]52;cx")


def test_long_arguments_and_results_are_cut() -> None:
    text = shown(
        ("tool_call", {"tool": "t", "args": {"a": "x" * 5000}}), ("tool_result", {"ok": True, "content": "y" * 5000})
    )
    assert max(map(len, text.splitlines())) < 260
