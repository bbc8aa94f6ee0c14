"""Answers put together from pieces, within their size."""

from __future__ import annotations

import pytest

from mycelos.gateway.model_call import AnswerBuilder, ModelCall, model_refusal
from mycelos.gateway.store.records import Model
from mycelos.gateway.tools.registry import Registry
from mycelos.wire.conversation import UserMessage
from mycelos.wire.problems import ProblemCode, Refusal


def make_call(answer_characters: int = 100, model_format: str = "openai", url: str = "https://m.test/v1") -> ModelCall:
    async def on_text(_piece: str) -> None:
        return

    model = Model("model_x", "name", model_format, url, "scripted", "service", "2026")  # type: ignore[arg-type]
    return ModelCall(model, "be kind", (UserMessage("hi"),), (), "run_x", "assistant", answer_characters, on_text)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"a": 1}', {"a": 1}),
        ("", {}),
        ("[1]", None),
        ('{"a": ', None),
        ("null", None),
        ("[" * 100_000, None),
    ],
)
def test_arguments_that_are_no_object_become_null(arguments: str, expected: object) -> None:
    answer = AnswerBuilder(make_call(1_000_000), Registry([]))
    answer.tool_use(0, use_id="c1", function="a__b", arguments=arguments)
    assert answer.finish().tool_uses[0].args == expected


def test_pieces_of_one_wish_belong_together_and_an_unknown_function_keeps_its_name() -> None:
    answer = AnswerBuilder(make_call(), Registry([]))
    answer.tool_use(0, use_id="c1", function="unknown_tool")
    answer.tool_use(1, function="other")
    answer.tool_use(0, arguments='{"a"')
    answer.tool_use(0, arguments=": 2}")
    first, second = answer.finish().tool_uses
    assert (first.id, first.tool, first.args) == ("c1", "unknown_tool", {"a": 2})
    assert (second.id, second.tool, second.args) == ("call_1", "other", {})


@pytest.mark.anyio
async def test_text_and_arguments_share_one_limit() -> None:
    answer = AnswerBuilder(make_call(10), Registry([]))
    await answer.text("12345")
    with pytest.raises(Refusal) as refused:
        answer.tool_use(0, arguments="123456")
    assert refused.value.problem.code is ProblemCode.TOO_LARGE


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_providers_refusal_says_what_to_do(status: int) -> None:
    problem = model_refusal(status).problem
    assert str(status) in problem.detail
    assert problem.next
