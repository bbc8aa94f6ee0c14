from __future__ import annotations

import pytest

from mycelos.cli.output import CommandError, ExitCode, complain, error_of, plain, print_json, print_table
from mycelos.wire.problems import ProblemCode, make_problem


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        (ProblemCode.POLICY_DENIED, 5),
        (ProblemCode.APPROVAL_REQUIRED, 4),
        (ProblemCode.SANDBOX_REFUSED, 3),
        (ProblemCode.INVALID_REQUEST, 2),
        (ProblemCode.NOT_FOUND, 1),
    ],
)
def test_a_refusal_has_its_exit_code_and_next_step(code: ProblemCode, exit_code: int) -> None:
    error = error_of(make_problem(code, "It is so.", "Do this."))
    assert (error.exit_code, str(error)) == (exit_code, "It is so. Do this.")


def test_an_error_without_a_next_step_ends_without_a_space() -> None:
    assert str(CommandError("It is so.")) == "It is so."
    assert CommandError("It is so.").exit_code is ExitCode.FAILED


def test_what_could_steer_a_terminal_is_written_out() -> None:
    assert plain("a\x1b[2Jb\r\u202ec") == "a\\u001b[2Jb\\u000d\\u202ec"


def test_line_breaks_and_tabs_stay() -> None:
    assert plain("one\n\ttwo\n") == "one\n\ttwo\n"


def test_a_complaint_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    complain("no \x07")
    assert capsys.readouterr() == ("", "mycelos: no \\u0007\n")


def test_json_keeps_letters_of_every_script(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "Pilz – гриб"})
    assert capsys.readouterr().out == '{\n  "name": "Pilz – гриб"\n}\n'


def test_columns_are_as_wide_as_their_widest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a", "b"), [("long cell", "1"), ("x", "new\nline")])
    assert capsys.readouterr().out.splitlines() == ["a          b", "long cell  1", "x          new\\u000aline"]
