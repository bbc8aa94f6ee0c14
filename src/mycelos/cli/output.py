"""What commands print and how they end: exit codes, one-line errors, JSON, plain tables.

Text that a model, an agent, an upstream or a hijacked gateway wrote may hold terminal escapes. Every command prints
through this module, which makes them harmless (tests/unit/cli/test_output.py looks for a `print` elsewhere).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final, TextIO

import msgspec

from mycelos.ledger.text import escape, shorten
from mycelos.wire.problems import Problem, ProblemCode, joined


class ExitCode(IntEnum):
    """How a command ends."""

    DONE = 0
    FAILED = 1
    WRONG_USAGE = 2
    WALL_MISSING = 3
    PERSON_DECIDES = 4
    DENIED = 5
    CANNOT_TELL = 6


_OF_PROBLEM: Final = {
    ProblemCode.APPROVAL_REQUIRED: ExitCode.PERSON_DECIDES,
    ProblemCode.INVALID_REQUEST: ExitCode.WRONG_USAGE,
    ProblemCode.POLICY_DENIED: ExitCode.DENIED,
    ProblemCode.SANDBOX_REFUSED: ExitCode.WALL_MISSING,
}


_WORDS_LIMIT: Final = 2000
"""Characters of a refusal's sentence that are shown."""


class CommandError(Exception):
    """A command cannot do what it was asked for: what is wrong, the next step, the exit code."""

    def __init__(self, detail: str, next_step: str = "", exit_code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(joined(detail, next_step))
        self.exit_code = exit_code


def error_of(problem: Problem) -> CommandError:
    """A door's refusal as this command's error, at a length that a person reads."""
    detail, next_step = (shorten(text, _WORDS_LIMIT) for text in (problem.detail, problem.next))
    return CommandError(detail, next_step, _OF_PROBLEM.get(problem.code, ExitCode.FAILED))


def say(text: str = "", *, end: str = "\n", stream: TextIO | None = None) -> None:
    """Print ``text`` harmlessly, by default on stdout, at once."""
    print(plain(text), end=end, file=stream or sys.stdout, flush=True)


def mute_stdout() -> None:
    """Whoever read the output has gone, or it is full: the interpreter's own last flush must not complain about it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(text: str) -> None:
    """One line on stderr."""
    say(f"mycelos: {one_line(text)}", stream=sys.stderr)


def fail(text: str, code: ExitCode = ExitCode.FAILED) -> ExitCode:
    """Complain of ``text``; the exit code of a command that ends with that."""
    complain(text)
    return code


def one_line(text: str) -> str:
    """``text`` without anything that could begin a line of its own: what stands in a line stays in it."""
    return escape(" ".join(text.splitlines()))


def plain(text: str) -> str:
    """``text`` with line breaks and tabs kept and every other character that is not printable written out."""
    return "\n".join("\t".join(escape(part) for part in line.split("\t")) for line in text.split("\n"))


def print_json(value: Any) -> None:
    """Indented JSON on stdout. Letters of every script stay; what is not printable is a JSON escape."""
    text = json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False)
    print("\n".join(line if line.isprintable() else _escape_json(line) for line in text.split("\n")), flush=True)


def print_json_line(value: Any) -> None:
    """JSON on one line of stdout, in ASCII."""
    print(json.dumps(msgspec.to_builtins(value)), flush=True)


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; every cell on one line."""
    cells = [list(heads), *([escape(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    for row in cells:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _escape_json(line: str) -> str:
    # Characters that are not printable stand in strings only: `indent` writes nothing but spaces and line breaks.
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in line)
