from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from mycelos.wire.problems import (
    MEDIA_TYPE,
    REFUSED_HEADER,
    PendingApproval,
    Problem,
    ProblemCode,
    Refusal,
    joined,
    make_problem,
)

VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "wire" / "problem-v1.json").read_text())


@pytest.mark.parametrize("code", ProblemCode)
def test_each_code_has_a_status_a_title_and_a_type_of_its_own(code: ProblemCode) -> None:
    problem = make_problem(code, "What happened.", "What to do.")
    assert 400 <= problem.status < 600
    assert problem.title
    assert problem.type == f"urn:mycelos:problem:{code.value}"
    assert (problem.detail, problem.next) == ("What happened", "What to do.")


def test_the_golden_problem_document_is_written() -> None:
    problem = make_problem(ProblemCode.SSRF_BLOCKED, "The address is private.", "Open it with MYCELOS_EGRESS_OPEN.")
    assert msgspec.json.encode(problem).decode() == VECTOR["json"]
    assert msgspec.json.decode(VECTOR["json"], type=Problem) == problem
    assert (MEDIA_TYPE, REFUSED_HEADER) == (VECTOR["media_type"], VECTOR["header"])


def test_a_document_names_what_a_person_can_decide_and_has_no_such_member_otherwise() -> None:
    pending = PendingApproval(id="appr_1", expires_at="2026-01-01T00:15:00Z")
    problem = Refusal(ProblemCode.APPROVAL_REQUIRED, "It waits.", "Decide it.", pending).problem
    written = json.loads(msgspec.json.encode(problem))
    assert written["approval"] == {"id": "appr_1", "expires_at": "2026-01-01T00:15:00Z"}
    assert msgspec.json.decode(msgspec.json.encode(problem), type=Problem) == problem
    assert "approval" not in json.loads(msgspec.json.encode(make_problem(ProblemCode.FORBIDDEN, "No.", "")))


@pytest.mark.parametrize(
    ("detail", "next_step", "text"),
    [
        ("It is closed", "Open it.", "It is closed. Open it."),
        ("It is closed.", "Run: mycelos open", "It is closed. Run: mycelos open"),
        ("Is it closed?", "Open it.", "Is it closed? Open it."),
        ("It is closed", "", "It is closed"),
        ("", "Open it.", "Open it."),
    ],
)
def test_a_detail_and_its_next_step_read_as_sentences(detail: str, next_step: str, text: str) -> None:
    assert joined(detail, next_step) == text


def test_an_unknown_code_is_not_read() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(VECTOR["json"].replace("ssrf_blocked", "fine"), type=Problem)


def test_a_refusal_carries_its_problem_and_says_so() -> None:
    refusal = Refusal(ProblemCode.NOT_FOUND, "No such run.", "List them with mycelos run list.")
    assert str(refusal) == "not_found: No such run"
    assert refusal.problem.status == 404


def test_a_code_is_the_lower_case_form_of_its_name() -> None:
    assert all(code.value == code.name.lower() for code in ProblemCode)
