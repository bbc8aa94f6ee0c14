from __future__ import annotations

from typing import Any

from mycelos.gateway.runs.events import EventKind, RunEvent
from mycelos.gateway.web.transcript import Asking, Ending, ToolBlock, Transcript, Words, fold_events


def fold(*events: tuple[str, dict[str, Any]]) -> Transcript:
    return fold_events([RunEvent(number, EventKind(kind), data) for number, (kind, data) in enumerate(events, 1)])


def call(name: str = "c1", **args: Any) -> tuple[str, dict[str, Any]]:
    return "tool_call", {"id": name, "tool": "github.read.issues", "args": args}


def result(name: str = "c1", ok: bool = True, code: str = "ok", content: str = "text") -> tuple[str, dict[str, Any]]:
    return "tool_result", {
        "id": name,
        "tool": "github.read.issues",
        "ok": ok,
        "code": code,
        "content": content,
        "labels": [],
    }


def test_tokens_become_one_text_until_something_else_happens() -> None:
    folded = fold(("token", {"text": "a"}), ("token", {"text": "b"}), call(), ("token", {"text": "c"}))
    assert [getattr(block, "text", block.kind) for block in folded.blocks] == ["ab", "tool", "c"]
    assert folded.after == 4
    assert not folded.has_ended


def test_a_result_belongs_to_its_call() -> None:
    folded = fold(call("c1", repository="a/b", deep={"x": 1}), call("c2"), result("c2", content="second"), result("c1"))
    first, second = folded.blocks
    assert isinstance(first, ToolBlock)
    assert isinstance(second, ToolBlock)
    assert (first.content, first.state, first.brief, first.reason) == ("text", "done", "a/b", "")
    assert second.content == "second"
    assert '"repository": "a/b"' in first.args


def test_a_wait_for_a_person_is_shown_until_anything_follows() -> None:
    asked = ("approval", {"id": "c1", "tool": "github.write.comment", "args": {}, "approval": "appr_1"})
    waiting = fold(call(), asked)
    assert waiting.blocks[1] == Asking("github.write.comment", "appr_1", "")
    for after in (result(), ("token", {"text": "a"}), call("c2"), ("error", {"code": "cancelled"})):
        assert not any(isinstance(block, Asking) for block in fold(call(), asked, after).blocks)
    assert len([block for block in fold(call(), asked, asked).blocks if isinstance(block, Asking)]) == 1


def test_a_refusal_has_its_reason_and_the_next_step() -> None:
    folded = fold(call(), result(ok=False, code="policy_denied", content="No capability."))
    block = folded.blocks[0]
    assert isinstance(block, ToolBlock)
    assert (block.state, block.reason, block.may_grant) == ("refused", "No capability.", True)
    failed = fold(call(), result(ok=False, code="upstream_timeout", content="Too slow.")).blocks[0]
    assert isinstance(failed, ToolBlock)
    assert (failed.state, failed.may_grant) == ("failed", False)


def test_a_call_under_way_is_at_work() -> None:
    block = fold(call()).blocks[0]
    assert isinstance(block, ToolBlock)
    assert (block.state, block.ok, block.reason) == ("working", None, "")


def test_arguments_that_were_no_object_are_named_so() -> None:
    block = fold(("tool_call", {"id": "c", "tool": "a.b", "args": None})).blocks[0]
    assert isinstance(block, ToolBlock)
    assert block.args == "not a JSON object"


def test_how_it_ended_is_the_last_block() -> None:
    done = fold(("done", {"text": "x", "code": "answered"}))
    assert done.blocks == (Ending(True, "answered", "", ""),)
    failed = fold(("error", {"code": "cancelled", "detail": "You stopped it.", "next": "Ask again."}))
    assert failed.blocks == (Ending(False, "cancelled", "You stopped it.", "Ask again."),)
    assert failed.has_ended


def test_texts_of_another_type_are_not_shown() -> None:
    assert fold(("token", {"text": 5}), ("token", {}), result("unknown")).blocks == ()


def test_words_are_harmless() -> None:
    assert "<script" not in Words("<script>").html
