"""The agent's loop against a scripted gateway: what it asks, in which order, and how it ends."""

from __future__ import annotations

from collections import deque

import pytest

from mycelos.runner.loop import OutOfTurn, run_agent
from mycelos.wire.conversation import AssistantMessage, ToolMessage, ToolUse, UserMessage
from mycelos.wire.runner import (
    Done,
    Emit,
    FromRunner,
    Hello,
    Limits,
    ModelDelta,
    ModelRequest,
    ModelResponse,
    ToolCall,
    ToolResult,
    ToRunner,
)


class ScriptedGateway:
    """Gives prepared answers, with the identifier of the newest question unless they carry their own."""

    def __init__(self, *answers: ToRunner) -> None:
        self.sent: list[FromRunner] = []
        self._answers = deque(answers)

    def send(self, message: FromRunner) -> None:
        self.sent.append(message)

    def receive(self) -> ToRunner:
        return self._answers.popleft()


def hello(*, model_requests: int = 4, tool_calls: int = 4, answer_characters: int = 100) -> Hello:
    return Hello(
        protocol=1,
        profile="agent",
        instructions="",
        messages=(UserMessage("hi"),),
        tools=(),
        limits=Limits(model_requests=model_requests, tool_calls=tool_calls, answer_characters=answer_characters),
    )


def says(identifier: str, text: str, *uses: ToolUse) -> ModelResponse:
    return ModelResponse(id=identifier, message=AssistantMessage(text, uses), code="", detail="")


def test_an_answer_without_a_wish_ends_the_run() -> None:
    gateway = ScriptedGateway(ModelDelta("m1", "hel"), ModelDelta("m1", "lo"), says("m1", "hello"))
    assert run_agent(gateway, hello()) == Done(ok=True, code="answered", text="hello")
    assert gateway.sent == [ModelRequest("m1", (UserMessage("hi"),)), Emit("hello")]


@pytest.mark.parametrize(
    "wish",
    [
        ToolUse("call-1", "github.read.issues", {"repository": "a/b"}),
        ToolUse("call-1", "no.such.tool", {}),
        ToolUse("call-1", "not a name", {}),
        ToolUse("call-1", "github.read.issues", None),
    ],
)
def test_every_wish_goes_to_the_broker_and_its_result_back_to_the_model(wish: ToolUse) -> None:
    gateway = ScriptedGateway(
        says("m1", "", wish),
        ToolResult("t2", ok=False, content="refused", labels=()),
        says("m3", "as you wish"),
    )
    assert run_agent(gateway, hello()).code == "answered"
    assert gateway.sent[1] == ToolCall("t2", wish.tool, wish.args)
    assert gateway.sent[2] == ModelRequest(
        "m3",
        (
            UserMessage("hi"),
            AssistantMessage("", (wish,)),
            ToolMessage("call-1", wish.tool, ok=False, content="refused"),
        ),
    )


def test_a_model_that_cannot_be_had_ends_the_run_with_its_reason() -> None:
    gateway = ScriptedGateway(ModelResponse(id="m1", message=None, code="model_unavailable", detail="Nobody there."))
    assert run_agent(gateway, hello()) == Done(ok=False, code="model_unavailable", text="Nobody there.")


def test_an_answer_longer_than_the_limit_is_not_passed_on() -> None:
    gateway = ScriptedGateway(says("m1", "x" * 101))
    assert run_agent(gateway, hello()).code == "too_large"
    assert not any(isinstance(message, Emit) for message in gateway.sent)


def test_a_model_that_never_stops_asking_is_stopped_by_the_number_of_questions() -> None:
    wish = ToolUse("c", "a.b", {})
    gateway = ScriptedGateway(
        says("m1", "", wish), ToolResult("t2", ok=True, content="", labels=()),
        says("m3", "", wish), ToolResult("t4", ok=True, content="", labels=()),
    )  # fmt: skip
    assert run_agent(gateway, hello(model_requests=2)).code == "model_requests"


def test_more_wishes_than_the_limit_end_the_run_before_one_of_them_is_passed_on() -> None:
    gateway = ScriptedGateway(says("m1", "", *(ToolUse(f"c{n}", "a.b", {}) for n in range(5))))
    assert run_agent(gateway, hello()).code == "tool_calls"
    assert not any(isinstance(message, ToolCall) for message in gateway.sent)


@pytest.mark.parametrize(
    "answer", [says("m9", "for another question"), ToolResult("m1", ok=True, content="", labels=()), hello()]
)
def test_an_answer_to_another_question_is_not_taken(answer: ToRunner) -> None:
    with pytest.raises(OutOfTurn):
        run_agent(ScriptedGateway(answer), hello())


def test_a_tool_result_for_another_call_is_not_taken() -> None:
    gateway = ScriptedGateway(says("m1", "", ToolUse("c", "a.b", {})), ToolResult("t9", ok=True, content="", labels=()))
    with pytest.raises(OutOfTurn):
        run_agent(gateway, hello())
