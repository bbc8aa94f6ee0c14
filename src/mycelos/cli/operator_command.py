"""What the operator's commands share: finding the door, and turning its errors into a message and an exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any, Final

import msgspec

from mycelos.configuration.environment import ConfigurationError, read_environment
from mycelos.configuration.layout import DataLayout
from mycelos.operator.client import OperatorClient, OperatorUnavailableError
from mycelos.operator.forms import FieldError
from mycelos.wire.problems import Refusal

DONE: Final = 0
FAILED: Final = 1
WRONG_USAGE: Final = 2


class UsageError(Exception):
    """The command was given something that it cannot use. The text says what and how to correct it."""


def run_with_door(command: Callable[[OperatorClient], None]) -> int:
    """Run ``command`` against the door of the data folder that the environment names; the exit code."""
    try:
        command(OperatorClient(DataLayout(read_environment(os.environ).data_directory)))
    except Refusal as refusal:
        return _complain(FAILED, refusal.problem.detail, refusal.problem.next)
    except OperatorUnavailableError as error:
        return _complain(FAILED, error.detail, error.next_step)
    except FieldError as error:
        return _complain(WRONG_USAGE, f"--{error.field.replace('_', '-')}: {error.message}.", "")
    except (UsageError, ConfigurationError) as error:
        return _complain(WRONG_USAGE, str(error), "")
    return DONE


def print_json(value: Any) -> None:
    """Print a message, or several, as JSON."""
    print(json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False))


def _complain(code: int, detail: str, next_step: str) -> int:
    print(detail, file=sys.stderr)
    if next_step:
        print(next_step, file=sys.stderr)
    return code
