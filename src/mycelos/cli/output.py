"""What commands print and how they end: exit codes, one-line errors, JSON, plain tables.

Text that a model, an agent or an upstream wrote may hold terminal escapes; `plain` makes it harmless.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final

import msgspec

from mycelos.ledger.text import escape
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


class CommandError(Exception):
    """A command cannot do what it was asked for: what is wrong, the next step, the exit code."""

    def __init__(self, detail: str, next_step: str = "", exit_code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(joined(detail, next_step))
        self.exit_code = exit_code


def error_of(problem: Problem) -> CommandError:
    """A door's refusal as this command's error."""
    return CommandError(problem.detail, problem.next, _OF_PROBLEM.get(problem.code, ExitCode.FAILED))


def complain(text: str) -> None:
    """One line on stderr."""
    print(f"mycelos: {plain(text)}", file=sys.stderr)


def plain(text: str) -> str:
    """``text`` with line breaks and tabs kept and every other character that is not printable written out."""
    return "\n".join("\t".join(escape(part) for part in line.split("\t")) for line in text.split("\n"))


def print_json(value: Any) -> None:
    """Indented JSON on stdout."""
    print(json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False))


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; every cell on one line."""
    cells = [list(heads), *([escape(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
