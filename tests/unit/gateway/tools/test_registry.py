"""The registry refuses names that could mean two things, and arguments that are not of the schema."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.gateway.tools.permit import Permit, digest
from mycelos.gateway.tools.registry import CONTENT_LIMIT, Registry, Tool, ToolAnswer, function_name
from mycelos.policy.capabilities import NameRefusedError, is_tool_name
from mycelos.wire.audit import AppendReceipt
from mycelos.wire.problems import Refusal


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of the test's tools."""

    number: int


async def echo(_permit: Permit, args: Arguments) -> ToolAnswer:
    return ToolAnswer("x" * args.number)


def tool(name: str) -> Tool:
    return Tool(name, "counts", Arguments, echo)


@pytest.mark.parametrize(
    "names",
    [
        ["a.b", "a.b"],
        ["a.b", "a.b.c"],
        ["a"],
        ["a.B"],
        ["a..b"],
        # Both would be the function a__b__c.
        ["a.b__c", "a.b.c"],
        ["a__b.c", "a.b.c"],
    ],
)
def test_names_that_could_mean_two_things_are_refused(names: list[str]) -> None:
    with pytest.raises(NameRefusedError):
        Registry(tool(name) for name in names)


_NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,40}(\.[a-z][a-z0-9_-]{0,40}){1,3}", fullmatch=True).filter(is_tool_name)


@given(st.lists(_NAMES, unique=True, max_size=6))
def test_a_function_name_leads_back_to_its_tool_alone(names: list[str]) -> None:
    try:
        registry = Registry(tool(name) for name in names)
    except NameRefusedError:
        return
    functions = [function_name(name) for name in names]
    assert len(set(functions)) == len(names)
    assert [registry.tool_of_function(function) for function in functions] == names
    assert all(len(function) <= 64 for function in functions)


def test_an_unknown_function_keeps_its_name() -> None:
    assert Registry([tool("a.b")]).tool_of_function("rm -rf /") == "rm -rf /"


def test_a_definition_carries_the_schema_of_its_arguments() -> None:
    (definition,) = Registry([tool("a.b")]).definitions(["a.b"])
    assert definition.parameters["type"] == "object"
    assert definition.parameters["properties"] == {"number": {"type": "integer"}}
    assert definition.parameters["additionalProperties"] is False


@pytest.mark.parametrize("args", [{}, {"number": "7"}, {"number": 7, "more": 1}, {"number": None}])
def test_arguments_of_another_form_are_refused_by_field(args: dict[str, Any]) -> None:
    with pytest.raises(Refusal, match="args"):
        tool("a.b").check(args)


@pytest.mark.anyio
async def test_a_long_answer_is_cut_and_says_so() -> None:
    args = {"number": CONTENT_LIMIT + 5}
    permit = Permit("run", "agent", "a.b", digest(args), AppendReceipt(seq=0, leaf_hash="0" * 64, checkpoint=None))
    answer = await tool("a.b").call(permit, args)
    assert answer.content.endswith("[cut off here: the answer was longer]")
    assert len(answer.content) < CONTENT_LIMIT + 100
    assert answer.labels == ("untrusted",)
