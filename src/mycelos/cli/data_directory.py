"""Which data folder a command is about: `--data-dir`, else MYCELOS_DATA_DIR, else `./data`, else the platform's."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from mycelos.cli.output import CommandError, ExitCode
from mycelos.configuration.environment import ConfigurationError, Environment, read_environment
from mycelos.configuration.layout import DataLayout

OPTION: Final = "--data-dir"
VARIABLE: Final = "MYCELOS_DATA_DIR"
_END_OF_OPTIONS: Final = "--"
_SHOWN_LENGTH: Final = 200


def take_data_directory(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """Split ``--data-dir DIR`` (or ``--data-dir=DIR``) off the arguments; nothing after ``--`` is looked at.

    Raises:
        CommandError: the option has no value, or is given twice.
    """
    rest: list[str] = []
    found: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == _END_OF_OPTIONS:
            rest += [argument, *remaining]
        elif argument == OPTION:
            found.append(next(remaining, ""))
        elif argument.startswith(f"{OPTION}="):
            found.append(argument.removeprefix(f"{OPTION}="))
        else:
            rest.append(argument)
    if len(found) > 1 or "" in found:
        message = f"{OPTION} takes one folder."
        raise CommandError(message, f"Example: {OPTION} ./data", ExitCode.WRONG_USAGE)
    return rest, found[0] if found else None


def choose_data_directory(option: str | None, environ: Mapping[str, str], here: Path) -> str | None:
    """The value for MYCELOS_DATA_DIR, or None where the platform's folder is meant."""
    if option is not None:
        return str(Path(option).absolute())
    if environ.get(VARIABLE):
        return environ[VARIABLE]
    installed = DataLayout(here / "data")
    return str(installed.root) if installed.master_key.is_file() else None


def demand_folder(path: Path) -> None:
    """Check that ``path`` can be a data folder; one that is not there yet can.

    Raises:
        CommandError: something else lies there, or the system cannot look there.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        name = str(path)
        shown = name if len(name) <= _SHOWN_LENGTH else f"{name[:_SHOWN_LENGTH]}..."
        message = f"{shown} cannot be the data folder: {os.strerror(error.errno or errno.EIO)}."
        raise CommandError(message, f"Name another with: {OPTION} DIR") from None
    if not stat.S_ISDIR(status.st_mode):
        message = f"{path} is not a folder."
        raise CommandError(message, f"Name the data folder with: {OPTION} DIR")


def layout_of(environ: Mapping[str, str]) -> DataLayout:
    """Where everything lies in the data folder.

    Raises:
        CommandError: as `settings_of`.
    """
    return DataLayout(settings_of(environ).data_directory)


def settings_of(environ: Mapping[str, str]) -> Environment:
    """The checked environment.

    Raises:
        CommandError: a variable cannot be used.
    """
    try:
        return read_environment(environ)
    except ConfigurationError as error:
        raise CommandError(str(error), exit_code=ExitCode.WRONG_USAGE) from None
