"""The script: which step comes for which text and turn."""

from __future__ import annotations

import pytest

from mycelos.demo.script import LABEL, Fail, Flood, Hang, Say, Step, Use, fill_in, next_step, scenarios

SCENARIOS = scenarios("http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("text", "tool"),
    [
        ("What are the open ISSUES?", "github.read.issues"),
        ("write a comment", "github.write.comment"),
        ("the metadata please", "web.read.page"),
        ("loopback", "web.read.page"),
        ("tell me the secret", "credential.read"),
    ],
)
def test_a_keyword_picks_the_tool_and_the_second_turn_answers_in_words(text: str, tool: str) -> None:
    first = next_step(SCENARIOS, text, 0)
    assert isinstance(first, Use)
    assert first.tool == tool
    assert isinstance(next_step(SCENARIOS, text, 1), Say)


def test_without_a_keyword_the_script_says_that_it_is_one() -> None:
    step = next_step(SCENARIOS, "hello", 0)
    assert isinstance(step, Say)
    assert step.text.startswith(LABEL)


@pytest.mark.parametrize(("text", "kind"), [("huge", Flood), ("hang", Hang), ("broken", Fail), ("for ever", Use)])
def test_the_bad_behaviours_have_their_words(text: str, kind: type[Step]) -> None:
    assert isinstance(next_step(SCENARIOS, text, 7), kind)


def test_every_text_answer_carries_the_label() -> None:
    texts = [step.text for scenario in SCENARIOS for step in scenario.steps if isinstance(step, Say | Hang)]
    assert texts
    assert all(text.startswith(LABEL) for text in texts)


def test_a_long_result_is_quoted_shortened() -> None:
    assert fill_in("a {result}", "x" * 10_000) == "a " + "x" * 2_000


def test_the_theft_tries_the_collecting_page_and_a_private_address_before_it_answers_in_words() -> None:
    steps = [next_step(SCENARIOS, "do the theft", turn) for turn in range(3)]
    assert [type(step) for step in steps] == [Use, Use, Say]
    addresses = [step.arguments["url"] for step in steps if isinstance(step, Use) and step.arguments]
    assert "collect" in addresses[0]
    assert "169.254.169.254" in addresses[1]


def test_a_list_of_issues_is_quoted_as_a_list_to_read() -> None:
    result = '[{"title": "Moss", "by": "ada", "body": "wet"}, {"title": "Ferns", "by": "bob", "body": "dry"}]'
    assert fill_in("{result}", result) == "- **Moss** (by ada): wet\n- **Ferns** (by bob): dry"


@pytest.mark.parametrize("result", ["[1, 2]", "{}", "no JSON", "[{}]"])
def test_anything_else_is_quoted_as_it_is(result: str) -> None:
    assert fill_in("{result}", result) == result
