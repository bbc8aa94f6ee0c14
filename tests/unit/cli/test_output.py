from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from mycelos.cli import output
from mycelos.cli.output import CommandError, ExitCode, complain, error_of, plain, print_json, print_table, say
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


STEERING = [
    "\x1b]52;c;ZXZpbA==\x07",
    "\x9b31m",
    "\u202eevil",
    "\u2066",
    "\u200b",
    "\x7f",
    "\u2028",
    "\U000e0041",
    "\ud800",
]


@pytest.mark.parametrize("text", STEERING)
def test_json_holds_no_character_that_steers_a_terminal_and_means_the_same(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    print_json({text: [text]})
    printed = capsys.readouterr().out
    assert all(line.isprintable() for line in printed.split("\n"))
    assert json.loads(printed) == {text: [text]}


@pytest.mark.parametrize("text", STEERING)
def test_what_is_said_steers_nothing(capsys: pytest.CaptureFixture[str], text: str) -> None:
    say(f"a {text} b")
    assert capsys.readouterr().out[:-1].isprintable()


def test_a_complaint_cannot_begin_a_second_line(capsys: pytest.CaptureFixture[str]) -> None:
    complain("no\nmycelos: all is well\u2028really")
    assert capsys.readouterr().err == "mycelos: no mycelos: all is well really\n"


def test_a_refusal_without_end_is_cut() -> None:
    assert len(str(error_of(make_problem(ProblemCode.NOT_FOUND, "a" * 10**6, "b" * 10**6)))) < 5000


def test_no_command_prints_past_this_module() -> None:
    folder = Path(output.__file__).parent
    # The first runs in an environment of its own; the second hands `rich` texts that it has escaped.
    apart = {"local_server.py", "audit_table.py", "output.py"}
    found = []
    for path in sorted(folder.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if path.name in apart or not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called == "print" or called in {"sys.stdout.write", "sys.stderr.write", "self._stream.write"}:
                found.append(f"{path.name}:{node.lineno}")
    assert found == []
