"""What the operator's commands share: the door's client, and its errors as the command line's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mycelos.cli.data_directory import settings_of
from mycelos.cli.output import CommandError, ExitCode, error_of
from mycelos.configuration.layout import DataLayout
from mycelos.operator.client import OperatorClient, OperatorUnavailableError
from mycelos.operator.forms import FieldError
from mycelos.wire.problems import Refusal


@contextmanager
def operator_door() -> Iterator[OperatorClient]:
    """The door of the data folder that the environment names.

    Raises:
        CommandError: whatever the door, the form or the settings refuse, with an exit code.
    """
    try:
        yield OperatorClient(DataLayout(settings_of(os.environ).data_directory))
    except Refusal as refusal:
        raise error_of(refusal.problem) from None
    except OperatorUnavailableError as error:
        raise CommandError(error.detail, error.next_step) from None
    except FieldError as error:
        raise wrong_usage(detail=f"{error.field.replace('_', '-')}: {error.message}.") from None


def wrong_usage(*, detail: str, next_step: str = "") -> CommandError:
    """The error of a command that was given something it cannot use."""
    return CommandError(detail, next_step, ExitCode.WRONG_USAGE)
