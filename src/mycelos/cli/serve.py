"""`mycelos serve`: host mode in the foreground."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mycelos.cli.data_directory import settings_of
from mycelos.cli.output import CommandError, ExitCode, complain, say
from mycelos.configuration.layout import DataLayout
from mycelos.supervisor.checks import ServeRefusedError
from mycelos.supervisor.main import serve as run_supervisor
from mycelos.supervisor.state import SupervisorState

_HOW = "get a link with: mycelos open"


def serve(
    *,
    log_file: Annotated[
        Path | None, Parameter(help="The log goes there, mode 0600, bounded; so does all other output.")
    ] = None,
) -> int:
    """Run proxy, vault page, sandbox spawner and gateway until Ctrl-C or `mycelos stop`.

    Example: mycelos serve --data-dir ./data
    """
    try:
        code = run_supervisor(os.environ, _announce, log_file)
    except ServeRefusedError as error:
        complain(str(error))
        code = error.exit_code
    if code not in {ExitCode.DONE, ExitCode.FAILED, ExitCode.WRONG_USAGE, ExitCode.WALL_MISSING}:
        return ExitCode.FAILED
    return code


def _announce(state: SupervisorState) -> None:
    lines = [f"{child.name:<10} {'DOWN' if child.pid is None else f'process {child.pid}'}" for child in state.children]
    lines.append(f"{'vault page':<10} {state.operator_url} (sign in with: mycelos open --operator)")
    lines.append(f"{'page':<10} {state.page_url}")
    lines.append(f"{'open once':<10} {_link(state) if sys.stdout.isatty() else _HOW}")
    try:
        say("\n".join(lines))
    except OSError:
        # Nobody reads it, or the disk is full: what was started does not end for that.
        return


def _link(state: SupervisorState) -> str:
    # A link signs in whoever reads it: it is shown to a person at a terminal, and never ends in a log.
    # Imported now that all is up: before, the processes would have waited for it.
    from mycelos.cli.open_page import address_of, page_link

    layout = DataLayout(settings_of(os.environ).data_directory)
    try:
        return address_of(state.page_url, page_link(layout, state))
    except CommandError as error:
        # The system runs; only the convenience failed, and another link is one command away.
        complain(f"no one-time link could be made: {error}")
        return _HOW
