from __future__ import annotations

from pathlib import Path

import pytest
from scripted_gateway import problem

from mycelos.cli import api_words
from mycelos.cli.api_words import in_command_words
from mycelos.gateway.middleware import problems
from mycelos.wire.problems import ProblemCode, make_problem


def reworded(detail: str, next_step: str = "") -> tuple[str, str]:
    problem = in_command_words(make_problem(ProblemCode.INVALID_REQUEST, detail, next_step))
    return problem.detail, problem.next


@pytest.mark.parametrize(
    ("field", "option"),
    [
        ("body.name", "NAME"),
        ("path.name", "NAME"),
        ("body.base_url", "--url"),
        ("body.model", "--model"),
        ("body.format", "--format"),
        ("body.credential", "--credential"),
        ("body.capabilities.0", "--capability"),
        ("body.instructions", "--instructions"),
        ("body.text", "the message"),
    ],
)
def test_a_field_is_told_as_its_option(field: str, option: str) -> None:
    assert reworded(f"{field} is too long; shorten it")[0] == f"{option} is too long; shorten it"


@pytest.mark.parametrize("kind", problems._FIX)
def test_no_fault_of_a_field_sends_a_person_to_the_schema(kind: str) -> None:
    detail, _ = reworded(f"body.name {problems._FIX[kind]}. body.base_url {problems._FIX[kind]}")
    assert detail.startswith("NAME ")
    assert " --url " in detail
    assert "/openapi.json" not in detail


def test_the_schema_is_not_named_for_a_fault_without_a_rule() -> None:
    assert reworded("body.base_url cannot be used; /openapi.json gives its form")[0] == (
        "--url cannot be used; --help gives its form"
    )


@pytest.mark.parametrize("said", [said for said, _ in api_words._PHRASES])
def test_each_phrase_is_one_that_the_gateway_still_says(said: str) -> None:
    sources = Path(problems.__file__).parents[1].rglob("*.py")
    assert any(said in source.read_text(encoding="utf-8") for source in sources)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("GET /api/agents lists those that exist.", "See those that exist with: mycelos agent list"),
        ("GET /api/models lists those that exist.", "See those that exist with: mycelos model list"),
        ("GET /api/runs lists those that exist.", ""),
        ("Reload the page and choose another name.", "Choose another name."),
        (
            "Correct the named fields and send the request again; /openapi.json describes them.",
            "Correct it; see --help.",
        ),
        ("Set one up: mycelos model add", "Set one up: mycelos model add"),
    ],
)
def test_a_next_step_is_one_of_the_command_line(said: str, meant: str) -> None:
    assert reworded("It is so", said) == ("It is so", meant)


def test_a_refused_command_speaks_of_its_own_options(mycelos, gateway) -> None:
    told = problem("invalid_request", "body.base_url is too long; shorten it", "Correct it.", 400)
    gateway.answers["POST /api/models"] = (400, told)
    code, _, err = mycelos("model", "add", "x", "--url", "u", "--model", "m")
    assert (code, err) == (2, "mycelos: --url is too long; shorten it. Correct it.\n")
